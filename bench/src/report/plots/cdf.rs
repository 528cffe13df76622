//! How latency is distributed: for each policy, the share of answers that were complete by then.

use anyhow::Result;
use plotters::prelude::*;

use super::{
    super::{
        journal::Measured,
        policies::{self, title},
    },
    paint::{MARGIN_PX, colour, font, log_chart, log_range, svg},
};

const SIZE: (u32, u32) = (900, 480);
/// Points of a line at most: more than there are pixels shows nothing.
const MOST_POINTS: usize = 400;

/// The SVG; `None` without an answer.
///
/// # Errors
/// If drawing fails.
pub(super) fn draw(measured: &Measured, network: &str) -> Result<Option<String>> {
    let Some(policies) = measured.networks.get(network) else { return Ok(None) };
    let mut lines: Vec<(&str, Vec<f64>)> = policies
        .iter()
        .map(|(policy, requests)| {
            let answered = requests.values().filter(|record| record.failure.is_none());
            let mut totals: Vec<f64> = answered.map(|record| record.total_ms.max(0.1)).collect();
            totals.sort_by(f64::total_cmp);
            (policy.as_str(), totals)
        })
        .collect();
    lines.sort_by(|one, other| policies::place(one.0).cmp(&policies::place(other.0)));
    let Some(range) = log_range(lines.iter().flat_map(|(_, totals)| totals).copied()) else {
        return Ok(None);
    };
    let drawn = svg(SIZE, |canvas| {
        let across = (range, "time until the answer stands, ms");
        let mut chart = log_chart(canvas, MARGIN_PX, across, (0.0..100.0, "answers complete, %"))?;
        for (policy, totals) in lines.iter().filter(|(_, totals)| !totals.is_empty()) {
            let paint = colour(policy).stroke_width(2);
            chart
                .draw_series(std::iter::once(PathElement::new(steps(totals), paint)))?
                .label(title(policy))
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], paint));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(TRANSPARENT)
            .label_font(font(13))
            .draw()?;
        Ok(())
    })?;
    Ok(Some(drawn))
}

/// The distribution of sorted values in per cent, thinned out.
fn steps(sorted: &[f64]) -> Vec<(f64, f64)> {
    let share = |index: usize| 100.0 * (index + 1) as f64 / sorted.len() as f64;
    let every = sorted.len().div_ceil(MOST_POINTS).max(1);
    let last = sorted.len().saturating_sub(1);
    let places = (0..sorted.len()).filter(|index| index.is_multiple_of(every) || *index == last);
    places.map(|index| (sorted[index], share(index))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_both_ends_and_the_order() {
        let values: Vec<f64> = (0..5000).map(f64::from).collect();
        let points = steps(&values);
        assert!(points.len() <= MOST_POINTS + 1, "{}", points.len());
        assert_eq!(points.first(), Some(&(0.0, 0.02)));
        assert_eq!(points.last(), Some(&(4999.0, 100.0)));
        assert!(points.is_sorted_by(|one, next| one.0 < next.0 && one.1 < next.1));
        assert_eq!(steps(&[3.0]), [(3.0, 100.0)]);
    }
}
