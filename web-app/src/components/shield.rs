//! The mark that locks hold: one line for each, with the bytes that left this device.

use leptos::prelude::*;
use msao_protocol::Modality;

use super::icon::{Icon, IconView};
use crate::{
    held::{self, HandedOver},
    state::{Turn, use_page},
};

/// A line for each lock that is set.
#[component]
pub(crate) fn Shield() -> impl IntoView {
    let page = use_page();
    let handed_over = Memo::new(move |_| {
        page.turns.with(|turns| turns.iter().flat_map(Turn::handed_over).collect::<Vec<HandedOver>>())
    });
    let locks = [
        (page.draft.vision_locked, Modality::Vision, "vision"),
        (page.draft.audio_locked, Modality::Audio, "audio"),
        (page.draft.text_locked, Modality::Text, "text"),
    ];
    view! {
        <ul class="shield" aria-label="What is held on this device">
            {locks.map(|(locked, modality, name)| view! {
                <Show when=move || locked.get()>
                    <li data-testid="held" data-modality=name>
                        <IconView icon=Icon::Shield />
                        <span>{move || handed_over.with(|all| held::sentence(modality, all))}</span>
                    </li>
                </Show>
            })}
        </ul>
    }
}
