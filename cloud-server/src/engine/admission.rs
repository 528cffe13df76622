//! How many requests may wait or run, and what those are told who come too many.
//!
//! A place is taken before anything is spent on a request and given back when it is over. So the queues
//! behind it can never overflow, and memory is bounded by places times the largest message. An owner may take another
//! place while it holds no more than are free: a few cannot take all, and one alone has most (the dynamic threshold of
//! Choudhury and Hahne 1998). Who would wait too long in [`Line`] gets no place either.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Owner;
use super::line::Line;

/// There is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}; try again in {retry_after_ms} ms")]
pub struct Busy {
    /// Why.
    pub reason: BusyReason,
    /// When trying again makes sense, from how long answers took of late.
    pub retry_after_ms: u32,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BusyReason {
    /// The queue is full.
    #[error("the queue of {places} places has none left for this")]
    Full {
        /// Requests the queue holds.
        places: usize,
    },
    /// It would not be begun soon enough.
    #[error("this would wait about {wait_ms} ms to be read, which is longer than anyone waits here")]
    Wait {
        /// For how long.
        wait_ms: u32,
    },
}

/// The places that each owner holds; those who hold none are left out.
type Held = Arc<Mutex<HashMap<Owner, usize>>>;

/// A place in the queue; dropping it lets the next one in.
#[derive(Debug)]
pub struct Place {
    owned: Option<(Owner, Held)>,
    /// Since when it is in line; `None` once its prompt is read.
    in_line: Option<(Instant, Arc<Line>)>,
    /// Whether whoever holds it runs.
    is_begun: bool,
    begun: Arc<AtomicUsize>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// Whoever holds it has been read and runs; others wait for it no longer.
    pub(super) fn begin_read(&mut self) {
        if let Some((joined, line)) = self.in_line.take() {
            line.read(joined, Instant::now());
        }
        self.begin();
    }

    /// Whoever holds it runs, and never waited for anybody to be read here.
    pub(super) fn begin_unread(&mut self) {
        self.leave_line();
        self.begin();
    }

    fn begin(&mut self) {
        if !std::mem::replace(&mut self.is_begun, true) {
            self.begun.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn leave_line(&mut self) {
        if let Some((_, line)) = self.in_line.take() {
            line.leave();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave_line();
        if self.is_begun {
            self.begun.fetch_sub(1, Ordering::Relaxed);
        }
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
    line: Arc<Line>,
    /// Places whose holders run.
    begun: Arc<AtomicUsize>,
    /// Moving average of the time one answer takes the model, in milliseconds.
    service_ms: AtomicU32,
}

impl Admission {
    /// What is told before the first answer was measured.
    const FIRST_GUESS_MS: u32 = 1_000;

    pub(super) fn new(places: usize, max_wait: Duration) -> Self {
        Self {
            semaphore: Arc::new(Semaphore::new(places)),
            places,
            held: Held::default(),
            line: Arc::new(Line::new(max_wait)),
            begun: Arc::default(),
            service_ms: AtomicU32::new(Self::FIRST_GUESS_MS),
        }
    }

    pub(super) fn reserve(&self) -> Result<Place, Busy> {
        // The next place is free when the running answer ends, but everyone refused comes back then.
        let permit = Arc::clone(&self.semaphore).try_acquire_owned().map_err(|_| self.full())?;
        self.line.join().map_err(|wait| {
            let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
            Busy { reason: BusyReason::Wait { wait_ms }, retry_after_ms: bounded(wait_ms) }
        })?;
        let in_line = Some((Instant::now(), Arc::clone(&self.line)));
        let begun = Arc::clone(&self.begun);
        Ok(Place { owned: None, in_line, is_begun: false, begun, _permit: permit })
    }

    fn full(&self) -> Busy {
        Busy { reason: BusyReason::Full { places: self.places }, retry_after_ms: self.retry_after_ms() }
    }

    /// As [`Self::reserve`] for an owner, who leaves some places to others.
    pub(super) fn reserve_for(&self, owner: Owner) -> Result<Place, Busy> {
        let mut held = lock(&self.held);
        let places = held.get(&owner).copied().unwrap_or(0);
        if places > self.semaphore.available_permits() {
            return Err(self.full());
        }
        let mut place = self.reserve()?;
        held.insert(owner, places + 1);
        place.owned = Some((owner, Arc::clone(&self.held)));
        Ok(place)
    }

    pub(super) fn occupancy(&self) -> usize {
        self.places - self.semaphore.available_permits()
    }

    /// How many of the places taken are of requests that run; it falls before their clients hear of the end.
    pub(super) fn running(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
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
        bounded(self.service_ms.load(Ordering::Relaxed).saturating_mul(half_the_queue))
    }
}

/// Not so soon that it only makes work, and not so late that nobody comes back.
fn bounded(retry_after_ms: u32) -> u32 {
    retry_after_ms.clamp(100, 60_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENT: Duration = Duration::from_secs(60);

    #[test]
    fn places_are_bounded_and_come_back() {
        let admission = Admission::new(2, PATIENT);
        let first = admission.reserve().unwrap();
        let _second = admission.reserve().unwrap();
        assert_eq!(admission.occupancy(), 2);
        assert_eq!(
            admission.reserve().unwrap_err(),
            Busy { reason: BusyReason::Full { places: 2 }, retry_after_ms: 1_000 }
        );
        drop(first);
        assert!(admission.reserve().is_ok());
    }

    #[test]
    fn who_has_begun_runs_until_the_place_is_given_back() {
        let admission = Admission::new(3, PATIENT);
        let [mut read, mut unread, _waiting] = [(); 3].map(|()| admission.reserve().unwrap());
        assert_eq!(admission.running(), 0);
        read.begin_read();
        unread.begin_unread();
        unread.begin_unread();
        assert_eq!((admission.running(), admission.occupancy()), (2, 3));
        drop(read);
        drop(unread);
        assert_eq!((admission.running(), admission.occupancy()), (0, 1));
    }

    #[test]
    fn few_owners_cannot_take_every_place() {
        let admission = Admission::new(16, PATIENT);
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
    fn who_would_wait_too_long_is_told_for_how_long() {
        let admission = Admission::new(16, Duration::ZERO);
        let mut first = admission.reserve().unwrap();
        std::thread::sleep(Duration::from_millis(20));
        first.begin_read();
        let _ahead = admission.reserve().unwrap();
        let behind = admission.reserve().unwrap();
        let Busy { reason: BusyReason::Wait { wait_ms }, retry_after_ms } = admission.reserve().unwrap_err()
        else {
            panic!("places are left")
        };
        assert!(wait_ms >= 40 && retry_after_ms >= wait_ms.min(60_000), "{wait_ms} {retry_after_ms}");
        drop(behind);
        assert!(admission.reserve().is_ok(), "who goes unread is waited for by nobody");
    }

    #[test]
    fn the_advice_follows_the_measured_time() {
        let admission = Admission::new(0, PATIENT);
        for _ in 0..100 {
            admission.record_service(Duration::from_millis(400));
        }
        assert!(admission.service_ms.load(Ordering::Relaxed).abs_diff(400) < 10);
        assert_eq!(admission.reserve().unwrap_err().retry_after_ms, 100);
    }
}
