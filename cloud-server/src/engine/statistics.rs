//! What an engine counts about itself: plain counters inside, a snapshot outside.
//!
//! Counts only ever rise from the engine's start, so whoever exports them can take differences; what is a level at this
//! moment says so. Nothing here names a person, a question or an answer.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::admission::Admission;

/// Positions of a run of drafts that are counted apart; the last one counts those behind it too.
const POSITIONS: usize = 32;
/// Batch sizes that are counted apart; the last one counts larger ones too.
const BATCH_SIZES: usize = 64;

/// An engine's counters at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineStatistics {
    /// Requests that have a place and are not begun yet; a level.
    pub waiting: u64,
    /// Requests that are begun and not over; a level.
    pub running: u64,
    /// Passes of the target, by how many requests shared them: entry `i` counts those that `i + 1` shared. Larger
    /// batches than there are entries count in the last one.
    pub passes_by_batch_size: Vec<u64>,
    /// Prompt tokens that went through the target, those that were read again included; without reused ones.
    pub prompt_tokens: u64,
    /// Answer tokens that were settled.
    pub completion_tokens: u64,
    /// Draft tokens that were looked at, by their position in the run that one pass looked at: entry 0 counts the
    /// first ones. Later positions than there are entries count in the last one.
    pub proposed_by_position: Vec<u64>,
    /// Those of them that were accepted.
    pub accepted_by_position: Vec<u64>,
    /// What keys and values take.
    pub kv: KvStatistics,
}

/// Memory for keys and values, and how often it saved reading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KvStatistics {
    /// Bytes that may be used.
    pub budget_bytes: u64,
    /// Bytes in use, by running requests and by what is retained of finished ones; a level.
    pub used_bytes: u64,
    /// Of those, bytes of what is retained and could be evicted; a level.
    pub retained_bytes: u64,
    /// Prompts whose beginning was found among what is retained.
    pub hits: u64,
    /// Prompts of which nothing was found.
    pub misses: u64,
    /// Prompt tokens that were not read since their keys and values were found.
    pub reused_tokens: u64,
    /// Caches given up so that another one fits.
    pub evictions: u64,
    /// Prompts read again since their cache had been given up.
    pub re_prefills: u64,
}

/// The counters themselves, shared by an engine's threads.
#[derive(Debug)]
pub(super) struct Counters {
    passes_by_batch_size: [AtomicU64; BATCH_SIZES],
    prompt_tokens: AtomicU64,
    completion_tokens: AtomicU64,
    proposed_by_position: [AtomicU64; POSITIONS],
    accepted_by_position: [AtomicU64; POSITIONS],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            passes_by_batch_size: [const { AtomicU64::new(0) }; BATCH_SIZES],
            prompt_tokens: AtomicU64::new(0),
            completion_tokens: AtomicU64::new(0),
            proposed_by_position: [const { AtomicU64::new(0) }; POSITIONS],
            accepted_by_position: [const { AtomicU64::new(0) }; POSITIONS],
        }
    }
}

impl Counters {
    /// Counts a pass of the target that so many requests shared.
    pub(super) fn count_pass(&self, batch_size: usize) {
        if let Some(last) = batch_size.checked_sub(1) {
            self.passes_by_batch_size[last.min(BATCH_SIZES - 1)].fetch_add(1, Relaxed);
        }
    }

    pub(super) fn count_prompt(&self, tokens: usize) {
        self.prompt_tokens.fetch_add(tokens as u64, Relaxed);
    }

    /// Counts what one pass said of one request: drafts looked at, accepted, and tokens settled.
    pub(super) fn count_round(&self, proposed: usize, accepted: usize, settled: usize) {
        for position in 0..proposed {
            let position = position.min(POSITIONS - 1);
            self.proposed_by_position[position].fetch_add(1, Relaxed);
        }
        for position in 0..accepted {
            let position = position.min(POSITIONS - 1);
            self.accepted_by_position[position].fetch_add(1, Relaxed);
        }
        self.completion_tokens.fetch_add(settled as u64, Relaxed);
    }

    /// A snapshot beside the levels at this moment.
    pub(super) fn snapshot(&self, admission: &Admission, kv: KvStatistics) -> EngineStatistics {
        // Places that are given back in between can make this less than nothing.
        let running = admission.running();
        let waiting = admission.occupancy().saturating_sub(running);
        let all = |counters: &[AtomicU64]| counters.iter().map(|counter| counter.load(Relaxed)).collect();
        EngineStatistics {
            waiting: waiting as u64,
            running: running as u64,
            passes_by_batch_size: all(&self.passes_by_batch_size),
            prompt_tokens: self.prompt_tokens.load(Relaxed),
            completion_tokens: self.completion_tokens.load(Relaxed),
            proposed_by_position: all(&self.proposed_by_position),
            accepted_by_position: all(&self.accepted_by_position),
            kv,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_beyond_the_entries_counts_in_the_last_one() {
        let counters = Counters::default();
        for batch_size in [1, 1, 3, BATCH_SIZES + 7] {
            counters.count_pass(batch_size);
        }
        counters.count_round(POSITIONS + 2, 2, 3);
        let admission = Admission::new(3, Duration::MAX);
        let [mut begun, _waiting] = [(); 2].map(|()| admission.reserve().unwrap());
        begun.begin_read();
        let statistics = counters.snapshot(&admission, KvStatistics::default());
        assert_eq!((statistics.waiting, statistics.running, statistics.completion_tokens), (1, 1, 3));
        let passes = &statistics.passes_by_batch_size;
        assert_eq!((passes[0], passes[1], passes[2], passes[BATCH_SIZES - 1]), (2, 0, 1, 1));
        let proposed = &statistics.proposed_by_position;
        assert_eq!((proposed[0], proposed[POSITIONS - 1]), (1, 3));
        assert_eq!(statistics.accepted_by_position[..3], [1, 1, 0]);
    }
}
