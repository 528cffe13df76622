//! A figure of the conversation over time, and the same as a table.

use std::fmt::Write;

use super::add;
use crate::{
    format,
    receipt::draw::chart::chart,
    series::{self, Series},
};

/// A chart with its title and its table.
pub fn figure(series: &Series) -> String {
    let points: usize = series.lines.iter().map(|line| line.points.len()).sum();
    let mut html = format!(
        r#"<figure class="chart" data-testid="chart" data-series="{}" data-points="{points}"><figcaption>{}</figcaption><div class="drawing">{}</div>"#,
        series.name,
        series.label,
        chart(series).svg(Some(&series::sentence(series)))
    );
    if series.lines.len() > 1 {
        html += r#"<ul class="chart-legend">"#;
        for (line, mark) in series.lines.iter().zip(["● full line", "□ dashed line"]) {
            add!(html, "<li>{mark}: {}</li>", line.label);
        }
        html += "</ul>";
    }
    if points > 0 {
        html += r#"<details class="as-table"><summary>As a table</summary><table><thead><tr><th scope="col">What</th><th scope="col">Asked at</th><th scope="col">Value</th></tr></thead><tbody>"#;
        for line in &series.lines {
            for point in &line.points {
                let (at, value) = (format::seconds(point.at_s), series.unit.words(point.value));
                add!(html, r#"<tr><th scope="row">{}</th><td>{at}</td><td>{value}</td></tr>"#, line.label);
            }
        }
        html += "</tbody></table></details>";
    }
    html + "</figure>"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipt::fixtures::receipt;

    #[test]
    fn a_chart_tells_its_points() {
        let all = series::of(&[receipt()]);
        let html = figure(&all[0]);
        assert!(
            html.contains(r#"data-series="latency" data-points="1""#) && html.contains("<td>100 ms</td>"),
            "{html}"
        );
        assert!(figure(&all[3]).contains("□ dashed line: sound"));
    }
}
