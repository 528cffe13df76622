//! Speech to text: Whisper's encoder and decoder, for checkpoints that cannot hear.
//!
//! | file | what happens there |
//! |---|---|
//! | `config` | what the files of a checkpoint say |
//! | `whisper` | a loaded checkpoint: sound to frames, frames to tokens |
//! | `transcribe` | windows of 30 s one after the other, and another attempt where one went wrong |
//! | `rules` | which tokens may come next |
//! | `segments` | from tokens to stretches of speech with times |
//!
//! It runs on the CPU's kernels only ([`crate::device`]): what it writes is short, and a GPU is left to the model that answers. Follows
//! Radford et al. 2022, and `WhisperForConditionalGeneration.generate` of transformers token for token.

mod config;
mod error;
mod languages;
mod question;
mod rules;
mod segments;
mod transcribe;
mod transcript;
mod whisper;

pub use config::{WhisperConfig, WhisperTokens};
pub use error::SpeechError;
pub use languages::{code_of, name_of};
pub use question::question_of;
pub use transcribe::{Options, Progress, Task};
pub use transcript::{Segment, Transcript};
pub use whisper::{Whisper, WhisperFiles};
