//! How long a new prompt would wait until it is read, from how fast prompts were read of late.
//!
//! Under more load than a server can do, a queue that is bounded by its length alone stays full, and whoever is admitted
//! waits for all of it: every answer is complete and too late. Bounded by time it holds as many as can be served soon, and the
//! others hear at once when to try again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Those whose prompts are not read yet. Prompts are read one after the other.
#[derive(Debug)]
pub(super) struct Line {
    max_wait: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    unread: u32,
    last_read: Option<Instant>,
    /// Moving average of what reading one takes, in milliseconds; 0 before the first.
    reading_ms: f64,
}

impl Line {
    /// One in which nobody waits longer than `max_wait`, or than one prompt takes, whichever is longer.
    pub(super) fn new(max_wait: Duration) -> Self {
        Self { max_wait, state: Mutex::default() }
    }

    /// Takes somebody in.
    ///
    /// # Errors
    /// Who would wait too long; the time that it would have been.
    pub(super) fn join(&self) -> Result<(), Duration> {
        let mut state = self.lock();
        let wait = Duration::from_secs_f64(f64::from(state.unread) * state.reading_ms / 1e3);
        let one = Duration::from_secs_f64(state.reading_ms / 1e3);
        if wait > self.max_wait.max(one) {
            return Err(wait);
        }
        state.unread += 1;
        Ok(())
    }

    /// One that `joined` then is read now. What it took is counted from when the one before was read: before that it waited.
    pub(super) fn read(&self, joined: Instant, now: Instant) {
        let mut state = self.lock();
        let began = state.last_read.map_or(joined, |last| last.max(joined));
        let took_ms = now.saturating_duration_since(began).as_secs_f64() * 1e3;
        // Over about the last eight.
        state.reading_ms +=
            if state.last_read.is_none() { took_ms } else { (took_ms - state.reading_ms) / 8.0 };
        state.last_read = Some(now);
        state.unread -= 1;
    }

    /// One goes without having been read.
    pub(super) fn leave(&self) {
        self.lock().unread -= 1;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line whose prompts take `reading_ms` each, with nobody in it.
    fn measured(max_wait_ms: u64, reading_ms: u64) -> Line {
        let line = Line::new(Duration::from_millis(max_wait_ms));
        let begin = Instant::now();
        for _ in 0..40 {
            line.join().unwrap();
            let joined = line.lock().last_read.unwrap_or(begin);
            line.read(joined, joined + Duration::from_millis(reading_ms));
        }
        line
    }

    fn taken(line: &Line) -> usize {
        (0..1_000).take_while(|_| line.join().is_ok()).count()
    }

    #[test]
    fn so_many_wait_as_can_be_read_in_the_time() {
        assert_eq!(taken(&measured(500, 100)), 6, "five ahead of the last");
        assert_eq!(measured(500, 100).join(), Ok(()));
        let full = measured(500, 100);
        taken(&full);
        let wait = full.join().unwrap_err();
        assert!(wait.abs_diff(Duration::from_millis(600)) < Duration::from_millis(1), "{wait:?}");
    }

    #[test]
    fn however_slow_reading_is_one_may_wait_behind_another() {
        assert_eq!(taken(&measured(500, 60_000)), 2);
    }

    #[test]
    fn before_anything_was_measured_all_are_taken() {
        assert_eq!(taken(&Line::new(Duration::ZERO)), 1_000);
    }

    #[test]
    fn who_waited_does_not_count_as_slow() {
        let line = measured(500, 100);
        let begin = line.lock().last_read.unwrap();
        for _ in 0..5 {
            line.join().unwrap();
        }
        // All came at once and were read one after the other, each after 100 ms more.
        for turn in 1..=5 {
            line.read(begin, begin + Duration::from_millis(100 * turn));
        }
        assert!((line.lock().reading_ms - 100.0).abs() < 1.0);
        assert_eq!(taken(&line), 6);
    }

    #[test]
    fn who_leaves_makes_room() {
        let line = measured(500, 100);
        assert_eq!(taken(&line), 6);
        line.leave();
        assert!(line.join().is_ok() && line.join().is_err());
    }
}
