//! Which prompt the model reads next, and how room is made for it.
//!
//! A prompt that does not fit the memory for keys and values beside what runs takes the place of what is kept of finished
//! requests first, then of requests that only wait, which are read again when they go on. What runs is never touched: it
//! ends by itself, and a new prompt waits for that a while before it is sent away; one that had begun before waits as long
//! as it takes.

use std::time::Instant;

use msao_protocol::SpanKind;

use super::co_located::DraftModel;
use super::context::Context;
use super::kv_budget::Hold;
use super::pipeline::{Completed, Decoded, Decoding, RequestKey};
use super::reading::{Extent, Models, Room};
use super::request::Request;
use super::retention::{KeptKey, Retention, Sequence};
use super::scheduler::Scheduler;
use crate::engine::ledger::Ledger;
use crate::engine::{EngineError, EngineEvent, MAX_PROPOSED_TOKENS, Owner};

/// Prompts that wait for room.
#[derive(Default)]
pub(super) struct Stalled {
    /// Of a request that has begun.
    begun: Option<Completed>,
    /// Of one that has not, and since when.
    new: Option<(Decoded, Instant)>,
}

/// Why a prompt was not read.
pub(super) enum Obstacle {
    /// What runs takes all room.
    NoRoom,
    Failed(EngineError),
}

impl From<EngineError> for Obstacle {
    fn from(error: EngineError) -> Self {
        Self::Failed(error)
    }
}

/// Takes room, at the cost of what is kept and of requests that wait; of these, those that took part in a pass longest ago
/// go first. Where all of it would not do, nothing is given up.
pub(super) fn make_room(
    retention: &Retention,
    running: &mut [Request],
    bytes: u64,
    spared: Option<KeptKey>,
) -> Option<Hold> {
    let waiting: u64 = running.iter().map(Request::evictable_bytes).sum();
    if bytes > retention.free_bytes() + waiting {
        return None;
    }
    loop {
        if let Some(hold) = retention.make_room(bytes, spared) {
            return Some(hold);
        }
        let mut by_age: Vec<&mut Request> = running.iter_mut().collect();
        by_age.sort_by_key(|request| request.last_pass);
        if !by_age.into_iter().any(Request::evict) {
            return None;
        }
        retention.count_eviction();
    }
}

/// Reads a prompt, going on from what is kept of its owner.
pub(super) fn read(
    models: &Models,
    running: &mut [Request],
    (media, extent, owner): (&Decoding, Extent, Owner),
    max_new_tokens: usize,
    ledger: &mut Ledger,
) -> Result<Sequence, Obstacle> {
    let retention = &models.retention;
    let demand = models.demand(media, max_new_tokens)?;
    let found = retention.find(owner, &demand.content);
    let hold = make_room(retention, running, demand.bytes, found).ok_or(Obstacle::NoRoom)?;
    let before = retention.copy_beginning(found, &demand.content, demand.positions);
    Ok(models.read(media, extent, (demand, Room { hold, before }), ledger)?)
}

impl Scheduler {
    /// Lets one request read its prompt: one whose late media have come, that was evicted, or whose draft model was called
    /// in the course of the answer, else a new one; says whether one did.
    pub(super) fn read_one_prompt(&mut self) -> bool {
        let key =
            if let Some(completed) = self.stalled.begun.take().or_else(|| self.pipeline.take_completed()) {
                self.complete(completed)
            } else {
                let seats_taken = self.running.iter().filter(|request| request.holds_seat()).count();
                let next = match self.stalled.new.take() {
                    Some(stalled) => Some(stalled),
                    None if seats_taken < self.max_batch => {
                        self.pipeline.take_decoded().map(|decoded| (decoded, Instant::now()))
                    }
                    None => None,
                };
                let Some((decoded, since)) = next else { return false };
                self.begin(decoded, since)
            };
        let Some(key) = key else { return false };
        for other in self.running.iter_mut().filter(|request| request.key != key) {
            other.lap_idle();
        }
        true
    }

    /// When a prompt that waits for room is sent away.
    pub(super) fn stalled_deadline(&self) -> Option<Instant> {
        self.stalled.new.as_ref().map(|(_, since)| *since + self.memory_wait)
    }

