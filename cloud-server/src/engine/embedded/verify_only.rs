//! Verification behind a finished request, for clients that run a draft model and its loop themselves.
//!
//! The request's keys and values are lent for one pass, which other requests share; if they had been evicted, its prompt is
//! read again first. Unless the client says so, nothing of the answer changes. Verifications behind the same request go one
//! after the other, in the order in which they came.

use std::sync::Arc;
use std::time::{Duration, Instant};

use msao_models::{EndTokens, Generation, ModelError, Scores};
use msao_planner::acceptance;
use msao_protocol::{ErrorCode, Token, Verified};

use super::media::forgotten;
use super::pipeline::{Completed, Late, RequestKey};
use super::prompts::{Obstacle, make_room, read};
use super::reading::Extent;
use super::retention::{KeptKey, Lent, Sequence};
use super::scheduler::Scheduler;
use crate::engine::ledger::Ledger;
use crate::engine::{EngineError, Owner, Place, VerifyJob};
use crate::intake::Refusal;

/// Room for the tokens of an answer is made in steps of so many, so that not each verification copies the cache.
const ROOM_STEP: usize = 32;

/// A verification under way.
pub(super) struct Verification {
    key: RequestKey,
    job: VerifyJob,
    state: State,
    since: Instant,
    place: Place,
}

#[allow(clippy::large_enum_variant, reason = "there are as many as places at most")]
enum State {
    /// For another one behind the same request.
    Waiting,
    /// For memory.
    WaitingForRoom,
    /// The prompt is read again; behind it these tokens stand.
    Reading(Vec<u32>),
    /// It takes part in the next pass; these tokens stood before.
    Ready(Sequence, Vec<u32>),
}

impl Verification {
    pub(super) fn key(&self) -> RequestKey {
        self.key
    }

    pub(super) fn owner(&self) -> Owner {
        self.job.owner
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready(..))
    }

    /// What a pass is to look at.
    pub(super) fn drafts(&self, ends: &EndTokens) -> &[u32] {
        ends.up_to_first(&self.job.verify.drafts)
    }

    /// What takes part in the pass, if it is ready.
    pub(super) fn generation(&mut self) -> Option<&mut Generation> {
        if let State::Ready(sequence, _) = &mut self.state { Some(&mut sequence.generation) } else { None }
    }

    fn kept_key(&self) -> KeptKey {
        (self.job.owner, self.job.verify.after)
    }

    /// When it stops waiting for room, if it waits.
    pub(super) fn deadline(&self, patience: Duration) -> Option<Instant> {
        matches!(self.state, State::WaitingForRoom).then(|| self.since + patience)
    }

    /// Ends without an outcome.
    fn fail(self, error: EngineError) {
        let Self { job, place, .. } = self;
        drop(place);
        job.report(Err(error));
    }

    /// Tokens of the answer that there must be room for, with the one behind the drafts.
    fn needed(&self) -> usize {
        let verify = &self.job.verify;
        verify.start as usize + verify.given.len() + verify.drafts.len() + 1
    }
}

impl Scheduler {
    /// Begins what verifications can begin, and ends those that nobody wants any more.
    pub(super) fn begin_verifications(&mut self) {
        let mut verifications = std::mem::take(&mut self.verifications);
        for (mut place, job) in self.pipeline.take_verifications() {
            // What it reads, if anything, is what is not kept of a conversation.
            place.begin_unread();
            let key = self.new_key();
            let since = Instant::now();
            verifications.push(Verification { key, job, state: State::Waiting, since, place });
        }
        // First what they had borrowed, since others may wait for it.
        for unwanted in verifications.extract_if(.., |verification| verification.job.is_unwanted()) {
            self.give_up(unwanted.kept_key(), unwanted.state);
        }
        for verification in verifications {
            if let State::Waiting | State::WaitingForRoom = verification.state {
                self.begin_verification(verification);
            } else {
                self.verifications.push(verification);
            }
        }
    }

