//! How many requests may wait or run, and what those are told who come too many.
//!
//! A place is taken before anything is spent on a request and given back when it is over. So the queues
//! behind it can never overflow, and memory is bounded by places times the largest message. An owner may take another
//! place while it holds no more than are free: a few cannot take all, and one alone has most (the dynamic threshold of
//! Choudhury and Hahne 1998).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Owner;

/// The queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the queue of {places} places has none left for this; try again in {retry_after_ms} ms")]
pub struct Busy {
    /// Requests the queue holds.
    pub places: usize,
    /// When trying again makes sense, from how long answers took of late.
    pub retry_after_ms: u32,
}

/// The places that each owner holds; those who hold none are left out.
type Held = Arc<Mutex<HashMap<Owner, usize>>>;

/// A place in the queue; dropping it lets the next one in.
#[derive(Debug)]
pub struct Place {
    owned: Option<(Owner, Held)>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((owner, held)) = &self.owned else { return };
        if let Entry::Occupied(mut places) = lock(held).entry(*owner) {
            *places.get_mut() -= 1;
            if *places.get() == 0 {
                places.remove();
            }
        }
    }
}

fn lock(held: &Held) -> MutexGuard<'_, HashMap<Owner, usize>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
pub(super) struct Admission {
    semaphore: Arc<Semaphore>,
    places: usize,
    held: Held,
    /// Moving average of the time one answer takes the model, in milliseconds.
    service_ms: AtomicU32,
}

impl Admission {
    /// What is told before the first answer was measured.
    const FIRST_GUESS_MS: u32 = 1_000;
    const RETRY_AFTER_MS: std::ops::RangeInclusive<u32> = 100..=60_000;

    pub(super) fn new(places: usize) -> Self {
        Self {
            semaphore: Arc::new(Semaphore::new(places)),
            places,
            held: Held::default(),
            service_ms: AtomicU32::new(Self::FIRST_GUESS_MS),
        }
    }

    pub(super) fn reserve(&self) -> Result<Place, Busy> {
        match Arc::clone(&self.semaphore).try_acquire_owned() {
            Ok(permit) => Ok(Place { owned: None, _permit: permit }),
            // The next place is free when the running answer ends, but everyone refused comes back then.
            Err(_full) => Err(Busy { places: self.places, retry_after_ms: self.retry_after_ms() }),
        }
    }

    /// As [`Self::reserve`] for an owner, who leaves some places to others.
    pub(super) fn reserve_for(&self, owner: Owner) -> Result<Place, Busy> {
        let mut held = lock(&self.held);
        let places = held.get(&owner).copied().unwrap_or(0);
        if places > self.semaphore.available_permits() {
            return Err(Busy { places: self.places, retry_after_ms: self.retry_after_ms() });
        }
        let mut place = self.reserve()?;
        held.insert(owner, places + 1);
        place.owned = Some((owner, Arc::clone(&self.held)));
        Ok(place)
    }

    pub(super) fn occupancy(&self) -> usize {
        self.places - self.semaphore.available_permits()
    }

    /// Learns from one answer; an exponential average over about the last eight.
    pub(super) fn record_service(&self, took: Duration) {
        let took_ms = u32::try_from(took.as_millis()).unwrap_or(u32::MAX);
        // One model thread writes this, so no update is lost.
        let average_ms = self.service_ms.load(Ordering::Relaxed);
        self.service_ms.store(average_ms - average_ms / 8 + took_ms / 8, Ordering::Relaxed);
    }

    /// When a place, or the memory of a running request, is likely to be free.
    pub(super) fn retry_after_ms(&self) -> u32 {
        let half_the_queue = u32::try_from(self.places.div_ceil(2)).unwrap_or(u32::MAX);
        let wait_ms = self.service_ms.load(Ordering::Relaxed).saturating_mul(half_the_queue);
        wait_ms.clamp(*Self::RETRY_AFTER_MS.start(), *Self::RETRY_AFTER_MS.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_come_back() {
        let admission = Admission::new(2);
        let first = admission.reserve().unwrap();
        let _second = admission.reserve().unwrap();
        assert_eq!(admission.occupancy(), 2);
        assert_eq!(admission.reserve().unwrap_err(), Busy { places: 2, retry_after_ms: 1_000 });
        drop(first);
        assert!(admission.reserve().is_ok());
    }

    #[test]
    fn few_owners_cannot_take_every_place() {
        let admission = Admission::new(16);
        let mut taken = Vec::new();
        let mut by_owner = Vec::new();
        for _ in 0..8 {
            let owner = Owner::unique();
            let places: Vec<Place> =
                std::iter::from_fn(|| admission.reserve_for(owner).ok()).take(4).collect();
            by_owner.push(places.len());
            taken.push(places);
        }
        assert_eq!(by_owner[..4], [4, 4, 4, 3]);
        assert_eq!(by_owner[4], 1, "one is left for whoever comes next: {by_owner:?}");
        drop(taken);
        assert_eq!((admission.occupancy(), lock(&admission.held).len()), (0, 0));
        let alone = Owner::unique();
        let places: Vec<Place> = std::iter::from_fn(|| admission.reserve_for(alone).ok()).collect();
        assert_eq!(places.len(), 9);
    }

    #[test]
    fn the_advice_follows_the_measured_time() {
        let admission = Admission::new(0);
        for _ in 0..100 {
            admission.record_service(Duration::from_millis(400));
        }
        assert!(admission.service_ms.load(Ordering::Relaxed).abs_diff(400) < 10);
        assert_eq!(admission.reserve().unwrap_err().retry_after_ms, 100);
    }
}
