//! How many tokens to draft before asking the target, learnt while it runs.
//!
//! A round of gamma drafts takes c(gamma) milliseconds, which the live estimates tell, and settles on average
//!
//! ```text
//! E(gamma) = 1 + S_1 + ... + S_gamma       S_i = h_1 h_2 ... h_i
//! ```
//!
//! tokens, where h_k is the probability that draft k is accepted given that those before it were. Best is the
//! length with the fewest milliseconds a token, `g* = min c(gamma) / E(gamma)`; it rises with the logarithm
//! of the delay (arXiv 2606.20591). The h_k are unknown, need not be equal (acceptance is often better or
//! worse at the head), and drift with the topic.
//!
//! UCB-SpecStop (2606.20591) treats lengths as arms, each learnt by itself. But a round of gamma drafts tests
//! every position up to the first rejection, so it teaches about all shorter lengths, and about longer ones.
//! This controller keeps counts per *position* and samples its belief (Thompson 1933; for cascades, Zhong et
//! al. 2021):
//!
//! ```text
//! h_k ~ Beta(accepted_k + w m, rejected_k + w (1 - m))        m: acceptance over all positions, w = 2
//! choose  argmin c(gamma) / E_h(gamma)                        over 0..=G
//! ```
//!
//! With independent noise per position the uncertain tail is tried now and then. Optimism at every position
//! at once (KL-UCB) multiplies along the draft: where acceptance is alike at all positions it cost some ten
//! times as much in simulation.
//!
//! **Regret.** Let R_T be the milliseconds spent in T rounds beyond g* for each token settled. For fixed
//! gamma, telescoping the products gives `|E_h - E_h'| <= G sum_(k <= gamma) S_{k-1} |h_k - h'_k|`, and
//! S_{k-1} is just the probability that position k is tested. Truth and sample are equally distributed given
//! what was seen (Russo and Van Roy 2014) and both lie within `sqrt(2 ln(1+t) / n_k)` of the mean of n_k
//! tests but for a summable chance, so summing over the tests of each position, with g* at most c(0), the
//! time of a round without drafts:
//!
//! ```text
//! Bayesian E[R_T] = O(c(0) G^3 sqrt(T ln T))
//! ```
//!
//! for a prior that does not move; centring it on m is a step of empirical Bayes beside the proof, and of
//! weight w only. The constant is loose: the tests measure far less. This is for stationary h_k. With a
//! discount D < 1 old rounds fade with a memory of 1 / (1 - D) rounds: the controller then follows drift, and
//! keeps exploring for ever at a price that the tests measure as well.

use serde::{Deserialize, Serialize};

use crate::rng::SplitMix64;

/// A discount that remembers some 100 rounds: a change of topic is followed within a few answers.
pub const DEFAULT_DISCOUNT: f64 = 0.99;

/// Rounds' worth of belief that a position is like all others.
const POOLED_WEIGHT: f64 = 2.0;

/// What is known of one position of a draft.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Position {
    /// Rounds that tested it, discounted.
    tested: f64,
    /// Of these, the ones that accepted it.
    accepted: f64,
}

/// The online choice of the draft length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DraftLengthController {
    positions: Vec<Position>,
    discount: f64,
}

impl DraftLengthController {
    /// Nothing learnt yet, for lengths of `0..=longest`. `discount` in 0..=1 is what a round's weight is
    /// multiplied by with each later one; 1 forgets nothing.
    ///
    /// # Panics
    /// If the discount is outside of 0..=1.
    pub fn new(longest: u8, discount: f64) -> Self {
        assert!((0.0..=1.0).contains(&discount), "discount {discount}");
        Self { positions: vec![Position::default(); usize::from(longest)], discount }
    }

    /// Takes in a round that proposed `proposed` drafts, of which the first `accepted` were accepted.
    pub fn observe(&mut self, proposed: u8, accepted: u8) {
        for (index, position) in self.positions.iter_mut().enumerate() {
            position.tested *= self.discount;
            position.accepted *= self.discount;
            if index < usize::from(proposed) && index <= usize::from(accepted) {
                position.tested += 1.0;
                position.accepted += f64::from(u8::from(index < usize::from(accepted)));
            }
        }
    }

