//! The model thread: continuous batching of all running requests.
//!
//! Each step looks at what has come for the running requests, lets at most one of them read a prompt, and runs one
//! pass of the target for all that have something to write or to verify. Those that waited longest go first, and a new
//! request joins at the next step. Requests that wait for late media or for drafts hold a place and a cache, but no seat
//! in the batch. A job that fails fails alone; only of a pass that fails do all that took part hear.

use std::sync::Arc;
use std::time::{Duration, Instant};

use msao_models::{Generation, Scores};
use msao_protocol::{ErrorCode, FinishReason, SpanKind};

use super::co_located::{self, DraftModel, Drafter};
use super::pipeline::{Completed, Decoded, Late, Pipeline, RequestKey};
use super::reading::{Extent, Models};
use super::request::{Context, Request, Turn};
use super::verification::Drafts;
use crate::engine::admission::Admission;
use crate::engine::stage::guarded;
use crate::engine::statistics::Counters;
use crate::engine::{EngineError, EngineEvent, MAX_PROPOSED_TOKENS};
use crate::intake::{self, Refusal};

pub(super) struct Scheduler {
    pub(super) models: Models,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) admission: Arc<Admission>,
    pub(super) counters: Arc<Counters>,
    /// Most requests that share a pass.
    pub(super) max_batch: usize,
    /// How long announced media are waited for.
    pub(super) attach_wait: Duration,
    pub(super) running: Vec<Request>,
    pub(super) next_key: RequestKey,
    pub(super) passes: u64,
}

/// How a request ends.
enum End {
    Finished(FinishReason),
    Failed(EngineError),
}

impl Scheduler {
    /// Works until the pipeline stops.
    pub(super) fn run(mut self) {
        while !self.pipeline.is_stopped() {
            self.read_mail();
            let has_read = self.read_one_prompt();
            self.counters.set_running(self.running.len());
            let has_passed = self.pass();
            if !has_read && !has_passed {
                let deadline = self.next_deadline();
                self.pipeline.wait(deadline);
            }
        }
    }

    /// Looks at what has come for each running request, and ends those that are over.
    fn read_mail(&mut self) {
        let now = Instant::now();
        let mut ends = Vec::new();
        for request in &mut self.running {
            if let Some(end) = look_at(request, now, &self.pipeline, self.attach_wait) {
                ends.push((request.key, end));
            }
        }
        self.end(ends);
        self.counters.set_running(self.running.len());
    }

    fn end(&mut self, ends: Vec<(RequestKey, End)>) {
        for (key, end) in ends {
            let Some(index) = self.running.iter().position(|request| request.key == key) else { continue };
            let request = self.running.remove(index);
            match end {
                End::Failed(error) => request.fail(error),
                End::Finished(reason) => {
                    let service_ms = request.finish(reason);
                    self.admission.record_service(Duration::from_secs_f64(service_ms / 1000.0));
                }
            }
        }
    }

    /// Lets one request read its prompt: one whose late media have come or whose draft model was called in the course of
    /// the answer, else a new one; says whether one did.
    fn read_one_prompt(&mut self) -> bool {
        let key = if let Some(completed) = self.pipeline.take_completed() {
            let key = completed.key;
            self.complete(completed);
            key
        } else {
            let seats_taken = self.running.iter().filter(|request| request.holds_seat()).count();
            let next = if seats_taken < self.max_batch { self.pipeline.take_decoded() } else { None };
            let Some(decoded) = next else { return false };
            self.begin(decoded)
        };
        for other in self.running.iter_mut().filter(|request| request.key != key) {
            other.lap_idle();
        }
        true
    }

    fn begin(&mut self, decoded: Decoded) -> RequestKey {
        let Decoded { place, job, mut ledger, prompt } = decoded;
        ledger.lap(SpanKind::Queue);
        self.next_key += 1;
        let max_new_tokens = job.max_new_tokens as usize;
        let context = if job.is_cancelled() {
            Ok((Context::Partial { generation: None, is_completing: false }, DraftModel::Unasked))
        } else if job.is_partial() {
            // Without a question there is nothing to propose an answer to.
            let has_question = !prompt.question.trim().is_empty() || prompt.audio.is_some();
            let generation =
                has_question.then(|| self.models.read(&prompt, Extent::Partial, &mut ledger)).transpose();
            generation.map(|generation| {
                let bound = max_new_tokens.min(MAX_PROPOSED_TOKENS);
                let generation = generation.map(|generation| generation.with_max_new_tokens(bound));
                (Context::Partial { generation, is_completing: false }, DraftModel::Unasked)
            })
        } else {
            self.models.read(&prompt, Extent::Whole, &mut ledger).map(|generation| {
                let draft_model = self.models.drafter_if_wanted(job.speculation(), prompt, &mut ledger);
                (Context::Whole(generation.with_max_new_tokens(max_new_tokens)), draft_model)
            })
        };
        match context {
            Ok((context, draft_model)) => {
                let begun = (self.next_key, self.models.target.clone(), Instant::now() + self.attach_wait);
                let mut request = Request::new(begun, (place, job, ledger), context, draft_model);
                // What came while it was queued is there before the first pass.
                request.take_drafting();
                self.running.push(request);
            }
            Err(error) => {
                drop(place);
                job.report(EngineEvent::Failed(error));
            }
        }
        self.next_key
    }

