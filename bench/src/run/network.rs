//! Lets every policy meet the same moment of a network that changes.

use anyhow::Result;

use crate::link::{Link, Scenario};

/// Between the moments at which requests are asked: prime, so that rounds through a trace of a minute differ.
const STRIDE_MS: f64 = 7_919.0;

/// Puts the network of a scenario as it is when the request with that number is asked. A steady one stays as it is.
///
/// # Errors
/// Never for networks of the bench.
pub(super) fn begin(link: &Link, scenario: Scenario, request: usize) -> Result<()> {
    if matches!(scenario, Scenario::Steady(_)) {
        return Ok(());
    }
    let mut trace = scenario.trace();
    let times: Vec<f64> = trace.segments.iter().map(|segment| segment.at_ms).collect();
    let order = from_moment(&times, trace.period_ms, request as f64 * STRIDE_MS);
    trace.segments = order
        .into_iter()
        .map(|(index, at_ms)| {
            let mut segment = trace.segments[index];
            segment.at_ms = at_ms;
            segment
        })
        .collect();
    link.set(trace)?;
    Ok(())
}

/// Segments that begin at `times_ms`, from a moment on: which one, and when it begins then.
fn from_moment(times_ms: &[f64], period_ms: Option<f64>, moment_ms: f64) -> Vec<(usize, f64)> {
    let moment_ms = period_ms.map_or(moment_ms, |period| moment_ms % period);
    let now = times_ms.partition_point(|at_ms| *at_ms <= moment_ms).max(1) - 1;
    let rest = (now + 1..times_ms.len()).map(|index| (index, times_ms[index] - moment_ms));
    // What lies before the moment comes again in the next period, the segment that holds now included.
    let again = period_ms.into_iter().flat_map(|period| {
        let before = if times_ms[now] < moment_ms { now + 1 } else { now };
        (0..before).map(move |index| (index, times_ms[index] + period - moment_ms))
    });
    std::iter::once((now, 0.0)).chain(rest).chain(again).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_trace_goes_on_from_any_moment_and_comes_around() {
        let times = [0.0, 100.0, 150.0];
        assert_eq!(from_moment(&times, Some(200.0), 0.0), [(0, 0.0), (1, 100.0), (2, 150.0)]);
        assert_eq!(from_moment(&times, Some(200.0), 320.0), [(1, 0.0), (2, 30.0), (0, 80.0), (1, 180.0)]);
        assert_eq!(from_moment(&times, Some(200.0), 150.0), [(2, 0.0), (0, 50.0), (1, 150.0)]);
        assert_eq!(from_moment(&times, None, 120.0), [(1, 0.0), (2, 30.0)]);
        assert_eq!(from_moment(&times, None, 1e6), [(2, 0.0)]);
    }

    proptest! {
        /// The same holds at the same time, whether one waits or begins later.
        #[test]
        fn beginning_later_is_as_waiting(moment_ms in 0.0..1e4_f64, after_ms in 0.0..1e4_f64) {
            let (times, period) = ([0.0, 100.0, 150.0, 410.0], 500.0);
            let holds = |times: &[f64], at_ms: f64| times.partition_point(|start| *start <= at_ms % period) - 1;
            let shifted = from_moment(&times, Some(period), moment_ms);
            prop_assert!(shifted.is_sorted_by(|one, next| one.1 < next.1));
            let starts: Vec<f64> = shifted.iter().map(|(_, at_ms)| *at_ms).collect();
            let seen = shifted[holds(&starts, after_ms)].0;
            let seam = (moment_ms + after_ms) % period;
            prop_assume!(times.iter().all(|at_ms| (at_ms - seam).abs() > 1e-6) && period - seam > 1e-6);
            prop_assert_eq!(seen, holds(&times, moment_ms + after_ms));
        }
    }
}
