//! Rates from saturation to twice as many: what a server gives that gets more than it can do.
//!
//! All of them last equally long and have the same requests in the same order. The peak of goodput is looked for among them: below
//! saturation the server answers what comes, which is less.

use anyhow::Result;

use super::{outcome::Trial, trial::Crowd};

/// The rates, over that at saturation.
pub(crate) const TIMES: [f64; 3] = [1.0, 1.5, 2.0];

/// Tries all of them, in order of [`TIMES`].
///
/// # Errors
/// If a session cannot be opened.
pub(super) fn try_all(crowd: &Crowd<'_>, repeat: u32, saturation_per_s: f64) -> Result<Vec<Trial>> {
    let try_one = |times: f64| {
        let trial = crowd.try_past(repeat, saturation_per_s, times)?;
        eprintln!(
            "  {times} x: {:.2} answers/s in time, {:.1} % refused, {:.1} % without an answer, p99 {}",
            trial.goodput_per_s().unwrap_or_default(),
            100.0 * trial.busy_share(),
            100.0 * trial.failed_share(),
            trial.p99_ms.map_or_else(|| "not bounded".to_owned(), |ms| format!("{ms:.0} ms"))
        );
        Ok(trial)
    };
    TIMES.into_iter().map(try_one).collect()
}
