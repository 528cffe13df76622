//! Draws tokens for drafts and says from which distribution, so that whoever verifies them can keep the target's.
//!
//! The distribution is the model's at a temperature, cut to the smallest set of most likely tokens that holds `top_p` of
//! it, cut once more to [`Candidate::MOST`], and normalised. A token is drawn from exactly that list, which therefore
//! is the q of speculative sampling (`msao_planner::acceptance`), but for the end token: see [`without`].

use msao_models::ModelError;
use msao_planner::{SplitMix64, acceptance};
use msao_protocol::{Candidate, Sampling, TokenId};

/// Keeps the edge's random numbers apart from those that the target draws with the same seed: a draft that was drawn
/// with the number which decides on it would be accepted too often or too rarely.
const EDGE_STREAM: u64 = 0x6564_6765_5f6d_7361;

/// Draws the tokens of one answer.
#[derive(Debug)]
pub(crate) struct Sampler {
    sampling: Sampling,
    random: SplitMix64,
}

impl Sampler {
    /// Draws as `sampling` says; the same seed draws the same tokens.
    ///
    /// # Errors
    /// [`ModelError::Prompt`] for a temperature outside (0, 2] or a `top_p` outside (0, 1].
    pub(crate) fn new(sampling: Sampling) -> Result<Self, ModelError> {
        let Sampling { temperature, top_p, seed } = sampling;
        let refuse = |reason: String| Err(ModelError::Prompt { reason });
        if !(temperature > 0.0 && temperature <= 2.0) {
            return refuse(format!(
                "a temperature of {temperature}; choose one above 0 and up to 2, or no sampling at all"
            ));
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return refuse(format!("a top_p of {top_p}; choose one above 0 and up to 1, which is all"));
        }
        Ok(Self { sampling, random: SplitMix64::new(seed ^ EDGE_STREAM) })
    }

    /// The tokens that can be drawn by these scores over the vocabulary, most likely first, the first of equals first.
    ///
    /// # Errors
    /// [`ModelError::ReadBack`] for scores that are not finite.
    pub(crate) fn candidates(&self, scores: &[f32]) -> Result<Vec<Candidate>, ModelError> {
        let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mass = |score: f32| (f64::from(score - highest) / f64::from(self.sampling.temperature)).exp();
        let total: f64 = scores.iter().map(|&score| mass(score)).sum();
        if !total.is_finite() {
            let reason = "the scores are not finite: the weights or the device are damaged".to_owned();
            return Err(ModelError::ReadBack { reason });
        }
        let wanted = total * f64::from(self.sampling.top_p);
        let mut kept = 0.0;
        let mut drawable = most_likely(scores);
        drawable.retain(|&(_, score)| {
            let is_kept = kept < wanted && mass(score) > 0.0;
            kept += if is_kept { mass(score) } else { 0.0 };
            is_kept
        });
        let candidate =
            |&(id, score): &(TokenId, f32)| Candidate { id, probability: (mass(score) / kept) as f32 };
        // A mass too small for the wire's numbers is none.
        Ok(drawable.iter().map(candidate).filter(|candidate| candidate.probability > 0.0).collect())
    }

    /// Draws one of the candidates.
    pub(crate) fn draw(&mut self, candidates: &[Candidate]) -> TokenId {
        let probabilities: Vec<f32> = candidates.iter().map(|candidate| candidate.probability).collect();
        candidates[acceptance::sample(&probabilities, self.random.uniform()) as usize].id
    }
}

/// The candidates of a token that is known not to be an end. A drawn end is not drafted, so what is drafted was drawn from
/// these: only then does the verification keep the target's distribution.
pub(crate) fn without(mut candidates: Vec<Candidate>, ends: &[TokenId]) -> Vec<Candidate> {
    candidates.retain(|candidate| !ends.contains(&candidate.id));
    let sum: f32 = candidates.iter().map(|candidate| candidate.probability).sum();
    for candidate in &mut candidates {
        candidate.probability /= sum;
    }
    candidates
}

