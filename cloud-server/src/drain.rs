//! The way to a clean end: sessions learn that the server stops, finish what runs, and close.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the server is on its way out.
#[derive(Debug, Default)]
pub struct Drain {
    begun: AtomicBool,
}

impl Drain {
    /// From now on no question is accepted, and sessions close once they have nothing under way.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    /// Whether [`Self::begin`] was called.
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }
}
