//! Whether memory grows: a line through what was sampled, after the first fifth of the time, in which caches fill.
//!
//! Samples that lie close together say much the same, so they are averaged in [`BLOCKS`] stretches of time before the line is
//! fitted by least squares; its interval is Student's. The growth is the line's over the whole time. It is flat if even the
//! upper end is within what is allowed, and it grows if even the lower end is not; between the two more time would tell.

use serde::{Deserialize, Serialize};

use crate::report::statistics::{mean, student};

/// Stretches of time that are averaged.
const BLOCKS: usize = 12;
/// Fewer have no interval.
const LEAST_BLOCKS: usize = 3;
/// Share of the time that is left out at the beginning.
const LEFT_OUT: f64 = 0.2;
/// What may be added: so much of what there is, or so many bytes, whichever is more.
const ALLOWED_SHARE: f64 = 0.05;
const ALLOWED_BYTES: f64 = (16_u32 << 20) as f64;

/// What became of the memory of a server.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trend {
    /// What the line says at the end of the first fifth.
    pub(crate) base_bytes: f64,
    /// What was added over the whole time, by the line; negative if memory was given back.
    pub(crate) growth_bytes: f64,
    /// Ends of its 95 % interval.
    pub(crate) low_bytes: f64,
    pub(crate) high_bytes: f64,
    /// What may be added.
    pub(crate) allowed_bytes: f64,
    /// What follows.
    pub(crate) verdict: Verdict,
}

/// Whether memory grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// By less than is allowed.
    Flat,
    /// By more.
    Grows,
    /// The interval has both.
    Undecided,
}

impl Trend {
    /// Of pairs of seconds since the beginning and bytes, in order; `None` of too few.
    pub(super) fn of(samples: &[(f64, f64)]) -> Option<Self> {
        let (first_s, last_s) = (samples.first()?.0, samples.last()?.0);
        let begin_s = first_s + LEFT_OUT * (last_s - first_s);
        let kept: Vec<(f64, f64)> = samples.iter().copied().filter(|(at_s, _)| *at_s >= begin_s).collect();
        let blocks = BLOCKS.min(kept.len());
        if blocks < LEAST_BLOCKS {
            return None;
        }
        let points: Vec<(f64, f64)> = (0..blocks)
            .map(|block| &kept[block * kept.len() / blocks..(block + 1) * kept.len() / blocks])
            .map(|block| (mean(block.iter().map(|one| one.0)), mean(block.iter().map(|one| one.1))))
            .collect();
        let centre_s = mean(points.iter().map(|one| one.0));
        let centre_bytes = mean(points.iter().map(|one| one.1));
        let squares: f64 = points.iter().map(|(at_s, _)| (at_s - centre_s).powi(2)).sum();
        let products: f64 =
            points.iter().map(|(at_s, bytes)| (at_s - centre_s) * (bytes - centre_bytes)).sum();
        let slope = products / squares;
        let line = |at_s: f64| centre_bytes + slope * (at_s - centre_s);
        let residuals: f64 = points.iter().map(|(at_s, bytes)| (bytes - line(*at_s)).powi(2)).sum();
        let freedom = blocks - 2;
        let half = student(freedom) * (residuals / freedom as f64 / squares).sqrt();
        let [growth_bytes, low_bytes, high_bytes] =
            [slope, slope - half, slope + half].map(|per_s| per_s * (last_s - first_s));
        let base_bytes = line(begin_s);
        let allowed_bytes = ALLOWED_BYTES.max(ALLOWED_SHARE * base_bytes);
        if !(low_bytes.is_finite() && high_bytes.is_finite()) {
            return None;
        }
        let verdict = match () {
            () if high_bytes <= allowed_bytes => Verdict::Flat,
            () if low_bytes > allowed_bytes => Verdict::Grows,
            () => Verdict::Undecided,
        };
        Some(Self { base_bytes, growth_bytes, low_bytes, high_bytes, allowed_bytes, verdict })
    }
}

#[cfg(test)]
mod tests {
    use msao_planner::SplitMix64;
    use proptest::prelude::*;

    use super::*;

    const MIB: f64 = (1_u32 << 20) as f64;

    /// Half an hour of samples, 10 s apart.
    fn sampled(bytes: impl Fn(f64) -> f64) -> Option<Trend> {
        let samples: Vec<(f64, f64)> =
            (0..=180).map(|place| f64::from(place) * 10.0).map(|at_s| (at_s, bytes(at_s))).collect();
        Trend::of(&samples)
    }

    proptest! {
        #[test]
        fn a_line_is_found_whatever_the_noise(
            base in 50.0_f64..5_000.0, growth in -200.0_f64..200.0, noise in 0.0_f64..20.0, seed in 0_u64..1_000
        ) {
            let mut rng = SplitMix64::new(seed);
            let shaken: Vec<f64> = (0..=180).map(|_| noise * (rng.uniform() - 0.5)).collect();
            let found = sampled(|at_s| {
                (base + growth * at_s / 1_800.0 + shaken[(at_s / 10.0) as usize]) * MIB
            }).unwrap();
            // Twelve standard errors of the mean of 145 samples: the noise is uniform.
            let off = 12.0 * noise + 1e-6;
            prop_assert!((found.growth_bytes / MIB - growth).abs() < off, "{found:?}");
            prop_assert!(found.low_bytes <= found.growth_bytes && found.growth_bytes <= found.high_bytes);
            prop_assert!(found.allowed_bytes >= 16.0 * MIB);
            let allowed = found.allowed_bytes / MIB;
            if growth > allowed + 3.0 * off {
                prop_assert_eq!(found.verdict, Verdict::Grows);
            } else if growth < allowed - 3.0 * off {
                prop_assert_eq!(found.verdict, Verdict::Flat);
            }
        }
    }

    #[test]
    fn what_a_server_warms_up_with_is_no_growth() {
        let found = sampled(|at_s| (100.0 + (at_s / 3.0).min(100.0)) * MIB).unwrap();
        assert_eq!((found.verdict, found.base_bytes), (Verdict::Flat, 200.0 * MIB));
        let leak = sampled(|at_s| (100.0 + at_s / 60.0) * MIB).unwrap();
        assert!((leak.growth_bytes / MIB - 30.0).abs() < 1e-9, "{leak:?}");
        assert_eq!(leak.verdict, Verdict::Grows, "30 MiB are more than 16 and more than 5 % of 106");
    }

    #[test]
    fn five_percent_of_much_are_more_than_sixteen_mebibytes() {
        let found = sampled(|at_s| (1_000.0 + at_s / 60.0) * MIB).unwrap();
        assert_eq!(found.verdict, Verdict::Flat, "{found:?}");
    }

    #[test]
    fn a_jump_that_one_stretch_shows_is_not_called_flat() {
        let found = sampled(|at_s| if at_s > 1_700.0 { 400.0 * MIB } else { 100.0 * MIB }).unwrap();
        assert_ne!(found.verdict, Verdict::Flat, "{found:?}");
    }

    #[test]
    fn too_few_samples_say_nothing() {
        assert_eq!(Trend::of(&[]), None);
        assert_eq!(Trend::of(&[(0.0, MIB), (10.0, MIB), (20.0, MIB)]), None, "the first is left out");
        assert_eq!(Trend::of(&[(1.0, MIB); 20]), None, "no time has passed");
    }
}
