//! How many rounds speculation takes.
//!
//! A draft token is accepted with probability alpha, independently (Leviathan et al. 2023). A round of gamma
//! drafts ends at the first rejected one, in whose place the target writes its own, or with the target's
//! continuation of them all.

/// Expected tokens of a round: `E(alpha, gamma) = (1 - alpha^(gamma+1)) / (1 - alpha)`, in 1..=gamma+1.
/// `alpha` is held to 0..=1.
pub fn expected_tokens(alpha: f64, draft_tokens: u8) -> f64 {
    // The geometric sum itself: exact at alpha = 1 too, where the quotient is 0 / 0.
    let alpha = alpha.clamp(0.0, 1.0);
    (0..draft_tokens).fold(1.0, |sum, _| 1.0 + alpha * sum)
}

/// Expected rounds M(n) until `tokens` tokens are there, exactly. At least 1 for 1 token or more, 0 for none;
/// between whole numbers of tokens it is interpolated.
///
/// Token i begins a round with probability m(i), and a round that a token begins is the next to begin either
/// after a rejection or, gamma + 1 tokens on, after none:
///
/// ```text
/// M(n) = m(1) + ... + m(n)      m(1) = 1      m(i) = (1 - alpha) + alpha^(gamma+1) m(i - gamma - 1)
/// ```
///
/// and m tends to 1 / E(alpha, gamma).
pub fn expected_rounds(alpha: f64, draft_tokens: u8, tokens: f64) -> f64 {
    let alpha = alpha.clamp(0.0, 1.0);
    let length = usize::from(draft_tokens) + 1;
    let whole_round = alpha.powi(i32::from(draft_tokens) + 1);
    let mut begins = Vec::new();
    interpolated_sum(tokens, |token| {
        let before = if token > length { begins[token - length - 1] } else { 0.0 };
        let probability = if token == 1 { 1.0 } else { 1.0 - alpha + whole_round * before };
        begins.push(probability);
        probability
    })
}

/// What a pipelined answer is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PipelinedBlocks {
    /// Runs: stretches of drafting between flushes. Each begins with an empty pipeline.
    pub runs: f64,
    /// Blocks after the first of their run, whose drafting went on beside the verification before.
    pub later_blocks: f64,
}

/// Expected runs and later blocks until `tokens` tokens are there, exactly, when the edge drafts the next
/// block while one is verified.
///
/// The next block begins with the edge's own guess of the token that follows the block under way. So the
/// target's continuation settles that guess, and a run that is not rejected advances by gamma tokens a block
/// after the first gamma + 1:
///
/// ```text
/// runs  = 1 + (n - 1) (1 - alpha)
/// later = w(1) + ... + w(n)     w(i) = alpha^gamma w(i - gamma) + alpha^(gamma+1) b(i - gamma - 1)
/// ```
///
/// where b(i) is the probability that token i begins a run: 1 for the first, then 1 - alpha.
pub fn pipelined_blocks(alpha: f64, draft_tokens: u8, tokens: f64) -> PipelinedBlocks {
    let alpha = alpha.clamp(0.0, 1.0);
    let block = usize::from(draft_tokens.max(1));
    let accepted_block = alpha.powi(block as i32);
    let begins_run = |token: usize| if token == 1 { 1.0 } else { 1.0 - alpha };
    let mut later = Vec::new();
    let later_blocks = interpolated_sum(tokens, |token| {
        let further = if token > block { accepted_block * later[token - block - 1] } else { 0.0 };
        let second =
            if token > block + 1 { accepted_block * alpha * begins_run(token - block - 1) } else { 0.0 };
        later.push(further + second);
        further + second
    });
    PipelinedBlocks { runs: interpolated_sum(tokens, begins_run), later_blocks }
}

/// Answers are reckoned as no longer than this, in tokens: the sums below take a step for each.
const LONGEST_ANSWER: f64 = 65_536.0;

/// `f(1) + ... + f(n)` for a whole n, linear in between, 0 below 0; `f` is called in order.
fn interpolated_sum(n: f64, mut f: impl FnMut(usize) -> f64) -> f64 {
    let n = n.clamp(0.0, LONGEST_ANSWER); // NaN stays, and counts as 0 below
    let whole = n.floor() as usize;
    let sum: f64 = (1..=whole).map(&mut f).sum();
    let rest = n - n.floor();
    if rest > 0.0 { sum + rest * f(whole + 1) } else { sum }
}

