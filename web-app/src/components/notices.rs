//! Messages about inputs, above everything else, until they are dismissed or a question goes through.

use leptos::prelude::*;

use super::{icon::Icon, notice::Notice};
use crate::state::use_page;

/// The messages; a screen reader says each as it comes.
#[component]
pub(crate) fn NoticeList() -> impl IntoView {
    let page = use_page();
    view! {
        <div class="notices" role="alert" data-testid="notices">
            <For each=move || page.notices.list() key=|notice| notice.id let:notice>
                <Notice name="notice" icon=if notice.is_error { Icon::Warning } else { Icon::Info } text=notice.text
                    is_error=notice.is_error on_dismiss=move |()| page.notices.dismiss(notice.id)
                    attr:data-kind=if notice.is_error { "error" } else { "info" } />
            </For>
        </div>
    }
}
