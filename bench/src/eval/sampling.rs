//! Sampling: what speculation emits is distributed as the target, on distributions of the shipped pair.
//!
//! For each question the target's p and the edge's q of the first answer token are taken at a temperature that spreads
//! them; drafts are drawn from q and verified many times. Pearson's chi-squared of what was emitted against p gives a
//! p-value for each question; were the rule right, those would be uniform, which Kolmogorov and Smirnov's test looks at.

use msao_planner::{
    SplitMix64,
    acceptance::{SampledDraft, sample, verify_sampled},
};
use serde::Serialize;

/// Draws for each question.
const DRAWS: usize = 20_000;
/// Cells expected to get fewer are put together.
const LEAST_EXPECTED: f64 = 10.0;

/// Outcome over all questions.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SamplingReport {
    pub(crate) questions: usize,
    pub(crate) draws_each: usize,
    pub(crate) temperature: f64,
    /// Of the uniformity of the questions' own p-values.
    pub(crate) ks_p_value: f64,
    pub(crate) least_p_value: f64,
    /// Mean share of drafts that were accepted.
    pub(crate) acceptance_rate: f64,
    /// The same test on tokens drawn from q and always accepted: it must fail, or it could not find anything.
    pub(crate) ks_p_value_without_the_rule: f64,
}

/// One question's distributions over the vocabulary.
pub(crate) struct Pair {
    pub(crate) target: Vec<f32>,
    pub(crate) draft: Vec<f32>,
}

/// Softmax at a temperature.
pub(crate) fn softmax(scores: &[f32], temperature: f64) -> Vec<f32> {
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> =
        scores.iter().map(|score| (f64::from(score - highest) / temperature).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|weight| (weight / total) as f32).collect()
}

/// Runs the test.
pub(crate) fn test(pairs: &[Pair], temperature: f64) -> SamplingReport {
    let (mut with_rule, mut without_rule, mut accepted) = (Vec::new(), Vec::new(), 0_usize);
    for (index, pair) in pairs.iter().enumerate() {
        let mut rng = SplitMix64::new(index as u64);
        let (mut emitted, mut drafted) = (vec![0_u32; pair.target.len()], vec![0_u32; pair.target.len()]);
        for _ in 0..DRAWS {
            let token = sample(&pair.draft, rng.uniform());
            let draft = SampledDraft { token, probabilities: &pair.draft };
            let outcome = verify_sampled(&[draft], &[&pair.target, &pair.target], || rng.uniform());
            accepted += outcome.accepted_drafts;
            let first = if outcome.accepted_drafts == 1 { token } else { outcome.next_token };
            emitted[first as usize] += 1;
            drafted[token as usize] += 1;
        }
        with_rule.extend(chi_squared_p_value(&emitted, &pair.target));
        without_rule.extend(chi_squared_p_value(&drafted, &pair.target));
    }
    SamplingReport {
        questions: with_rule.len(),
        draws_each: DRAWS,
        temperature,
        ks_p_value: uniformity_p_value(&mut with_rule),
        least_p_value: with_rule.iter().copied().fold(1.0, f64::min),
        acceptance_rate: accepted as f64 / (pairs.len() * DRAWS).max(1) as f64,
        ks_p_value_without_the_rule: uniformity_p_value(&mut without_rule),
    }
}

/// P-value of Pearson's test; `None` where all mass is in one cell.
fn chi_squared_p_value(counts: &[u32], expected: &[f32]) -> Option<f64> {
    let draws: f64 = counts.iter().map(|&count| f64::from(count)).sum();
    let total: f64 = expected.iter().map(|&p| f64::from(p)).sum();
    let (mut statistic, mut cells, mut rest) = (0.0, 0_u32, (0.0, 0.0));
    let mut cell = |count: f64, expected: f64| {
        statistic += (count - expected).powi(2) / expected;
        cells += 1;
    };
    for (&count, &p) in counts.iter().zip(expected) {
        let (count, expected) = (f64::from(count), f64::from(p) / total * draws);
        if expected >= LEAST_EXPECTED {
            cell(count, expected);
        } else {
            rest = (rest.0 + count, rest.1 + expected);
        }
    }
    if rest.1 >= LEAST_EXPECTED {
        cell(rest.0, rest.1);
    }
    (cells > 1).then(|| upper_tail(statistic, f64::from(cells - 1)))
}

/// P(chi-squared with `freedom` degrees >= statistic), by Wilson and Hilferty's cube root.
fn upper_tail(statistic: f64, freedom: f64) -> f64 {
    let variance = 2.0 / (9.0 * freedom);
    let z = ((statistic / freedom).cbrt() - (1.0 - variance)) / variance.sqrt();
    normal_upper_tail(z)
}

/// P(a standard normal >= z), after Abramowitz and Stegun 26.2.17; off by at most 1e-7.
fn normal_upper_tail(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let series = t
        * (0.319_381_530
            + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let tail = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * series;
    if z >= 0.0 { tail } else { 1.0 - tail }
}

/// P-value of Kolmogorov and Smirnov's test that numbers are uniform in 0..1.
fn uniformity_p_value(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len() as f64;
    let distance = values.iter().enumerate().fold(0.0_f64, |worst, (index, &value)| {
        worst.max((index as f64 + 1.0) / n - value).max(value - index as f64 / n)
    });
    let x = (n.sqrt() + 0.12 + 0.11 / n.sqrt()) * distance;
    let terms = (1..=100).map(|k| {
        let k = f64::from(k);
        (if k as u32 % 2 == 1 { 2.0 } else { -2.0 }) * (-2.0 * k * k * x * x).exp()
    });
    if values.is_empty() || x < 0.2 { 1.0 } else { terms.sum::<f64>().clamp(0.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tests_find_what_is_wrong_and_pass_what_is_right() {
        let softened = |shift: usize| {
            let scores: Vec<f32> = (0..40).map(|token| ((token + shift) % 7) as f32 * 0.3).collect();
            softmax(&scores, 1.0)
        };
        let pairs: Vec<Pair> =
            (0..40).map(|index| Pair { target: softened(index), draft: softened(index + 3) }).collect();
        let report = test(&pairs, 1.0);
        assert!(report.ks_p_value > 0.01, "{report:?}");
        assert!(report.ks_p_value_without_the_rule < 1e-6, "{report:?}");
    }

    #[test]
    fn tails_are_those_of_the_tables() {
        assert!((normal_upper_tail(1.959_964) - 0.025).abs() < 1e-6);
        assert!((upper_tail(18.307, 10.0) - 0.05).abs() < 1e-3);
    }
}
