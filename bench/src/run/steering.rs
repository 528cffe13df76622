//! What is said to the edge while it answers: the native counterpart of the Worker's `steering.js`.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use msao_runtime::steering::{Correction, Steer};

/// The mailbox of one question, between the thread that decides and the one that writes.
#[derive(Debug, Default)]
pub(super) struct Steering {
    said: Mutex<Said>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Said {
    is_planned: bool,
    is_cancelled: bool,
    is_released: bool,
    correction: Option<Correction>,
}

impl Steering {
    /// There is a plan in which the edge writes.
    pub(super) fn plan(&self) {
        self.say(|said| said.is_planned = true);
    }

    /// Takes the place of a correction that was not taken up yet: each says all that stands.
    pub(super) fn correct(&self, correction: Correction) {
        self.say(|said| said.correction = Some(correction));
    }

    /// Ends the wait after the answer; one that is still being written is written to its end.
    pub(super) fn release(&self) {
        self.say(|said| said.is_released = true);
    }

    /// Ends the answer.
    pub(super) fn cancel(&self) {
        self.say(|said| said.is_cancelled = true);
    }

    /// How to go on after the scores, once that is known: `false` to stop.
    pub(super) fn wait_for_plan(&self) -> bool {
        let said = self.wait(|said| !said.is_planned && !said.is_cancelled);
        !said.is_cancelled
    }

    /// How to go on after a token.
    pub(super) fn take(&self) -> Steer {
        take(&mut self.lock())
    }

    /// How to go on after the answer, once that is known.
    pub(super) fn wait_after_end(&self) -> Steer {
        let waits = |said: &mut Said| !said.is_cancelled && !said.is_released && said.correction.is_none();
        take(&mut self.wait(waits))
    }

    fn say(&self, what: impl FnOnce(&mut Said)) {
        what(&mut self.lock());
        self.wake.notify_all();
    }

    fn wait(&self, waits: impl FnMut(&mut Said) -> bool) -> MutexGuard<'_, Said> {
        self.wake.wait_while(self.lock(), waits).unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take(said: &mut Said) -> Steer {
    match (said.is_cancelled, said.correction.take()) {
        (true, _) => Steer::Stop,
        (false, Some(correction)) => Steer::Correct(correction),
        (false, None) => Steer::GoOn,
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;

    fn correction(revision: u32) -> Correction {
        Correction { revision, start: 0, tokens: vec![revision] }
    }

    #[test]
    fn the_last_correction_counts_and_is_taken_once() {
        let steering = Steering::default();
        assert_eq!(steering.take(), Steer::GoOn);
        steering.correct(correction(1));
        steering.correct(correction(2));
        assert_eq!(steering.take(), Steer::Correct(correction(2)));
        assert_eq!(steering.take(), Steer::GoOn);
        steering.release();
        assert_eq!(steering.take(), Steer::GoOn, "what is being written is written to its end");
        steering.cancel();
        assert_eq!(steering.take(), Steer::Stop);
    }

    #[test]
    fn the_wait_after_the_answer_ends_with_each_thing_that_may_be_said() {
        let ends = [
            (Steering::release as fn(&Steering), Steer::GoOn),
            (Steering::cancel, Steer::Stop),
            (|steering| steering.correct(correction(7)), Steer::Correct(correction(7))),
        ];
        for (say, expected) in ends {
            let steering = Arc::new(Steering::default());
            let waiting = Arc::clone(&steering);
            let waiter = thread::spawn(move || waiting.wait_after_end());
            steering.plan();
            assert!(!waiter.is_finished());
            say(&steering);
            assert_eq!(waiter.join().unwrap(), expected);
        }
    }

    #[test]
    fn scores_wait_for_the_plan() {
        let steering = Steering::default();
        steering.plan();
        assert!(steering.wait_for_plan());
        steering.cancel();
        assert!(!steering.wait_for_plan());
    }
}
