//! Which draft tokens are the target's: the acceptance rules of speculative decoding.
//!
//! Greedy: a draft is accepted iff it is the target's own choice. Sampling (Leviathan et al. 2023; Chen et
//! al. 2023): a draft x drawn from q is accepted with probability `min(1, p(x) / q(x))`; else its place is
//! taken by a draw from
//!
//! ```text
//! residual(i) = max(p(i) - q(i), 0) / sum_j max(p(j) - q(j), 0)
//! ```
//!
//! What is emitted is then distributed as p, whatever q is. Probabilities are plain slices over the
//! vocabulary, or, where q comes over a wire, the few tokens that it draws from; uniform numbers in [0, 1)
//! come in as arguments. Sequences, caches and logits are others' business.

use msao_protocol::{Candidate, TokenId};

/// What verifying a proposal of draft tokens came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verification {
    /// Drafts accepted, from the first on.
    pub accepted_drafts: usize,
    /// The token after them: in place of the first rejected draft, or the target's continuation of them all.
    pub next_token: TokenId,
}

/// Verifies a proposal greedily: `target_choices[i]` is the target's choice after the first i drafts.
///
/// # Panics
/// If there is not exactly one choice more than drafts.
pub fn verify_greedy(drafts: &[TokenId], target_choices: &[TokenId]) -> Verification {
    assert_eq!(
        target_choices.len(),
        drafts.len() + 1,
        "one row of the target for each draft, and one after them"
    );
    let accepted_drafts =
        drafts.iter().zip(target_choices).take_while(|(draft, choice)| draft == choice).count();
    Verification { accepted_drafts, next_token: target_choices[accepted_drafts] }
}

/// A draft token and the distribution it was drawn from.
#[derive(Debug, Clone, Copy)]
pub struct SampledDraft<'a> {
    /// The token.
    pub token: TokenId,
    /// q, over the vocabulary.
    pub probabilities: &'a [f32],
}

