//! One question on its way through the upstreams: asked, streamed, settled, and asked elsewhere when one goes away.
//!
//! Until something was shown a failed question simply begins anew on another upstream. Afterwards what stands must go on: an
//! engine that continues an unfinished message gets what stands as such; of any other one only an answer that begins with what
//! stands is taken. So no character of an answer is ever wrong, missing or double, whoever wrote it; where that cannot be had,
//! the question fails.

mod verification;

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use msao_protocol::{ErrorCode, FinishReason, SpanKind, Speculation};
use tokio::sync::Notify;
use tokio::time::{Instant as Deadline, timeout, timeout_at};

use super::Shared;
use super::alignment::{Ahead, Alignment};
use super::error::UpstreamError;
use super::http::Stream;
use super::media;
use super::pool::Lease;
use super::wire::{ChatRequest, Piece, Question, Usage};
use crate::engine::ledger::{Ledger, LookedAt};
use crate::engine::stage::guarded;
use crate::engine::{Answer, EngineError, EngineEvent, Job, Place};
use crate::intake::{self, Refusal};

/// Upstreams that one question may be tried on: one that brings them down must not bring all of them down.
const MAX_ATTEMPTS: usize = 3;
/// Longest that upstreams may take for one answer, all attempts together.
const MAX_ANSWER_TIME: Duration = Duration::from_secs(900);
/// How long the count of tokens is waited for once the answer is complete.
const USAGE_PATIENCE: Duration = Duration::from_millis(500);

/// Rung when something comes for the job.
#[derive(Default)]
struct Bell(Notify);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.notify_one();
    }
}

/// Why a question stops before its end.
enum Stop {
    Cancelled,
    Failed(EngineError),
    /// This upstream did not answer; another one may.
    Upstream(UpstreamError),
}

impl From<UpstreamError> for Stop {
    fn from(error: UpstreamError) -> Self {
        Self::Upstream(error)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Failed(refusal.into())
    }
}

/// What stands of an answer, which another upstream has to say once more before it is listened to.
struct Repetition {
    standing: String,
    said: usize,
}

struct Running {
    shared: Arc<Shared>,
    job: Job,
    bell: Arc<Bell>,
    ledger: Ledger,
    alignment: Alignment,
    speculation: Speculation,
    usage: Usage,
    /// When it must have been answered.
    deadline: Deadline,
}

/// Answers a job to its end.
pub(super) async fn run(shared: Arc<Shared>, place: Place, job: Job) {
    let bell = Arc::new(Bell::default());
    job.wake_on_news(Waker::from(Arc::clone(&bell)));
    let alignment = Alignment::new(Arc::clone(&shared.tokenizer), job.max_new_tokens as usize);
    let speculation = job.speculation();
    let mut running = Running {
        shared,
        job,
        bell,
        ledger: Ledger::new(),
        alignment,
        speculation,
        usage: Usage::default(),
        deadline: Deadline::now() + MAX_ANSWER_TIME,
    };
    let ended = running.answer().await;
    let Running { shared, job, mut ledger, alignment, usage, .. } = running;
    // The place is free before the client hears of the end, so its next question finds it.
    drop(place);
    let finish_reason = match ended {
        Ok(reason) => reason,
        Err(Stop::Cancelled) => FinishReason::Cancelled,
        Err(Stop::Failed(error)) => return job.report(EngineEvent::Failed(error)),
        Err(Stop::Upstream(error)) => return job.report(EngineEvent::Failed(error.into())),
    };
    shared.note_service(ledger.service_ms());
    shared.counters.count_prompt(usage.prompt_tokens as usize);
    // An upstream tells one sum; which part of it is a medium's it does not.
    ledger.note_prompt(usage.prompt_tokens as usize, &LookedAt::default());
    tracing::debug!(upstream_completion_tokens = usage.completion_tokens, "an upstream's own count");
    let receipt = ledger.close(&job);
    job.report(EngineEvent::Done(Answer { text: alignment.into_text(), finish_reason, receipt }));
}

