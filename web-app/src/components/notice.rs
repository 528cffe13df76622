//! A message that stays until it is dismissed.

use leptos::prelude::*;

use super::icon::{Icon, IconView};

/// A message with its sign, whatever helps as `children`, and the button that takes it away. Tests find it as `name`, and
/// the button as `name` with `-dismiss`.
#[component]
pub(crate) fn Notice(
    name: &'static str,
    icon: Icon,
    text: String,
    #[prop(optional)] is_error: bool,
    #[prop(into)] on_dismiss: Callback<()>,
    #[prop(optional)] children: Option<Children>,
) -> impl IntoView {
    view! {
        <div class="notice" class:error=is_error data-testid=name>
            <IconView icon=icon />
            <p>{text}</p>
            {children.map(|children| children())}
            <button type="button" class="quiet icon-only" aria-label="Dismiss this message"
                data-testid=format!("{name}-dismiss") on:click=move |_| on_dismiss.run(())>
                <IconView icon=Icon::Close />
            </button>
        </div>
    }
}
