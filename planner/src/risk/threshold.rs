//! The least confidence that may stand, from judged samples.

use serde::{Deserialize, Serialize};

use super::binomial;
use crate::confidence::Judged;

/// In which sense the mean loss is held to epsilon.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RiskBound {
    /// On average over calibrations (conformal risk control): `(n R + 1) / (n + 1) <= epsilon`.
    InExpectation,
    /// The true risk of the threshold is at most epsilon, but for a share `delta` of calibrations.
    HighProbability {
        /// In (0, 1).
        delta: f64,
    },
    /// The loss realised over the next `requests` is at most epsilon, but for a share `delta` of calibrations
    /// and runs. Half of delta goes to each.
    Horizon {
        /// In (0, 1).
        delta: f64,
        /// Length of the run; the longer, the less its own luck matters.
        requests: u32,
    },
}

impl Default for RiskBound {
    /// A thousand requests, and one run in a hundred.
    fn default() -> Self {
        Self::Horizon { delta: 0.01, requests: 1_000 }
    }
}

/// A threshold above every confidence. Finite, since JSON knows no infinity.
pub const NOTHING_STANDS: f64 = 2.0;

/// A threshold, and what it did to the samples it came from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StandThreshold {
    /// An answer stands iff its confidence is at least this; [`NOTHING_STANDS`] where none may.
    pub confidence: f64,
    /// Samples it was calibrated on.
    pub samples: u64,
    /// Of these, those that would have stood.
    pub stood: u64,
    /// Of these, those that differed.
    pub differed: u64,
}

