//! Receipts for tests.

use msao_protocol::{
    AnswerMode, KeepMask, KeptParts, MasReceipt, Modality, ModalityAction, ModalityPlanReceipt,
    ModalityReceipt, PlanReason, PlanReceipt, Policy, PredictedCost, Receipt, Span, SpanKind, Strategy,
    TokenFate, TokenOrigin, TokenSource,
};

use super::{SideTiming, Timing, TurnReceipt};

/// A clip of two frames, of which one square left.
pub(crate) fn pruned() -> ModalityPlanReceipt {
    ModalityPlanReceipt {
        modality: Modality::Vision,
        action: ModalityAction::Pruned,
        locked: false,
        mas: Some(MasReceipt {
            relevance: 0.98,
            density: 0.25,
            mas: 0.76,
            kept_patches: 1,
            patches: 4,
            kept_frames: 1,
            frames: 2,
            ..MasReceipt::default()
        }),
        kept: KeptParts {
            patches: KeepMask::new(&[true, false, false, false]),
            frames: KeepMask::new(&[false, true]),
            windows: KeepMask::default(),
        },
        sent_bytes: 900,
        cloud_only_bytes: 12_000,
    }
}

/// A question that both sides answered.
pub(crate) fn receipt() -> TurnReceipt {
    let origin = |source, fate| TokenOrigin { source, fate };
    TurnReceipt {
        plan: PlanReceipt {
            policy: Policy::Msao,
            mode: AnswerMode::Verified,
            strategy: Strategy::Distributed { draft_tokens: 4, pipelined: false },
            reason: PlanReason::Cheapest,
            predicted: PredictedCost::default(),
            edge_confidence: None,
            changes: Vec::new(),
            shadow: None,
            modalities: vec![pruned()],
            tokens: vec![
                origin(TokenSource::EdgeDraft, TokenFate::Accepted),
                origin(TokenSource::Target, TokenFate::Corrected),
            ],
            rounds: 1,
            proposed_drafts: 4,
            accepted_drafts: 1,
            edge_flops: 40_000_000,
            cloud_flops: 0,
        },
        whole_tokens: [72, 0],
        heard: None,
        edge: Some(Receipt {
            spans: vec![Span { kind: SpanKind::Encode, ms: 12.0 }, Span { kind: SpanKind::Score, ms: 0.1 }],
            ..Receipt::default()
        }),
        cloud: Some(Receipt {
            modalities: vec![ModalityReceipt {
                modality: Modality::Vision,
                bytes: 900,
                prompt_tokens: 1,
                given_tokens: 1,
                inputs: 1,
                kept_inputs: 1,
            }],
            ..Receipt::default()
        }),
        patch_probabilities: vec![vec![0.1; 4], vec![0.9, 0.3, 0.2, 0.1]],
        target_parameters: Some(1_000_000),
        device_sat_out: false,
        timing: Timing {
            asked_at_ms: 5_000.0,
            sent_at_ms: Some(30.0),
            edge: SideTiming { first_token_ms: Some(20.0), total_ms: Some(40.0) },
            cloud: SideTiming { first_token_ms: Some(90.0), total_ms: Some(100.0) },
        },
    }
}