impl Running {
    async fn answer(&mut self) -> Result<FinishReason, Stop> {
        self.ledger.lap(SpanKind::Queue);
        if self.job.ask.continues.is_some() {
            let message = "this server keeps no conversations, since an engine elsewhere answers: send the history with the question";
            return Err(Refusal::new(ErrorCode::Forgotten, message).into());
        }
        self.wait_for_media().await?;
        let question = self.prepare().await?;
        let mut tried = Vec::new();
        let mut last = UpstreamError::NoneUp;
        while tried.len() < MAX_ATTEMPTS {
            let pool = &self.shared.pool;
            let Some(lease) = pool.lease(&tried) else { break };
            match self.attempt(&lease, &question).await {
                Ok(reason) => {
                    lease.succeeded();
                    return Ok(reason);
                }
                Err(Stop::Upstream(error)) => {
                    let is_out = lease.failed(&error);
                    // A refusal may quote the question, which is nobody else's business.
                    tracing::warn!(
                        upstream = lease.index + 1,
                        failure = error.for_log(),
                        is_out,
                        "an upstream failed"
                    );
                    if !error.is_worth_another() {
                        return Err(error.into());
                    }
                    tried.push(lease.index);
                    last = error;
                    self.alignment.begin_again();
                }
                Err(stop) => return Err(stop),
            }
        }
        Err(last.into())
    }

    /// Waits until all announced media have come.
    async fn wait_for_media(&mut self) -> Result<(), Stop> {
        let wait = self.shared.attach_wait;
        let deadline = Deadline::now() + wait;
        loop {
            self.take_news()?;
            if !self.job.is_partial() || self.job.complete() {
                self.ledger.lap(SpanKind::Wait);
                return Ok(());
            }
            if timeout_at(deadline, self.bell.0.notified()).await.is_err() {
                let missing: Vec<_> = self.job.ask.pending.iter().copied().map(intake::name_of).collect();
                let message = format!(
                    "{} was announced and did not come within {} s: attach it in time, or ask without it",
                    missing.join(" and "),
                    wait.as_secs_f32()
                );
                return Err(Refusal::new(ErrorCode::TimedOut, message).into());
            }
        }
    }

    /// Makes the message, away from the tasks that others' streams run on.
    async fn prepare(&mut self) -> Result<Question, Stop> {
        let (shared, ask) = (Arc::clone(&self.shared), Arc::clone(&self.job.ask));
        // Pixels of one question at a time: they can be a hundred times its files.
        let turn = Arc::clone(&shared.decoding).acquire_owned().await;
        self.ledger.lap(SpanKind::Queue);
        self.take_news()?;
        let work = move || {
            let _turn = turn;
            guarded(|| Ok(media::conversation(&ask, &shared.limits, &shared.info.model, shared.inputs)?))
        };
        let said = tokio::task::spawn_blocking(work)
            .await
            .unwrap_or(Err(EngineError::Stopped))
            .map_err(Stop::Failed)?;
        self.ledger.lap(SpanKind::DecodeMedia);
        self.deadline = Deadline::now() + MAX_ANSWER_TIME;
        Ok(Question { said, sampling: self.job.ask.sampling })
    }

    /// Takes what has come about the job.
    fn take_news(&mut self) -> Result<(), Stop> {
        if self.job.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        if let Some(refusal) = self.job.take_refusal() {
            return Err(refusal.into());
        }
        let drafting = self.job.take_drafting();
        if let Some(speculation) = drafting.steered {
            self.speculation = speculation;
            self.alignment.reopen();
        }
        for draft in drafting.drafts {
            self.alignment.push_draft(draft);
        }
        Ok(())
    }

    async fn attempt(&mut self, lease: &Lease, question: &Question) -> Result<FinishReason, Stop> {
        if self.may_score(lease.checked.kind, question)
            && let Some(reason) = self.verify_rounds(lease, question).await?
        {
            return Ok(reason);
        }
        self.stream(lease, question).await
    }

    /// Waits for an upstream, but no longer than it may be silent, and not when the job is over.
    async fn or_news<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Stop> {
        let idle = self.shared.idle;
        let silent_at = Deadline::now() + idle;
        let (deadline, late) = match silent_at <= self.deadline {
            true => (silent_at, UpstreamError::Silent(idle)),
            false => (self.deadline, UpstreamError::Endless(MAX_ANSWER_TIME)),
        };
        tokio::pin!(work);
        loop {
            let bell = Arc::clone(&self.bell);
            tokio::select! {
                done = timeout_at(deadline, &mut work) => {
                    return done.map_err(|_elapsed| late.into());
                }
                () = bell.0.notified() => {
                    self.take_news()?;
                    // Drafts may fit what has come already.
                    self.settle(Ahead::Text, SpanKind::Decode);
                }
            }
        }
    }

