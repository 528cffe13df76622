//! What the cloud says to the edge.

use serde::{Deserialize, Serialize};

use crate::{ErrorReport, Limits, Receipt, RequestId, TokenId};

/// A message from the cloud to the edge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ServerMessage {
    /// Answer to `Hello`: the session is open.
    Welcome {
        /// Names the session in the server's log.
        session_id: String,
        /// The model that answers.
        model: ModelInfo,
        /// The budgets this server holds every input to.
        limits: Limits,
    },
    /// A token of the answer, in order, each index once.
    Token {
        /// The request it answers.
        request_id: RequestId,
        /// Position in the answer, from 0.
        index: u32,
        /// The token.
        token: Token,
    },
    /// The answer is complete; nothing follows for this request.
    Done {
        /// The request it answers.
        request_id: RequestId,
        /// The whole answer.
        text: String,
        /// Why it ended.
        finish_reason: FinishReason,
        /// What the answer took.
        receipt: Receipt,
    },
    /// A request, or the session if the report names no request, has failed.
    Error(ErrorReport),
    /// Answer to `Ping`.
    Pong {
        /// As in the ping.
        nonce: u32,
    },
}

/// A token and how sure the model was of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Token {
    /// Its index in the vocabulary.
    pub id: TokenId,
    /// The text it adds to the answer; empty where it completes no character.
    pub text: String,
    /// The model's probability of it, in 0..=1.
    pub probability: f32,
}

/// Which model answers, in words a page can show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Name of the checkpoint folder, such as `pocket-cloud`.
    pub name: String,
    /// Weights in the model.
    pub parameters: u64,
    /// Where it runs: `cpu`, `vulkan`, `cuda`.
    pub device: String,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model ended it.
    Stop,
    /// It reached `max_new_tokens` or the context's end.
    Length,
    /// The client cancelled it.
    Cancelled,
}
