//! What is to be done, and what is told of a question.

use msao_protocol::{
    Ask, Draft, ErrorCode, FinishReason, Limits, ModelInfo, PlanReceipt, Receipt, RequestId, Speculation,
    TokenFate, TokenSource,
};
use serde::Serialize;

use super::Tiles;
use crate::{
    messages::{AskHeader, EdgeErrorCode, WorkerRequest},
    orchestrator::{AnswerToken, TokenState},
    scored::ModalityScores,
};

/// What is to be done, in the order given.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Ask the device's engine; the question's media go with it.
    AskEdge(AskHeader),
    /// Tell the device's engine something else.
    TellEdge(WorkerRequest),
    /// Encode kept squares, and say [`encoded`](super::Driver::encoded).
    Encode(RequestId, Vec<Tiles>),
    /// Hand a question over to the session with the cloud, and say [`handed_over`](super::Driver::handed_over).
    AskCloud(Box<Ask>),
    /// Send a draft.
    Draft(Draft),
    /// Tell the cloud where drafts come from now on.
    Steer(RequestId, Speculation),
    /// The cloud need not answer any more.
    CancelCloud(RequestId),
    /// Tell whoever asked.
    Tell(Told),
}

/// What whoever asked is told. Each question ends in exactly one of `Planned`, `Done` and `Failed`, unless it is cancelled.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Told {
    /// A connection to the cloud is being made.
    CloudConnecting {
        /// Attempts since the session was last open, from 1.
        attempt: u32,
    },
    /// The session with the cloud is open.
    CloudReady {
        /// The model there.
        model: ModelInfo,
        /// What the server takes.
        limits: Limits,
    },
    /// There is no session at the moment; it is tried again.
    CloudAway {
        /// Why.
        reason: String,
        /// Time until the next attempt.
        retry_in_ms: u32,
    },
    /// The server has a complaint about the session as a whole.
    CloudComplains {
        /// What it says.
        message: String,
    },
    /// What the question needs of its media.
    Scored {
        /// The question.
        request_id: RequestId,
        /// One entry for each of vision and audio that was given.
        modalities: Vec<ModalityScores>,
    },
    /// What would be done; nothing of it was.
    Planned {
        /// The question.
        request_id: RequestId,
        /// The plan's part says what was decided.
        receipt: Box<AnswerReceipt>,
    },
    /// The answer as it stands now, all of it.
    Answer {
        /// The question.
        request_id: RequestId,
        /// Its tokens in order: what stands, and behind it what is only proposed.
        tokens: Vec<ShownToken>,
    },
    /// The answer is complete.
    Done {
        /// The question.
        request_id: RequestId,
        /// The whole answer.
        text: String,
        /// Why it ended.
        finish_reason: FinishReason,
        /// Its tokens, all of them settled.
        tokens: Vec<ShownToken>,
        /// What it counts as.
        usage: Usage,
        /// What it took.
        receipt: Box<AnswerReceipt>,
    },
    /// After `Done`: more is known of what the answer took, or of whether the cloud agrees with one that stood.
    Receipt {
        /// The question.
        request_id: RequestId,
        /// In place of the one before.
        receipt: Box<AnswerReceipt>,
    },
    /// There will be no answer.
    Failed {
        /// The question.
        request_id: RequestId,
        /// Why.
        #[serde(flatten)]
        failure: Failure,
    },
}

/// A token of the answer, as shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShownToken {
    /// Its text.
    pub text: String,
    /// How sure its writer was of it, in 0..=1; the target, where it has verified it.
    pub probability: f32,
    /// Whether it stands.
    pub settled: bool,
    /// Who wrote it first.
    pub source: TokenSource,
    /// What became of it; `None` while it is only proposed.
    pub fate: Option<TokenFate>,
    /// Text of the draft that it corrects.
    pub replaced: Option<String>,
}

impl From<AnswerToken> for ShownToken {
    fn from(token: AnswerToken) -> Self {
        let AnswerToken { text, probability, state } = token;
        let (settled, source, fate, replaced) = match state {
            TokenState::Proposed(source) => (false, source, None, None),
            TokenState::Settled { origin, replaced } => (true, origin.source, Some(origin.fate), replaced),
        };
        Self { text, probability, settled, source, fate, replaced }
    }
}

/// What an answer counts as, of the model whose answer it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Tokens that it read.
    pub prompt_tokens: u32,
    /// Tokens that it wrote.
    pub completion_tokens: u32,
    /// Drafts that it looked at and that stand.
    pub accepted_drafts: u32,
    /// Drafts that it looked at and that do not.
    pub rejected_drafts: u32,
}

/// What an answer took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AnswerReceipt {
    /// What was decided, and what came of it.
    pub plan: PlanReceipt,
    /// What the device did; `None` where it was not asked.
    pub edge: Option<Receipt>,
    /// What the server did; `None` where it was not asked.
    pub cloud: Option<Receipt>,
    /// Milliseconds from the question to the first token that stands.
    pub first_token_ms: Option<f64>,
    /// Milliseconds from the question to the end.
    pub total_ms: Option<f64>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Failure {
    /// For programs.
    pub code: FailureCode,
    /// For people: what is wrong, and the remedy.
    pub message: String,
    /// Whether asking again may succeed as things are.
    pub retryable: bool,
    /// When that makes sense, in milliseconds from now.
    pub retry_after_ms: Option<u32>,
}

/// For programs: in JavaScript a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum FailureCode {
    /// Of the device.
    Edge(EdgeErrorCode),
    /// Of the server.
    Cloud(ErrorCode),
    /// Of neither.
    Own(OwnCode),
}

/// What can go wrong between device and cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnCode {
    /// Neither the device nor the cloud can answer now.
    NobodyAnswers,
    /// The connection was cut in the middle of the answer, or could not be had.
    ConnectionLost,
    /// The question needs what is locked, and the device cannot answer.
    Locked,
    /// The policy needs a side that is missing.
    PolicyUnavailable,
    /// What was to be sent could not be encoded.
    EncodingFailed,
    /// The server says what this client cannot read.
    UnreadableReply,
}
