//! The model thread: continuous batching of all running requests.
//!
//! Each step looks at what has come for the running requests, lets at most one of them read a prompt, and runs one
//! pass of the target for all that have something to write or to verify. Owners take turns, and of each those that waited
//! longest go first; a new request joins at the next step. Requests that wait for late media or for drafts hold a place and
//! a cache, as long as nobody else needs its memory, but no seat in the batch. A job that fails fails alone; only of a pass that fails do all that took part hear.

use std::sync::Arc;
use std::time::{Duration, Instant};

use msao_models::{Generation, Scores};
use msao_protocol::{ErrorCode, FinishReason};

use super::co_located::{self, Drafter};
use super::context::{Context, Turn};
use super::fair_share::FairShare;
use super::pipeline::{Late, Pipeline, RequestKey};
use super::prompts::Stalled;
use super::reading::Models;
use super::request::Request;
use super::verification::Drafts;
use super::verify_only::Verification;
use crate::engine::admission::Admission;
use crate::engine::stage::guarded;
use crate::engine::statistics::Counters;
use crate::engine::{EngineError, Owner};
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
    /// How long a new prompt waits for memory that what runs will give back.
    pub(super) memory_wait: Duration,
    pub(super) running: Vec<Request>,
    pub(super) verifications: Vec<Verification>,
    pub(super) stalled: Stalled,
    pub(super) shares: FairShare,
    pub(super) next_key: RequestKey,
    pub(super) passes: u64,
}

/// How a request ends.
pub(super) enum End {
    Finished(FinishReason),
    Failed(EngineError),
}

impl Scheduler {
    /// Works until the pipeline stops.
    pub(super) fn run(mut self) {
        while !self.pipeline.is_stopped() {
            self.read_mail();
            self.begin_verifications();
            let has_read = self.read_one_prompt();
            let has_passed = self.pass();
            if !has_read && !has_passed {
                let deadline = self.next_deadline().into_iter().chain(self.stalled_deadline()).min();
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
    }

    fn end(&mut self, ends: Vec<(RequestKey, End)>) {
        for (key, end) in ends {
            let Some(index) = self.running.iter().position(|request| request.key == key) else { continue };
            let request = self.running.remove(index);
            match end {
                End::Failed(error) => request.fail(error),
                End::Finished(reason) => {
                    let service_ms = request.finish(reason, &self.models.retention);
                    self.admission.record_service(Duration::from_secs_f64(service_ms / 1000.0));
                }
            }
        }
    }

    /// One pass of the target for all that have something to write or to verify; says whether there was one. Seats go
    /// round by owners, each owner's by who waited longest.
    fn pass(&mut self) -> bool {
        let now = Instant::now();
        // Stable, so that among equals the first to come goes first.
        self.running.sort_by_key(|request| request.last_pass);
        let takes_part =
            |request: &mut Request| request.finish_reason().is_none() && request.turn(now) == Turn::Pass;
        let writing: Vec<RequestKey> = self
            .running
            .iter_mut()
            .filter_map(|request| takes_part(request).then_some(request.key))
            .collect();
        let owner_of = |key: &RequestKey| {
            self.running.iter().find(|request| request.key == *key).map(|request| request.job.owner())
        };
        let verifying = self.verifications.iter().filter(|verification| verification.is_ready());
        let candidates: Vec<(RequestKey, Owner)> = verifying
            .map(|verification| (verification.key(), verification.owner()))
            .chain(writing.iter().filter_map(|key| Some((*key, owner_of(key)?))))
            .collect();
        let owners: Vec<Owner> = candidates.iter().map(|(_, owner)| *owner).collect();
        let seated = self.shares.pick(&owners, self.max_batch);
        let seated: Vec<RequestKey> = seated.into_iter().map(|index| candidates[index].0).collect();
        if seated.is_empty() {
            return false;
        }
        let mut members: Vec<&mut Request> =
            self.running.iter_mut().filter(|request| seated.contains(&request.key)).collect();
        let mut verifying: Vec<&mut Verification> =
            self.verifications.iter_mut().filter(|one| seated.contains(&one.key())).collect();
        propose(&mut members);
        self.passes += 1;
        self.counters.count_pass(seated.len());
        let ends_of_answers = self.models.target.end_tokens();
        let drafts: Vec<Drafts> = members.iter_mut().map(|request| request.begin_pass()).collect();
        let of_verifications: Vec<Vec<u32>> =
            verifying.iter().map(|one| one.drafts(ends_of_answers).to_vec()).collect();
        let keys: Vec<RequestKey> = verifying.iter().map(|one| one.key()).collect();
        let mut ends = Vec::new();
        let verified = match score(&mut members, &drafts, &mut verifying, &of_verifications) {
            Ok(scores) => {
                let mut scores = scores.into_iter();
                for ((request, drafts), scores) in members.iter_mut().zip(&drafts).zip(scores.by_ref()) {
                    request.last_pass = self.passes;
                    match guarded(|| Ok(request.end_pass(drafts, &scores)?)) {
                        Ok(round) => self.counters.count_round(round.proposed, round.accepted, round.settled),
                        Err(error) => ends.push((request.key, End::Failed(error))),
                    }
                }
                keys.into_iter().zip(scores.map(Ok)).collect()
            }
            Err(error) => {
                ends.extend(members.iter().map(|request| (request.key, End::Failed(error.clone()))));
                keys.into_iter().map(|key| (key, Err(error.clone()))).collect()
            }
        };
        self.end(ends);
        self.end_verifications(verified);
        for other in self.running.iter_mut().filter(|request| request.last_pass != self.passes) {
            other.lap_idle();
        }
        true
    }

    fn next_deadline(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let deadline = |request: &mut Request| match request.turn(now) {
            // It became ready since the last look.
            Turn::Pass | Turn::Read => Some(now),
            Turn::Wait(until) => until,
        };
        let waiting = self.verifications.iter().filter_map(|one| one.deadline(self.memory_wait));
        self.running.iter_mut().filter_map(deadline).chain(waiting).min()
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
            pipeline.complete(late(request));
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
    if request.calls_draft_model() || request.calls_for_reading(now) {
        // Pixels were not kept, since they can be a hundred times the files; those are still there.
        pipeline.complete(late(request));
    }
    None
}

fn late(request: &Request) -> Late {
    let job = &request.job;
    Late { key: request.key, ask: Arc::clone(&job.ask), prunes_tiles: job.prunes_tiles }
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

/// Runs what all want looked at, answers before verifications; each settles it by its own rule.
fn score(
    members: &mut [&mut Request],
    drafts: &[Drafts],
    verifying: &mut [&mut Verification],
    of_verifications: &[Vec<u32>],
) -> Result<Vec<Scores>, EngineError> {
    guarded(|| {
        let answers = members.iter_mut().filter_map(|request| request.generation());
        let verified = verifying.iter_mut().filter_map(|verification| verification.generation());
        let mut generations: Vec<&mut Generation> = answers.chain(verified).collect();
        let runs: Vec<&[u32]> = drafts
            .iter()
            .map(|drafts| drafts.tokens.as_slice())
            .chain(of_verifications.iter().map(Vec::as_slice))
            .collect();
        Ok(pollster::block_on(Generation::score_many(&mut generations, &runs))?)
    })
}
