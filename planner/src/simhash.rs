//! Near-duplicate frames by locality-sensitive hashing: the temporal analysis of MAS.
//!
//! SimHash (Charikar 2002): bit i of the hash is the side of random hyperplane i on which the feature vector
//! lies. For two vectors at angle theta each bit differs with probability theta / pi, so
//!
//! ```text
//! E[Hamming distance] = 64 * theta / pi
//! ```
//!
//! Length does not matter, only direction. Features with a large common part all point the same way: subtract
//! their mean first, or the distances are all small. The module knows vectors, not frames' pixels.

use crate::{frames::keep_changed, rng::SplitMix64};

/// Bits of a hash.
pub const HASH_BITS: usize = 64;

/// Sixty-four random hyperplanes through the origin of the feature space.
#[derive(Debug, Clone, PartialEq)]
pub struct SimHash {
    /// Normals of the planes, one after the other.
    normals: Vec<f32>,
    dimension: usize,
}

impl SimHash {
    /// The planes that `seed` names, for features of `dimension` numbers.
    ///
    /// # Panics
    /// If `dimension` is 0.
    pub fn new(dimension: usize, seed: u64) -> Self {
        assert!(dimension > 0, "features of no dimension have no direction");
        let mut rng = SplitMix64::new(seed);
        // Normal coordinates make the direction uniform on the sphere.
        Self { normals: (0..HASH_BITS * dimension).map(|_| rng.normal() as f32).collect(), dimension }
    }

    /// The hash of a feature vector. Numbers that are not finite count as 0.
    ///
    /// # Panics
    /// If the vector has another dimension than the planes.
    pub fn hash(&self, features: &[f32]) -> u64 {
        assert_eq!(features.len(), self.dimension, "features of another dimension than the planes");
        self.normals.chunks_exact(self.dimension).enumerate().fold(0, |hash, (bit, normal)| {
            // In f64 the products are exact, so the sign is that of the real product but for the sum's
            // rounding.
            let dot: f64 = normal
                .iter()
                .zip(features)
                .filter(|(_, feature)| feature.is_finite())
                .map(|(normal, feature)| f64::from(*normal) * f64::from(*feature))
                .sum();
            hash | u64::from(dot > 0.0) << bit
        })
    }

    /// Which frames to keep: the first, then each whose hash differs from the last *kept* frame's in more
    /// than `max_hamming` of 64 bits. Slow drift is therefore noticed once it has added up.
    ///
    /// # Panics
    /// If a frame has another dimension than the planes.
    pub fn kept_frames(&self, frames: &[impl AsRef<[f32]>], max_hamming: u32) -> Vec<bool> {
        keep(frames.iter().map(|frame| vec![self.hash(frame.as_ref())]), max_hamming)
    }

    /// As [`Self::kept_frames`] for frames that are given region by region: a frame is redundant only if *every* region
    /// is within `max_hamming` of the same region of the last kept frame. What is small in the picture moves one
    /// region's hash far and that of the whole frame hardly.
    ///
    /// # Panics
    /// If frames have different numbers of regions, or a region another dimension than the planes.
    pub fn kept_frames_by_region<R: AsRef<[f32]>>(
        &self,
        frames: &[impl AsRef<[R]>],
        max_hamming: u32,
    ) -> Vec<bool> {
        let regions = frames.first().map_or(0, |frame| frame.as_ref().len());
        assert!(frames.iter().all(|frame| frame.as_ref().len() == regions), "frames of one grid of regions");
        let hashes = |frame: &[R]| frame.iter().map(|region| self.hash(region.as_ref())).collect();
        keep(frames.iter().map(|frame| hashes(frame.as_ref())), max_hamming)
    }
}

/// Keeps the first frame and each in which some hash is more than `max_hamming` from the last kept one's.
fn keep(frames: impl Iterator<Item = Vec<u64>>, max_hamming: u32) -> Vec<bool> {
    keep_changed(frames, |last, next| {
        last.iter().zip(next).any(|(last, hash)| hamming(*last, *hash) > max_hamming)
    })
}

