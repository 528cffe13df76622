//! What a plan is made from.

use msao_protocol::{AnswerMode, Modality, Policy, PredictedCost};
use serde::{Deserialize, Serialize};

use super::Capabilities;
use crate::{
    cost::{Acceptance, TokenFlops, WireSizes},
    estimate::Estimates,
};

/// One request, with all that bears on its plan.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanRequest {
    /// What the request may use.
    pub policy: Policy,
    /// Whether, and on what ground, an edge answer may stand.
    pub standing: Standing,
    /// A modality of relevance below this is dropped; held to [`MAX_DROP_BELOW`](crate::mas::MAX_DROP_BELOW).
    pub drop_below: f64,
    /// The typed question and the template around it.
    pub question: Form,
    /// The modalities that were given.
    pub modalities: Vec<ModalityInput>,
    /// Expected length of the answer in tokens, at least 1.
    pub answer_tokens: f64,
    /// Answer tokens the edge has written already.
    pub edge_drafted_tokens: f64,
    /// By the models' configurations.
    pub token_flops: TokenFlops,
    /// Of the small messages.
    pub wire: WireSizes,
    /// What counts.
    pub weights: Weights,
    /// What network and machines take.
    pub estimates: Estimates,
    /// How often drafts are accepted.
    pub acceptance: Acceptance,
    /// What is there.
    pub capabilities: Capabilities,
}

/// Whether an edge answer may stand without the target.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// What the answer is held to.
    pub mode: AnswerMode,
    /// Calibrated probability that the edge's answer equals the target's, in 0..=1; `None` before there is an
    /// answer.
    pub edge_confidence: Option<f64>,
    /// The least confidence that may stand, as the [risk bound](crate::risk) has it.
    pub threshold: f64,
}

impl Standing {
    /// Whether the edge's answer may stand: risk-controlled mode, and `confidence >= threshold`.
    pub fn may_stand(&self) -> bool {
        matches!(self.mode, AnswerMode::RiskControlled { .. })
            && self.edge_confidence.is_some_and(|confidence| confidence >= self.threshold)
    }
}

/// What one part of the prompt weighs in one form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Form {
    /// Bytes on the wire.
    pub bytes: f64,
    /// Prompt tokens on the edge.
    pub edge_tokens: f64,
    /// Prompt tokens in the cloud.
    pub target_tokens: f64,
    /// Encoding and prefill on the edge, in floating-point operations.
    pub edge_flops: f64,
    /// Encoding and prefill by the target.
    pub target_flops: f64,
}

/// A modality that was given, as scored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ModalityInput {
    /// Which one.
    pub modality: Modality,
    /// Relevance r: probability that the answer changes without it, in 0..=1; NaN counts as 1.
    pub relevance: f64,
    /// Density d: kept share of it, in 0..=1. At 1 there is nothing to prune.
    pub density: f64,
    /// The user forbids that it leaves the device.
    pub locked: bool,
    /// All of it.
    pub whole: Form,
    /// Its kept parts.
    pub pruned: Form,
}

/// What counts, as prices in a common unit; all at least 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Weights {
    /// Of a millisecond of latency.
    pub per_ms: f64,
    /// Of 1024 bytes from edge to cloud.
    pub per_uplink_kib: f64,
    /// Of 10^9 floating-point operations on the edge.
    pub per_edge_gflop: f64,
    /// Of 10^9 floating-point operations in the cloud.
    pub per_cloud_gflop: f64,
}

impl Default for Weights {
    /// Latency alone.
    fn default() -> Self {
        Self { per_ms: 1.0, per_uplink_kib: 0.0, per_edge_gflop: 0.0, per_cloud_gflop: 0.0 }
    }
}

impl Weights {
    /// The weighted sum of a cost.
    pub fn total(&self, cost: &PredictedCost) -> f64 {
        // What has no price is left out, so that an infinite latency (a rate of 0) times 0 is no NaN.
        let priced = |price: f64, amount: f64| if price == 0.0 { 0.0 } else { price * amount };
        priced(self.per_ms, cost.latency_ms)
            + priced(self.per_uplink_kib, cost.uplink_bytes / 1024.0)
            + priced(self.per_edge_gflop, cost.edge_flops / 1e9)
            + priced(self.per_cloud_gflop, cost.cloud_flops / 1e9)
    }
}
