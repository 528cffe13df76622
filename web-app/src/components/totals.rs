//! The conversation so far, in one line of figures; and the ways to more of them.

use leptos::prelude::*;

use super::{
    icon::{Icon, IconView},
    network::NetworkButton,
};
use crate::{
    place::View,
    receipt::totals::Totals,
    state::{PageState, use_page},
};

/// The sums over the conversation, kept up to date.
pub(crate) fn totals_of(page: PageState) -> Memo<Totals> {
    Memo::new(move |_| Totals::of(page.receipts().iter().map(|(_, receipt)| receipt)))
}

/// The figures, from the first question on: it comes with that, so that nothing moves when the answer is there.
#[component]
pub(crate) fn TotalsBar() -> impl IntoView {
    let page = use_page();
    let totals = totals_of(page);
    view! {
        <Show when=move || page.turns.with(|turns| !turns.is_empty())>
            <section class="totals" aria-label="This conversation" data-testid="totals">
                <p class="totals-line" data-testid="totals-line">{move || totals.with(Totals::line)}</p>
                <TotalsList totals=totals />
            </section>
        </Show>
    }
}

/// The figures as a list.
#[component]
pub(crate) fn TotalsList(totals: Memo<Totals>) -> impl IntoView {
    view! { <dl class="totals-list" inner_html=move || totals.with(Totals::markup)></dl> }
}

/// The ways to the network panel and the dashboard.
#[component]
pub(crate) fn MoreFigures() -> impl IntoView {
    let fragment = window().location().hash().unwrap_or_default();
    view! {
        <nav class="more-figures" aria-label="Figures">
            <NetworkButton />
            <a class="quiet" href=View::Dashboard.address(&fragment) data-testid="open-dashboard">
                <IconView icon=Icon::Chart /> "Dashboard"
            </a>
        </nav>
    }
}