    /// The length to draft now, in `0..=longest`, if a round of each length takes `round_ms` (above 0); the
    /// shorter of equals. 0 lets the target write the next token by itself.
    pub fn choose(&self, round_ms: impl Fn(u8) -> f64, rng: &mut SplitMix64) -> u8 {
        let pooled = self.acceptance_rate();
        let (mut survival, mut tokens) = (1.0, 1.0);
        let (mut best, mut best_token_ms) = (0, round_ms(0));
        for (length, position) in (1..=u8::MAX).zip(&self.positions) {
            let rejected = position.tested - position.accepted;
            survival *= rng.beta(
                position.accepted + POOLED_WEIGHT * pooled,
                rejected.max(0.0) + POOLED_WEIGHT * (1.0 - pooled),
            );
            tokens += survival;
            let token_ms = round_ms(length) / tokens;
            if token_ms < best_token_ms {
                (best, best_token_ms) = (length, token_ms);
            }
        }
        best
    }

    /// Share of tested drafts that was accepted, all positions together, starting from one half: the alpha of
    /// [`cost`](crate::cost).
    pub fn acceptance_rate(&self) -> f64 {
        let (tested, accepted) = self
            .positions
            .iter()
            .fold((0.0, 0.0), |(tested, accepted), one| (tested + one.tested, accepted + one.accepted));
        (accepted + 1.0) / (tested + 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::{best_draft_length, expected_tokens};

    const LONGEST: u8 = 12;

    /// Milliseconds of a round over a network with this round trip.
    fn round_ms(rtt_ms: f64) -> impl Fn(u8) -> f64 {
        move |length| 10.0 * f64::from(length) + rtt_ms + 20.0 + 2.0 * f64::from(length)
    }

    fn accepted(rng: &mut SplitMix64, hazards: &dyn Fn(u8) -> f64, proposed: u8) -> u8 {
        (0..proposed).take_while(|position| rng.uniform() < hazards(*position)).count() as u8
    }

    fn tokens(hazards: &dyn Fn(u8) -> f64, length: u8) -> f64 {
        (0..length).fold((1.0, 1.0), |(s, e), k| (s * hazards(k), e + s * hazards(k))).1
    }

    fn best_token_ms(hazards: &dyn Fn(u8) -> f64, ms: &dyn Fn(u8) -> f64) -> f64 {
        (0..=LONGEST).map(|length| ms(length) / tokens(hazards, length)).fold(f64::INFINITY, f64::min)
    }

    /// Milliseconds beyond the best fixed length's, after each of the given numbers of rounds; mean of 20
    /// seeds.
    fn regrets(hazards: &dyn Fn(u8) -> f64, rounds: &[u32]) -> Vec<f64> {
        let ms = round_ms(80.0);
        let best = best_token_ms(hazards, &ms);
        let mut sums = vec![0.0; rounds.len()];
        for seed in 0..20 {
            let (mut rng, mut controller) = (SplitMix64::new(seed), DraftLengthController::new(LONGEST, 1.0));
            let mut regret = 0.0;
            for round in 1..=rounds[rounds.len() - 1] {
                let length = controller.choose(&ms, &mut rng);
                let accepted = accepted(&mut rng, hazards, length);
                controller.observe(length, accepted);
                regret += ms(length) - best * tokens(hazards, length); // the round's own luck left out
                if let Some(mark) = rounds.iter().position(|mark| *mark == round) {
                    sums[mark] += regret / 20.0;
                }
            }
        }
        sums
    }

    #[test]
    fn regret_grows_slower_than_the_rounds() {
        for alpha in [0.4, 0.7, 0.9] {
            let regrets = regrets(&|_| alpha, &[500, 2_000, 8_000]);
            // Sixteen times the rounds: a square root would give 4, linear regret 16.
            assert!(regrets[2] < 6.0 * regrets[0].max(400.0), "alpha {alpha}: {regrets:?}");
            let spent = 8_000.0 * round_ms(80.0)(4);
            assert!(regrets[2] < 0.005 * spent, "alpha {alpha}: {} of {spent} ms", regrets[2]);
        }
    }

    #[test]
    fn acceptance_that_is_not_geometric_is_learnt_as_it_is() {
        // A hard first token, easy ones after it. One rate for all positions takes that for a draft not worth
        // making long.
        let hazards = |position: u8| if position == 0 { 0.45 } else { 0.97 };
        let regrets = regrets(&hazards, &[8_000]);
        let ms = round_ms(80.0);
        let best = best_token_ms(&hazards, &ms);
        let pooled = {
            let (mut rng, mut controller) = (SplitMix64::new(1), DraftLengthController::new(LONGEST, 1.0));
            for _ in 0..4_000 {
                let accepted = accepted(&mut rng, &hazards, 3);
                controller.observe(3, accepted);
            }
            best_draft_length(controller.acceptance_rate(), LONGEST, &ms)
        };
        let static_regret = 8_000.0 * (ms(pooled) - best * tokens(&hazards, pooled));
        assert!(
            regrets[0] < 0.1 * static_regret,
            "{} against {static_regret} at length {pooled}",
            regrets[0]
        );
    }

    #[test]
    fn drift_is_followed() {
        let ms = round_ms(80.0);
        let segments = [0.9, 0.3, 0.85, 0.5];
        let (mut adaptive_ms, mut static_ms, mut oracle_ms) = (0.0, 0.0, 0.0);
        for seed in 0..10 {
            let (mut rng, mut controller) =
                (SplitMix64::new(seed), DraftLengthController::new(LONGEST, DEFAULT_DISCOUNT));
            for alpha in segments {
                let mut written = 0;
                for _ in 0..2_000 {
                    let length = controller.choose(&ms, &mut rng);
                    let accepted = accepted(&mut rng, &|_| alpha, length);
                    controller.observe(length, accepted);
                    adaptive_ms += ms(length);
                    written += u32::from(accepted) + 1;
                }
                // The others write the same number of tokens, at their expected pace.
                let tuned_before = best_draft_length(segments[0], LONGEST, &ms);
                let token_ms = |length: u8| ms(length) / expected_tokens(alpha, length);
                static_ms += f64::from(written) * token_ms(tuned_before);
                oracle_ms += f64::from(written) * best_token_ms(&|_| alpha, &ms);
            }
        }
        assert!(adaptive_ms < 0.85 * static_ms, "{adaptive_ms} against static {static_ms}");
        assert!(adaptive_ms < 1.03 * oracle_ms, "{adaptive_ms} against oracle {oracle_ms}");
    }

    #[test]
    fn a_change_of_delay_needs_no_learning() {
        let (mut rng, mut controller) = (SplitMix64::new(3), DraftLengthController::new(LONGEST, 1.0));
        for _ in 0..2_000 {
            let accepted = accepted(&mut rng, &|_| 0.7, LONGEST);
            controller.observe(LONGEST, accepted);
        }
        let lengths = [1.0, 20.0, 80.0, 400.0].map(|rtt| controller.choose(round_ms(rtt), &mut rng));
        assert!(lengths.is_sorted() && lengths[0] < lengths[3], "{lengths:?}");
        assert!((controller.acceptance_rate() - 0.7).abs() < 0.02);
    }

    #[test]
    fn drafts_that_always_fail_are_given_up_and_tried_again_later() {
        let (mut rng, mut controller) = (SplitMix64::new(4), DraftLengthController::new(LONGEST, 0.98));
        let mut lengths = Vec::new();
        for _ in 0..1_000 {
            let length = controller.choose(round_ms(0.0), &mut rng);
            controller.observe(length, 0);
            lengths.push(length);
        }
        let idle = lengths[200..].iter().filter(|length| **length == 0).count();
        assert!(idle > 650, "mostly given up: {idle} of 800");
        assert!(idle < 800, "and tried again now and then");
    }
}
