//! Figures with intervals: quantiles, and the bootstrap over requests.
//!
//! Intervals are percentile intervals (Efron 1979): requests are drawn with replacement, every figure is worked out on
//! what was drawn, and the middle 95 % of these are the interval. Figures of two policies are compared on the same
//! draws of the same requests, so what makes a request hard for both cancels out. The draws are seeded: the same
//! journal gives the same page.

use msao_planner::SplitMix64;
use serde::Serialize;

/// Draws of a bootstrap.
const DRAWS: usize = 1000;
const SEED: u64 = 0x6d73_616f;
/// Ends of the interval.
const ENDS: [f64; 2] = [0.025, 0.975];

/// A figure and its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Estimate {
    /// On all requests.
    pub(crate) value: f64,
    /// Lower end of the interval.
    pub(crate) low: f64,
    /// Upper end of the interval.
    pub(crate) high: f64,
}

impl Estimate {
    /// The figure and its interval in other units, or turned into another figure that rises with it.
    pub(crate) fn map(self, of: impl Fn(f64) -> f64) -> Self {
        Self { value: of(self.value), low: of(self.low), high: of(self.high) }
    }

    /// With so many decimals: `3.1 (2.9-4.0)`; without the interval where it shows no width.
    pub(crate) fn show(&self, decimals: usize) -> String {
        let [value, low, high] = [self.value, self.low, self.high].map(|one| format!("{one:.decimals$}"));
        if low == value && high == value {
            return value;
        }
        // A range of negative numbers would read as a sum of dashes.
        let between = if self.low < 0.0 { " to " } else { "-" };
        format!("{value} ({low}{between}{high})")
    }
}

/// Works `N` figures out on requests drawn with replacement; `figures` gets the indices of what was drawn, below `count`.
/// A figure that is not finite is undefined: `None` if it is so on all requests, else left out of the interval.
pub(crate) fn bootstrap<const N: usize>(
    count: usize,
    figures: impl Fn(&[usize]) -> [f64; N],
) -> [Option<Estimate>; N] {
    let mut drawn: Vec<usize> = (0..count).collect();
    let on_all = figures(&drawn);
    let mut rng = SplitMix64::new(SEED);
    let mut draws: [Vec<f64>; N] = std::array::from_fn(|_| Vec::with_capacity(DRAWS));
    for _ in 0..if count > 0 { DRAWS } else { 0 } {
        for index in &mut drawn {
            *index = ((rng.uniform() * count as f64) as usize).min(count - 1);
        }
        for (draws, value) in draws.iter_mut().zip(figures(&drawn)) {
            if value.is_finite() {
                draws.push(value);
            }
        }
    }
    std::array::from_fn(|index| {
        let value = on_all[index];
        let [low, high] = ENDS.map(|end| quantile(&mut draws[index], end));
        (value.is_finite() && low.is_finite() && high.is_finite()).then_some(Estimate { value, low, high })
    })
}

/// Upper 97.5 % quantiles of Student's distribution by degrees of freedom, from 1 on (Student 1908).
const STUDENT: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];
/// The same of the normal distribution.
const NORMAL: f64 = 1.96;

/// The upper 97.5 % quantile of Student's distribution with so many degrees of freedom; unbounded with none.
pub(crate) fn student(freedom: usize) -> f64 {
    // Beyond the table its last entry errs on the wide side.
    freedom.checked_sub(1).map_or(f64::INFINITY, |place| STUDENT[place.min(STUDENT.len() - 1)])
}

/// The mean of repeated measurements, and Student's 95 % interval: of one, only itself; of none, nothing.
pub(crate) fn over_repeats(values: &[f64]) -> Option<Estimate> {
    let value = mean(values.iter().copied());
    let half = match values.len() {
        0 => return None,
        1 => 0.0,
        count => {
            let squares: f64 = values.iter().map(|one| (one - value).powi(2)).sum();
            let freedom = count - 1;
            student(freedom) * (squares / freedom as f64 / count as f64).sqrt()
        }
    };
    Some(Estimate { value, low: value - half, high: value + half })
}

/// Requests that bring the 95 % interval of a mean of differences to `half` on either side. Where hardly any differs the
/// variance says little, and it is the rule of three that bounds what was not seen: 3 / `half` without a difference.
pub(crate) fn requests_for(differences: &[f64], half: f64) -> u64 {
    let centre = mean(differences.iter().copied());
    let squares: f64 = differences.iter().map(|one| (one - centre).powi(2)).sum();
    let variance = squares / differences.len().saturating_sub(1).max(1) as f64;
    let (by_variance, unseen) = (variance * (NORMAL / half).powi(2), 3.0 / half);
    by_variance.max(unseen).ceil() as u64
}

/// The value below which a share of the values lies, linear between neighbours (type 7 of Hyndman and Fan 1996, as
/// `numpy.quantile`); not a number without values. Changes their order.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    let Some(last) = values.len().checked_sub(1) else { return f64::NAN };
    let place = share.clamp(0.0, 1.0) * last as f64;
    let below = place.floor() as usize;
    let (_, &mut lower, above) = values.select_nth_unstable_by(below, f64::total_cmp);
    let upper = above.iter().copied().min_by(f64::total_cmp).unwrap_or(lower);
    lower + (upper - lower) * place.fract()
}

