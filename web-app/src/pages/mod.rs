//! The page's views: the conversation, and the dashboard. The conversation stays as it is behind the dashboard.

mod assistant;
mod dashboard;

use leptos::{ev, prelude::*, task::spawn_local};

use crate::{components::gallery::load_samples, place::View, state::PageState};
use assistant::Assistant;
use dashboard::Dashboard;

/// Starts the page's state and shows the page.
#[component]
pub fn App() -> impl IntoView {
    if let Some(starting) = document().get_element_by_id("starting") {
        starting.remove();
    }
    let page = PageState::start();
    provide_context(page);
    spawn_local(load_samples(page));
    let asked_for = || View::of(&window().location().hash().unwrap_or_default());
    let place = RwSignal::new(asked_for());
    provide_context(place);
    let moved = window_event_listener(ev::hashchange, move |_| place.set(asked_for()));
    on_cleanup(move || moved.remove());
    view! {
        <div hidden=move || place.get() != View::Conversation><Assistant /></div>
        <Show when=move || place.get() == View::Dashboard><Dashboard /></Show>
    }
}