/// Bits in which two hashes differ, 0..=64.
pub fn hamming(left: u64, right: u64) -> u32 {
    (left ^ right).count_ones()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn distance_follows_the_angle() {
        // Mean over many sets of planes: each bit differs with probability theta / pi, independently.
        let (dimension, seeds) = (16, 400_u32);
        for theta in [0.1_f64, 0.5, 1.0, 2.0, 3.0] {
            let (mut left, mut right) = (vec![0.0_f32; dimension], vec![0.0_f32; dimension]);
            left[3] = 1.0;
            (right[3], right[7]) = (theta.cos() as f32, theta.sin() as f32);
            let total: u32 = (0..seeds)
                .map(|seed| {
                    let planes = SimHash::new(dimension, u64::from(seed));
                    hamming(planes.hash(&left), planes.hash(&right))
                })
                .sum();
            let (p, bits) = (theta / std::f64::consts::PI, f64::from(seeds) * HASH_BITS as f64);
            let deviations = (f64::from(total) - bits * p) / (bits * p * (1.0 - p)).sqrt();
            assert!(deviations.abs() < 4.0, "theta {theta}: {deviations} standard deviations off");
        }
    }

    #[test]
    fn a_still_scene_keeps_one_frame_and_a_cut_another() {
        let planes = SimHash::new(3, 1);
        let frames =
            [[1.0, 0.0, 0.0], [1.0, 0.01, 0.0], [1.0, 0.0, 0.01], [0.0, 1.0, -1.0], [0.0, 2.0, -2.0]];
        assert_eq!(planes.kept_frames(&frames, 5), [true, false, false, true, false]);
        assert!(planes.kept_frames(&[[0.0; 3]; 0], 5).is_empty());
    }

    #[test]
    fn one_region_that_changes_keeps_its_frame() {
        let planes = SimHash::new(3, 1);
        let (still, changed) = ([1.0_f32, 0.0, 0.0], [0.0, 1.0, -1.0]);
        let frames =
            [[still; 16], [still; 16], std::array::from_fn(|cell| if cell == 5 { changed } else { still })];
        assert_eq!(planes.kept_frames_by_region(&frames, 2), [true, false, true]);
        assert!(planes.kept_frames_by_region::<[f32; 3]>(&[[]; 0], 2).is_empty());
    }

    #[test]
    #[should_panic(expected = "one grid")]
    fn frames_of_different_grids_are_a_bug() {
        let frames = [vec![[1.0_f32; 3]; 4], vec![[1.0; 3]; 9]];
        SimHash::new(3, 1).kept_frames_by_region(&frames, 2);
    }

    #[test]
    fn slow_drift_is_noticed() {
        let planes = SimHash::new(2, 2);
        let frames: Vec<[f32; 2]> = (0..90)
            .map(|degree| f64::from(degree).to_radians())
            .map(|a| [a.cos() as f32, a.sin() as f32])
            .collect();
        let kept = planes.kept_frames(&frames, 8).iter().filter(|kept| **kept).count();
        // A quarter turn moves 32 bits in expectation; more than 8 have to differ each time.
        assert!((2..=5).contains(&kept), "kept {kept}");
    }

    proptest! {
        #[test]
        fn only_direction_matters(
            features in proptest::collection::vec(-1.0_f32..1.0, 8), exponent in -20..20_i32,
            scale in 0.01_f32..100.0,
        ) {
            let planes = SimHash::new(8, 3);
            let hash = planes.hash(&features);
            let doubled: Vec<f32> = features.iter().map(|x| x * 2.0_f32.powi(exponent)).collect();
            prop_assert_eq!(hash, planes.hash(&doubled));
            // Any other scale rounds each number, which can turn a bit whose plane the vector nearly lies in.
            let scaled: Vec<f32> = features.iter().map(|x| x * scale).collect();
            prop_assert!(hamming(hash, planes.hash(&scaled)) <= 1);
        }

        #[test]
        fn frames_of_one_region_are_whole_frames(
            frames in proptest::collection::vec(proptest::collection::vec(-1.0_f32..1.0, 4), 0..12),
            max in 0..20_u32,
        ) {
            let planes = SimHash::new(4, 5);
            let regions: Vec<[&Vec<f32>; 1]> = frames.iter().map(|frame| [frame]).collect();
            prop_assert_eq!(planes.kept_frames_by_region(&regions, max), planes.kept_frames(&frames, max));
        }

        #[test]
        fn the_first_frame_is_kept_and_kept_neighbours_differ(
            frames in proptest::collection::vec(proptest::collection::vec(-1.0_f32..1.0, 4), 1..12),
            max in 0..20_u32,
        ) {
            let planes = SimHash::new(4, 4);
            let kept = planes.kept_frames(&frames, max);
            prop_assert!(kept[0]);
            let mut last = planes.hash(&frames[0]);
            for (frame, kept) in frames.iter().zip(&kept).skip(1) {
                let hash = planes.hash(frame);
                prop_assert_eq!(*kept, hamming(last, hash) > max);
                if *kept { last = hash; }
            }
        }
    }
}
