//! The queues between sessions, the media thread and the model thread.
//!
//! The media thread works one question ahead of the model. At most three new questions are decoded at a time (one
//! waits here, one is in the making before it, one is being read), and one that is running already. So memory is bounded
//! by `image_pixels`, however long the queue is; a question that waits for late media holds files, not pixels.
//! The queues of files are bounded by the places of admission. Among those that wait, owners take turns.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Wake;
use std::time::Instant;

use msao_models::Prompt;
use msao_protocol::Ask;

use super::content::Digest;
use super::fair_share::FairShare;
use crate::engine::ledger::Ledger;
use crate::engine::{EngineError, Job, Owner, Place, VerifyJob};

/// Names a running request on this engine.
pub(super) type RequestKey = u64;

/// A job whose media wait to be decoded.
pub(super) struct Queued {
    pub(super) place: Place,
    pub(super) job: Job,
    pub(super) ledger: Ledger,
}

/// A job whose media are decoded, as far as they have come.
pub(super) struct Decoded {
    pub(super) place: Place,
    pub(super) job: Job,
    pub(super) ledger: Ledger,
    pub(super) media: Decoding,
}

/// What became of a question's media.
pub(super) struct Decoding {
    pub(super) prompt: Prompt,
    /// Of all its media in order.
    pub(super) digests: Vec<Digest>,
    /// Frames of the last question's video that came and are not in the prompt.
    pub(super) left_out_frames: usize,
    /// Operations that choosing what is looked at took.
    pub(super) flops: u64,
}

/// A running request that needs its whole prompt: its late media have come, a draft model is to read it as well, or it was evicted.
pub(super) struct Late {
    pub(super) key: RequestKey,
    pub(super) ask: Arc<Ask>,
    /// As in the job; `None` for those that are not of it.
    pub(super) prunes_tiles: Option<bool>,
}

/// The whole prompt of a running request.
pub(super) struct Completed {
    pub(super) key: RequestKey,
    pub(super) media: Result<Decoding, EngineError>,
    pub(super) began: Instant,
    pub(super) ended: Instant,
}

/// What the media thread does next.
pub(super) enum MediaWork {
    Begin(Box<Queued>),
    Complete(Late),
}

#[derive(Default)]
struct State {
    queued: Vec<Queued>,
    shares: FairShare,
    verifications: VecDeque<(Place, VerifyJob)>,
    late: VecDeque<Late>,
    decoded: Option<Decoded>,
    completed: Option<Completed>,
    /// Whether something happened that the model thread has not looked at.
    has_news: bool,
    is_stopped: bool,
}

impl State {
    fn next_queued(&mut self) -> Option<Queued> {
        let owners: Vec<Owner> = self.queued.iter().map(|queued| queued.job.owner()).collect();
        self.shares.pick(&owners, 1).first().map(|&index| self.queued.remove(index))
    }
}

#[derive(Default)]
pub(super) struct Pipeline {
    state: Mutex<State>,
    media: Condvar,
    model: Condvar,
}

impl Wake for Pipeline {
    fn wake(self: Arc<Self>) {
        self.tell_model(|_| {});
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.tell_model(|_| {});
    }
}

impl Pipeline {
    /// Takes a job in.
    pub(super) fn submit(&self, queued: Queued) {
        self.lock().queued.push(queued);
        self.media.notify_one();
    }

    /// Takes a verification in.
    pub(super) fn submit_verification(&self, place: Place, job: VerifyJob) {
        self.tell_model(|state| state.verifications.push_back((place, job)));
    }

    /// The verifications that came since the last look.
    pub(super) fn take_verifications(&self) -> VecDeque<(Place, VerifyJob)> {
        std::mem::take(&mut self.lock().verifications)
    }

    /// Ends both threads; what is queued or running is dropped, and its events end.
    pub(super) fn stop(&self) {
        self.tell_model(|state| state.is_stopped = true);
        self.media.notify_one();
    }

    /// The media thread's next work, late media first, since a running request waits for them; `None` at the end.
    pub(super) fn next_media(&self) -> Option<MediaWork> {
        let mut state = self.lock();
        loop {
            if state.is_stopped {
                return None;
            }
            if state.completed.is_none()
                && let Some(late) = state.late.pop_front()
            {
                return Some(MediaWork::Complete(late));
            }
            if state.decoded.is_none()
                && let Some(queued) = state.next_queued()
            {
                return Some(MediaWork::Begin(Box::new(queued)));
            }
            state = self.media.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The media thread hands a job on.
    pub(super) fn hand_over(&self, decoded: Decoded) {
        self.tell_model(|state| state.decoded = Some(decoded));
    }

    /// The media thread hands a whole prompt on.
    pub(super) fn hand_over_late(&self, completed: Completed) {
        self.tell_model(|state| state.completed = Some(completed));
    }

    /// The model thread asks for the whole prompt of a running request.
    pub(super) fn complete(&self, late: Late) {
        self.lock().late.push_back(late);
        self.media.notify_one();
    }

    /// The next job to begin.
    pub(super) fn take_decoded(&self) -> Option<Decoded> {
        let decoded = self.lock().decoded.take();
        self.media.notify_one();
        decoded
    }

    /// The next whole prompt.
    pub(super) fn take_completed(&self) -> Option<Completed> {
        let completed = self.lock().completed.take();
        self.media.notify_one();
        completed
    }

    /// The model thread waits until something happens, or until `deadline`.
    pub(super) fn wait(&self, deadline: Option<Instant>) {
        let mut state = self.lock();
        while !state.has_news {
            state = match deadline {
                None => self.model.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    self.model.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        state.has_news = false;
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.lock().is_stopped
    }

    fn tell_model(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        state.has_news = true;
        drop(state);
        self.model.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::admission::Admission;
    use crate::engine::job;

    #[test]
    fn who_asked_much_does_not_keep_others_waiting() {
        let (pipeline, admission) = (Pipeline::default(), Admission::new(8, Duration::MAX));
        let submit = |request_id, owner| {
            let (job, _handle, _events) = job(Ask::new(request_id, "what?", 1), 1);
            let place = admission.reserve().unwrap();
            pipeline.submit(Queued { place, job: job.owned_by(owner), ledger: Ledger::new() });
        };
        let (many, few) = (Owner::unique(), Owner::unique());
        for request_id in 1..=5 {
            submit(request_id, many);
        }
        submit(6, few);
        submit(7, few);
        let order: Vec<u32> = (0..7)
            .map(|_| match pipeline.next_media().unwrap() {
                MediaWork::Begin(queued) => queued.job.ask.request_id,
                MediaWork::Complete(_) => panic!("nothing is late"),
            })
            .collect();
        assert_eq!(order, [1, 6, 2, 7, 3, 4, 5]);
    }
}
