//! Messages about inputs, above everything else, until they are dismissed or a question goes through.

use leptos::prelude::*;

use super::icon::{Icon, IconView};
use crate::state::use_page;

/// The messages; a screen reader says each as it comes.
#[component]
pub(crate) fn NoticeList() -> impl IntoView {
    let page = use_page();
    view! {
        <div class="notices" role="alert" data-testid="notices">
            <For each=move || page.notices.list() key=|notice| notice.id let:notice>
                <div class="notice" class:error=notice.is_error data-testid="notice"
                    data-kind=if notice.is_error { "error" } else { "info" }>
                    <IconView icon=if notice.is_error { Icon::Warning } else { Icon::Info } />
                    <p>{notice.text.clone()}</p>
                    <button type="button" class="quiet icon-only" aria-label="Dismiss this message"
                        data-testid="notice-dismiss" on:click=move |_| page.notices.dismiss(notice.id)>
                        <IconView icon=Icon::Close />
                    </button>
                </div>
            </For>
        </div>
    }
}
