//! Why an engine has no answer.

use std::sync::Arc;

use msao_models::ModelError;
use msao_protocol::ErrorCode;

use super::UpstreamError;
use crate::intake::Refusal;

/// Why a job has no answer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The job's own content cannot be used.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The model failed; the pass may have been shared, and the error with it.
    #[error("the model failed: {0}")]
    Model(#[source] Arc<ModelError>),
    /// What runs takes all the memory for keys and values.
    #[error("the requests under way take all memory for keys and values; try again in {retry_after_ms} ms")]
    NoMemory {
        /// When trying again makes sense.
        retry_after_ms: u32,
    },
    /// A bug in the engine; it caught itself and serves the next request.
    #[error("the model stopped on a fault of its own; ask again, and tell the operator if it happens again")]
    Panicked,
    /// The engine asks others, and they gave no answer.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The engine has ended.
    #[error("the engine has stopped; the operator has to restart the server")]
    Stopped,
}

impl EngineError {
    /// The code that tells this error to the client.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(refusal) => refusal.code,
            Self::NoMemory { .. } => ErrorCode::Busy,
            Self::Upstream(error) => error.code(),
            Self::Model(_) | Self::Panicked | Self::Stopped => ErrorCode::Internal,
        }
    }
}

impl EngineError {
    /// When trying again makes sense, in milliseconds, where the engine can tell.
    pub fn retry_after_ms(&self) -> Option<u32> {
        if let Self::NoMemory { retry_after_ms } = self { Some(*retry_after_ms) } else { None }
    }
}

impl From<ModelError> for EngineError {
    /// What the prompt is to blame for becomes a refusal; the rest is the model's own.
    fn from(error: ModelError) -> Self {
        let code = match error {
            ModelError::Media(error) => return Self::Refused(error.into()),
            ModelError::PromptTooLong { .. } | ModelError::QuestionTooLong { .. } => {
                ErrorCode::QuestionTooLong
            }
            ModelError::Prompt { .. } => ErrorCode::Unsupported,
            error => return Self::Model(Arc::new(error)),
        };
        Self::Refused(Refusal::new(code, error.to_string()))
    }
}
