//! One answer on its way to an HTTP client: from an engine's events to the text that is shown.

use std::sync::Arc;

use msao_protocol::{Receipt, SettledToken, TokenFate, TokenSource};

use super::error::ApiError;
use super::prediction::Prediction;
use super::reply::{Usage, finish_reason};
use super::visible::{Piece, Visible};
use super::watch::Watch;
use crate::app::AppState;
use crate::engine::{Answer, EngineError, EngineEvent, Events, JobHandle, TokenLogprobs};

/// An answer that is being written; dropping it cancels the request.
pub(super) struct Answering {
    pub(super) state: Arc<AppState>,
    pub(super) events: Events,
    pub(super) handle: JobHandle,
    pub(super) watch: Watch,
    pub(super) visible: Visible,
    pub(super) prediction: Option<Prediction>,
    /// For the log.
    pub(super) id: String,
    pub(super) counts: Counts,
}

/// Tokens up to the end that the client sees.
#[derive(Debug, Default)]
pub(super) struct Counts {
    completion: u32,
    accepted: u32,
}

/// What comes next of an answer.
pub(super) enum Step {
    /// Something to show; may be empty.
    Piece(Piece),
    /// Nothing follows.
    End(Box<End>),
}

/// How an answer ended.
pub(super) struct End {
    /// What was held back until now.
    pub(super) rest: Piece,
    pub(super) finish_reason: &'static str,
    pub(super) usage: Usage,
    pub(super) receipt: Receipt,
}

impl Answering {
    /// Waits for what comes next.
    ///
    /// # Errors
    /// When there is no answer, or no more of it.
    pub(super) async fn next(&mut self) -> Result<Step, ApiError> {
        loop {
            let event = tokio::select! {
                event = self.events.next() => event.unwrap_or(EngineEvent::Failed(EngineError::Stopped)),
                // The engine stops, since nobody takes its events any more.
                () = self.state.drain.handed_back() => return Err(ApiError::stopping()),
            };
            self.watch.see(&event);
            match event {
                EngineEvent::Settled { tokens, revision, logprobs, .. } => {
                    return Ok(Step::Piece(self.show(tokens, revision, logprobs)));
                }
                // Nothing is shown here that may yet be taken back.
                EngineEvent::Proposed { .. } => {}
                EngineEvent::Done(answer) => return Ok(Step::End(Box::new(self.end(answer)))),
                EngineEvent::Failed(error) => return Err(self.fail(error)),
            }
        }
    }

    fn show(&mut self, tokens: Vec<SettledToken>, revision: u32, logprobs: Vec<TokenLogprobs>) -> Piece {
        if let Some(prediction) = &mut self.prediction
            && let Some(draft) = prediction.settle(tokens.iter().map(|settled| settled.token.id), revision)
        {
            self.handle.draft(draft);
        }
        let mut shown = Piece::default();
        let mut logprobs = logprobs.into_iter();
        for SettledToken { token, origin } in tokens {
            if self.visible.is_stopped() {
                break;
            }
            self.counts.completion += 1;
            let is_predicted = (origin.source, origin.fate) == (TokenSource::EdgeDraft, TokenFate::Accepted);
            self.counts.accepted += u32::from(is_predicted);
            let piece = self.visible.push(&token.text, logprobs.next());
            shown.text.push_str(&piece.text);
            shown.logprobs.extend(piece.logprobs);
        }
        if self.visible.is_stopped() {
            self.handle.cancel();
        }
        shown
    }

    fn end(&mut self, answer: Answer) -> End {
        let Answer { finish_reason: reason, receipt, .. } = answer;
        let predicted = self.prediction.as_ref().map_or(0, |prediction| prediction.len() as u32);
        let Counts { completion, accepted } = self.counts;
        // Neither question nor answer is logged: they belong to the person who asked.
        tracing::info!(
            request = self.id,
            prompt_tokens = receipt.prompt_tokens,
            completion_tokens = receipt.completion_tokens,
            rounds = receipt.rounds,
            finish_reason = ?reason,
            total_ms = receipt.spans.iter().map(|span| span.ms).sum::<f64>().round(),
            "answered"
        );
        End {
            rest: self.visible.finish(),
            finish_reason: finish_reason(reason, self.visible.is_stopped()),
            usage: Usage::new(&receipt, completion, predicted, accepted),
            receipt,
        }
    }

    fn fail(&self, error: EngineError) -> ApiError {
        let api_error = ApiError::from(error.clone()).about("messages");
        if api_error.is_internal() {
            tracing::error!(request = self.id, %error, "request failed");
        } else {
            tracing::debug!(request = self.id, code = api_error.code(), "refused");
        }
        api_error
    }
}
