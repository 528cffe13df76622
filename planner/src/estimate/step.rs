//! Step times: a robust constant, and a line for what grows with tokens or rows.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Time of a step that is always alike, such as one decode step: the median of the latest, which a hitch
/// (garbage collection, a throttled tab) does not move.
#[derive(Debug, Clone)]
pub struct StepEstimator {
    window: usize,
    latest: VecDeque<f64>,
}

impl StepEstimator {
    /// Nothing measured yet; the median is that of the latest `window` samples.
    ///
    /// # Panics
    /// If the window is 0.
    pub fn new(window: usize) -> Self {
        assert!(window > 0, "a median of no samples");
        Self { window, latest: VecDeque::with_capacity(window) }
    }

    /// Takes in a step's duration; one that is negative or no number is ignored.
    pub fn observe(&mut self, ms: f64) {
        if ms.is_finite() && ms >= 0.0 {
            if self.latest.len() == self.window {
                self.latest.pop_front();
            }
            self.latest.push_back(ms);
        }
    }

    /// Milliseconds of a step; `None` until measured.
    pub fn ms(&self) -> Option<f64> {
        let mut sorted: Vec<f64> = self.latest.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }
}

/// A duration that grows with a count: `ms = base_ms + per_unit_ms * units`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct AffineMs {
    /// What any number of units takes, at least 0.
    pub base_ms: f64,
    /// What each unit adds, at least 0.
    pub per_unit_ms: f64,
}

impl AffineMs {
    /// Milliseconds of `units` tokens or rows.
    pub fn ms(self, units: f64) -> f64 {
        self.base_ms + self.per_unit_ms * units
    }
}

/// Fit of an [`AffineMs`]: weighted least squares with forgetting, tied to a prior line.
///
/// The fit leans on the prior line, scaled to the samples, as ridge regression does: it is defined from the
/// first sample on, and where the samples do not tell base from slope (always the same number of rows) their
/// proportion stays the prior's. A sample above three times the expectation is cut to that; a lasting change
/// still gets through, in some steps.
#[derive(Debug, Clone)]
pub struct AffineEstimator {
    prior: AffineMs,
    /// Weighted sums over the samples.
    weight: f64,
    units: f64,
    ms: f64,
    units_squared: f64,
    units_ms: f64,
}

/// What a sample's weight is multiplied by with each later one: some 30 count.
const KEEP: f64 = 0.97;
/// How much the slope leans on the prior's, in samples.
const PRIOR_WEIGHT: f64 = 0.1;
/// Samples longer than this many times the expectation, and a tick of the clock, are cut.
const OUTLIER_FACTOR: f64 = 3.0;
/// Coarsest clock of a browser, in milliseconds: what a step that seemed to take 0 may have taken.
const CLOCK_MS: f64 = 1.0;

impl AffineEstimator {
    /// Nothing measured yet: `prior` stands in.
    pub fn new(prior: AffineMs) -> Self {
        Self { prior, weight: 0.0, units: 0.0, ms: 0.0, units_squared: 0.0, units_ms: 0.0 }
    }

    /// Takes in the duration of `units` tokens or rows; impossible ones are ignored.
    pub fn observe(&mut self, units: f64, ms: f64) {
        if !(units.is_finite() && units >= 0.0 && ms.is_finite() && ms >= 0.0) {
            return;
        }
        // The prior may be off by any factor, so the very first sample is taken as it is.
        let ms =
            if self.is_measured() { ms.min(OUTLIER_FACTOR * self.line().ms(units) + CLOCK_MS) } else { ms };
        self.weight = KEEP * self.weight + 1.0;
        self.units = KEEP * self.units + units;
        self.ms = KEEP * self.ms + ms;
        self.units_squared = KEEP * self.units_squared + units * units;
        self.units_ms = KEEP * self.units_ms + units * ms;
    }

    /// Whether any sample has come in.
    pub fn is_measured(&self) -> bool {
        self.weight > 0.0
    }

