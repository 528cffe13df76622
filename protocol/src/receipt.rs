//! The receipt of an answer: what was used, what was sent, where the milliseconds went.
//!
//! Page, bench and metrics read this one type. What is not in a receipt is not claimed.

use serde::{Deserialize, Serialize};

use crate::TokenOrigin;

/// A kind of input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Modality {
    /// The typed question.
    Text,
    /// A picture, or the frames of a clip.
    Vision,
    /// A recording.
    Audio,
}

/// What one answer took on the machine that wrote this receipt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// One entry for each modality that was given.
    pub modalities: Vec<ModalityReceipt>,
    /// Tokens the model read: text, image and audio placeholders together.
    pub prompt_tokens: u32,
    /// Those of them that the model had read before and still knew.
    pub reused_tokens: u32,
    /// Tokens the model wrote, the end token left out.
    pub completion_tokens: u32,
    /// Where the time went, in the order things began. Spans do not overlap.
    pub spans: Vec<Span>,
    /// Source and fate of each token of the answer.
    pub tokens: Vec<TokenOrigin>,
    /// Verification rounds: passes of the model that settled something.
    pub rounds: u32,
    /// Draft tokens that were looked at, of all sources together.
    pub proposed_drafts: u32,
    /// Draft tokens that stand.
    pub accepted_drafts: u32,
    /// What became of what was said, where it was written down before the model read it.
    pub speech: Option<SpeechReceipt>,
    /// Floating-point operations of towers and decoder, counted from the configuration; 0 where they are not known, as
    /// with an engine that this server only asks.
    pub flops: u64,
}

impl Receipt {
    /// Milliseconds of all spans of `kind` together.
    pub fn ms(&self, kind: SpanKind) -> f64 {
        self.spans.iter().filter(|span| span.kind == kind).map(|span| span.ms).sum()
    }

    /// Tokens written in a second of decoding; `None` before two tokens are known, because the first token is
    /// prefill's.
    pub fn decode_tokens_per_s(&self) -> Option<f64> {
        let decode_ms = self.ms(SpanKind::Decode);
        (self.completion_tokens > 1 && decode_ms > 0.0)
            .then(|| f64::from(self.completion_tokens) / decode_ms * 1000.0)
    }
}

/// How recordings became text, for a model that cannot hear. The text itself is in the prompt, not here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpeechReceipt {
    /// The checkpoint that wrote it down.
    pub model: String,
    /// Code of the language that was heard, such as `en`.
    pub language: String,
    /// Geometric mean of its tokens' probabilities, 0 to 1; 0 where nothing was heard.
    pub confidence: f32,
    /// Seconds of sound.
    pub seconds: f64,
    /// Bytes of sound that crossed the network.
    pub bytes: u64,
    /// Tokens that were written.
    pub tokens: u32,
}

/// What became of one modality.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModalityReceipt {
    /// The modality.
    pub modality: Modality,
    /// Bytes of it that crossed the network.
    pub bytes: u64,
    /// Prompt tokens it became: those that are kept, where some are left out.
    pub prompt_tokens: u32,
    /// Prompt tokens that all of it as given would have become; what was saved is the difference. 0 where that is not known.
    #[serde(default)]
    pub given_tokens: u32,
    /// What it has to be encoded one by one: tiles, pictures as a whole and frames; recordings. 0 for text.
    #[serde(default)]
    pub inputs: u32,
    /// Those of [`Self::inputs`] of which something was looked at.
    #[serde(default)]
    pub kept_inputs: u32,
}

/// A stretch of time spent on one thing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// What was done.
    pub kind: SpanKind,
    /// Milliseconds it took.
    pub ms: f64,
}

/// The stages of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanKind {
    /// Waiting for the engine to be free.
    Queue,
    /// Turning files into pixels and samples.
    DecodeMedia,
    /// Vision and audio towers.
    Encode,
    /// First pass over the whole prompt.
    Prefill,
    /// Writing the answer, token by token.
    Decode,
    /// The probe's look at the question and the first layers.
    Score,
    /// Deciding what runs where.
    Plan,
    /// Writing drafts: on partial context before all media are there, or by a draft model beside the target.
    Propose,
    /// Passes of the model over drafts.
    Verify,
    /// Waiting for media or drafts from the edge.
    Wait,
    /// Cutting out what is kept of the media.
    Prune,
    /// Writing down what is said in a recording, for a model that cannot hear.
    Transcribe,
}
