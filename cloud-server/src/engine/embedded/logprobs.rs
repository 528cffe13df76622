//! Log-probabilities of the tokens that stand, and of the likeliest ones in their places.
//!
//! They are those of the target's own distribution, whatever temperature and nucleus were drawn with.

use msao_models::text::TextTokenizer;

use crate::engine::{TokenLogprob, TokenLogprobs};

/// What a row of scores says of the token that stands in its place, and of the `top` likeliest ones.
pub(super) fn of_row(tokenizer: &TextTokenizer, scores: &[f32], token: u32, top: usize) -> TokenLogprobs {
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |score: f32| (f64::from(score) - f64::from(highest)).exp();
    let log_total = scores.iter().map(|&score| weight(score)).sum::<f64>().ln();
    let describe = |id: u32, score: f32| TokenLogprob {
        id,
        bytes: tokenizer.token_bytes(id).to_vec(),
        logprob: (f64::from(score) - f64::from(highest) - log_total) as f32,
    };
    let score = scores.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY);
    let top = likeliest(scores, top).into_iter().map(|(id, score)| describe(id, score)).collect();
    TokenLogprobs { chosen: describe(token, score), top }
}

/// The tokens with the `count` highest scores, highest first, of equals the first ones.
fn likeliest(scores: &[f32], count: usize) -> Vec<(u32, f32)> {
    let mut best: Vec<(u32, f32)> = Vec::with_capacity(count + 1);
    for (token, &score) in (0..).zip(scores) {
        if best.len() == count && best.last().is_none_or(|&(_, least)| score <= least) {
            continue;
        }
        let place = best.partition_point(|&(_, other)| other >= score);
        best.insert(place, (token, score));
        best.truncate(count);
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_are_the_first_of_a_stable_sort() {
        let scores = [0.5, 2.0, -1.0, 2.0, 0.5, 3.0];
        assert_eq!(likeliest(&scores, 0), []);
        assert_eq!(likeliest(&scores, 4), [(5, 3.0), (1, 2.0), (3, 2.0), (0, 0.5)]);
        assert_eq!(likeliest(&scores, 9).len(), scores.len());
    }
}
