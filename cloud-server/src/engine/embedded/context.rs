//! Where a running request stands: what the target has read for it, what it does next, what a pass did.

use std::time::Instant;

use super::retention::Sequence;

/// What the target has read.
#[derive(Debug)]
pub(super) enum Context {
    /// Some media are missing.
    Partial {
        /// Writes proposals; `None` where there is nothing to begin with, or all are written.
        sequence: Option<Sequence>,
        /// Whether the missing media have come and are being decoded.
        is_completing: bool,
    },
    /// Everything.
    Whole(Sequence),
    /// Everything, but its cache was given up while it waited, and is made anew when it goes on.
    Evicted {
        /// What stands.
        tokens: Vec<u32>,
        /// Whether its prompt is being read again.
        is_reading: bool,
    },
}

/// What a request does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It takes part in the next pass.
    Pass,
    /// Its prompt has to be read again first.
    Read,
    /// It waits for news, or until then.
    Wait(Option<Instant>),
}

/// What one pass did for one answer, in tokens.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Round {
    /// Drafts looked at.
    pub(super) proposed: usize,
    /// Those that stand.
    pub(super) accepted: usize,
    /// Tokens that stand now and did not before.
    pub(super) settled: usize,
}
