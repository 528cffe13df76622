//! Where the keys and values of all sequences of a decoder live: one buffer a layer, of which each sequence has a range.
//!
//! Sequences of different lengths run in one launch because they share the buffer. It grows by doubling; what a dropped
//! sequence had is free for others.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::launch::{Buffer, Launcher};

/// Positions of the first allocation, and the grain of all.
const GRAIN: usize = 64;
const FIRST_POSITIONS: usize = 2048;

/// The keys and values of a decoder's sequences.
#[derive(Debug)]
pub(crate) struct CachePool {
    launcher: Launcher,
    layers: usize,
    /// Values of a position in a layer.
    width: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// One for each layer, each `[positions, width]`.
    buffers: Vec<Buffer>,
    free: FreeRanges,
}

/// Positions that one sequence, or a batch of them, may use; they are free again once it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    pool: Arc<CachePool>,
    positions: Range<usize>,
}

/// Positions to copy from one slot to another, counted from where each begins.
#[derive(Debug)]
pub(crate) struct Move {
    pub(crate) from: Arc<Slot>,
    pub(crate) from_at: usize,
    pub(crate) to: Arc<Slot>,
    pub(crate) to_at: usize,
    pub(crate) positions: usize,
}

/// Free positions of a pool in rising order, no two ranges adjacent.
#[derive(Debug, Default, PartialEq, Eq)]
struct FreeRanges {
    ranges: Vec<Range<usize>>,
    end: usize,
}

impl CachePool {
    pub(crate) fn new(launcher: Launcher, layers: usize, width: usize) -> Arc<Self> {
        Arc::new(Self { launcher, layers, width, state: Mutex::default() })
    }

    /// Room for `positions` positions; the pool grows where there is none.
    pub(crate) fn allocate(self: &Arc<Self>, positions: usize) -> Slot {
        let positions = positions.max(1).next_multiple_of(GRAIN);
        let mut state = self.state();
        let start = state.free.take(positions).unwrap_or_else(|| {
            self.grow(&mut state, positions);
            state.free.take(positions).expect("a pool grows by what is asked for")
        });
        Slot { pool: self.clone(), positions: start..start + positions }
    }

    /// The buffers as they are now, one for each layer: growing replaces them.
    pub(crate) fn buffers(&self) -> Vec<Buffer> {
        self.state().buffers.clone()
    }

    /// Copies positions of one slot to another.
    pub(crate) fn copy(&self, step: &Move) {
        let from = (step.from.positions.start + step.from_at) * self.width;
        let to = (step.to.positions.start + step.to_at) * self.width;
        for buffer in self.buffers() {
            self.launcher.copy_within(&buffer, from, to, step.positions * self.width);
        }
    }

    fn grow(&self, state: &mut State, positions: usize) {
        let before = state.free.end;
        let after = (before + positions.max(before)).max(FIRST_POSITIONS);
        let old = std::mem::take(&mut state.buffers);
        state.buffers = (0..self.layers).map(|_| self.launcher.empty(after * self.width)).collect();
        for (old, new) in old.iter().zip(&state.buffers) {
            self.launcher.copy(old, new, before * self.width);
        }
        state.free.extend_to(after);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Where its first position stands in the pool.
    pub(crate) fn start(&self) -> usize {
        self.positions.start
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.pool.state().free.give_back(self.positions.clone());
    }
}

impl FreeRanges {
    /// The first free range that is long enough, and its start.
    fn take(&mut self, len: usize) -> Option<usize> {
        let at = self.ranges.iter().position(|range| range.len() >= len)?;
        let start = self.ranges[at].start;
        self.ranges[at].start += len;
        if self.ranges[at].is_empty() {
            self.ranges.remove(at);
        }
        Some(start)
    }

    fn give_back(&mut self, range: Range<usize>) {
        let at = self.ranges.partition_point(|free| free.start < range.start);
        self.ranges.insert(at, range);
        if at + 1 < self.ranges.len() && self.ranges[at].end == self.ranges[at + 1].start {
            self.ranges[at].end = self.ranges.remove(at + 1).end;
        }
        if at > 0 && self.ranges[at - 1].end == self.ranges[at].start {
            self.ranges[at - 1].end = self.ranges.remove(at).end;
        }
    }

    /// Makes everything from the old end up to `end` free.
    fn extend_to(&mut self, end: usize) {
        let range = self.end..end;
        self.end = end;
        self.give_back(range);
    }
}

#[cfg(test)]
mod tests {
    use super::FreeRanges;

    #[test]
    fn ranges_never_overlap_and_all_come_back() {
        let mut free = FreeRanges::default();
        free.extend_to(10);
        let starts: Vec<usize> = [3, 4, 3].into_iter().map(|len| free.take(len).unwrap()).collect();
        assert_eq!(starts, [0, 3, 7]);
        assert_eq!(free.take(1), None);
        free.give_back(3..7);
        assert_eq!(free.take(5), None);
        assert_eq!(free.take(2), Some(3));
        free.extend_to(20);
        assert_eq!(free.take(8), Some(10));
        for range in [0..3, 10..18, 3..5, 7..10] {
            free.give_back(range);
        }
        assert_eq!(free.ranges, vec![0..20]);
    }
}