    /// The fitted line; the prior until measured.
    pub fn line(&self) -> AffineMs {
        if !self.is_measured() {
            return self.prior;
        }
        // How much slower or faster than the prior the samples are: the prior line, scaled, is what the fit
        // leans on.
        let expected_ms = self.prior.base_ms * self.weight + self.prior.per_unit_ms * self.units;
        let scale = if expected_ms > 0.0 { self.ms / expected_ms } else { 1.0 };
        let prior_slope = scale * self.prior.per_unit_ms;
        let (mean_units, mean_ms) = (self.units / self.weight, self.ms / self.weight);
        let spread = self.units_squared - self.units * mean_units;
        let together = self.units_ms - self.units * mean_ms;
        // Ridge towards the scaled prior's slope; its strength is in units of the samples' own scale.
        let ridge = PRIOR_WEIGHT * (1.0 + mean_units * mean_units);
        let slope = ((together + ridge * prior_slope) / (spread + ridge)).max(0.0);
        let base = mean_ms - slope * mean_units;
        if base >= 0.0 {
            AffineMs { base_ms: base, per_unit_ms: slope }
        } else {
            // Through the origin: the best line without a negative base, which only units above 0 can ask
            // for.
            AffineMs { base_ms: 0.0, per_unit_ms: self.units_ms / self.units_squared }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hitch_does_not_move_the_median() {
        let mut step = StepEstimator::new(15);
        assert_eq!(step.ms(), None);
        for ms in [5.0, 5.1, 900.0, 4.9, 5.0, f64::NAN, -3.0] {
            step.observe(ms);
        }
        assert_eq!(step.ms(), Some(5.0));
        for _ in 0..15 {
            step.observe(8.0);
        }
        assert_eq!(step.ms(), Some(8.0), "a lasting change does");
    }

    #[test]
    fn before_any_sample_the_prior_stands() {
        let prior = AffineMs { base_ms: 10.0, per_unit_ms: 1.0 };
        let estimator = AffineEstimator::new(prior);
        assert!(!estimator.is_measured());
        assert_eq!(estimator.line(), prior);
    }

    #[test]
    fn one_row_count_scales_the_prior() {
        let mut verify = AffineEstimator::new(AffineMs { base_ms: 10.0, per_unit_ms: 1.0 });
        for _ in 0..50 {
            verify.observe(5.0, 30.0);
        }
        let line = verify.line();
        assert!((line.ms(5.0) - 30.0).abs() < 1e-9);
        assert!((line.per_unit_ms - 2.0).abs() < 1e-9, "{line:?}");
    }

    #[test]
    fn a_hitch_is_cut_and_a_lasting_change_gets_through() {
        let mut verify = AffineEstimator::new(AffineMs { base_ms: 10.0, per_unit_ms: 1.0 });
        for _ in 0..30 {
            verify.observe(10.0, 20.0);
        }
        verify.observe(10.0, 5_000.0);
        assert!(verify.line().ms(10.0) < 22.5, "{:?}", verify.line());
        for _ in 0..200 {
            verify.observe(10.0, 100.0);
        }
        assert!((verify.line().ms(10.0) - 100.0).abs() < 1.0, "{:?}", verify.line());
    }

    proptest! {
        #[test]
        fn a_line_is_found_whatever_the_prior(
            base_ms in 0.0..100.0_f64, per_unit_ms in 0.01..10.0_f64, prior in (0.1..100.0_f64, 0.1..10.0_f64),
        ) {
            let mut prefill = AffineEstimator::new(AffineMs { base_ms: prior.0, per_unit_ms: prior.1 });
            for round in 0..60_u32 {
                let units = f64::from(1 + (round * 37) % 120);
                prefill.observe(units, base_ms + per_unit_ms * units);
            }
            let truth = AffineMs { base_ms, per_unit_ms };
            for units in [1.0, 60.0, 120.0] {
                let (fitted, expected) = (prefill.line().ms(units), truth.ms(units));
                prop_assert!((fitted - expected).abs() < 0.05 * truth.ms(60.0) , "{fitted} for {expected}");
            }
        }

        #[test]
        fn a_fit_is_never_negative_or_falling(
            samples in proptest::collection::vec((0.0..300.0_f64, 0.0..1000.0_f64), 0..40),
        ) {
            let mut estimator = AffineEstimator::new(AffineMs { base_ms: 5.0, per_unit_ms: 0.5 });
            for (units, ms) in samples {
                estimator.observe(units, ms);
                let line = estimator.line();
                prop_assert!(line.base_ms >= 0.0 && line.per_unit_ms >= 0.0, "{line:?}");
                prop_assert!(line.ms(300.0).is_finite());
            }
        }
    }
}
