//! The switches that keep a kind of input on this device.

use leptos::prelude::*;

use super::icon::{Icon, IconView};
use crate::state::use_page;

/// The locks for pictures, recordings and words.
#[component]
pub(crate) fn Locks() -> impl IntoView {
    let draft = use_page().draft;
    view! {
        <div class="locks" role="group" aria-label="Keep on this device">
            <span class="locks-title" aria-hidden="true">"Keep here:"</span>
            <LockSwitch locked=draft.vision_locked label="pictures" what="camera and pictures" testid="lock-vision" />
            <LockSwitch locked=draft.audio_locked label="sound" what="the sound" testid="lock-audio" />
            <LockSwitch locked=draft.text_locked label="words" what="your words" testid="lock-text" />
        </div>
    }
}

/// A lock; `label` is shown, and `what` names all that it holds.
#[component]
fn LockSwitch(
    locked: RwSignal<bool>,
    label: &'static str,
    what: &'static str,
    testid: &'static str,
) -> impl IntoView {
    let name = format!("Keep {label} here: nothing of {what} leaves this device");
    view! {
        <button type="button" class="lock" data-testid=testid title=name.clone() aria-label=name
            aria-pressed=move || if locked.get() { "true" } else { "false" }
            on:click=move |_| locked.update(|locked| *locked = !*locked)>
            {move || view! { <IconView icon=if locked.get() { Icon::Locked } else { Icon::Unlocked } /> }}
            <span>{label}</span>
        </button>
    }
}
