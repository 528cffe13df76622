//! What is to be done for an answer, or for the rest of one: the quantities that costs are reckoned from.

use msao_protocol::Strategy;
use serde::{Deserialize, Serialize};

/// Probability that the target accepts a draft token, each in 0..=1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Acceptance {
    /// Of the edge's drafts.
    pub edge: f64,
    /// Of the server's own draft model.
    pub co_located: f64,
}

/// Floating-point operations of one token, by the model's configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct TokenFlops {
    /// A decode step on the edge.
    pub edge: f64,
    /// A row of the target, decoded or verified.
    pub target: f64,
    /// A decode step of the server's draft model.
    pub co_located: f64,
}

/// Bytes of the small messages.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WireSizes {
    /// A proposal without its drafts.
    pub empty_proposal_bytes: f64,
    /// A draft token: its id, and its distribution where sampling needs that.
    pub draft_token_bytes: f64,
    /// A message from the cloud with settled tokens.
    pub settled_bytes: f64,
}

impl Default for WireSizes {
    /// Greedy decoding: token ids alone.
    fn default() -> Self {
        Self { empty_proposal_bytes: 24.0, draft_token_bytes: 4.0, settled_bytes: 24.0 }
    }
}

impl WireSizes {
    /// Bytes of a proposal of so many drafts.
    pub fn proposal_bytes(&self, draft_tokens: u8) -> f64 {
        self.empty_proposal_bytes + f64::from(draft_tokens) * self.draft_token_bytes
    }
}

/// An answer that is yet to be written, with what is to be sent and read for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Work {
    /// Expected length of the answer, at least 1.
    pub answer_tokens: f64,
    /// Question and media, in bytes.
    pub upload_bytes: f64,
    /// Tokens of the prompt on the edge.
    pub edge_prompt_tokens: f64,
    /// Tokens of the prompt in the cloud.
    pub target_prompt_tokens: f64,
    /// Encoding and prefill on the edge, in floating-point operations.
    pub edge_prefill_flops: f64,
    /// Encoding and prefill by the target.
    pub target_prefill_flops: f64,
    /// Encoding and prefill by the server's draft model.
    pub co_located_prefill_flops: f64,
    /// Answer tokens the edge has written already; above 0 its prefill is done too.
    pub edge_drafted_tokens: f64,
    /// Per token.
    pub token_flops: TokenFlops,
    /// Of the messages.
    pub wire: WireSizes,
}

/// The rest of an answer, its prompt being with both sides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Remaining {
    /// Expected tokens yet to be settled; reckoned as at least 1, since an answer may outgrow what was
    /// expected.
    pub tokens: f64,
    /// Tokens of prompt and settled answer: what the server's draft model reads if it takes over.
    pub context_tokens: f64,
    /// Drafts the edge has ready beyond the settled text.
    pub edge_drafted_tokens: f64,
    /// Who writes now: a change has to be told to the server.
    pub current: Strategy,
    /// Per token.
    pub token_flops: TokenFlops,
    /// Of the messages.
    pub wire: WireSizes,
}
