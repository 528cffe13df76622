//! What fits instead of a model that does not fit this device: a button for each.

use leptos::prelude::*;

use crate::state::use_page;

/// The offers, while the chosen model does not fit; nothing otherwise.
#[component]
pub(crate) fn Misfit() -> impl IntoView {
    let page = use_page();
    move || {
        page.misfit().map(|misfit| {
            let buttons = misfit.instead.into_iter().map(|instead| {
                let label = instead.label.clone();
                let choose = move |_| page.choose_instead(&instead);
                view! { <button type="button" class="secondary" data-testid="misfit-instead" on:click=choose>{label}</button> }
            });
            view! {
                <div class="misfit" data-testid="misfit" role="status">
                    <p class="hint">{misfit.words}</p>
                    {buttons.collect_view()}
                </div>
            }
        })
    }
}