/// Verifies a proposal of sampled drafts; the emitted tokens are distributed as the target's.
///
/// `target[i]` is p over the vocabulary after the first i drafts. `uniform` is called once for each draft
/// looked at, and once for the token after them.
///
/// # Panics
/// If there is not exactly one target row more than drafts, vocabularies differ, or a draft is outside of
/// them.
pub fn verify_sampled(
    drafts: &[SampledDraft<'_>],
    target: &[&[f32]],
    mut uniform: impl FnMut() -> f64,
) -> Verification {
    assert_eq!(target.len(), drafts.len() + 1, "one row of the target for each draft, and one after them");
    for (accepted_drafts, (draft, p)) in drafts.iter().zip(target).enumerate() {
        if !accepts(p, draft.probabilities, draft.token, uniform()) {
            let next_token = sample_residual(p, draft.probabilities, uniform());
            return Verification { accepted_drafts, next_token };
        }
    }
    Verification { accepted_drafts: drafts.len(), next_token: sample(target[drafts.len()], uniform()) }
}

/// Whether a token drawn from `q` is accepted: `uniform < p / q`. A token that `q` says it never draws is
/// rejected.
///
/// # Panics
/// If the distributions differ in length, or the token is outside of them.
pub fn accepts(p: &[f32], q: &[f32], token: TokenId, uniform: f64) -> bool {
    assert_eq!(p.len(), q.len(), "distributions over different vocabularies");
    let (p, q) = (mass(p[token as usize]), mass(q[token as usize]));
    q > 0.0 && uniform * q < p
}

/// Draws from `max(p - q, 0)`, normalised; from `p` where nothing is left, as when rounding made equals
/// differ.
///
/// # Panics
/// If the distributions differ in length or are empty.
pub fn sample_residual(p: &[f32], q: &[f32], uniform: f64) -> TokenId {
    assert_eq!(p.len(), q.len(), "distributions over different vocabularies");
    draw(p.iter().zip(q).map(|(p, q)| (mass(*p) - mass(*q)).max(0.0)), uniform)
        .unwrap_or_else(|| sample(p, uniform))
}

/// Draws from `p`, which need not be normalised; token 0 where it has no mass at all.
///
/// # Panics
/// If the distribution is empty.
pub fn sample(p: &[f32], uniform: f64) -> TokenId {
    assert!(!p.is_empty(), "a distribution over no tokens");
    draw(p.iter().map(|p| mass(*p)), uniform).unwrap_or(0)
}

/// The token that stands in a draft's place: the draft itself iff it is accepted, else a draw from the
/// residual; distributed as p.
///
/// `candidates` are q, the few tokens that the draft was drawn from; their probabilities are normalised here.
/// Without any the draft was a certain choice (q is 1 there), and what stands is `sample(p, uniforms[1])`,
/// whatever was drafted: it is the draft with probability `p(x)` and else distributed as the residual, and a
/// certain draft can so never change what is emitted. `uniforms` are two numbers that nothing else depends on,
/// one for acceptance and one for the draw. After a rejection `p` holds the residual, not normalised.
///
/// # Panics
/// If `p` is empty, or the draft or a candidate is outside of it.
pub fn settle_draft(p: &mut [f32], draft: TokenId, candidates: &[Candidate], uniforms: [f64; 2]) -> TokenId {
    let [to_accept, to_draw] = uniforms;
    let total: f64 = candidates.iter().map(|candidate| mass(candidate.probability)).sum();
    if total <= 0.0 {
        return sample(p, to_draw);
    }
    let drafted = candidates.iter().find(|candidate| candidate.id == draft);
    let q = drafted.map_or(0.0, |candidate| mass(candidate.probability) / total);
    if q > 0.0 && to_accept * q < mass(p[draft as usize]) {
        return draft;
    }
    for candidate in candidates {
        let left = &mut p[candidate.id as usize];
        *left = (mass(*left) - mass(candidate.probability) / total).max(0.0) as f32;
    }
    // Nothing is left where p is q but for rounding, and a draw from q is then one from p.
    draw(p.iter().map(|p| mass(*p)), to_draw).unwrap_or(draft)
}

/// Inverse of the cumulative distribution at `uniform`; `None` without mass.
fn draw(masses: impl Iterator<Item = f64> + Clone, uniform: f64) -> Option<TokenId> {
    let total: f64 = masses.clone().sum();
    let mut below = uniform * total;
    let mut last = None;
    for (token, mass) in masses.enumerate().filter(|(_, mass)| *mass > 0.0) {
        last = Some(token as TokenId);
        if below < mass {
            break;
        }
        below -= mass; // what rounding leaves past the end falls to the last token with mass
    }
    last
}

/// A probability in f64; what is negative or no number has no mass.
fn mass(probability: f32) -> f64 {
    f64::from(probability.max(0.0)) // `max` takes NaN to 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rng::SplitMix64;

    fn distribution(rng: &mut SplitMix64, tokens: usize, sharpness: f64) -> Vec<f32> {
        let weights: Vec<f64> = (0..tokens).map(|_| (sharpness * rng.normal()).exp()).collect();
        let total: f64 = weights.iter().sum();
        weights.iter().map(|weight| (weight / total) as f32).collect()
    }

    /// Pearson's statistic against `expected`, and a bound it exceeds once in 100,000 times (Wilson and
    /// Hilferty).
    fn chi_squared(observed: &[u32], expected: &[f64]) -> (f64, f64) {
        let draws: f64 = observed.iter().copied().map(f64::from).sum();
        let cells: Vec<(f64, f64)> = observed
            .iter()
            .zip(expected)
            .map(|(o, e)| (f64::from(*o), e * draws))
            .filter(|(_, e)| *e > 5.0)
            .collect();
        let statistic = cells.iter().map(|(o, e)| (o - e) * (o - e) / e).sum();
        let freedom = (cells.len() - 1).max(1) as f64;
        let spread = 2.0 / (9.0 * freedom);
        (statistic, freedom * (1.0 - spread + 4.27 * spread.sqrt()).powi(3))
    }

    #[test]
    fn one_emitted_token_is_distributed_as_the_targets() {
        let mut rng = SplitMix64::new(5);
        for pair in 0..40 {
            let tokens = 2 + pair % 9;
            let (p, q) = (
                distribution(&mut rng, tokens, 1.0),
                distribution(&mut rng, tokens, 0.5 * (pair % 5) as f64),
            );
            let after = vec![1.0_f32; tokens];
            let mut observed = vec![0; tokens];
            for _ in 0..40_000 {
                let draft = SampledDraft { token: sample(&q, rng.uniform()), probabilities: &q };
                let result = verify_sampled(&[draft], &[&p, &after], || rng.uniform());
                observed
                    [if result.accepted_drafts == 1 { draft.token } else { result.next_token } as usize] += 1;
            }
            let expected: Vec<f64> = p.iter().copied().map(f64::from).collect();
            let (statistic, bound) = chi_squared(&observed, &expected);
            assert!(statistic < bound, "pair {pair}: {statistic} above {bound}");
        }
    }

    #[test]
    fn two_emitted_tokens_are_jointly_distributed_as_the_targets() {
        // Both models are Markov chains over 4 tokens; three drafts a proposal, so the first two tokens come
        // about in every way: rejected at either place, or accepted both.
        let (tokens, mut rng) = (4, SplitMix64::new(6));
        let mut chain =
            || -> Vec<Vec<f32>> { (0..=tokens).map(|_| distribution(&mut rng, tokens, 1.0)).collect() };
        let (target, edge) = (chain(), chain());
        let mut rng = SplitMix64::new(7);
        let mut observed = vec![0; tokens * tokens];
        for _ in 0..200_000 {
            let mut emitted: Vec<TokenId> = Vec::new();
            while emitted.len() < 2 {
                let last = emitted.last().map_or(tokens, |token| *token as usize);
                let (mut drafts, mut rows, mut state) = (Vec::new(), vec![target[last].as_slice()], last);
                for _ in 0..3 {
                    let token = sample(&edge[state], rng.uniform());
                    drafts.push(SampledDraft { token, probabilities: &edge[state] });
                    state = token as usize;
                    rows.push(&target[state]);
                }
                let result = verify_sampled(&drafts, &rows, || rng.uniform());
                emitted.extend(drafts[..result.accepted_drafts].iter().map(|draft| draft.token));
                emitted.push(result.next_token);
            }
            observed[emitted[0] as usize * tokens + emitted[1] as usize] += 1;
        }
        let expected: Vec<f64> = (0..tokens * tokens)
            .map(|pair| {
                f64::from(target[tokens][pair / tokens]) * f64::from(target[pair / tokens][pair % tokens])
            })
            .collect();
        let (statistic, bound) = chi_squared(&observed, &expected);
        assert!(statistic < bound, "{statistic} above {bound}");
    }

    /// The most likely tokens of a distribution, normalised.
    fn most_likely(q: &[f32], count: usize) -> Vec<Candidate> {
        let mut candidates: Vec<Candidate> =
            (0..).zip(q).map(|(id, &probability)| Candidate { id, probability }).collect();
        candidates.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        candidates.truncate(count);
        let total: f32 = candidates.iter().map(|candidate| candidate.probability).sum();
        for candidate in &mut candidates {
            candidate.probability /= total;
        }
        candidates
    }

    fn dense(candidates: &[Candidate], tokens: usize) -> Vec<f32> {
        let mut q = vec![0.0; tokens];
        for candidate in candidates {
            q[candidate.id as usize] = candidate.probability;
        }
        q
    }

    #[test]
    fn what_stands_for_a_draft_of_a_few_candidates_is_distributed_as_the_targets() {
        let mut rng = SplitMix64::new(9);
        for pair in 0..20 {
            let tokens = 3 + pair % 9;
            let p = distribution(&mut rng, tokens, 1.0);
            let candidates = most_likely(&distribution(&mut rng, tokens, 1.0), pair % 4);
            let q = dense(&candidates, tokens);
            let mut observed = vec![0; tokens];
            for _ in 0..40_000 {
                let draft = sample(&q, rng.uniform());
                let uniforms = [rng.uniform(), rng.uniform()];
                observed[settle_draft(&mut p.clone(), draft, &candidates, uniforms) as usize] += 1;
            }
            let expected: Vec<f64> = p.iter().copied().map(f64::from).collect();
            let (statistic, bound) = chi_squared(&observed, &expected);
            assert!(statistic < bound, "pair {pair}: {statistic} above {bound}");
        }
    }

    #[test]
    fn the_share_accepted_is_the_overlap() {
        let (mut rng, p, q) = (SplitMix64::new(8), [0.5_f32, 0.3, 0.2], [0.2_f32, 0.2, 0.6]);
        let draws = 100_000;
        let accepted =
            (0..draws).filter(|_| accepts(&p, &q, sample(&q, rng.uniform()), rng.uniform())).count();
        let overlap = 0.2 + 0.2 + 0.2; // sum of min(p, q)
        assert!((accepted as f64 / f64::from(draws) - overlap).abs() < 0.008);
    }

    #[test]
    fn broken_distributions_do_not_panic() {
        assert_eq!(sample(&[f32::NAN, -1.0, 0.0], 0.5), 0);
        assert_eq!(sample(&[0.0, 1.0], 0.999_999_999), 1);
        assert_eq!(sample_residual(&[0.5, 0.5], &[0.5, 0.5], 0.9), 1, "nothing left: drawn from p");
        assert!(!accepts(&[1.0, 0.0], &[0.0, 1.0], 0, 0.0), "a token q never draws");
        assert!(!accepts(&[0.0, 1.0], &[1.0, 0.0], 0, 0.0));
        let broken = [f32::NAN, -1.0, 0.0].map(|probability| Candidate { id: 1, probability });
        assert_eq!(settle_draft(&mut [1.0, 0.0], 1, &broken, [0.0, 0.5]), 0, "no mass: a certain choice");
        let elsewhere = [Candidate { id: 0, probability: 1.0 }];
        assert_eq!(settle_draft(&mut [0.5, 0.5], 1, &elsewhere, [0.0, 0.0]), 1, "never drawn: drawn anew");
        assert_eq!(settle_draft(&mut [0.0, 0.0], 0, &elsewhere, [0.5, 0.5]), 0, "nothing left");
    }

    proptest! {
        #[test]
        fn greedy_output_is_the_targets_own(
            choices in proptest::collection::vec(0..3_u32, 1..10), seed in any::<u64>(),
        ) {
            let mut rng = SplitMix64::new(seed);
            let drafts: Vec<TokenId> = choices[1..].iter().map(|_| (rng.next_u64() % 3) as TokenId).collect();
            let result = verify_greedy(&drafts, &choices);
            let mut emitted = drafts[..result.accepted_drafts].to_vec();
            emitted.push(result.next_token);
            prop_assert_eq!(&emitted[..], &choices[..emitted.len()]);
            let rejected = drafts.get(result.accepted_drafts);
            prop_assert!(rejected.is_none_or(|rejected| *rejected != result.next_token));
        }

        #[test]
        fn few_candidates_are_settled_as_the_whole_distribution(
            seed in any::<u64>(), tokens in 2..9_usize, count in 1..5_usize,
        ) {
            let mut rng = SplitMix64::new(seed);
            let p = distribution(&mut rng, tokens, 1.0);
            let mut candidates = most_likely(&distribution(&mut rng, tokens, 1.0), count);
            let q = dense(&candidates, tokens);
            let (draft, uniforms) = (sample(&q, rng.uniform()), [rng.uniform(), rng.uniform()]);
            let expected =
                if accepts(&p, &q, draft, uniforms[0]) { draft } else { sample_residual(&p, &q, uniforms[1]) };
            for candidate in &mut candidates {
                candidate.probability *= 0.999; // as a sender's rounding may leave it
            }
            prop_assert_eq!(settle_draft(&mut p.clone(), draft, &candidates, uniforms), expected);
        }

        #[test]
        fn a_certain_draft_changes_nothing(seed in any::<u64>(), tokens in 2..9_usize, draft in 0..2_u32) {
            let mut rng = SplitMix64::new(seed);
            let (mut p, uniforms) = (distribution(&mut rng, tokens, 1.0), [rng.uniform(), rng.uniform()]);
            let drawn = sample(&p, uniforms[1]);
            prop_assert_eq!(settle_draft(&mut p, draft, &[], uniforms), drawn);
        }

        #[test]
        fn a_correction_is_never_the_rejected_draft(seed in any::<u64>(), tokens in 2..9_usize) {
            let mut rng = SplitMix64::new(seed);
            let (p, q) = (distribution(&mut rng, tokens, 1.0), distribution(&mut rng, tokens, 1.0));
            let token = sample(&q, rng.uniform());
            if !accepts(&p, &q, token, rng.uniform()) {
                prop_assert_ne!(sample_residual(&p, &q, rng.uniform()), token);
            }
        }
    }
}
