//! Which tokens may come next: Whisper's rules of silence, of special tokens and of times.
//!
//! As `SuppressTokensLogitsProcessor`, `SuppressTokensAtBeginLogitsProcessor` and `WhisperTimeStampLogitsProcessor` of
//! transformers, in their order. Pure functions on scores.

use super::config::WhisperTokens;

const NEVER: f32 = f32::NEG_INFINITY;

/// Lowers to minus infinity the scores of what may not follow `written`, which begins behind the prompt.
pub(super) fn apply(tokens: &WhisperTokens, written: &[u32], has_times: bool, scores: &mut [f32]) {
    if written.is_empty() {
        tokens.suppressed_first.iter().for_each(|&token| scores[token as usize] = NEVER);
    }
    tokens.suppressed.iter().for_each(|&token| scores[token as usize] = NEVER);
    if has_times {
        apply_times(tokens, written, scores);
    }
}

fn apply_times(tokens: &WhisperTokens, written: &[u32], scores: &mut [f32]) {
    let first_time = tokens.first_time();
    let start = first_time as usize;
    let is_time = |token: &u32| *token >= first_time;
    scores[tokens.no_timestamps as usize] = NEVER;

    // Times come in pairs, but for the first and the last.
    let last_is_time = written.last().is_some_and(is_time);
    let one_before_is_time = written.len() < 2 || is_time(&written[written.len() - 2]);
    if last_is_time {
        if one_before_is_time {
            scores[start..].fill(NEVER);
        } else {
            scores[..tokens.end as usize].fill(NEVER);
        }
    }
    // They do not go back; only the second of a pair may repeat the first.
    if let Some(last) = written.iter().rfind(|token| is_time(token)) {
        let least = if last_is_time && !one_before_is_time { *last } else { last + 1 };
        let least = (least as usize).min(scores.len());
        scores[start..least].fill(NEVER);
    }
    if written.is_empty() {
        scores[..start].fill(NEVER);
        let after = start + tokens.max_initial_timestamp as usize + 1;
        if after < scores.len() {
            scores[after..].fill(NEVER);
        }
    }
    // A time is due where all times together are likelier than any one text.
    let (texts, times) = scores.split_at_mut(start);
    if log_sum_exp(times) > highest(texts) {
        texts.fill(NEVER);
    }
}

fn highest(scores: &[f32]) -> f32 {
    scores.iter().copied().fold(NEVER, f32::max)
}

/// `ln sum exp`
pub(super) fn log_sum_exp(scores: &[f32]) -> f32 {
    let highest = highest(scores);
    if highest == NEVER {
        return NEVER;
    }
    highest + scores.iter().map(|score| (score - highest).exp()).sum::<f32>().ln()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Text is 0 to 9, the end 10, the start 11, nobody speaks 12, no times 13, times 14 to 33.
    fn tokens() -> WhisperTokens {
        WhisperTokens {
            start: 11,
            end: 10,
            no_timestamps: 13,
            start_of_previous: None,
            languages: BTreeMap::new(),
            transcribe: None,
            translate: None,
            suppressed: vec![3, 11, 12],
            suppressed_first: vec![4, 10],
            max_initial_timestamp: 5,
        }
    }

    const VOCABULARY: usize = 34;

    /// Greedy writing by scores that depend on the place.
    fn write(scores: &[Vec<f32>]) -> Vec<u32> {
        let mut written = Vec::new();
        for scores in scores {
            let mut scores = scores.clone();
            apply(&tokens(), &written, true, &mut scores);
            let best =
                (0..VOCABULARY as u32).max_by(|a, b| scores[*a as usize].total_cmp(&scores[*b as usize]));
            let best = best.expect("a vocabulary");
            if scores[best as usize] == NEVER || best == 10 {
                break;
            }
            written.push(best);
        }
        written
    }

    proptest! {
        #[test]
        fn times_come_in_pairs_and_do_not_go_back(
            scores in prop::collection::vec(prop::collection::vec(-4.0_f32..4.0, VOCABULARY), 1..40),
        ) {
            let written = write(&scores);
            let times: Vec<u32> = written.iter().copied().filter(|token| *token >= 14).collect();
            prop_assert!(times.is_sorted(), "{written:?}");
            prop_assert!(written.first().is_none_or(|first| (14..=19).contains(first)), "{written:?}");
            prop_assert!(!written.iter().any(|token| [3, 11, 12, 13].contains(token)), "{written:?}");
            let runs = written.chunk_by(|a, b| (*a >= 14) == (*b >= 14)).filter(|run| run[0] >= 14);
            for (index, run) in runs.enumerate() {
                prop_assert!(run.len() <= if index == 0 { 1 } else { 2 }, "{written:?}");
            }
        }
    }

    #[test]
    fn a_time_is_due_where_times_together_are_likelier_than_any_text() {
        let mut scores = vec![0.0; VOCABULARY];
        // Not the first, so that text may follow.
        let written = [14, 1];
        scores[2] = 2.0;
        apply(&tokens(), &written, true, &mut scores);
        // 19 times that are left make ln 19 = 2.9.
        assert_eq!((scores[2], scores[14], scores[15]), (NEVER, NEVER, 0.0));
        let mut scores = vec![0.0; VOCABULARY];
        scores[2] = 3.0;
        apply(&tokens(), &written, true, &mut scores);
        assert_eq!((scores[2], scores[15]), (3.0, 0.0));
    }

    #[test]
    fn without_times_only_lists_forbid() {
        let mut scores = vec![0.0; VOCABULARY];
        apply(&tokens(), &[], false, &mut scores);
        let forbidden: Vec<usize> = (0..VOCABULARY).filter(|at| scores[*at] == NEVER).collect();
        assert_eq!(forbidden, [3, 4, 10, 11, 12]);
    }
}
