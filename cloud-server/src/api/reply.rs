//! The shapes of answers: a whole completion, the chunks of a stream, usage and log-probabilities.

use msao_protocol::{FinishReason, Modality, Receipt};
use serde::Serialize;

use crate::engine::{TokenLogprob, TokenLogprobs};

/// What OpenAI's API says for a probability of 0.
const LEAST_LOGPROB: f32 = -9_999.0;

/// What all parts of one answer have in common.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Head {
    pub(super) id: String,
    pub(super) object: &'static str,
    /// Seconds since 1970.
    pub(super) created: u64,
    pub(super) model: String,
    pub(super) system_fingerprint: &'static str,
}

/// Names what answers: the version of this server.
pub(super) const FINGERPRINT: &str = concat!("msao-", env!("CARGO_PKG_VERSION"));

/// A whole answer.
#[derive(Debug, Serialize)]
pub(super) struct Completion<'a> {
    #[serde(flatten)]
    pub(super) head: &'a Head,
    pub(super) choices: [Choice<'a>; 1],
    pub(super) usage: &'a Usage,
    /// Not of OpenAI's: what the answer took, as the session's `Done` tells it.
    pub(super) receipt: &'a Receipt,
}

/// The one answer.
#[derive(Debug, Serialize)]
pub(super) struct Choice<'a> {
    pub(super) index: u32,
    pub(super) message: Answer<'a>,
    pub(super) logprobs: Option<Logprobs>,
    pub(super) finish_reason: &'static str,
}

/// The answer's message.
#[derive(Debug, Serialize)]
pub(super) struct Answer<'a> {
    pub(super) role: &'static str,
    pub(super) content: &'a str,
    pub(super) refusal: Option<()>,
}

/// A part of a streamed answer.
#[derive(Debug, Serialize)]
pub(super) struct Chunk<'a> {
    #[serde(flatten)]
    pub(super) head: &'a Head,
    pub(super) choices: Vec<Part<'a>>,
    /// Left out where it was not asked for, null before the last chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<Option<&'a Usage>>,
    /// As in a whole answer, in the chunk that tells the usage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) receipt: Option<&'a Receipt>,
}

/// What a chunk adds.
#[derive(Debug, Serialize)]
pub(super) struct Part<'a> {
    pub(super) index: u32,
    pub(super) delta: Delta<'a>,
    pub(super) logprobs: Option<Logprobs>,
    pub(super) finish_reason: Option<&'static str>,
}

/// What a chunk adds to the message.
#[derive(Debug, Default, Serialize)]
pub(super) struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<&'a str>,
}

/// What an answer counts as.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Usage {
    prompt_tokens: u32,
    completion_tokens: u32,
    total_tokens: u32,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct PromptDetails {
    cached_tokens: u32,
    audio_tokens: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct CompletionDetails {
    accepted_prediction_tokens: u32,
    rejected_prediction_tokens: u32,
    reasoning_tokens: u32,
    audio_tokens: u32,
}

impl Usage {
    /// What a receipt and the tokens of an answer come to; of `predicted` tokens, `accepted` stand in the answer.
    pub(super) fn new(receipt: &Receipt, completion_tokens: u32, predicted: u32, accepted: u32) -> Self {
        let prompt_tokens = receipt.prompt_tokens;
        let audio = receipt.modalities.iter().filter(|one| one.modality == Modality::Audio);
        let audio_tokens = audio.map(|one| one.prompt_tokens).sum();
        Self {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens + completion_tokens,
            prompt_tokens_details: PromptDetails { cached_tokens: receipt.reused_tokens, audio_tokens },
            completion_tokens_details: CompletionDetails {
                accepted_prediction_tokens: accepted,
                rejected_prediction_tokens: predicted.saturating_sub(accepted),
                ..CompletionDetails::default()
            },
        }
    }
}

/// Log-probabilities of an answer's tokens, in order.
#[derive(Debug, Default, Serialize)]
pub(super) struct Logprobs {
    pub(super) content: Vec<TokenEntry>,
    refusal: Option<()>,
}

/// One token, and those that were likeliest in its place.
#[derive(Debug, Serialize)]
pub(super) struct TokenEntry {
    #[serde(flatten)]
    token: Entry,
    top_logprobs: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct Entry {
    /// Bytes that are no whole character read as U+FFFD.
    token: String,
    logprob: f32,
    bytes: Vec<u8>,
}

impl Logprobs {
    pub(super) fn new(tokens: impl IntoIterator<Item = TokenLogprobs>) -> Self {
        Self { content: tokens.into_iter().map(TokenEntry::from).collect(), refusal: None }
    }
}

impl From<TokenLogprobs> for TokenEntry {
    fn from(logprobs: TokenLogprobs) -> Self {
        let TokenLogprobs { chosen, top } = logprobs;
        Self { token: chosen.into(), top_logprobs: top.into_iter().map(Entry::from).collect() }
    }
}

impl From<TokenLogprob> for Entry {
    fn from(token: TokenLogprob) -> Self {
        let TokenLogprob { bytes, logprob, .. } = token;
        // JSON has no infinity.
        let logprob = if logprob.is_finite() { logprob.max(LEAST_LOGPROB) } else { LEAST_LOGPROB };
        Self { token: String::from_utf8_lossy(&bytes).into_owned(), logprob, bytes }
    }
}

/// OpenAI's word for why an answer ended; `stopped` by a stop sequence.
pub(super) fn finish_reason(reason: FinishReason, stopped: bool) -> &'static str {
    match reason {
        FinishReason::Length if !stopped => "length",
        _ => "stop",
    }
}
