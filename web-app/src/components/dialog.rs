//! A modal dialog: the browser's own, which keeps the focus inside and closes with Escape.

use leptos::{html, prelude::*};

use super::icon::{Icon, IconView};

/// A dialog that is open while `open` is true; what is in it is made when it opens, or once if it is to be kept.
#[component]
pub(crate) fn Dialog(
    open: RwSignal<bool>,
    title: &'static str,
    testid: &'static str,
    #[prop(default = false)] keep: bool,
    children: ChildrenFn,
) -> impl IntoView {
    let dialog: NodeRef<html::Dialog> = NodeRef::new();
    Effect::new(move |_| {
        let wanted = open.get();
        if let Some(dialog) = dialog.get() {
            if wanted && !dialog.open() {
                // Fails only for a dialog that is open or not on the page.
                let _ = dialog.show_modal();
            } else if !wanted {
                dialog.close();
            }
        }
    });
    let title_id = format!("{testid}-title");
    let labelled_by = title_id.clone();
    view! {
        <dialog node_ref=dialog aria-labelledby=labelled_by data-testid=testid on:close=move |_| open.set(false)
            on:click=move |event| {
                // A click on the backdrop reaches the dialog itself, one inside reaches its content.
                if dialog.get_untracked().is_some_and(|dialog| event.target() == Some(dialog.into())) {
                    open.set(false);
                }
            }>
            <div class="dialog-content">
                <div class="dialog-head">
                    <h2 id=title_id>{title}</h2>
                    <button type="button" class="quiet icon-only" aria-label="Close" data-testid=format!("{testid}-close")
                        on:click=move |_| open.set(false)>
                        <IconView icon=Icon::Close />
                    </button>
                </div>
                <Show when=move || keep || open.get()>{children()}</Show>
            </div>
        </dialog>
    }
}
