//! Isotonic calibration that can be fitted at once and carried on online.
//!
//! Samples fall into bins of raw confidence. Over the bins, the pool-adjacent-violators algorithm (Ayer et
//! al. 1955; Zadrozny and Elkan 2002 for calibration) finds the non-decreasing step function with the least
//! squared error; between the blocks' centres the map is linear. Every bin also holds half a sample that says
//! "raw confidence is the probability": a calibrator that has seen nothing is the identity, and no map ends
//! in a certainty that a few samples suggest.

use serde::{Deserialize, Serialize};

use super::metrics::{Judged, equal_mass};

/// Bins of raw confidence.
const BINS: usize = 20;
/// Samples' worth of identity in each bin.
const PRIOR_WEIGHT: f64 = 0.5;
/// What a sample's weight is multiplied by with each later online one: some 2,000 count.
const KEEP: f64 = 0.9995;

/// A point of the map; between two it is linear, beyond the ends constant.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CalibrationPoint {
    /// Raw confidence, in 0..=1.
    pub raw: f64,
    /// Probability that the answer agrees, in 0..=1.
    pub probability: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Bin {
    /// Raw confidences up to this one, and above the bin before.
    highest: f64,
    /// Centre of the bin, where its prior stands.
    centre: f64,
    weight: f64,
    agreed: f64,
    /// Sum of raw confidences.
    raw: f64,
}

/// A monotone map from raw confidence to probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibrator {
    bins: Vec<Bin>,
    points: Vec<CalibrationPoint>,
}

impl Default for Calibrator {
    /// The identity.
    fn default() -> Self {
        Self::over((1..=BINS).map(|bin| bin as f64 / BINS as f64))
    }
}

impl Calibrator {
    /// Fits the map to samples with raw confidences; bins of equal mass.
    pub fn fit(samples: &[Judged]) -> Self {
        let mut sorted: Vec<Judged> =
            samples.iter().filter(|sample| !sample.confidence.is_nan()).copied().collect();
        sorted.sort_by(|left, right| left.confidence.total_cmp(&right.confidence));
        let groups = equal_mass(&sorted, BINS);
        if groups.is_empty() {
            return Self::default();
        }
        let last = groups.len() - 1;
        let mut calibrator = Self::over(groups.iter().enumerate().map(|(index, group)| {
            // The last bin is open to what the samples did not reach.
            if index == last { 1.0 } else { group.last().map_or(1.0, |sample| sample.confidence) }
        }));
        for sample in &sorted {
            calibrator.add(*sample);
        }
        calibrator.pool();
        calibrator
    }

    /// Takes in one more sample with a raw confidence, and lets the earlier ones fade a little.
    pub fn observe(&mut self, sample: Judged) {
        if sample.confidence.is_nan() {
            return;
        }
        for bin in &mut self.bins {
            (bin.weight, bin.agreed, bin.raw) = (KEEP * bin.weight, KEEP * bin.agreed, KEEP * bin.raw);
        }
        self.add(sample);
        self.pool();
    }

    /// Probability in 0..=1 that an answer of this raw confidence agrees; non-decreasing in it. NaN counts as
    /// 0.
    pub fn calibrate(&self, raw: f64) -> f64 {
        let raw = if raw.is_nan() { 0.0 } else { raw.clamp(0.0, 1.0) };
        let after = self.points.partition_point(|point| point.raw <= raw);
        match (after.checked_sub(1).and_then(|before| self.points.get(before)), self.points.get(after)) {
            (Some(left), Some(right)) => {
                let share = (raw - left.raw) / (right.raw - left.raw);
                left.probability + share * (right.probability - left.probability)
            }
            (Some(end), None) | (None, Some(end)) => end.probability,
            (None, None) => raw,
        }
    }

    /// The map's points, in order of raw confidence, strictly rising in it.
    pub fn points(&self) -> &[CalibrationPoint] {
        &self.points
    }

    fn over(highest: impl Iterator<Item = f64>) -> Self {
        let mut lowest = 0.0;
        let bins = highest
            .map(|highest| {
                let centre = f64::midpoint(lowest, highest);
                lowest = highest;
                Bin { highest, centre, weight: 0.0, agreed: 0.0, raw: 0.0 }
            })
            .collect();
        let mut calibrator = Self { bins, points: Vec::new() };
        calibrator.pool();
        calibrator
    }

    fn add(&mut self, sample: Judged) {
        let raw = sample.confidence.clamp(0.0, 1.0);
        let bin = self.bins.partition_point(|bin| bin.highest < raw).min(self.bins.len().saturating_sub(1));
        if let Some(bin) = self.bins.get_mut(bin) {
            bin.weight += 1.0;
            bin.agreed += f64::from(u8::from(sample.agreed));
            bin.raw += raw;
        }
    }

