//! Figures of this conversation, live, and what the bench measured.

use leptos::{html, prelude::*};

use crate::{
    components::{
        dashboard::BenchSection,
        icon::{Icon, IconView},
        receipt::SaveReceipts,
        totals::{TotalsList, totals_of},
    },
    place::View,
    receipt::markup,
    series,
    state::use_page,
};

/// The dashboard.
#[component]
pub(crate) fn Dashboard() -> impl IntoView {
    let page = use_page();
    let totals = totals_of(page);
    let heading: NodeRef<html::H1> = NodeRef::new();
    // Who comes here by the keyboard or with a screen reader begins at the top.
    Effect::new(move |_| {
        if let Some(heading) = heading.get() {
            window().scroll_to_with_x_and_y(0.0, 0.0);
            // Fails only for an element that is gone.
            let _ = heading.focus();
        }
    });
    let charts = move || {
        let receipts = page.receipts();
        let series = series::of(receipts.iter().map(|(_, receipt)| receipt));
        series.iter().map(markup::chart::figure).collect::<String>()
    };
    let files = move || {
        let receipts = page.receipts();
        (!receipts.is_empty()).then(|| view! { <SaveReceipts receipts=receipts /> })
    };
    let back = View::Conversation.address(&window().location().hash().unwrap_or_default());
    view! {
        <div class="page dashboard" data-testid="dashboard">
            <header class="page-header">
                <div class="brand">
                    <h1 node_ref=heading tabindex="-1">"Dashboard"</h1>
                    <p>"This conversation so far, and what the bench measured."</p>
                </div>
                <nav class="more-figures" aria-label="Figures">
                    <a class="secondary" href=back data-testid="close-dashboard">"Back to the conversation"</a>
                </nav>
            </header>
            <main>
                <section class="dashboard-part" aria-labelledby="live-title">
                    <h2 id="live-title">"This conversation"</h2>
                    <div class="totals"><TotalsList totals=totals /></div>
                    <p class="hint">
                        <IconView icon=Icon::Info />
                        "Work saved: the tokens that the cloud did not have to read or write, less the drafts that it read in vain, at two operations a weight; its encoders are not counted."
                    </p>
                    <div class="charts" inner_html=charts></div>
                    {files}
                </section>
                <BenchSection />
            </main>
        </div>
    }
}