    fn begin(&mut self, decoded: Decoded, since: Instant) -> Option<RequestKey> {
        let Decoded { mut place, job, mut ledger, media } = decoded;
        ledger.lap(SpanKind::Queue);
        let max_new_tokens = job.max_new_tokens as usize;
        let reading = if job.is_cancelled() {
            Ok(None)
        } else if !job.is_partial() {
            let what = (&media, Extent::Whole, job.owner());
            read(&self.models, &mut self.running, what, max_new_tokens, &mut ledger).map(Some)
        } else if media.prompt.question.trim().is_empty() && media.prompt.audio.is_none() {
            // Without a question there is nothing to propose an answer to.
            Ok(None)
        } else {
            let (what, bound) =
                ((&media, Extent::Partial, job.owner()), max_new_tokens.min(MAX_PROPOSED_TOKENS));
            read(&self.models, &mut self.running, what, bound, &mut ledger).map(Some)
        };
        let sequence = match reading {
            Ok(sequence) => sequence,
            Err(Obstacle::NoRoom) if since.elapsed() < self.memory_wait => {
                self.stalled.new = Some((Decoded { place, job, ledger, media }, since));
                return None;
            }
            Err(obstacle) => {
                drop(place);
                job.report(EngineEvent::Failed(self.error_of(obstacle)));
                return Some(self.new_key());
            }
        };
        place.begin_read();
        let (context, draft_model) = match sequence {
            Some(sequence) if !job.is_partial() => {
                let draft_model = self.models.drafter_if_wanted(job.speculation(), media.prompt, &mut ledger);
                (Context::Whole(sequence), draft_model)
            }
            sequence => (Context::Partial { sequence, is_completing: false }, DraftModel::Unasked),
        };
        let key = self.new_key();
        let begun = (key, self.models.target.clone(), Instant::now() + self.attach_wait);
        let mut request = Request::new(begun, (place, job, ledger), context, draft_model);
        // What came while it was queued is there before the first pass.
        request.take_drafting();
        self.running.push(request);
        Some(key)
    }

    /// Goes on with a request, or a verification, whose whole prompt is there.
    fn complete(&mut self, completed: Completed) -> Option<RequestKey> {
        let Completed { key, media, began, ended } = completed;
        let Some(index) = self.running.iter().position(|request| request.key == key) else {
            // It is a verification, or may have been cancelled in the meantime.
            return self.complete_verification(Completed { key, media, began, ended });
        };
        let mut request = self.running.remove(index);
        if let Context::Whole(_) = &request.context {
            // Steered here while it was written. The client may have steered on since; it is read all the same, so that
            // steering to and fro decodes and reads no more than once.
            request.lap_idle();
            if let DraftModel::Awaiting = request.draft_model {
                request.draft_model = match media {
                    Ok(media) => self.models.drafter(media.prompt, &mut request.ledger),
                    Err(error) => {
                        tracing::debug!(%error, "the draft model has no prompt");
                        DraftModel::Unable
                    }
                };
            }
            self.running.push(request);
            return Some(key);
        }
        request.ledger.lap_until(SpanKind::Wait, began);
        request.ledger.lap_until(SpanKind::DecodeMedia, ended);
        request.ledger.lap(SpanKind::Queue);
        let is_again = matches!(request.context, Context::Evicted { .. });
        if !is_again {
            // What it read of a part is of no use to the whole.
            request.context = Context::Partial { sequence: None, is_completing: true };
        }
        let media = match media {
            Ok(media) => media,
            Err(error) => {
                request.fail(error);
                return Some(key);
            }
        };
        request.ledger.count_flops(media.flops);
        let what = (&media, Extent::Whole, request.job.owner());
        let max_new_tokens = request.job.max_new_tokens as usize;
        match read(&self.models, &mut self.running, what, max_new_tokens, &mut request.ledger) {
            Ok(sequence) => {
                if is_again {
                    self.models.retention.count_re_prefill();
                }
                let speculation = request.speculation();
                let draft_model =
                    self.models.drafter_if_wanted(speculation, media.prompt, &mut request.ledger);
                match request.complete(sequence, draft_model) {
                    Ok(()) => self.running.push(request),
                    Err(error) => request.fail(error.into()),
                }
                Some(key)
            }
            Err(Obstacle::NoRoom) => {
                self.stalled.begun = Some(Completed { key, media: Ok(media), began, ended });
                self.running.push(request);
                None
            }
            Err(Obstacle::Failed(error)) => {
                request.fail(error);
                Some(key)
            }
        }
    }

    /// Keeps the prompt of a verification for when there is room.
    pub(super) fn stall(&mut self, completed: Completed) {
        self.stalled.begun = Some(completed);
    }

    pub(super) fn new_key(&mut self) -> RequestKey {
        self.next_key += 1;
        self.next_key
    }

    /// What is told of an obstacle that nobody waits for any longer.
    pub(super) fn error_of(&self, obstacle: Obstacle) -> EngineError {
        match obstacle {
            Obstacle::NoRoom => EngineError::NoMemory { retry_after_ms: self.admission.retry_after_ms() },
            Obstacle::Failed(error) => error,
        }
    }
}
