//! The bench's results: a table of policies for each network, with its plots.

use leptos::{prelude::*, task::spawn_local};

use crate::{
    bench_results::{BenchResults, MOST_BYTES, network_words, plots_markup},
    media::fetch::{self, FetchError},
};

/// Where the results lie, beside the page.
const RESULTS_URL: &str = "bench/results.json";
/// The results, fetched when they are shown for the first time.
#[component]
pub(crate) fn BenchSection() -> impl IntoView {
    let results: RwSignal<Option<Result<BenchResults, FetchError>>> = RwSignal::new(None);
    let load = move || {
        results.set(None);
        spawn_local(async move {
            let fetched = fetch::json_within(RESULTS_URL, MOST_BYTES).await;
            results.try_set(Some(fetched));
        });
    };
    load();
    let shown = move || match results.get() {
        None => view! { <p class="hint">"Loading…"</p> }.into_any(),
        Some(Ok(results)) => view! { <Results results=results /> }.into_any(),
        Some(Err(error)) => view! {
            <p class="hint" data-testid="bench-error">
                {format!("The results did not come: {error}. ")}
                <button type="button" class="secondary" on:click=move |_| load()>"Try again"</button>
            </p>
        }
        .into_any(),
    };
    view! {
        <section class="dashboard-part" aria-labelledby="bench-title" data-testid="bench">
            <h2 id="bench-title">"What the bench measured"</h2>
            <p class="hint">
                "Every policy on the same questions through the real server and the real edge engine, over an emulated network; "
                "with 95 % intervals. Not measured on this machine: the repository's bench/RESULTS.md says on which."
            </p>
            {shown}
        </section>
    }
}

#[component]
fn Results(results: BenchResults) -> impl IntoView {
    let networks: Vec<String> = results.networks().into_iter().map(str::to_owned).collect();
    let chosen = RwSignal::new(networks.first().cloned().unwrap_or_default());
    let options = networks.into_iter().map(|network| {
        let words = network_words(&network);
        view! { <option value=network>{words}</option> }
    });
    let results = StoredValue::new(results);
    let table = move || results.with_value(|results| results.markup(&chosen.get()));
    let shown_plots = move || plots_markup(&chosen.get());
    view! {
        <label class="bench-choice">
            "Network "
            <select data-testid="bench-network" on:change=move |event| chosen.set(event_target_value(&event))>
                {options.collect_view()}
            </select>
        </label>
        <div class="table-scroll" tabindex="0" role="region" aria-label="Policies" inner_html=table></div>
        <div class="plots" inner_html=shown_plots></div>
    }
}
