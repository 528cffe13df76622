//! A question on its way through an engine, and what the engine says about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use msao_protocol::{Ask, FinishReason, ModalityReceipt, Span, Token};
use tokio::sync::mpsc;

use super::EngineError;

/// Stops a job from outside; clones stop the same job.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// Asks the job to stop; it does so before its next token.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the job was asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// One question to answer, already held against the limits.
#[derive(Debug)]
pub struct Job {
    /// The question and its media.
    pub ask: Ask,
    /// Most tokens of the answer.
    pub max_new_tokens: u32,
    cancel: CancelToken,
    events: mpsc::Sender<EngineEvent>,
}

/// The reading end of a job.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::Receiver<EngineEvent>,
}

/// What an engine says about a job, in order.
#[derive(Debug)]
pub enum EngineEvent {
    /// The next token.
    Token(Token),
    /// Final: the whole answer.
    Done(Answer),
    /// Final: there is no answer.
    Failed(EngineError),
}

/// A finished answer and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// All of its text.
    pub text: String,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Tokens the model read.
    pub prompt_tokens: u32,
    /// Tokens it wrote.
    pub completion_tokens: u32,
    /// Bytes and tokens of each modality given.
    pub modalities: Vec<ModalityReceipt>,
    /// Where the time went.
    pub spans: Vec<Span>,
}

/// Makes a job and its reading end.
///
/// The channel between them holds a whole answer. So a model that many share never waits for one slow
/// reader, and yet memory is bounded: by `max_new_tokens`, which is limited, and by the queue's places.
pub fn job(ask: Ask, max_new_tokens: u32, cancel: CancelToken) -> (Job, Events) {
    let (events, receiver) = mpsc::channel(max_new_tokens as usize + 1);
    (Job { ask, max_new_tokens, cancel, events }, Events { receiver })
}

impl Job {
    /// Whether nobody wants the answer any more.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled() || self.events.is_closed()
    }

    /// Reports an event. When nobody listens it is lost, and [`Self::is_cancelled`] says so.
    pub(super) fn report(&self, event: EngineEvent) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.events.try_send(event) {
            tracing::error!(
                max_new_tokens = self.max_new_tokens,
                "an engine wrote more tokens than asked for"
            );
        }
    }
}

impl Events {
    /// The next event; `None` if the engine went away without a final one.
    pub async fn next(&mut self) -> Option<EngineEvent> {
        self.receiver.recv().await
    }
}