/// The mean; not a number without values.
pub(crate) fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, count) = values.into_iter().fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_numpy() {
        let of = |share| quantile(&mut [7.0, 1.0, 3.0, 10.0], share);
        assert_eq!([0.0, 0.25, 0.5, 1.0].map(of), [1.0, 2.5, 5.0, 10.0]);
        assert!((of(0.95) - 9.55).abs() < 1e-12);
        assert!(quantile(&mut [], 0.5).is_nan());
        assert_eq!(quantile(&mut [4.0], 0.99), 4.0);
    }

    #[test]
    fn the_interval_of_a_mean_is_the_normal_ones_and_covers_it() {
        // The sum of twelve uniforms less six is close to a standard normal.
        let mut rng = SplitMix64::new(5);
        let values: Vec<f64> = (0..400).map(|_| (0..12).map(|_| rng.uniform()).sum::<f64>() - 6.0).collect();
        let [found] = bootstrap(400, |drawn| [mean(drawn.iter().map(|&index| values[index]))]);
        let found = found.unwrap();
        let expected = 2.0 * 1.96 / 20.0;
        assert!(((found.high - found.low) / expected - 1.0).abs() < 0.15, "{found:?}");
        assert!(found.low < 0.0 && 0.0 < found.high, "{found:?}");
        assert!((found.value - mean(values.iter().copied())).abs() < 1e-12);
    }

    #[test]
    fn shares_have_the_binomial_interval() {
        let [found] = bootstrap(1000, |drawn| [mean(drawn.iter().map(|&index| f64::from(index < 100)))]);
        let found = found.unwrap();
        let half = 1.96 * (0.1_f64 * 0.9 / 1000.0).sqrt();
        assert_eq!(found.value, 0.1);
        assert!(
            (found.low - (0.1 - half)).abs() < 0.004 && (found.high - (0.1 + half)).abs() < 0.004,
            "{found:?}"
        );
    }

    #[test]
    fn what_is_paired_cancels_out() {
        let times: Vec<f64> = (1..200).map(f64::from).collect();
        let [ratio, difference] = bootstrap(times.len(), |drawn| {
            let sum: f64 = drawn.iter().map(|&index| times[index]).sum();
            let half: f64 = drawn.iter().map(|&index| times[index] / 2.0).sum();
            [half / sum, half - sum]
        });
        assert_eq!(ratio.unwrap(), Estimate { value: 0.5, low: 0.5, high: 0.5 });
        let difference = difference.unwrap();
        assert!(difference.low < difference.value && difference.value < difference.high);
    }

    #[test]
    fn the_same_values_give_the_same_interval_and_none_gives_none() {
        let run = || bootstrap(30, |drawn| [drawn.iter().sum::<usize>() as f64, f64::NAN]);
        assert_eq!(run(), run());
        assert_eq!(run()[1], None);
        assert_eq!(bootstrap(0, |_| [mean([])]), [None]);
    }

    #[test]
    fn repeats_have_students_interval() {
        assert_eq!(over_repeats(&[]), None);
        assert_eq!(over_repeats(&[4.0]), Some(Estimate { value: 4.0, low: 4.0, high: 4.0 }));
        let three = over_repeats(&[9.0, 10.0, 11.0]).unwrap();
        let half = 4.303 / f64::sqrt(3.0);
        assert!(
            (three.low - (10.0 - half)).abs() < 1e-9 && (three.high - (10.0 + half)).abs() < 1e-9,
            "{three:?}"
        );
        let many: Vec<f64> = (0..100).map(|index| f64::from(index % 2)).collect();
        let many = over_repeats(&many).unwrap();
        assert!((many.high - 0.5 - 2.042 * 0.5025 / 10.0).abs() < 1e-3, "{many:?}");
    }

    #[test]
    fn as_many_requests_are_needed_as_narrow_the_interval_down() {
        // One of 50 differs: 0.0196 * (1.96 / 0.003)^2.
        let differences: Vec<f64> = (0..1000).map(|index| if index % 50 == 0 { -1.0 } else { 0.0 }).collect();
        let needed = requests_for(&differences, 0.003);
        assert!((8_300..8_450).contains(&needed), "{needed}");
        // On as many, the bootstrap's interval has that width.
        let [found] = bootstrap(needed as usize, |drawn| {
            [mean(drawn.iter().map(|&index| differences[index % differences.len()]))]
        });
        let found = found.unwrap();
        assert!(((found.high - found.low) / 0.006 - 1.0).abs() < 0.1, "{found:?}");
        assert_eq!(requests_for(&[0.0; 54], 0.003), 1000, "without a difference it is the rule of three");
        assert_eq!(requests_for(&[], 0.003), 1000);
    }

    #[test]
    fn estimates_read_as_figures() {
        let estimate = Estimate { value: 3.12, low: 2.9, high: 4.0 };
        assert_eq!(estimate.show(1), "3.1 (2.9-4.0)");
        assert_eq!(estimate.map(|value| value - 3.5).show(1), "-0.4 (-0.6 to 0.5)");
        assert_eq!(Estimate { value: 2.0, low: 2.0, high: 2.0 }.show(0), "2");
    }
}
