//! Keys that work everywhere on the page, and the dialog that lists them.

use leptos::{ev, prelude::*};
use wasm_bindgen::JsCast;
use web_sys::{Element, HtmlElement};

use super::dialog::Dialog;
use crate::{
    film::CLIP_FRAMES,
    shortcuts::{LIST, Place, Shortcut, meaning},
    state::{MICROPHONE_ID, PageState, use_page},
};

/// Listens for the shortcuts while the page is open.
pub(crate) fn listen(page: PageState, help: RwSignal<bool>) {
    let listener = window_event_listener(ev::keydown, move |event| {
        let place = Place {
            is_field: event.target().is_some_and(|target| is_field(&target)),
            is_dialog: is_covered(),
            has_modifier: event.ctrl_key() || event.alt_key() || event.meta_key(),
        };
        let Some(shortcut) = meaning(&event.key(), place) else { return };
        if event.repeat() || event.is_composing() {
            return;
        }
        match shortcut {
            Shortcut::Stop if untrack(|| page.is_busy()) => page.stop(),
            // Nothing to stop: the browser's own.
            Shortcut::Stop => return,
            Shortcut::Prompt => page.focus_prompt(),
            Shortcut::Snapshot => shoot(page, 1),
            Shortcut::Clip => shoot(page, CLIP_FRAMES),
            Shortcut::Voice => focus(MICROPHONE_ID),
            Shortcut::NewConversation => page.begin_anew(),
            Shortcut::Help => help.set(true),
        }
        event.prevent_default();
    });
    on_cleanup(move || listener.remove());
}

/// Whether a dialog, or another view of the page, is before the conversation.
fn is_covered() -> bool {
    document().query_selector("dialog[open], [hidden] > .page").is_ok_and(|before| before.is_some())
}

fn shoot(page: PageState, frames: usize) {
    match page.shutter.get_value() {
        Some(shutter) => shutter.run(frames),
        None => page.notices.info("Turn the camera on first."),
    }
}

fn focus(id: &str) {
    let element = document().get_element_by_id(id).and_then(|element| element.dyn_into::<HtmlElement>().ok());
    if let Some(element) = element {
        // Fails only for an element that is gone.
        let _ = element.focus();
    }
}

/// Whether letters typed there are meant for it.
fn is_field(target: &web_sys::EventTarget) -> bool {
    let Some(element) = target.dyn_ref::<Element>() else { return false };
    let is_text = matches!(element.tag_name().as_str(), "INPUT" | "TEXTAREA" | "SELECT");
    is_text || element.dyn_ref::<HtmlElement>().is_some_and(HtmlElement::is_content_editable)
}

/// Links that only a keyboard meets, before everything else.
#[component]
pub(crate) fn SkipLinks() -> impl IntoView {
    let page = use_page();
    // By hand: a jump in the address would put the token out of it that may stand there.
    view! {
        <a class="skip" href="#question" data-testid="skip" on:click=move |event| {
            event.prevent_default();
            page.focus_prompt();
        }>"Skip to the question"</a>
    }
}

/// The list of the keys.
#[component]
pub(crate) fn ShortcutsDialog(open: RwSignal<bool>) -> impl IntoView {
    view! {
        <Dialog open=open title="Keys" testid="shortcuts-dialog">
            <dl class="keys">
                {LIST.map(|(key, does)| view! {
                    <div><dt><kbd>{key}</kbd></dt><dd>{does}</dd></div>
                })}
            </dl>
        </Dialog>
    }
}