/// The lowest threshold whose loss is held to `epsilon` (in (0, 1)) in the sense of `bound`.
///
/// The loss falls as the threshold rises, so testing thresholds from the highest down costs no correction for
/// their number. A confidence that is no number never stands.
pub fn calibrate_threshold(samples: &[Judged], epsilon: f64, bound: RiskBound) -> StandThreshold {
    let n = samples.len() as u64;
    let allowed = match bound {
        // A hair of tolerance, or rounding takes one of an exact count.
        RiskBound::InExpectation => {
            let count = epsilon * (n + 1) as f64 - 1.0 + 1e-9;
            (count >= 0.0).then_some(count as u64)
        }
        RiskBound::HighProbability { delta } => binomial::largest_safe_count(n, epsilon, delta),
        RiskBound::Horizon { delta, requests } => {
            let run = (epsilon * f64::from(requests) + 1e-9) as u64;
            let risk = binomial::safe_probability(run, u64::from(requests), delta / 2.0);
            binomial::largest_safe_count(n, risk, delta / 2.0)
        }
    };
    let mut threshold = StandThreshold { confidence: NOTHING_STANDS, samples: n, stood: 0, differed: 0 };
    let Some(allowed) = allowed else { return threshold };

    let mut sorted: Vec<Judged> =
        samples.iter().filter(|sample| !sample.confidence.is_nan()).copied().collect();
    sorted.sort_by(|left, right| right.confidence.total_cmp(&left.confidence));
    for ties in sorted.chunk_by(|left, right| left.confidence == right.confidence) {
        let differed = threshold.differed + ties.iter().filter(|sample| !sample.agreed).count() as u64;
        if differed > allowed {
            return threshold;
        }
        threshold.stood += ties.len() as u64;
        threshold.differed = differed;
        threshold.confidence = ties[0].confidence;
    }
    // All samples together differ seldom enough: everything may stand, if there was anything to see.
    if !sorted.is_empty() {
        threshold.confidence = 0.0;
    }
    threshold
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SplitMix64;

    /// Confidences above one half, calibrated: the answer agrees with that probability. All standing, one in
    /// six differs.
    fn draw(rng: &mut SplitMix64, samples: usize) -> Vec<Judged> {
        (0..samples)
            .map(|_| {
                let confidence = 1.0 - 0.5 * rng.uniform().powi(2);
                Judged { confidence, agreed: rng.uniform() < confidence }
            })
            .collect()
    }

    fn realised(samples: &[Judged], threshold: f64) -> (f64, f64) {
        let stood: Vec<&Judged> = samples.iter().filter(|sample| sample.confidence >= threshold).collect();
        let differed = stood.iter().filter(|sample| !sample.agreed).count();
        (differed as f64 / samples.len() as f64, stood.len() as f64 / samples.len() as f64)
    }

    /// Of 20 seeds, how many stay within epsilon over 1,000 requests; their mean loss and mean share that
    /// stood.
    fn twenty_seeds(epsilon: f64, bound: RiskBound) -> (usize, f64, f64) {
        let runs: Vec<(f64, f64)> = (0..20)
            .map(|seed| {
                let mut rng = SplitMix64::new(1_000 + seed);
                let threshold = calibrate_threshold(&draw(&mut rng, 1_500), epsilon, bound);
                realised(&draw(&mut rng, 1_000), threshold.confidence)
            })
            .collect();
        let within = runs.iter().filter(|(loss, _)| *loss <= epsilon).count();
        let mean = |of: &dyn Fn(&(f64, f64)) -> f64| runs.iter().map(of).sum::<f64>() / 20.0;
        (within, mean(&|run| run.0), mean(&|run| run.1))
    }

    #[test]
    fn the_realised_disagreement_stays_within_epsilon() {
        for epsilon in [0.02, 0.05, 0.1] {
            let (within, loss, stood) = twenty_seeds(epsilon, RiskBound::default());
            assert!(within >= 19, "epsilon {epsilon}: {within} of 20");
            assert!(loss > 0.2 * epsilon, "epsilon {epsilon}: too careful to be of use, loss {loss}");
            assert!(stood > 0.25, "epsilon {epsilon}: {stood} stood");
        }
    }

    #[test]
    fn control_in_expectation_holds_on_average_only() {
        let (within, loss, _) = twenty_seeds(0.05, RiskBound::InExpectation);
        assert!((loss - 0.05).abs() < 0.006, "{loss}");
        assert!(within < 19, "{within} of 20: the stronger bound would not be needed");
    }

    #[test]
    fn few_samples_let_nothing_stand_and_good_ones_everything() {
        let good = vec![Judged { confidence: 0.9, agreed: true }; 20];
        let few = calibrate_threshold(&good, 0.05, RiskBound::default());
        assert_eq!((few.confidence, few.stood), (NOTHING_STANDS, 0));
        let expected = calibrate_threshold(&good, 0.05, RiskBound::InExpectation);
        assert_eq!((expected.confidence, expected.stood), (0.0, 20));
        assert_eq!(
            calibrate_threshold(&good[1..], 0.05, RiskBound::InExpectation).stood,
            19,
            "1 / 20 is 5 %"
        );
        assert_eq!(calibrate_threshold(&good[2..], 0.05, RiskBound::InExpectation).stood, 0);
        assert_eq!(calibrate_threshold(&[], 0.5, RiskBound::InExpectation).confidence, NOTHING_STANDS);
    }

    #[test]
    fn equal_confidences_stand_or_fall_together() {
        let mut samples = vec![Judged { confidence: 0.9, agreed: true }; 30];
        samples.extend(vec![Judged { confidence: 0.5, agreed: false }; 3]);
        let threshold = calibrate_threshold(&samples, 0.06, RiskBound::InExpectation);
        assert_eq!((threshold.confidence, threshold.stood, threshold.differed), (0.9, 30, 0));
    }

    #[test]
    fn a_stronger_bound_is_never_lower() {
        let samples = draw(&mut SplitMix64::new(9), 2_000);
        let threshold = |bound| calibrate_threshold(&samples, 0.05, bound).confidence;
        let delta = 0.01;
        let thresholds = [
            threshold(RiskBound::InExpectation),
            threshold(RiskBound::HighProbability { delta }),
            threshold(RiskBound::Horizon { delta, requests: 10_000 }),
            threshold(RiskBound::Horizon { delta, requests: 1_000 }),
        ];
        assert!(thresholds.is_sorted(), "{thresholds:?}");
    }
}