    fn begin_verification(&mut self, mut verification: Verification) {
        let key = verification.kept_key();
        match self.models.retention.lend(key) {
            Lent::Unknown => verification.fail(forgotten(key.1).into()),
            Lent::Taken => {
                verification.state = State::Waiting;
                self.verifications.push(verification);
            }
            Lent::Whole(sequence) => self.make_ready(verification, sequence),
            Lent::Evicted(ask, tokens) => {
                self.pipeline.complete(Late {
                    key: verification.key,
                    ask: Arc::clone(&ask),
                    prunes_tiles: None,
                });
                verification.state = State::Reading(tokens);
                self.verifications.push(verification);
            }
        }
    }

    /// Goes on with a verification whose prompt was decoded again.
    pub(super) fn complete_verification(&mut self, completed: Completed) -> Option<RequestKey> {
        let Completed { key, media, began, ended } = completed;
        let index = self.verifications.iter().position(|verification| verification.key == key)?;
        let verification = self.verifications.remove(index);
        let State::Reading(tokens) = &verification.state else { return None };
        let media = match media {
            Ok(media) => media,
            Err(error) => {
                self.fail_verification(verification, None, error);
                return Some(key);
            }
        };
        let room = verification.needed().max(tokens.len()).next_multiple_of(ROOM_STEP);
        let what = (&media, Extent::Whole, verification.owner());
        let sequence = read(&self.models, &mut self.running, what, room, &mut Ledger::new());
        match sequence {
            Ok(mut sequence) => {
                self.models.retention.count_re_prefill();
                match sequence.generation.adopt(tokens) {
                    Ok(()) => self.make_ready(verification, sequence),
                    Err(error) => self.fail_verification(verification, None, error.into()),
                }
                Some(key)
            }
            Err(Obstacle::NoRoom) => {
                self.stall(Completed { key, media: Ok(media), began, ended });
                self.verifications.push(verification);
                None
            }
            Err(Obstacle::Failed(error)) => {
                self.fail_verification(verification, None, error);
                Some(key)
            }
        }
    }

    /// Puts the tokens before the drafts behind what stands, with room for the drafts.
    fn make_ready(&mut self, mut verification: Verification, mut sequence: Sequence) {
        let stood = sequence.generation.tokens().to_vec();
        match self.place(&verification, &mut sequence, stood.len()) {
            Ok(()) => {}
            Err(Obstacle::NoRoom) if verification.since.elapsed() < self.memory_wait => {
                self.models.retention.give_back(verification.kept_key(), None, Some(sequence));
                verification.state = State::WaitingForRoom;
                self.verifications.push(verification);
                return;
            }
            Err(obstacle) => {
                let error = self.error_of(obstacle);
                self.fail_verification(verification, Some(sequence), error);
                return;
            }
        }
        let verify = &verification.job.verify;
        sequence.generation.roll_back(verify.start as usize);
        match sequence.generation.adopt(&verify.given) {
            Ok(()) => {
                verification.state = State::Ready(sequence, stood);
                self.verifications.push(verification);
            }
            Err(error) => self.fail_verification(verification, None, error.into()),
        }
    }

    /// Makes room for a verification's tokens.
    fn place(
        &mut self,
        verification: &Verification,
        sequence: &mut Sequence,
        standing: usize,
    ) -> Result<(), Obstacle> {
        let target = &self.models.target;
        let start = verification.job.verify.start;
        if start as usize > standing {
            let message = format!(
                "the tokens are to stand behind {start} of the answer, which has {standing}: start there at most, and give what comes before the drafts"
            );
            return Err(EngineError::from(Refusal::new(ErrorCode::Unsupported, message)).into());
        }
        let (needed, prompt) = (verification.needed(), sequence.generation.prompt_tokens());
        let longest = target.max_sequence() - prompt;
        if needed > longest {
            let message = format!(
                "{needed} tokens behind the prompt are to be looked at, the one behind the drafts included; the model has room for {longest}: send fewer"
            );
            return Err(EngineError::from(Refusal::new(ErrorCode::TooLarge, message)).into());
        }
        if needed <= sequence.generation.remaining() + standing {
            return Ok(());
        }
        let room = needed.max(standing).next_multiple_of(ROOM_STEP).min(longest);
        let bytes = Sequence::bytes(target, prompt + room);
        let more = bytes.saturating_sub(sequence.hold.bytes());
        let hold =
            make_room(&self.models.retention, &mut self.running, more, None).ok_or(Obstacle::NoRoom)?;
        sequence.hold.join(hold);
        sequence.generation.resize(room);
        Ok(())
    }