    /// Lets the upstream write to the end.
    async fn stream(&mut self, lease: &Lease, question: &Question) -> Result<FinishReason, Stop> {
        let kind = lease.checked.kind;
        let standing = self.alignment.standing_text().to_owned();
        let prefix = if kind.continues() { standing.as_str() } else { "" };
        let mut repetition = Repetition { said: prefix.len(), standing: standing.clone() };
        let max_tokens = match prefix {
            "" => self.job.max_new_tokens as usize,
            _ => self.alignment.remaining(),
        };
        let asked = Instant::now();
        let endpoint = self.shared.endpoints[lease.index].clone();
        let request = ChatRequest::stream(&lease.checked.model, question, kind, prefix, max_tokens);
        let mut stream = self.or_news(endpoint.stream(&request)).await??;
        drop(request);
        let mut has_begun = false;
        loop {
            let piece = self.or_news(stream.next()).await??.ok_or(UpstreamError::Cut)?;
            self.usage = piece.usage.unwrap_or(self.usage);
            if !piece.text.is_empty() && !std::mem::replace(&mut has_begun, true) {
                lease.note_first_word(asked.elapsed().as_secs_f64() * 1000.0);
                self.ledger.lap(SpanKind::Prefill);
            }
            let new = repetition.listen(&piece.text)?;
            self.alignment.push_text(new);
            let finish = piece.finish.or(piece.is_last.then_some(FinishReason::Stop));
            if finish.is_some() && !repetition.is_over() {
                return Err(UpstreamError::Diverged.into());
            }
            let ahead = if finish.is_some() { Ahead::Nothing } else { Ahead::Text };
            self.settle(ahead, SpanKind::Decode);
            let is_cut = self.alignment.remaining() == 0 && !self.alignment.is_all_settled();
            if let Some(reason) = if is_cut { Some(FinishReason::Length) } else { finish } {
                if !piece.is_last && piece.usage.is_none() {
                    self.take_usage(&mut stream).await;
                    self.ledger.lap(SpanKind::Decode);
                }
                return Ok(reason);
            }
        }
    }

    /// Listens for the count of tokens, which comes last; an answer never fails for want of it.
    async fn take_usage(&mut self, stream: &mut Stream) {
        let listen = async {
            while let Ok(Some(Piece { usage, is_last, .. })) = stream.next().await {
                if usage.is_some() || is_last {
                    return usage;
                }
            }
            None
        };
        if let Ok(Some(usage)) = timeout(USAGE_PATIENCE, listen).await {
            self.usage = usage;
        }
    }

    /// Settles and tells what can be.
    fn settle(&mut self, ahead: Ahead, kind: SpanKind) {
        let Some(settlement) = self.alignment.settle(ahead) else { return };
        self.ledger.lap(kind);
        let (proposed, accepted) = (settlement.proposed, settlement.accepted);
        self.ledger.note_round(proposed, accepted, &settlement.tokens);
        self.shared.counters.count_round(proposed, accepted, settlement.tokens.len());
        if !settlement.tokens.is_empty() {
            let (start, tokens, revision) = (settlement.start, settlement.tokens, settlement.revision);
            self.job.report(EngineEvent::Settled { start, tokens, revision, logprobs: Vec::new() });
        }
    }
}

impl Repetition {
    /// Whether all of what stands was said.
    fn is_over(&self) -> bool {
        self.said == self.standing.len()
    }

    /// What is new of a piece of text.
    ///
    /// # Errors
    /// When it contradicts what stands.
    fn listen<'text>(&mut self, text: &'text str) -> Result<&'text str, UpstreamError> {
        let expected = &self.standing.as_bytes()[self.said..];
        let repeated = expected.len().min(text.len());
        if expected[..repeated] != text.as_bytes()[..repeated] {
            return Err(UpstreamError::Diverged);
        }
        self.said += repeated;
        Ok(&text[repeated..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_follows_what_stands_is_new() {
        let listen = |pieces: &[&str]| {
            let mut repetition = Repetition { standing: " a réd".into(), said: 0 };
            let new: Result<String, _> = pieces.iter().map(|piece| repetition.listen(piece)).collect();
            new.map(|new| (new, repetition.is_over()))
        };
        assert_eq!(listen(&[" a", " ré", "d star"]).unwrap(), (" star".into(), true));
        assert_eq!(listen(&["", " a réd"]).unwrap(), (String::new(), true));
        assert_eq!(listen(&[" a"]).unwrap(), (String::new(), false));
        // A piece that ends where a character of what stands begins to differ.
        assert_eq!(listen(&[" a rè"]).unwrap_err(), UpstreamError::Diverged);
        assert_eq!(listen(&[" the"]).unwrap_err(), UpstreamError::Diverged);
    }
}
