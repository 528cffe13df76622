//! The seam between sessions and whatever answers them.
//!
//! A session hands a checked [`Job`] to an [`Engine`], keeps its [`JobHandle`] for what follows (late media, drafts,
//! the wish to stop), and reads [`EngineEvent`]s until one of them is final. [`EmbeddedEngine`] runs the model in this
//! process, [`OpenAiEngine`] asks engines elsewhere. Nothing in here knows a web framework, a socket or the wire's frames;
//! media arrive as the files they were sent as, since another engine may pass them on.

mod admission;
mod edge_drafts;
mod embedded;
mod error;
mod hearing;
mod job;
mod ledger;
mod line;
mod mailbox;
mod openai;
mod owner;
mod speech;
mod stage;
mod statistics;
mod verify_job;

pub use admission::{Busy, BusyReason, Place};
pub use embedded::{Checkpoints, EmbeddedConfig, EmbeddedEngine};
pub use error::EngineError;
pub use hearing::Hearing;
pub use job::{Answer, EngineEvent, Events, Job, MAX_PROPOSED_TOKENS, TokenLogprob, TokenLogprobs, job};
pub use mailbox::JobHandle;
pub use openai::{
    ClientError, EdgeTokenizer, Inputs, Kind, OpenAiConfig, OpenAiEngine, OpenAiStartError, TokenizerError,
    UpstreamError, UpstreamStatus,
};
pub use owner::Owner;
pub use speech::{Full, RETRY_MS as SPEECH_RETRY_MS, Speech};
pub use statistics::{EngineStatistics, KvStatistics};
pub use verify_job::{VerifyJob, verify_job};

use msao_protocol::{ErrorCode, ModelInfo, TokenId};

use crate::intake::Refusal;

/// Something that answers questions.
pub trait Engine: Send + Sync {
    /// What answers, and what it can take.
    fn info(&self) -> &EngineInfo;

    /// Takes a place in the queue, before anything is spent on the request.
    ///
    /// # Errors
    /// [`Busy`] when the queue is full, or the wait would be too long.
    fn reserve(&self) -> Result<Place, Busy>;

    /// As [`Self::reserve`] for an owner, whom the engine may refuse earlier, so that others find places too.
    ///
    /// # Errors
    /// [`Busy`] when the queue is full, or the owner has its share.
    fn reserve_for(&self, _owner: Owner) -> Result<Place, Busy> {
        self.reserve()
    }

    /// Hands in a job; never waits. Its events end with exactly one final event, unless its receiver is
    /// dropped, which cancels it.
    fn submit(&self, place: Place, job: Job);

    /// Hands in a verification behind a finished request; never waits. An engine that keeps no keys and values
    /// refuses it.
    fn verify(&self, place: Place, job: VerifyJob) {
        drop(place);
        let message = "this server keeps no keys and values to verify behind: ask with drafts instead";
        job.report(Err(Refusal::new(ErrorCode::Unsupported, message).into()));
    }

    /// Gives up what was kept of an owner, who is gone; what still runs of it was cancelled before.
    fn forget(&self, _owner: Owner) {}

    /// Requests that wait or run at this moment.
    fn occupancy(&self) -> usize;

    /// What the engine has counted so far; an engine that counts nothing says so by zeros.
    fn statistics(&self) -> EngineStatistics {
        EngineStatistics::default()
    }

    /// The tokens of a text, for drafts that come as text; `None` where the engine keeps no tokenizer or the text is too
    /// long for it.
    fn tokenize(&self, _text: &str) -> Option<Vec<TokenId>> {
        None
    }

    /// Whether it can tell how likely tokens were ([`Job::top_logprobs`]).
    fn gives_logprobs(&self) -> bool {
        false
    }

    /// Whether a question asked now would be answered.
    fn readiness(&self) -> Readiness {
        Readiness::Ready
    }
}

/// Whether an engine can answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It can.
    Ready,
    /// It cannot, for now.
    NotReady {
        /// Why, for an operator.
        reason: String,
    },
}

/// What an engine is and what it can take.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineInfo {
    /// The model, as told to clients.
    pub model: ModelInfo,
    /// Whether the model takes pictures.
    pub sees: bool,
    /// Seconds of sound the model hears at once; `None` when it cannot hear.
    pub audio_window_s: Option<f64>,
    /// Longest answer in tokens.
    pub max_new_tokens: u32,
    /// Longest question in characters.
    pub question_chars: u32,
    /// Tokens there are: drafts lie below.
    pub vocab_size: u32,
}