    /// Ends the verifications of these keys, whose pass said `scores`, or failed.
    pub(super) fn end_verifications(&mut self, outcomes: Vec<(RequestKey, Result<Scores, EngineError>)>) {
        for (key, scores) in outcomes {
            let Some(index) = self.verifications.iter().position(|one| one.key == key) else { continue };
            let verification = self.verifications.remove(index);
            match scores {
                Ok(scores) => self.end_verification(verification, &scores),
                Err(error) => self.fail_verification(verification, None, error),
            }
        }
    }

    fn end_verification(&mut self, verification: Verification, scores: &Scores) {
        let kept_key = verification.kept_key();
        let drafts = verification.drafts(self.models.target.end_tokens()).to_vec();
        let Verification { job, state, place, .. } = verification;
        let State::Ready(mut sequence, stood) = state else { return };
        let ends = self.models.target.end_tokens();
        match settle(&mut sequence.generation, &job, (&drafts, &stood, ends), scores) {
            Ok(verified) => {
                self.counters.count_round(drafts.len(), verified.accepted as usize, 0);
                let tokens = job.verify.commit.then(|| sequence.generation.tokens().to_vec());
                self.models.retention.give_back(kept_key, tokens, Some(sequence));
                // As with answers, the place is free before the client hears of the end.
                drop(place);
                job.report(Ok(verified));
            }
            Err(error) => {
                self.models.retention.give_back(kept_key, None, None);
                drop(place);
                job.report(Err(error.into()));
            }
        }
    }

    /// Ends a verification without an outcome. A sequence that is given is as it was before.
    fn fail_verification(
        &mut self,
        verification: Verification,
        sequence: Option<Sequence>,
        error: EngineError,
    ) {
        self.models.retention.give_back(verification.kept_key(), None, sequence);
        verification.fail(error);
    }

    /// Takes back what a verification that nobody wants had borrowed.
    fn give_up(&mut self, kept_key: KeptKey, state: State) {
        match state {
            State::Waiting | State::WaitingForRoom => {}
            State::Reading(_) => self.models.retention.give_back(kept_key, None, None),
            State::Ready(mut sequence, stood) => {
                sequence.generation.roll_back(0);
                let restored = sequence.generation.adopt(&stood).is_ok().then_some(sequence);
                self.models.retention.give_back(kept_key, None, restored);
            }
        }
    }
}

/// Says what the target makes of the drafts, and leaves behind what stands from now on.
fn settle(
    generation: &mut Generation,
    job: &VerifyJob,
    (drafts, stood, ends): (&[u32], &[u32], &EndTokens),
    scores: &Scores,
) -> Result<Verified, ModelError> {
    let verify = &job.verify;
    let before = generation.tokens().len();
    let outcome = acceptance::verify_greedy(drafts, &scores.most_likely()?);
    let (accepted, next) = (outcome.accepted_drafts, outcome.next_token);
    let is_ended = drafts[..accepted].iter().any(|&draft| ends.contains(draft));
    let run = [&drafts[..accepted], &[next]].concat();
    let log_probability = scores.log_probabilities(&run)?.last().copied().unwrap_or_default();
    let settled = generation.settle(drafts, scores, accepted, Some(next))?;
    let text = settled.into_iter().nth(accepted).map(|proposal| proposal.text).unwrap_or_default();
    let next = Token { id: next, text, probability: log_probability.exp() };
    let log_probabilities =
        if verify.log_probabilities { scores.log_probabilities(drafts)? } else { Vec::new() };
    if verify.commit {
        generation.roll_back(before + accepted - usize::from(is_ended));
    } else {
        generation.roll_back(verify.start as usize);
        generation.adopt(&stood[verify.start as usize..])?;
    }
    Ok(Verified {
        request_id: verify.request_id,
        accepted: accepted as u32,
        next: (!is_ended).then_some(next),
        log_probabilities,
        standing: generation.tokens().len() as u32,
    })
}