/// The draft length in `1..=longest` with the least expected time a token, `round_ms(gamma) / E(alpha,
/// gamma)`; the shorter of equals.
///
/// # Panics
/// If `longest` is 0.
pub fn best_draft_length(alpha: f64, longest: u8, round_ms: impl Fn(u8) -> f64) -> u8 {
    assert!(longest > 0, "a draft has at least one token");
    let token_ms = |length: u8| round_ms(length) / expected_tokens(alpha, length);
    (1..=longest).min_by(|&left, &right| token_ms(left).total_cmp(&token_ms(right))).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rng::SplitMix64;

    /// Rounds, and (runs, later blocks), of one simulated answer each.
    fn simulate(rng: &mut SplitMix64, alpha: f64, gamma: u8, tokens: u32) -> (f64, f64, f64) {
        let (mut rounds, mut written) = (0, 0);
        while written < tokens {
            rounds += 1;
            let accepted = (0..gamma).take_while(|_| rng.uniform() < alpha).count() as u32;
            written += accepted + 1;
        }
        let (mut runs, mut later, mut written) = (0, 0, 0);
        while written < tokens {
            runs += 1;
            // The first block of a run settles gamma + 1 tokens, each later one gamma, until one is rejected.
            let mut block = u32::from(gamma) + 1;
            loop {
                let accepted = (0..block).take_while(|_| rng.uniform() < alpha).count() as u32;
                if accepted < block {
                    written += accepted + 1;
                    break;
                }
                written += block;
                if written >= tokens {
                    break;
                }
                later += 1;
                block = u32::from(gamma);
            }
        }
        (f64::from(rounds), f64::from(runs), f64::from(later))
    }

    #[test]
    fn counts_are_those_of_a_simulation() {
        let mut rng = SplitMix64::new(11);
        let answers = 20_000;
        for (alpha, gamma, tokens) in
            [(0.8, 4, 1), (0.8, 4, 2), (0.6, 1, 7), (0.9, 3, 20), (0.3, 8, 5), (0.95, 2, 33)]
        {
            let (mut rounds, mut runs, mut later) = (0.0, 0.0, 0.0);
            for _ in 0..answers {
                let (a, b, c) = simulate(&mut rng, alpha, gamma, tokens);
                (rounds, runs, later) = (rounds + a, runs + b, later + c);
            }
            let mean = |sum: f64| sum / f64::from(answers);
            let blocks = pipelined_blocks(alpha, gamma, f64::from(tokens));
            for (what, simulated, expected) in [
                ("rounds", mean(rounds), expected_rounds(alpha, gamma, f64::from(tokens))),
                ("runs", mean(runs), blocks.runs),
                ("later blocks", mean(later), blocks.later_blocks),
            ] {
                // Counts vary by less than their square root; 5 standard errors.
                let tolerance = 5.0 * (expected / f64::from(answers)).sqrt();
                assert!(
                    (simulated - expected).abs() <= tolerance,
                    "{what} at {alpha}, {gamma}, {tokens}: {simulated} for {expected}"
                );
            }
        }
    }

    #[test]
    fn the_ends_of_the_range_are_exact() {
        assert_eq!(expected_tokens(1.0, 4), 5.0);
        assert_eq!(expected_tokens(0.0, 4), 1.0);
        assert_eq!(expected_tokens(0.5, 0), 1.0);
        assert_eq!(expected_rounds(1.0, 4, 10.0), 2.0);
        assert_eq!(expected_rounds(1.0, 4, 11.0), 3.0);
        assert_eq!(expected_rounds(0.0, 4, 10.0), 10.0);
        assert_eq!(expected_rounds(0.7, 4, 0.0), 0.0);
        assert_eq!(expected_rounds(0.7, 4, f64::NAN), 0.0);
        assert!(expected_rounds(0.7, 4, f64::INFINITY).is_finite());
        assert_eq!(pipelined_blocks(1.0, 4, 13.0), PipelinedBlocks { runs: 1.0, later_blocks: 2.0 });
        assert_eq!(pipelined_blocks(0.0, 4, 13.0), PipelinedBlocks { runs: 13.0, later_blocks: 0.0 });
    }

    #[test]
    fn the_best_length_grows_with_the_logarithm_of_the_delay() {
        // 2606.20591: a threshold in the delay, and logarithmic growth. The marginal token is worth
        // alpha^gamma of a round.
        let best = |delay_ms: f64| best_draft_length(0.8, 64, |length| delay_ms + 10.0 * f64::from(length));
        let lengths: Vec<u8> = (0..14).map(|power| best(10.0 * f64::from(1 << power))).collect();
        assert!(lengths.is_sorted(), "{lengths:?}");
        assert_eq!(best(0.1), 1, "below the critical delay one token is best");
        // Doubling the delay adds about log(2) / log(1 / alpha) = 3.1 tokens, not a factor.
        for pair in lengths[4..].windows(2) {
            assert!((2..=4).contains(&(pair[1] - pair[0])), "{lengths:?}");
        }
    }

    proptest! {
        #[test]
        fn long_answers_reach_the_rate_of_the_closed_form(alpha in 0.0..0.98_f64, gamma in 1..12_u8) {
            let increment = |f: &dyn Fn(f64) -> f64| (f(3000.0) - f(1000.0)) / 2000.0;
            let per_token = increment(&|n| expected_rounds(alpha, gamma, n));
            prop_assert!((per_token - 1.0 / expected_tokens(alpha, gamma)).abs() < 1e-3);
            let later = increment(&|n| pipelined_blocks(alpha, gamma, n).later_blocks);
            let a = alpha.powi(i32::from(gamma));
            prop_assert!((later - (1.0 - alpha) * alpha * a / (1.0 - a)).abs() < 1e-3);
        }

        #[test]
        fn rounds_fall_with_acceptance_and_grow_with_tokens(
            alpha in 0.0..1.0_f64, more in 0.0..1.0_f64, gamma in 0..12_u8, n in 1.0..100.0_f64,
            longer in 0.0..9.0_f64,
        ) {
            let rounds = expected_rounds(alpha, gamma, n);
            prop_assert!(rounds >= 1.0 && rounds <= n + 1e-9);
            prop_assert!(expected_rounds((alpha + more).min(1.0), gamma, n) <= rounds + 1e-9);
            prop_assert!(expected_rounds(alpha, gamma, n + longer) >= rounds - 1e-9);
            prop_assert!(expected_rounds(alpha, gamma + 1, n) <= rounds + 1e-9);
        }
    }
}
