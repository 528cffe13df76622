//! Risk-controlled mode on recorded answers: calibrate on one half, run on the other, over many shuffles.

use msao_planner::{
    SplitMix64,
    confidence::{Calibrator, Judged, auc, expected_calibration_error},
    risk::{NOTHING_STANDS, RiskBound, RiskController, ShadowSettings, calibrate_threshold},
};
use serde::Serialize;

/// Independent shuffles.
const SEEDS: u64 = 20;
/// Bins of equal mass for the calibration error.
const BINS: usize = 15;

/// The edge's confidence, calibrated on the other half.
#[derive(Debug, Serialize)]
pub(crate) struct ConfidenceReport {
    /// Share of questions whose edge answer is the target's.
    pub(crate) agreement: f64,
    pub(crate) auc: f64,
    /// Mean over the shuffles.
    pub(crate) raw_ece: f64,
    pub(crate) calibrated_ece: f64,
}

/// Runs under one bound.
#[derive(Debug, Serialize)]
pub(crate) struct RiskRow {
    pub(crate) epsilon: f64,
    pub(crate) seeds: u64,
    pub(crate) seeds_within: u64,
    pub(crate) mean_disagreement: f64,
    pub(crate) worst_disagreement: f64,
    /// Share of requests answered by the edge alone, mean over the seeds.
    pub(crate) stood: f64,
    /// Share of all requests that were verified afterwards.
    pub(crate) shadow_verified: f64,
}

/// How well confidences tell agreement.
pub(crate) fn confidence(samples: &[Judged]) -> ConfidenceReport {
    let (mut raw, mut calibrated) = (0.0, 0.0);
    for seed in 0..SEEDS {
        let (fit, test) = halves(samples, seed);
        let calibrator = Calibrator::fit(&fit);
        let after: Vec<Judged> = test
            .iter()
            .map(|sample| Judged { confidence: calibrator.calibrate(sample.confidence), ..*sample })
            .collect();
        raw += expected_calibration_error(&test, BINS).unwrap_or_default() / SEEDS as f64;
        calibrated += expected_calibration_error(&after, BINS).unwrap_or_default() / SEEDS as f64;
    }
    let agreed = samples.iter().filter(|sample| sample.agreed).count();
    ConfidenceReport {
        agreement: agreed as f64 / samples.len().max(1) as f64,
        auc: auc(samples).unwrap_or(f64::NAN),
        raw_ece: raw,
        calibrated_ece: calibrated,
    }
}

/// Realised disagreement under a bound, with the watch on.
pub(crate) fn run(samples: &[Judged], epsilon: f64) -> RiskRow {
    let mut row = RiskRow {
        epsilon,
        seeds: SEEDS,
        seeds_within: 0,
        mean_disagreement: 0.0,
        worst_disagreement: 0.0,
        stood: 0.0,
        shadow_verified: 0.0,
    };
    for seed in 0..SEEDS {
        let (fit, test) = halves(samples, seed);
        let bound = RiskBound::Horizon { delta: 0.05, requests: test.len() as u32 };
        let threshold = calibrate_threshold(&fit, epsilon, bound);
        let mut controller = RiskController::new(epsilon, threshold, &fit, ShadowSettings::default());
        let mut rng = SplitMix64::new(seed ^ 0x5eed);
        let (mut stood, mut differed, mut verified) = (0, 0, 0);
        for sample in &test {
            let stands =
                controller.threshold() < NOTHING_STANDS && sample.confidence >= controller.threshold();
            stood += u64::from(stands);
            differed += u64::from(stands && !sample.agreed);
            if controller.record(stands, rng.uniform()) {
                verified += 1;
                controller.observe_shadow(sample.agreed);
            }
        }
        let share = |count: u64| count as f64 / test.len().max(1) as f64;
        row.seeds_within += u64::from(share(differed) <= epsilon);
        row.mean_disagreement += share(differed) / SEEDS as f64;
        row.worst_disagreement = row.worst_disagreement.max(share(differed));
        row.stood += share(stood) / SEEDS as f64;
        row.shadow_verified += share(verified) / SEEDS as f64;
    }
    row
}

/// The samples in an order of their own for each seed, cut in the middle.
fn halves(samples: &[Judged], seed: u64) -> (Vec<Judged>, Vec<Judged>) {
    let mut shuffled = samples.to_vec();
    let mut rng = SplitMix64::new(seed);
    for last in (1..shuffled.len()).rev() {
        let other = (rng.uniform() * (last + 1) as f64) as usize;
        shuffled.swap(last, other);
    }
    let test = shuffled.split_off(shuffled.len() / 2);
    (shuffled, test)
}
