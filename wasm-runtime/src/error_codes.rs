//! From a failure of the model to the code that the page is told.

use msao_models::ModelError;

use crate::messages::EdgeErrorCode;

impl EdgeErrorCode {
    /// The code for a failure of the model: whose fault it is decides what the page can do.
    pub fn of(error: &ModelError) -> Self {
        match error {
            ModelError::Device { .. } => Self::EngineUnavailable,
            ModelError::ReadBack { .. } => Self::EngineFailed,
            ModelError::File { .. }
            | ModelError::Architecture { .. }
            | ModelError::Config { .. }
            | ModelError::Weights { .. }
            | ModelError::MissingTensor { .. }
            | ModelError::TensorShape { .. }
            | ModelError::TensorType { .. }
            | ModelError::Tokenizer { .. } => Self::CheckpointInvalid,
            ModelError::TooLarge { .. } => Self::TooLarge,
            // What is left concerns the question and its media.
            _ => Self::InvalidInput,
        }
    }
}
