//! On a phone the composer is one line: what else can be given and held back is behind one button.

use leptos::prelude::*;

use super::icon::{Icon, IconView};

/// Shows and hides the ways to pictures and samples, and the locks. Style sheets show the button where there is little room.
#[component]
pub(crate) fn FoldButton(unfolded: RwSignal<bool>) -> impl IntoView {
    view! {
        <button type="button" class="secondary icon-only fold" data-testid="composer-more"
            aria-label="Camera, files, samples and locks" aria-expanded=move || unfolded.get().to_string()
            on:click=move |_| unfolded.update(|unfolded| *unfolded = !*unfolded)>
            {move || view! { <IconView icon=if unfolded.get() { Icon::Down } else { Icon::New } /> }}
        </button>
    }
}
