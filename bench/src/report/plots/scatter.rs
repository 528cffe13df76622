//! What bytes buy: bytes to the cloud against accuracy, a point a policy.

use anyhow::Result;
use plotters::prelude::*;

use super::{
    super::figures::PolicyFigures,
    paint::{LEGEND_PX, colour, legend, log_chart, log_range, svg},
};

const SIZE: (u32, u32) = (900, 420);
/// The least number of bytes on a logarithmic axis: what sends nothing stands there.
const LEAST_BYTES: f64 = 100.0;

/// The SVG; `None` without a point.
///
/// # Errors
/// If drawing fails.
pub(super) fn draw(figures: &[&PolicyFigures]) -> Result<Option<String>> {
    let points: Vec<_> = figures
        .iter()
        .filter_map(|one| Some((one, one.up_bytes?.map(|bytes| bytes.max(LEAST_BYTES) / 1e3), one.accuracy?)))
        .collect();
    let Some(range) = log_range(points.iter().flat_map(|(_, bytes, _)| [bytes.low, bytes.high])) else {
        return Ok(None);
    };
    let lowest = points.iter().map(|(_, _, accuracy)| 100.0 * accuracy.low).fold(100.0, f64::min);
    let drawn = svg(SIZE, |canvas| {
        let across = (range, "bytes to the cloud, mean of a request, kB (less than 0.1 kB stands at 0.1)");
        let up = ((lowest - 2.0).max(0.0)..101.0, "right answers, %");
        let mut chart = log_chart(canvas, LEGEND_PX, across, up)?;
        for (one, bytes, accuracy) in &points {
            let (paint, accuracy) = (colour(&one.policy), accuracy.map(|share| 100.0 * share));
            let at = (bytes.value, accuracy.value);
            let lines = [
                [(bytes.low, accuracy.value), (bytes.high, accuracy.value)],
                [(bytes.value, accuracy.low), (bytes.value, accuracy.high)],
            ];
            chart.draw_series(lines.map(|line| PathElement::new(line, paint)))?;
            chart.draw_series(std::iter::once(Circle::new(at, 5, paint.filled())))?;
        }
        let names: Vec<&str> = points.iter().map(|(one, _, _)| one.policy.as_str()).collect();
        legend(canvas, ((SIZE.0 - LEGEND_PX + 12) as i32, 30), &names)?;
        Ok(())
    })?;
    Ok(Some(drawn))
}