    /// Pools adjacent bins until the shares rise.
    fn pool(&mut self) {
        struct Block {
            weight: f64,
            agreed: f64,
            raw: f64,
        }
        let mut blocks: Vec<Block> = Vec::with_capacity(self.bins.len());
        for bin in &self.bins {
            let mut block = Block {
                weight: bin.weight + PRIOR_WEIGHT,
                agreed: bin.agreed + PRIOR_WEIGHT * bin.centre,
                raw: bin.raw + PRIOR_WEIGHT * bin.centre,
            };
            while let Some(before) =
                blocks.pop_if(|before| before.agreed * block.weight >= block.agreed * before.weight)
            {
                block = Block {
                    weight: block.weight + before.weight,
                    agreed: block.agreed + before.agreed,
                    raw: block.raw + before.raw,
                };
            }
            blocks.push(block);
        }
        self.points = blocks
            .iter()
            .map(|block| CalibrationPoint {
                raw: block.raw / block.weight,
                probability: block.agreed / block.weight,
            })
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        confidence::{auc, expected_calibration_error},
        rng::SplitMix64,
    };

    /// An overconfident edge: at raw confidence c it agrees with probability c^3.
    fn overconfident(seed: u64, samples: usize) -> Vec<Judged> {
        let mut rng = SplitMix64::new(seed);
        (0..samples)
            .map(|_| {
                let confidence = rng.uniform().sqrt();
                Judged { confidence, agreed: rng.uniform() < confidence.powi(3) }
            })
            .collect()
    }

    fn calibrated(calibrator: &Calibrator, samples: &[Judged]) -> Vec<Judged> {
        let one = |sample: &Judged| Judged { confidence: calibrator.calibrate(sample.confidence), ..*sample };
        samples.iter().map(one).collect()
    }

    #[test]
    fn held_out_calibration_error_falls_to_noise_and_the_order_stays() {
        let calibrator = Calibrator::fit(&overconfident(1, 4_000));
        let held_out = overconfident(2, 20_000); // of perfect calibration, noise alone gives 0.01
        let (raw, fitted) = (expected_calibration_error(&held_out, 15).unwrap(), {
            expected_calibration_error(&calibrated(&calibrator, &held_out), 15).unwrap()
        });
        assert!(raw > 0.15, "{raw}");
        assert!(fitted < 0.03, "{fitted}");
        let (before, after) = (auc(&held_out).unwrap(), auc(&calibrated(&calibrator, &held_out)).unwrap());
        assert!((before - after).abs() < 0.01, "{before} {after}");
    }

    #[test]
    fn online_it_comes_to_the_same_and_follows_a_change() {
        let mut calibrator = Calibrator::default();
        for sample in overconfident(3, 6_000) {
            calibrator.observe(sample);
        }
        for raw in [0.3, 0.6, 0.9_f64] {
            assert!((calibrator.calibrate(raw) - raw.powi(3)).abs() < 0.08, "{raw}");
        }
        let mut rng = SplitMix64::new(4);
        for _ in 0..6_000 {
            let confidence = rng.uniform().sqrt();
            calibrator.observe(Judged { confidence, agreed: rng.uniform() < 0.2 });
        }
        assert!(calibrator.calibrate(0.95) < 0.4);
    }

    #[test]
    fn a_calibrator_that_has_seen_nothing_is_the_identity() {
        let calibrator = Calibrator::default();
        for raw in [0.025, 0.3, 0.77, 0.975] {
            assert!((calibrator.calibrate(raw) - raw).abs() < 1e-12);
        }
        assert_eq!(Calibrator::fit(&[]), calibrator);
        assert!((0.0..=1.0).contains(&calibrator.calibrate(f64::NAN)));
    }

    #[test]
    fn few_samples_make_no_certainty() {
        let calibrator = Calibrator::fit(&[Judged { confidence: 0.9, agreed: true }; 3]);
        assert!(calibrator.calibrate(0.9) < 1.0);
    }

    proptest! {
        #[test]
        fn the_map_never_falls_nor_leaves_the_range(
            samples in proptest::collection::vec((0.0..=1.0_f64, any::<bool>()), 0..300),
            more in proptest::collection::vec((0.0..=1.0_f64, any::<bool>()), 0..20),
        ) {
            let judged = |&(confidence, agreed): &(f64, bool)| Judged { confidence, agreed };
            let mut calibrator = Calibrator::fit(&samples.iter().map(judged).collect::<Vec<_>>());
            for sample in more.iter().map(judged) {
                calibrator.observe(sample);
            }
            prop_assert!(calibrator.points().is_sorted_by(|left, right| left.raw < right.raw));
            let map: Vec<f64> = (0..=100).map(|raw| calibrator.calibrate(f64::from(raw) / 100.0)).collect();
            prop_assert!(map.is_sorted());
            prop_assert!(map.iter().all(|probability| (0.0..=1.0).contains(probability)));
        }
    }
}
