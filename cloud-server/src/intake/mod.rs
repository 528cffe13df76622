//! What may come in: every message about a question is held against the limits before anything of it is decoded.
//!
//! [`check`] looks at counts, sizes and masks only and costs nothing; [`mod@decode`] turns files into pixels and samples,
//! each within its budget; [`kept`] puts parts of a picture or recording back in their places, [`tiled`] holds pictures of which
//! some tiles came to the target's own layout; [`drafting`] looks at drafts
//! and at how tokens are to be chosen, [`history`] at the turns before a question. All speak to people: value, limit, remedy.

mod check;
mod decode;
mod drafting;
mod history;
mod kept;
#[cfg(test)]
mod properties;
mod tiled;

pub(crate) use check::{check_ask, check_attach, effective_limits, name_of};
pub(crate) use decode::{decode, decode_recording, decode_sound};
pub(crate) use drafting::{check_draft, check_speculation, check_verify};
pub(crate) use history::check_history;

use msao_models::preprocess::MediaError;
use msao_protocol::ErrorCode;

/// Why a question is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// For programs.
    pub code: ErrorCode,
    /// For people: value, limit and remedy.
    pub message: String,
}

impl Refusal {
    /// A refusal from its parts.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<MediaError> for Refusal {
    fn from(error: MediaError) -> Self {
        let code = match &error {
            MediaError::FileTooLarge { .. } => ErrorCode::TooLarge,
            MediaError::ImageTooLarge { .. } => ErrorCode::TooManyPixels,
            MediaError::AnimatedImage { .. } => ErrorCode::TooManyImages,
            MediaError::TruncatedImage | MediaError::TruncatedWav => ErrorCode::Truncated,
            MediaError::AudioTooLong { .. } => ErrorCode::AudioTooLong,
            MediaError::SilentAudio { .. } | MediaError::EmptyAudio => ErrorCode::AudioSilent,
            MediaError::NotWav
            | MediaError::UnsupportedWav { .. }
            | MediaError::UnsupportedSampleRate { .. }
            | MediaError::ChannelLayout { .. }
            | MediaError::NonFiniteSample { .. } => ErrorCode::NotAudio,
            _ => ErrorCode::NotAnImage,
        };
        Refusal::new(code, error.to_string())
    }
}
