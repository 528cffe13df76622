//! Wire types of MSAO: what the edge and the cloud say to each other, and the receipt of an answer.
//!
//! One WebSocket carries a session. Each binary message is one [`Frame`](frame): a fixed header with magic,
//! version and payload length, then the payload in [postcard](https://docs.rs/postcard). Everything that
//! crosses the wire is declared here and nowhere else.
//!
//! This crate does no I/O and knows no clock, browser, web framework or tensor library.

mod bounded;
mod client;
mod clip;
mod error;
pub mod frame;
mod limits;
mod plan;
mod receipt;
mod server;

pub use client::{
    Ask, Attach, AudioInput, Candidate, ClientMessage, Draft, ImageInput, KeptAudio, KeptImage, Media,
    MediaKind, Sampling, Speculation, TiledImage, Turn, Verify,
};
pub use clip::{Clip, ClipError, ClipSampling};
pub use error::{ErrorCode, ErrorReport, FrameError};
pub use limits::Limits;
pub use plan::{
    AnswerMode, KeepMask, KeptParts, MasReceipt, ModalityAction, ModalityPlanReceipt, PlanChange, PlanReason,
    PlanReceipt, Policy, PredictedCost, ShadowCheck, Strategy, TokenFate, TokenOrigin, TokenSource,
};
pub use receipt::{Modality, ModalityReceipt, Receipt, Span, SpanKind, SpeechReceipt};
pub use server::{
    AudioGrid, FinishReason, ImageGrid, ModelInfo, PictureSize, ServerMessage, SettledToken, Token, Verified,
    Vocabulary,
};

/// Version of the wire protocol. A server refuses a frame of another version with
/// [`ErrorCode::UnsupportedVersion`].
pub const PROTOCOL_VERSION: u8 = 6;

/// Name of a request within its session, chosen by the client, unique while the session lives.
pub type RequestId = u32;

/// Index of a token in the vocabulary both models share.
pub type TokenId = u32;
