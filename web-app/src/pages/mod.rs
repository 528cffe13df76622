//! The one page there is.

mod assistant;

use leptos::{prelude::*, task::spawn_local};

use crate::{components::gallery::load_samples, state::PageState};
use assistant::Assistant;

/// Starts the page's state and shows the page.
#[component]
pub fn App() -> impl IntoView {
    if let Some(starting) = document().get_element_by_id("starting") {
        starting.remove();
    }
    let page = PageState::start();
    provide_context(page);
    spawn_local(load_samples(page));
    view! { <Assistant /> }
}
