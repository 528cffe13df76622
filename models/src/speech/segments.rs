//! From a window's tokens to stretches of speech with times, and to where the next window begins.
//!
//! As `_retrieve_segment` of transformers: two times in a row end a stretch, what is unfinished behind the last pair is heard again
//! in the next window.

use std::ops::Range;

/// One stretch of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stretch {
    /// Its tokens, times included.
    pub(super) tokens: Range<usize>,
    /// From where to where, in positions of 20 ms from the window's start.
    pub(super) positions: Range<u32>,
}

/// Mel frames of a position.
const FRAMES: usize = 2;

/// The stretches of the tokens written about a window of `frames` mel frames, and how many of those are done with.
pub(super) fn split(written: &[u32], first_time: u32, frames: usize) -> (Vec<Stretch>, usize) {
    let is_time = |token: &u32| *token >= first_time;
    let position = |token: u32| token.saturating_sub(first_time);
    let pairs = written.windows(2).enumerate().filter(|(_, pair)| pair.iter().all(is_time));
    let mut ends: Vec<usize> = pairs.map(|(index, _)| index + 1).collect();
    let Some(last_pair) = ends.last_mut() else {
        let last = written.iter().copied().rfind(|token| is_time(token)).filter(|token| *token != first_time);
        let end = last.map_or((frames / FRAMES) as u32, position);
        let whole = Stretch { tokens: 0..written.len(), positions: 0..end };
        return (if written.is_empty() { Vec::new() } else { vec![whole] }, frames);
    };
    let ends_with_one = matches!(written, [.., text, time] if !is_time(text) && is_time(time));
    if ends_with_one {
        ends.push(written.len());
    } else {
        // The second of the pair as well.
        *last_pair += 1;
    }
    let mut stretches = Vec::with_capacity(ends.len());
    let mut start = 0;
    for (index, &end) in ends.iter().enumerate() {
        let tokens = &written[start..end];
        let is_pair_at_end = index + 1 == ends.len() && !ends_with_one;
        let last = tokens[tokens.len().saturating_sub(if is_pair_at_end { 2 } else { 1 })];
        stretches.push(Stretch { tokens: start..end, positions: position(tokens[0])..position(last) });
        start = end;
    }
    let done = if ends_with_one { frames } else { position(written[start - 2]) as usize * FRAMES };
    (stretches, done)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Found = (Vec<(Range<usize>, Range<u32>)>, usize);

    /// Times begin at 100.
    fn of(written: &[u32]) -> Found {
        let (stretches, done) = split(written, 100, 3_000);
        (stretches.into_iter().map(|stretch| (stretch.tokens, stretch.positions)).collect(), done)
    }

    #[test]
    fn pairs_end_stretches() {
        assert_eq!(of(&[100, 1, 2, 150, 150, 3, 170]), (vec![(0..4, 0..50), (4..7, 50..70)], 3_000));
        assert_eq!(of(&[100, 1, 150, 160, 3]), (vec![(0..4, 0..50)], 100));
        assert_eq!(of(&[100, 1, 150, 160]), (vec![(0..4, 0..50)], 100));
    }

    #[test]
    fn what_has_no_pair_is_one_stretch() {
        assert_eq!(of(&[1, 2]), (vec![(0..2, 0..1_500)], 3_000));
        assert_eq!(of(&[100, 1]), (vec![(0..2, 0..1_500)], 3_000));
        assert_eq!(of(&[100, 1, 130]), (vec![(0..3, 0..30)], 3_000));
        assert_eq!(of(&[]), (vec![], 3_000));
        assert_eq!(split(&[1], 100, 999).0[0].positions, 0..499);
    }
}
