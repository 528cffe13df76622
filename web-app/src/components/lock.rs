//! The switch that keeps a kind of input on this device.

use leptos::prelude::*;

use super::icon::{Icon, IconView};

/// A lock for pictures or for recordings; `with_words` shows its name beside it.
#[component]
pub(crate) fn LockSwitch(
    locked: RwSignal<bool>,
    what: &'static str,
    testid: &'static str,
    with_words: bool,
) -> impl IntoView {
    let name = format!("Keep {what} on this device");
    view! {
        <button type="button" class="lock" class:icon-only=!with_words data-testid=testid title=name.clone()
            aria-label=name aria-pressed=move || if locked.get() { "true" } else { "false" }
            on:click=move |_| locked.update(|locked| *locked = !*locked)>
            {move || view! { <IconView icon=if locked.get() { Icon::Locked } else { Icon::Unlocked } /> }}
            {with_words.then_some("Keep on this device")}
        </button>
    }
}
