//! Whose requests are whose.
//!
//! A session is an owner; so may be the holder of a key, for requests that come without a session. Owners share passes and
//! memory fairly, and nothing else: what was read for one is never reused for another. How soon an answer begins would
//! tell whoever asks whether somebody else had asked the same before.

use std::sync::atomic::{AtomicU64, Ordering};

/// Who is answered; unique in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(u64);

impl Owner {
    /// Somebody new.
    pub fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}
