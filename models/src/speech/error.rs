//! Why a recording could not be written down.

use thiserror::Error;

use crate::error::ModelError;
use crate::preprocess::MediaError;

/// A refused or abandoned transcription; each message names the remedy.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SpeechError {
    /// The checkpoint or the device failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The recording cannot be used.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The recording is longer than what is accepted.
    #[error("the recording lasts {seconds:.1} s, at most {max_seconds:.0} s are written down: cut it")]
    TooLong {
        /// Its length.
        seconds: f64,
        /// The most that is accepted.
        max_seconds: f64,
    },
    /// The language asked for is not one of the checkpoint's.
    #[error(
        "`{language}` is no language of this checkpoint: name one by its code, such as `en`, or leave it out"
    )]
    Language {
        /// What was asked for.
        language: String,
    },
    /// The checkpoint writes in the language spoken only.
    #[error(
        "this checkpoint does not translate: leave the translation out, or choose one that knows several languages"
    )]
    CannotTranslate,
    /// The text to go on from is too long.
    #[error("the prompt has {tokens} tokens, at most {limit} fit before a transcript: shorten it")]
    PromptTooLong {
        /// Its tokens.
        tokens: usize,
        /// The most that fits.
        limit: usize,
    },
    /// Whoever asked wants no more of it.
    #[error("the transcription was cancelled")]
    Cancelled,
}
