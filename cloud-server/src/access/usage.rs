//! What a key has under way, held against its limits.
//!
//! Usage outlives a change of the file: whoever edits a key's limits does not hand out a fresh budget.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::bucket::TokenBucket;
use super::denial::Denial;

/// The most that may be done with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct KeyLimits {
    /// Requests and questions a minute, on average; as many may come at once.
    pub(crate) requests_per_minute: u32,
    /// Requests and questions that may wait or be answered at a time.
    pub(crate) requests_in_flight: u32,
    /// Sessions that may be open at a time.
    pub(crate) sessions: u32,
}

impl Default for KeyLimits {
    fn default() -> Self {
        Self { requests_per_minute: 120, requests_in_flight: 8, sessions: 16 }
    }
}

/// What a key has under way.
#[derive(Debug)]
pub(crate) struct Usage {
    rate: Mutex<TokenBucket>,
    requests: Arc<AtomicU32>,
    sessions: Arc<AtomicU32>,
}

/// A request under way; dropping it lets another one in.
#[derive(Debug)]
pub(crate) struct RequestPermit {
    _slot: Option<Slot>,
}

/// An open session; dropping it lets another one in.
#[derive(Debug)]
pub(crate) struct SessionPermit {
    _slot: Option<Slot>,
}

#[derive(Debug)]
struct Slot(Arc<AtomicU32>);

impl Usage {
    pub(super) fn new(limits: &KeyLimits) -> Self {
        Self {
            rate: Mutex::new(TokenBucket::full(limits.requests_per_minute.into(), Instant::now())),
            requests: Arc::default(),
            sessions: Arc::default(),
        }
    }

    /// Counts a request against the rate.
    pub(super) fn count_request(&self, limits: &KeyLimits) -> Result<(), Denial> {
        let per_minute = f64::from(limits.requests_per_minute);
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        rate.take(per_minute, per_minute / 60.0, Instant::now()).map_err(|wait| {
            let most = limits.requests_per_minute;
            let message =
                format!("this key may make {most} requests a minute, and made them: wait for a moment");
            Denial::too_many(message, wait)
        })
    }

    /// Counts a request against the rate and holds a place for it.
    pub(super) fn begin_request(&self, limits: &KeyLimits) -> Result<RequestPermit, Denial> {
        let most = limits.requests_in_flight;
        let slot = take_slot(&self.requests, most).ok_or_else(|| {
            let message =
                format!("this key may have {most} requests under way, and has: wait for one to end");
            Denial::too_many(message, Denial::PLACE_TAKEN)
        })?;
        self.count_request(limits)?;
        Ok(RequestPermit { _slot: Some(slot) })
    }

    pub(super) fn open_session(&self, limits: &KeyLimits) -> Result<SessionPermit, Denial> {
        let most = limits.sessions;
        let slot = take_slot(&self.sessions, most).ok_or_else(|| {
            let message = format!("this key may have {most} sessions open, and has: close one");
            Denial::too_many(message, Denial::PLACE_TAKEN)
        })?;
        Ok(SessionPermit { _slot: Some(slot) })
    }
}

impl RequestPermit {
    /// For who has no limits.
    pub(super) fn unlimited() -> Self {
        Self { _slot: None }
    }
}

impl SessionPermit {
    /// For who has no limits.
    pub(super) fn unlimited() -> Self {
        Self { _slot: None }
    }
}

fn take_slot(taken: &Arc<AtomicU32>, most: u32) -> Option<Slot> {
    let one_more = |count| (count < most).then_some(count + 1);
    taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
    Some(Slot(Arc::clone(taken)))
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: KeyLimits = KeyLimits { requests_per_minute: 3, requests_in_flight: 2, sessions: 1 };

    #[test]
    fn places_come_back_and_the_rate_does_not() {
        let usage = Usage::new(&LIMITS);
        let first = usage.begin_request(&LIMITS).unwrap();
        let _second = usage.begin_request(&LIMITS).unwrap();
        let full = usage.begin_request(&LIMITS).unwrap_err();
        assert!(full.message.contains("2 requests under way"), "{full:?}");
        drop(first);
        // What was refused for its place has not cost the rate anything.
        drop(usage.begin_request(&LIMITS).unwrap());
        let fast = usage.begin_request(&LIMITS).unwrap_err();
        assert!(fast.message.contains("3 requests a minute"), "{fast:?}");
        assert!(fast.retry_after.unwrap().as_secs() <= 20);
        // A refusal for the rate holds no place.
        assert_eq!(usage.requests.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn sessions_are_counted_on_their_own() {
        let usage = Usage::new(&LIMITS);
        let open = usage.open_session(&LIMITS).unwrap();
        assert!(usage.open_session(&LIMITS).is_err());
        drop(open);
        assert!(usage.open_session(&LIMITS).is_ok());
    }
}
