//! From scores to tokens: the rule by which one answer's drafts are accepted and its own tokens chosen.
//!
//! The rules themselves are the planner's ([`msao_planner::acceptance`]); here they meet sequences. An answer is greedy, or
//! drawn with its own temperature, nucleus and seed. Each position of a drawn answer has two random numbers of its own,
//! one that accepts and one that draws. So drafts that are certain choices do not change which token is drawn, however they
//! come, and the same seed gives the same answer, whether they were in time or not.

use msao_models::{Generation, ModelError, Scores, VerificationOutcome};
use msao_planner::{SplitMix64, acceptance};
use msao_protocol::{Candidate, Sampling, TokenSource};

/// Sets the numbers apart from those that a client draws drafts with, should it use the same generator and seed: the rule is
/// lossless only if the two know nothing of each other.
const STREAM: u64 = 0x6d73_616f_2d76_6572;

/// Tokens to look at in a pass.
#[derive(Debug)]
pub(super) struct Drafts {
    pub(super) tokens: Vec<u32>,
    /// For each of them what it was drawn from; empty, or none at all, for certain choices.
    pub(super) distributions: Vec<Vec<Candidate>>,
    pub(super) source: TokenSource,
}

impl Drafts {
    pub(super) fn none() -> Self {
        Self { tokens: Vec::new(), distributions: Vec::new(), source: TokenSource::Target }
    }
}

/// How the tokens of an answer are chosen.
#[derive(Debug)]
pub(super) enum Rule {
    /// The most likely one each time.
    Greedy,
    /// Drawn.
    Sampled(Sampler),
}

impl Rule {
    pub(super) fn new(sampling: Option<Sampling>) -> Self {
        sampling.map_or(Self::Greedy, |sampling| Self::Sampled(Sampler::new(sampling)))
    }

    /// Makes stand what the rule says of the drafts that `scores` are about.
    ///
    /// # Errors
    /// [`ModelError::ReadBack`] for scores that are not finite.
    pub(super) fn settle(
        &mut self,
        generation: &mut Generation,
        drafts: &Drafts,
        scores: &Scores,
    ) -> Result<VerificationOutcome, ModelError> {
        if scores.is_empty() {
            return Ok(VerificationOutcome::default());
        }
        let (accepted, next) = match self {
            Self::Greedy => {
                let verification = acceptance::verify_greedy(&drafts.tokens, &scores.most_likely()?);
                (verification.accepted_drafts, verification.next_token)
            }
            Self::Sampled(sampler) => sampler.verify(generation.tokens().len(), drafts, scores)?,
        };
        let mut accepted_tokens = generation.settle(&drafts.tokens, scores, accepted, Some(next))?;
        let next = if accepted_tokens.len() > accepted { accepted_tokens.pop() } else { None };
        // An accepted end token counts as accepted, though it is no token of the answer.
        let accepted = accepted.min(accepted_tokens.len() + 1);
        Ok(VerificationOutcome { accepted, accepted_tokens, next })
    }
}

/// Draws the tokens of one answer.
#[derive(Debug)]
pub(super) struct Sampler {
    temperature: f64,
    top_p: f64,
    rng: SplitMix64,
    /// The two numbers of each position that was looked at.
    uniforms: Vec<[f64; 2]>,
    /// The distribution at the position that is looked at; kept for its memory alone.
    probabilities: Vec<f32>,
    /// Tokens that may be in the nucleus, with their probabilities; kept for its memory alone.
    nucleus: Vec<(u32, f32)>,
}

impl Sampler {
    fn new(sampling: Sampling) -> Self {
        Self {
            temperature: sampling.temperature.into(),
            top_p: sampling.top_p.into(),
            rng: SplitMix64::new(sampling.seed ^ STREAM),
            uniforms: Vec::new(),
            probabilities: Vec::new(),
            nucleus: Vec::new(),
        }
    }

    /// How many drafts are accepted behind the first `standing` tokens, and the token after them.
    fn verify(
        &mut self,
        standing: usize,
        drafts: &Drafts,
        scores: &Scores,
    ) -> Result<(usize, u32), ModelError> {
        let mut rows = scores.rows();
        for (accepted, &draft) in drafts.tokens.iter().enumerate() {
            self.spread(rows.next().unwrap_or_default())?;
            let candidates = drafts.distributions.get(accepted).map_or(&[][..], Vec::as_slice);
            let uniforms = self.uniforms(standing + accepted);
            let token = acceptance::settle_draft(&mut self.probabilities, draft, candidates, uniforms);
            if token != draft {
                return Ok((accepted, token));
            }
        }
        self.spread(rows.next().unwrap_or_default())?;
        let [_, to_draw] = self.uniforms(standing + drafts.tokens.len());
        Ok((drafts.tokens.len(), acceptance::sample(&self.probabilities, to_draw)))
    }

    fn uniforms(&mut self, position: usize) -> [f64; 2] {
        while self.uniforms.len() <= position {
            self.uniforms.push([self.rng.uniform(), self.rng.uniform()]);
        }
        self.uniforms[position]
    }

    /// Turns scores into the distribution that is drawn from: softmax at the temperature, cut to the nucleus.
    fn spread(&mut self, scores: &[f32]) -> Result<(), ModelError> {
        let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weight = |score: f32| ((f64::from(score) - f64::from(highest)) / self.temperature).exp();
        let total: f64 = scores.iter().map(|&score| weight(score)).sum();
        if !total.is_finite() {
            return Err(damaged());
        }
        self.probabilities.clear();
        self.probabilities.extend(scores.iter().map(|&score| (weight(score) / total) as f32));
        if self.top_p < 1.0 {
            self.cut_to_nucleus();
        }
        Ok(())
    }

