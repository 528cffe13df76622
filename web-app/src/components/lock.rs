//! The switch that keeps a kind of input on this device.

use leptos::prelude::*;

use super::icon::{Icon, IconView};

/// A lock for pictures, recordings or words; `label` is shown beside it where there is room.
#[component]
pub(crate) fn LockSwitch(
    locked: RwSignal<bool>,
    what: &'static str,
    testid: &'static str,
    label: &'static str,
) -> impl IntoView {
    let name = format!("{label}: nothing of {what} leaves this device");
    view! {
        <button type="button" class="lock" data-testid=testid title=name.clone() aria-label=name
            aria-pressed=move || if locked.get() { "true" } else { "false" }
            on:click=move |_| locked.update(|locked| *locked = !*locked)>
            {move || view! { <IconView icon=if locked.get() { Icon::Locked } else { Icon::Unlocked } /> }}
            <span class="lock-label">{label}</span>
        </button>
    }
}
