//! The request that the plan's tests begin from.

use msao_protocol::{AnswerMode, Modality, Policy};

use super::{Capabilities, Form, ModalityInput, PlanRequest, Standing, Weights};
use crate::{
    cost::{Acceptance, TokenFlops, WireSizes},
    estimate::Estimates,
};

/// A question about one modality that is needed whole, with edge and cloud there and a target that writes by itself.
pub(super) fn request(modality: Modality, whole: Form) -> PlanRequest {
    PlanRequest {
        policy: Policy::Msao,
        standing: Standing { mode: AnswerMode::Verified, edge_confidence: None, threshold: 0.9 },
        drop_below: 0.05,
        question: Form { bytes: 40.0, edge_tokens: 12.0, target_tokens: 12.0, ..Form::default() },
        modalities: vec![ModalityInput {
            modality,
            relevance: 1.0,
            density: 1.0,
            locked: false,
            whole,
            pruned: whole,
        }],
        answer_tokens: 3.0,
        edge_drafted_tokens: 0.0,
        token_flops: TokenFlops::default(),
        wire: WireSizes::default(),
        weights: Weights::default(),
        estimates: Estimates::default(),
        acceptance: Acceptance { edge: 0.8, co_located: 0.8 },
        capabilities: Capabilities {
            edge_ready: true,
            edge_drafts: true,
            cloud_connected: true,
            co_located: false,
            pipelining: true,
            max_draft_tokens: 8,
        },
    }
}
