//! A figure of the conversation over time, and the same as a table.

use leptos::prelude::*;

use crate::{
    format,
    receipt::draw::chart::chart,
    series::{self, Series},
};

/// A chart.
#[component]
pub(crate) fn ChartView(series: Series) -> impl IntoView {
    let points: usize = series.lines.iter().map(|line| line.points.len()).sum();
    let unit = series.unit;
    let legend = (series.lines.len() > 1).then(|| {
        let names = ["●  full line", "□  dashed line"];
        let lines = series.lines.iter().zip(names);
        lines.map(|(line, mark)| view! { <li>{format!("{mark}: {}", line.label)}</li> }).collect_view()
    });
    let rows = series.lines.iter().flat_map(|line| {
        let label = line.label;
        line.points.iter().map(move |point| view! {
            <tr><th scope="row">{label}</th><td>{format::seconds(point.at_s)}</td><td>{unit.words(point.value)}</td></tr>
        })
    });
    let table = (points > 0).then(|| view! {
        <details class="as-table">
            <summary>"As a table"</summary>
            <table>
                <thead><tr><th scope="col">"What"</th><th scope="col">"Asked at"</th><th scope="col">"Value"</th></tr></thead>
                <tbody>{rows.collect_view()}</tbody>
            </table>
        </details>
    });
    let said = series::sentence(&series);
    view! {
        <figure class="chart" data-testid="chart" data-series=series.name data-points=points.to_string()>
            <figcaption>{series.label}</figcaption>
            <div class="drawing" inner_html=chart(&series).svg(Some(&said))></div>
            {legend.map(|legend| view! { <ul class="chart-legend">{legend}</ul> })}
            {table}
        </figure>
    }
}
