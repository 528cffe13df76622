//! How many bytes keys and values may take, and who holds how many.
//!
//! Bytes are taken before they are allocated and given back after they are freed, so the sum of all holds is what is in
//! use at most, and never above the budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub(super) struct KvBudget {
    total_bytes: u64,
    used_bytes: AtomicU64,
}

impl KvBudget {
    pub(super) fn new(total_bytes: u64) -> Arc<Self> {
        Arc::new(Self { total_bytes, used_bytes: AtomicU64::new(0) })
    }

    pub(super) fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn free_bytes(&self) -> u64 {
        self.total_bytes.saturating_sub(self.used_bytes())
    }

    /// Takes bytes, if there are as many left.
    pub(super) fn take(self: &Arc<Self>, bytes: u64) -> Option<Hold> {
        let more = |used: u64| used.checked_add(bytes).filter(|&used| used <= self.total_bytes);
        self.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Hold { bytes, budget: Arc::clone(self) })
    }
}

/// Bytes of the budget; dropping gives them back.
#[derive(Debug)]
pub(super) struct Hold {
    bytes: u64,
    budget: Arc<KvBudget>,
}

impl Hold {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes another hold's bytes in.
    pub(super) fn join(&mut self, mut other: Hold) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Gives back what is above `bytes`.
    pub(super) fn shrink_to(&mut self, bytes: u64) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.bytes -= surplus;
        self.budget.used_bytes.fetch_sub(surplus, Ordering::Relaxed);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back_and_never_more_than_there_is() {
        let budget = KvBudget::new(10);
        let mut first = budget.take(6).unwrap();
        assert!(budget.take(5).is_none() && budget.take(u64::MAX).is_none());
        let second = budget.take(4).unwrap();
        first.join(second);
        assert_eq!((first.bytes(), budget.used_bytes()), (10, 10));
        first.shrink_to(3);
        first.shrink_to(7);
        assert_eq!((first.bytes(), budget.used_bytes()), (3, 3));
        drop(first);
        assert_eq!(budget.used_bytes(), 0);
    }
}