/// The tokens with the highest scores, at most [`Candidate::MOST`], in falling order.
fn most_likely(scores: &[f32]) -> Vec<(TokenId, f32)> {
    let mut best: Vec<(TokenId, f32)> = Vec::with_capacity(Candidate::MOST + 1);
    for (id, &score) in scores.iter().enumerate() {
        if best.len() == Candidate::MOST && best[Candidate::MOST - 1].1 >= score {
            continue;
        }
        best.insert(best.partition_point(|&(_, other)| other >= score), (id as TokenId, score));
        best.truncate(Candidate::MOST);
    }
    best
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sampler(temperature: f32, top_p: f32) -> Sampler {
        Sampler::new(Sampling { temperature, top_p, seed: 5 }).unwrap()
    }

    proptest! {
        #[test]
        fn candidates_are_the_head_of_the_distribution(
            scores in proptest::collection::vec(-30_f32..30.0, 1..200),
            temperature in 0.05_f32..2.0,
            top_p in 0.05_f32..=1.0,
        ) {
            let mut sampler = sampler(temperature, top_p);
            let candidates = sampler.candidates(&scores).unwrap();
            prop_assert!((1..=Candidate::MOST).contains(&candidates.len()));
            let sum: f32 = candidates.iter().map(|candidate| candidate.probability).sum();
            prop_assert!((sum - 1.0).abs() < 1e-5, "{sum}");
            prop_assert!(candidates.is_sorted_by(|a, b| a.probability >= b.probability));
            let lowest = scores[candidates[candidates.len() - 1].id as usize];
            let above = scores.iter().filter(|score| **score > lowest).count();
            prop_assert!(above < candidates.len(), "a likelier token was left out");
            // Ratios are those of the tempered softmax.
            let (first, last) = (candidates[0], candidates[candidates.len() - 1]);
            let ratio = ((scores[first.id as usize] - lowest) / temperature).exp();
            if ratio < 1e6 {
                prop_assert!((first.probability / last.probability / ratio - 1.0).abs() < 1e-3);
            }
            let drawn = sampler.draw(&candidates);
            prop_assert!(candidates.iter().any(|candidate| candidate.id == drawn));
        }

        #[test]
        fn top_p_keeps_the_smallest_set_that_holds_it(
            scores in proptest::collection::vec(-3_f32..3.0, 1..=Candidate::MOST),
            top_p in 0.05_f32..0.99,
        ) {
            let all = sampler(1.0, 1.0).candidates(&scores).unwrap();
            prop_assert_eq!(all.len(), scores.len());
            let kept = sampler(1.0, top_p).candidates(&scores).unwrap().len();
            let mass = |count: usize| all[..count].iter().map(|candidate| candidate.probability).sum::<f32>();
            prop_assert!(mass(kept) > top_p - 1e-4);
            prop_assert!(mass(kept - 1) < top_p + 1e-4);
        }
    }

    #[test]
    fn tokens_are_drawn_as_often_as_their_probability_says() {
        let mut sampler = sampler(0.7, 0.95);
        let candidates = sampler.candidates(&[0.3, 2.0, -1.0, 1.2, 1.9, 0.0]).unwrap();
        assert!(candidates.len() > 2);
        let draws = 40_000;
        let drawn: Vec<TokenId> = (0..draws).map(|_| sampler.draw(&candidates)).collect();
        for Candidate { id, probability } in candidates {
            let share = drawn.iter().filter(|drawn| **drawn == id).count() as f64 / f64::from(draws);
            let p = f64::from(probability);
            let deviation = (p * (1.0 - p) / f64::from(draws)).sqrt();
            assert!((share - p).abs() < 4.0 * deviation, "token {id}: {share} for {p}");
        }
    }

    #[test]
    fn what_is_drafted_was_not_the_end() {
        let candidate = |id, probability| Candidate { id, probability };
        let all = vec![candidate(7, 0.5), candidate(2, 0.3), candidate(9, 0.2)];
        assert_eq!(without(all.clone(), &[2]), [candidate(7, 0.5 / 0.7), candidate(9, 0.2 / 0.7)]);
        assert_eq!(without(all.clone(), &[3]), all);
        assert!(without(vec![candidate(2, 1.0)], &[2, 3]).is_empty());
    }

    #[test]
    fn the_first_of_equals_comes_first_and_the_coldest_draw_is_greedy() {
        let scores = [1.0, 3.0, 3.0, f32::NEG_INFINITY];
        let ids: Vec<_> = sampler(1.0, 1.0).candidates(&scores).unwrap().iter().map(|c| c.id).collect();
        assert_eq!(ids, [1, 2, 0], "what is impossible is no candidate");
        let cold = sampler(f32::MIN_POSITIVE, 1.0).candidates(&[1.0, 3.0, 2.0]).unwrap();
        assert_eq!(cold, [Candidate { id: 1, probability: 1.0 }]);
    }

    #[test]
    fn impossible_settings_and_damaged_scores_are_refused() {
        for (temperature, top_p) in [(0.0, 1.0), (2.1, 1.0), (f32::NAN, 1.0), (1.0, 0.0), (1.0, 1.1)] {
            let refused = Sampler::new(Sampling { temperature, top_p, seed: 0 });
            assert!(matches!(refused, Err(ModelError::Prompt { .. })), "{temperature} {top_p}");
        }
        for damaged in [f32::NAN, f32::INFINITY] {
            let refused = sampler(1.0, 1.0).candidates(&[0.0, damaged]);
            assert!(matches!(refused, Err(ModelError::ReadBack { .. })), "{damaged}");
        }
    }
}
