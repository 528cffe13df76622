//! What the bench keeps of one request: a line of its journal, and all that tables and plots are made from.

use serde::{Deserialize, Serialize};

/// One request under one policy over one network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Names the request within its set; the same under every policy and network.
    pub(crate) request: String,
    /// Question family.
    pub(crate) family: String,
    /// Names and hashes of the models; `None` in journals of versions that measured the shipped ones only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) models: Option<String>,
    /// Name of the network, such as `20ms-200mbit`.
    pub(crate) network: String,
    /// Name of the policy, such as `msao`.
    pub(crate) policy: String,
    /// The answer, trimmed.
    pub(crate) answer: String,
    /// Whether it is the ground truth's.
    pub(crate) is_right: bool,
    /// Milliseconds from the question to the first token on the screen, drafts included.
    pub(crate) first_shown_ms: f64,
    /// Milliseconds to the first token that stands: TTFT.
    pub(crate) ttft_ms: f64,
    /// Milliseconds until all of the answer stands.
    pub(crate) total_ms: f64,
    /// Tokens of the answer.
    pub(crate) tokens: u32,
    /// Bytes that crossed the network to the cloud for this request, frames and all; a shadow verification's too.
    pub(crate) up_bytes: u64,
    /// Bytes that came back.
    pub(crate) down_bytes: u64,
    /// Of `up_bytes`, pictures.
    pub(crate) vision_bytes: u64,
    /// Of `up_bytes`, sound.
    pub(crate) audio_bytes: u64,
    /// Counted operations on the edge.
    pub(crate) edge_flops: u64,
    /// Counted operations in the cloud.
    pub(crate) cloud_flops: u64,
    /// Draft tokens that the target looked at.
    pub(crate) proposed_drafts: u32,
    /// Of these, those that it accepted.
    pub(crate) accepted_drafts: u32,
    /// Verification rounds, or passes.
    pub(crate) rounds: u32,
    /// How it was answered in the end, such as `distributed` or `edge_only`.
    pub(crate) strategy: String,
    /// The edge's answer stood without the cloud.
    pub(crate) stood: bool,
    /// It was verified afterwards: whether the target agreed.
    pub(crate) shadow_agreed: Option<bool>,
    /// What the plan expected `total_ms` to be, where there was one.
    pub(crate) predicted_ms: Option<f64>,
    /// Milliseconds by what they were spent on: `edge.prefill`, `cloud.queue` and so on.
    pub(crate) spans: Vec<(String, f64)>,
    /// Why there is no answer, if there is none; times are then those until the failure.
    pub(crate) failure: Option<String>,
}
