//! Where the rows of a pass belong, and which of them run in tiles.

use std::ops::Range;

use super::kernels::PLAN_STRIDE;
use super::launch::{Buffer, Launcher};
use super::tiled::QUERIES;

/// Rows of a sequence from which on its products run in tiles.
pub(super) const LONG_ROWS: usize = 32;

/// Where the rows of a pass belong, as the kernels read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    words: Vec<u32>,
    /// Rows of each sequence, in order.
    sequences: Vec<usize>,
}

impl Plan {
    /// No rows yet.
    pub(crate) fn new() -> Self {
        Self { words: vec![0; PLAN_STRIDE], sequences: Vec::new() }
    }

    /// Adds `rows` rows behind `held` positions of a sequence whose first position stands at `start` in the cache.
    pub(crate) fn push(&mut self, held: usize, rows: usize, start: usize) {
        self.words[0] += rows as u32;
        for position in held..held + rows {
            self.words.extend([position as u32, (start + position) as u32, start as u32, 0]);
        }
        self.sequences.push(rows);
    }

    /// Rows of the pass.
    pub(crate) fn rows(&self) -> usize {
        self.words[0] as usize
    }

    /// The most positions that a row looks at.
    pub(super) fn keys(&self) -> usize {
        self.words.chunks_exact(PLAN_STRIDE).skip(1).map(|row| row[0] as usize + 1).max().unwrap_or(0)
    }

    /// Neighbouring sequences of many rows each, and those between them, with their rows. What becomes of a row must not
    /// depend on what shares its pass, so each sequence runs as it would alone.
    pub(super) fn parts(&self) -> Vec<(Range<usize>, Self)> {
        let mut parts: Vec<(Range<usize>, Self)> = Vec::new();
        let mut first = 0;
        for &rows in &self.sequences {
            let words = &self.words[(first + 1) * PLAN_STRIDE..][..rows * PLAN_STRIDE];
            match parts.last_mut().filter(|(_, part)| part.is_long() == (rows >= LONG_ROWS)) {
                Some((range, part)) => {
                    range.end += rows;
                    part.words[0] += rows as u32;
                    part.words.extend(words);
                    part.sequences.push(rows);
                }
                None => {
                    let mut part = Self::new();
                    part.words[0] = rows as u32;
                    part.words.extend(words);
                    part.sequences.push(rows);
                    parts.push((first..first + rows, part));
                }
            }
            first += rows;
        }
        parts
    }

    /// Whether the sequences of a part have many rows each.
    pub(super) fn is_long(&self) -> bool {
        self.sequences.first().is_some_and(|&rows| rows >= LONG_ROWS)
    }

    /// The blocks of queries of all sequences: `[first row, rows, first key, keys that the first row sees]` each.
    pub(super) fn blocks(&self) -> Vec<u32> {
        let mut first = 0;
        let mut blocks = Vec::new();
        for &rows in &self.sequences {
            for row in (0..rows).step_by(QUERIES) {
                let words = &self.words[(first + row + 1) * PLAN_STRIDE..];
                blocks.extend([
                    (first + row) as u32,
                    (rows - row).min(QUERIES) as u32,
                    words[2],
                    words[0] + 1,
                ]);
            }
            first += rows;
        }
        blocks
    }

    pub(super) fn upload(&self, launcher: &Launcher) -> Buffer {
        launcher.upload_words(&self.words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_sequences_are_told_from_short_ones() {
        let mut plan = Plan::new();
        for (held, rows, start) in [(0, 40, 0), (7, 70, 100), (9, 1, 200), (3, 8, 300), (0, 33, 400)] {
            plan.push(held, rows, start);
        }
        let parts = plan.parts();
        let shapes: Vec<_> =
            parts.iter().map(|(rows, part)| (rows.clone(), part.is_long(), part.rows())).collect();
        assert_eq!(shapes, [(0..110, true, 110), (110..119, false, 9), (119..152, true, 33)]);
        assert_eq!(
            parts.iter().flat_map(|(_, part)| &part.words[PLAN_STRIDE..]).count(),
            plan.rows() * PLAN_STRIDE
        );
        assert_eq!(parts[0].1.keys(), 77);
        // First row, rows, first key, keys that the first row sees.
        assert_eq!(parts[0].1.blocks(), [0, 40, 0, 1, 40, 64, 100, 8, 104, 6, 100, 72]);
        assert_eq!(parts[1].1.blocks()[..8], [0, 1, 200, 10, 1, 8, 300, 4]);
    }
}
