//! What the cloud says to the edge.

use serde::{Deserialize, Serialize};

use crate::{ClipSampling, ErrorReport, Limits, Receipt, RequestId, TokenId, TokenOrigin};

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
    /// Tokens that stand: what one pass of the target settled, in order, each position once.
    Settled {
        /// The request they answer.
        request_id: RequestId,
        /// Position in the answer of the first one, from 0.
        start: u32,
        /// The tokens.
        tokens: Vec<SettledToken>,
        /// Corrections so far, those among these tokens included: what a further [`Draft`](crate::Draft) must know.
        revision: u32,
    },
    /// Tokens that the target proposes on partial context; a later proposal or what is settled replaces them.
    Proposed {
        /// The request they answer.
        request_id: RequestId,
        /// Position in the answer of the first one, from 0.
        start: u32,
        /// The tokens.
        tokens: Vec<Token>,
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
    /// Answer to [`Verify`](crate::Verify); nothing follows for its request.
    Verified(Verified),
    /// A request, or the session if the report names no request, has failed.
    Error(ErrorReport),
    /// Answer to `Ping`.
    Pong {
        /// As in the ping.
        nonce: u32,
    },
}

/// What the target makes of proposed tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verified {
    /// As in the [`Verify`](crate::Verify).
    pub request_id: RequestId,
    /// How many drafts, from the first on, the target would have written itself, an end token included.
    pub accepted: u32,
    /// What it would have written behind them, an end token without text included; `None` behind an accepted end token.
    pub next: Option<Token>,
    /// If wanted: for each draft the natural logarithm of its probability behind all that comes before it, accepted or
    /// not. Nothing follows an end token, so drafts behind one have none.
    pub log_probabilities: Vec<f32>,
    /// Tokens of the answer that stand now.
    pub standing: u32,
}

/// A token and how sure the model was of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Token {
    /// Its index in the vocabulary.
    pub id: TokenId,
    /// The text it adds to the answer; empty where it completes no character.
    pub text: String,
    /// The model's probability of it, in 0..=1; 1 where an upstream engine does not tell.
    pub probability: f32,
}

/// A token that stands, and how it came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SettledToken {
    /// The token, with the target's own probability.
    pub token: Token,
    /// Who wrote it first, and what became of that.
    pub origin: TokenOrigin,
}

/// Which model answers, in words a page can show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Name of the checkpoint folder, such as `pocket-cloud`.
    pub name: String,
    /// Weights in the model; 0 where they are not known.
    pub parameters: u64,
    /// Where it runs: `cpu`, `vulkan`, `cuda`, or `upstream` for engines elsewhere.
    pub device: String,
    /// How pictures are cut for it.
    pub image: ImageGrid,
    /// How recordings are cut for it; `None` where it cannot hear.
    pub audio: Option<AudioGrid>,
    /// Whether a draft model runs beside it.
    pub co_located_draft: bool,
    /// What its token ids mean.
    pub vocabulary: Vocabulary,
    /// How it wants whole pictures.
    pub pictures: PictureSize,
    /// How it looks at videos; `None` where it reads no times, so that frames are pictures.
    pub clips: Option<ClipSampling>,
}

/// What token ids mean, as far as two models have to agree on it for the one to draft for the other.
///
/// Models of one family have the same tokens and others of their own behind them, which nobody drafts: SmolLM2's
/// 49,152 are SmolVLM's too, which has 128 more. So models agree whose fingerprints do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vocabulary {
    /// How many tokens the fingerprint is of, from id 0 on: drafts lie below. 0 where they are not known.
    pub tokens: u32,
    /// Differs where any of them does.
    pub fingerprint: String,
}

/// How a model wants pictures of which nothing is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PictureSize {
    /// Longest edge in pixels beyond which it gains nothing; 0 where it sees the centre square of [`ImageGrid`] alone.
    pub longest_edge_px: u32,
    /// Side in pixels of the tiles that it then splits them into, which may be more than the grid's tokens cover; 0 where it splits
    /// none.
    pub tile_px: u32,
}

/// How a model divides a picture into tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageGrid {
    /// Side in pixels of the square that it sees.
    pub side_px: u32,
    /// Image tokens along a side; the squares between are what can be kept or left out.
    pub tokens_per_side: u32,
}

impl ImageGrid {
    /// Side of one token's square in pixels.
    pub fn tile_px(&self) -> u32 {
        self.side_px / self.tokens_per_side.max(1)
    }

    /// Tokens of one picture.
    pub fn tokens(&self) -> u32 {
        self.tokens_per_side * self.tokens_per_side
    }
}

/// How a model divides a recording into tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioGrid {
    /// Samples in a second.
    pub sample_rate_hz: u32,
    /// Samples that one token hears.
    pub window_samples: u32,
    /// Tokens of the longest recording.
    pub tokens: u32,
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
