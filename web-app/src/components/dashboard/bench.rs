//! The bench's results: a table of policies for each network, with its plots.

use leptos::{prelude::*, task::spawn_local};

use crate::{
    bench_results::{BenchResults, COLUMNS, MOST_BYTES, PolicyResult, network_words, plots},
    media::fetch::{self, FetchError},
};

/// Where the results lie, beside the page.
const RESULTS_URL: &str = "bench/results.json";
/// The plots of all networks together.
const ALL_NETWORKS: [(&str, &str); 2] = [
    ("Latency of each policy over each network", "bench/plots/latency.svg"),
    ("Sessions a second", "bench/plots/throughput.svg"),
];

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
    let rows = move || {
        let network = chosen.get();
        results.with_value(|results| results.on(&network).map(row_view).collect_view())
    };
    let requests = move || {
        let network = chosen.get();
        results.with_value(|results| results.on(&network).map(|result| result.requests).max().unwrap_or(0))
    };
    view! {
        <label class="bench-choice">
            "Network "
            <select data-testid="bench-network" on:change=move |event| chosen.set(event_target_value(&event))>
                {options.collect_view()}
            </select>
        </label>
        <div class="table-scroll" tabindex="0" role="region" aria-label="Policies">
            <table class="bench-table" data-testid="bench-table">
                <caption>{move || format!("{} questions over {}", requests(), network_words(&chosen.get()))}</caption>
                <thead><tr>
                    <th scope="col">"Policy"</th>
                    {COLUMNS.into_iter().map(|column| view! { <th scope="col">{column}</th> }).collect_view()}
                </tr></thead>
                <tbody>{rows}</tbody>
            </table>
        </div>
        <div class="plots">
            {move || plots(&chosen.get()).into_iter().map(|(title, url)| plot_view(title, url)).collect_view()}
            {ALL_NETWORKS.into_iter().map(|(title, url)| plot_view(title, url.to_owned())).collect_view()}
        </div>
    }
}

fn row_view(result: &PolicyResult) -> impl IntoView + use<> {
    view! {
        <tr class:own=result.is_the_method() data-policy=result.policy.clone()>
            <th scope="row">{result.label()}</th>
            {result.cells().into_iter().map(|cell| view! { <td>{cell}</td> }).collect_view()}
        </tr>
    }
}

/// A plot is fetched when it comes into view.
fn plot_view(title: &'static str, url: String) -> impl IntoView {
    view! {
        <figure class="plot">
            <figcaption>{title}</figcaption>
            <img src=url alt=format!("{title}: a plot of the figures in the table") loading="lazy" width="600" height="400" />
        </figure>
    }
}