    fn complete(&mut self, completed: Completed) {
        let Completed { key, prompt, began, ended } = completed;
        // It may have been cancelled in the meantime.
        let Some(request) = self.running.iter_mut().find(|request| request.key == key) else { return };
        if let Context::Whole(_) = &request.context {
            // Steered here while it was written. The client may have steered on since; it is read all the same, so that
            // steering to and fro decodes and reads no more than once.
            request.lap_idle();
            request.draft_model = match prompt {
                Ok(prompt) => self.models.drafter(prompt, &mut request.ledger),
                Err(error) => {
                    tracing::debug!(%error, "the draft model has no prompt");
                    DraftModel::Unable
                }
            };
            return;
        }
        request.ledger.lap_until(SpanKind::Wait, began);
        request.ledger.lap_until(SpanKind::DecodeMedia, ended);
        request.ledger.lap(SpanKind::Queue);
        let read = prompt.and_then(|prompt| {
            let generation = self.models.read(&prompt, Extent::Whole, &mut request.ledger)?;
            let speculation = request.speculation();
            let draft_model = self.models.drafter_if_wanted(speculation, prompt, &mut request.ledger);
            Ok((generation.with_max_new_tokens(request.job.max_new_tokens as usize), draft_model))
        });
        match read {
            Ok((generation, draft_model)) => request.complete(generation, draft_model),
            Err(error) => self.end(vec![(key, End::Failed(error))]),
        }
    }

    /// One pass of the target for all that have something to write or to verify; says whether there was one.
    fn pass(&mut self) -> bool {
        let now = Instant::now();
        // Stable, so that among equals the first to come goes first.
        self.running.sort_by_key(|request| request.last_pass);
        let mut members: Vec<&mut Request> = self
            .running
            .iter_mut()
            .filter_map(|request| {
                let takes_part = request.finish_reason().is_none() && request.turn(now) == Turn::Pass;
                takes_part.then_some(request)
            })
            .take(self.max_batch)
            .collect();
        if members.is_empty() {
            return false;
        }
        propose(&mut members);
        self.passes += 1;
        self.counters.count_pass(members.len());
        let drafts: Vec<Drafts> = members.iter_mut().map(|request| request.begin_pass()).collect();
        let mut ends = Vec::new();
        match score(&mut members, &drafts) {
            Ok(scores) => {
                for ((request, drafts), scores) in members.iter_mut().zip(&drafts).zip(scores) {
                    request.last_pass = self.passes;
                    match guarded(|| Ok(request.end_pass(drafts, &scores)?)) {
                        Ok(round) => self.counters.count_round(round.proposed, round.accepted, round.settled),
                        Err(error) => ends.push((request.key, End::Failed(error))),
                    }
                }
            }
            Err(error) => {
                ends.extend(members.iter().map(|request| (request.key, End::Failed(error.clone()))));
            }
        }
        self.end(ends);
        for other in self.running.iter_mut().filter(|request| request.last_pass != self.passes) {
            other.lap_idle();
        }
        true
    }

    fn next_deadline(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let deadline = |request: &mut Request| match request.turn(now) {
            // It became ready since the last look.
            Turn::Pass => Some(now),
            Turn::Wait(until) => until,
        };
        self.running.iter_mut().filter_map(deadline).min()
    }
}

fn look_at(request: &mut Request, now: Instant, pipeline: &Pipeline, attach_wait: Duration) -> Option<End> {
    if let Some(reason) = request.finish_reason() {
        return Some(End::Finished(reason));
    }
    if request.job.is_cancelled() {
        return Some(End::Finished(FinishReason::Cancelled));
    }
    if let Some(refusal) = request.job.take_refusal() {
        return Some(End::Failed(refusal.into()));
    }
    if let Context::Partial { is_completing: is_completing @ false, .. } = &mut request.context {
        if request.job.complete() {
            *is_completing = true;
            pipeline.complete(Late { key: request.key, ask: Arc::clone(&request.job.ask) });
        } else if now >= request.attach_deadline {
            let missing: Vec<_> = request.job.ask.pending.iter().copied().map(intake::name_of).collect();
            let message = format!(
                "{} was announced and did not come within {} s: attach it in time, or ask without it",
                missing.join(" and "),
                attach_wait.as_secs_f32()
            );
            return Some(End::Failed(Refusal::new(ErrorCode::TimedOut, message).into()));
        }
    }
    request.take_drafting();
    if request.calls_draft_model() {
        // Pixels were not kept, since they can be a hundred times the files; those are still there.
        pipeline.complete(Late { key: request.key, ask: Arc::clone(&request.job.ask) });
    }
    None
}

/// Lets the draft model write for those that want it.
fn propose(members: &mut [&mut Request]) {
    let mut proposing: Vec<&mut Request> = members
        .iter_mut()
        .map(|request| &mut **request)
        .filter_map(|request| {
            let writes = request.prepare_drafter();
            writes.then_some(request)
        })
        .collect();
    if proposing.is_empty() {
        return;
    }
    let outcome = guarded(|| {
        let mut drafters: Vec<&mut Drafter> =
            proposing.iter_mut().filter_map(|request| request.draft_model.drafter()).collect();
        co_located::propose(&mut drafters)
    });
    if let Err(error) = &outcome {
        tracing::error!(%error, "the draft model failed; its answers go on without it");
    }
    let writers: Vec<RequestKey> = proposing.iter().map(|request| request.key).collect();
    for request in members {
        if writers.contains(&request.key) {
            request.end_proposal(outcome.is_ok());
        } else {
            request.lap_idle();
        }
    }
}

/// Runs what all want looked at; each settles it by its own rule.
fn score(members: &mut [&mut Request], drafts: &[Drafts]) -> Result<Vec<Scores>, EngineError> {
    guarded(|| {
        let mut generations: Vec<&mut Generation> =
            members.iter_mut().filter_map(|request| request.generation()).collect();
        let runs: Vec<&[u32]> = drafts.iter().map(|drafts| drafts.tokens.as_slice()).collect();
        Ok(pollster::block_on(Generation::score_many(&mut generations, &runs))?)
    })
}