    /// Keeps the smallest set of most likely tokens whose probabilities sum to `top_p`; of equals the first ones.
    fn cut_to_nucleus(&mut self) {
        // All tokens below this one sum to less than what is left out, so none of them is in the set; few are above.
        let least = (1.0 - self.top_p) / self.probabilities.len() as f64;
        let tokens = (0..).zip(self.probabilities.iter().copied());
        self.nucleus.clear();
        self.nucleus.extend(tokens.filter(|&(_, p)| f64::from(p) >= least));
        self.nucleus.sort_unstable_by(|(a, of_a), (b, of_b)| of_b.total_cmp(of_a).then(a.cmp(b)));
        let (mut count, mut sum) = (0, 0.0);
        while sum < self.top_p && count < self.nucleus.len() {
            sum += f64::from(self.nucleus[count].1);
            count += 1;
        }
        self.probabilities.fill(0.0);
        for &(token, p) in &self.nucleus[..count] {
            self.probabilities[token as usize] = (f64::from(p) / sum) as f32;
        }
    }
}

fn damaged() -> ModelError {
    ModelError::ReadBack { reason: "the scores are not finite: the weights or the device are damaged".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(temperature: f32, top_p: f32) -> Sampler {
        Sampler::new(Sampling { temperature, top_p, seed: 1 })
    }

    fn distribution(temperature: f32, top_p: f32, scores: &[f32]) -> Vec<f32> {
        let mut sampler = sampler(temperature, top_p);
        sampler.spread(scores).unwrap();
        sampler.probabilities
    }

    fn assert_close(distribution: &[f32], expected: &[f32]) {
        assert_eq!(distribution.len(), expected.len());
        let close = distribution.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(close, "{distribution:?} instead of {expected:?}");
    }

    #[test]
    fn temperature_sharpens_and_the_nucleus_is_the_smallest_set_of_most_likely_tokens() {
        // Probabilities of 0.1, 0.4, 0.3 and 0.2.
        let scores = [0.1_f32, 0.4, 0.3, 0.2].map(f32::ln);
        assert_close(&distribution(1.0, 1.0, &scores), &[0.1, 0.4, 0.3, 0.2]);
        assert_close(&distribution(0.5, 1.0, &scores), &[0.01, 0.16, 0.09, 0.04].map(|p| p / 0.3));
        assert_close(&distribution(1.0, 0.65, &scores), &[0.0, 0.4 / 0.7, 0.3 / 0.7, 0.0]);
        assert_close(&distribution(1.0, 0.75, &scores), &[0.0, 0.4 / 0.9, 0.3 / 0.9, 0.2 / 0.9]);
        assert_close(&distribution(1.0, 0.95, &scores), &[0.1, 0.4, 0.3, 0.2]);
        assert_close(&distribution(1.0, 1e-30, &scores), &[0.0, 1.0, 0.0, 0.0]);
        assert_close(&distribution(1e-30, 1.0, &scores), &[0.0, 1.0, 0.0, 0.0]);
        assert_close(&distribution(1.0, 0.5, &[0.0; 4]), &[0.5, 0.5, 0.0, 0.0]);
        assert_close(&distribution(2.0, 0.5, &[f32::NEG_INFINITY, 0.0, 3e38]), &[0.0, 0.0, 1.0]);
    }

    #[test]
    fn the_nucleus_is_that_of_sorting_everything() {
        let mut rng = SplitMix64::new(3);
        for round in 0..200 {
            let scores: Vec<f32> = (0..50).map(|_| (rng.normal() * f64::from(round % 5)) as f32).collect();
            let top_p = 0.05 + 0.9 * rng.uniform() as f32;
            let whole = distribution(1.0, 1.0, &scores);
            let mut order: Vec<usize> = (0..whole.len()).collect();
            order.sort_by(|&a, &b| whole[b].total_cmp(&whole[a]).then(a.cmp(&b)));
            let (mut expected, mut sum) = (vec![0.0; whole.len()], 0.0);
            for token in order {
                expected[token] = whole[token];
                sum += f64::from(whole[token]);
                if sum >= f64::from(top_p) {
                    break;
                }
            }
            let expected: Vec<f32> = expected.iter().map(|p| (f64::from(*p) / sum) as f32).collect();
            assert_close(&distribution(1.0, top_p, &scores), &expected);
        }
    }

    #[test]
    fn a_position_has_its_own_numbers_whoever_asks_first() {
        let (mut forwards, mut backwards) = (sampler(1.0, 1.0), sampler(1.0, 1.0));
        let first = [0, 1, 2].map(|position| forwards.uniforms(position));
        let mut second = [2, 1, 0].map(|position| backwards.uniforms(position));
        second.reverse();
        assert_eq!(first, second);
        assert_ne!(first[0], first[1]);
        assert_ne!(first[0][0], SplitMix64::new(1).uniform(), "a client may draw with the same seed");
    }

    #[test]
    fn scores_of_damaged_weights_are_refused() {
        assert!(sampler(1.0, 1.0).spread(&[0.0, f32::NAN]).is_err());
        assert!(sampler(1.0, 1.0).spread(&[0.0, f32::INFINITY]).is_err());
        assert!(sampler(1.0, 1.0).spread(&[f32::NEG_INFINITY; 2]).is_err());
    }
}
