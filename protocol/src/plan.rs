//! The plan of an answer on the wire and in the receipt: per modality what is sent, per request who writes,
//! per token who wrote it and what became of it.
//!
//! Types only: the decisions that fill them are made in `msao-planner`.

use serde::{Deserialize, Serialize};

use crate::Modality;

/// What happens to one modality of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModalityAction {
    /// Left out, on the edge and in the cloud.
    Drop,
    /// Used on the edge only, never sent.
    Edge,
    /// Only the kept patches, frames or windows are sent.
    Pruned,
    /// All of it is sent.
    Whole,
}

impl ModalityAction {
    /// Whether any of the modality's own content crosses the network.
    pub fn leaves_device(self) -> bool {
        matches!(self, Self::Pruned | Self::Whole)
    }
}

/// Who writes the answer's tokens, and who confirms them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The edge model alone; nothing leaves the device.
    EdgeOnly,
    /// The target alone, token by token.
    Cloud,
    /// A draft model beside the target on the server proposes, the target verifies.
    CoLocated {
        /// Tokens proposed per verification, at least 1.
        draft_tokens: u8,
    },
    /// The edge proposes, the target verifies.
    Distributed {
        /// Tokens proposed per verification, at least 1.
        draft_tokens: u8,
        /// Whether the edge drafts on while a verification is under way.
        pipelined: bool,
    },
}

impl Strategy {
    /// Whether the request goes to the cloud at all.
    pub fn uses_cloud(self) -> bool {
        self != Self::EdgeOnly
    }

    /// Whether the edge model writes tokens.
    pub fn uses_edge(self) -> bool {
        matches!(self, Self::EdgeOnly | Self::Distributed { .. })
    }

    /// Tokens proposed per verification; 0 without speculation.
    pub fn draft_tokens(self) -> u8 {
        match self {
            Self::EdgeOnly | Self::Cloud => 0,
            Self::CoLocated { draft_tokens } | Self::Distributed { draft_tokens, .. } => draft_tokens,
        }
    }
}

/// What an answer is held to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerMode {
    /// Every token is the target's own, or drawn from its distribution.
    #[default]
    Verified,
    /// A confident edge answer may stand without the cloud.
    RiskControlled {
        /// Bound on the share of all requests whose edge answer stands and differs from the target's; in (0,
        /// 1).
        epsilon: f32,
    },
}

/// Which strategies and actions a request may use: the method itself, its baselines and its ablations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// All of them.
    #[default]
    Msao,
    /// The edge model on everything that was given.
    EdgeOnly,
    /// The target alone on everything that was given.
    CloudOnly,
    /// Speculation on the server, on everything that was given.
    CoLocated,
    /// Speculation across the network, on everything that was given.
    Distributed,
    /// As [`Self::Msao`], but nothing is dropped or pruned.
    MsaoWithoutMas,
    /// As [`Self::Msao`], but nothing is drafted.
    MsaoWithoutSpeculation,
}

impl Policy {
    /// Every policy, in the order tables list them.
    pub const ALL: [Self; 7] = [
        Self::Msao,
        Self::EdgeOnly,
        Self::CloudOnly,
        Self::CoLocated,
        Self::Distributed,
        Self::MsaoWithoutMas,
        Self::MsaoWithoutSpeculation,
    ];

    /// Whether relevance and density may drop or prune a modality.
    pub fn uses_mas(self) -> bool {
        matches!(self, Self::Msao | Self::MsaoWithoutSpeculation)
    }

    /// Whether the plan may choose by itself who answers.
    pub fn is_adaptive(self) -> bool {
        matches!(self, Self::Msao | Self::MsaoWithoutMas | Self::MsaoWithoutSpeculation)
    }
}

/// Why the plan is as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanReason {
    /// It has the lowest expected cost of all that was allowed.
    Cheapest,
    /// The policy leaves no other strategy.
    ByPolicy,
    /// A modality the question needs must not leave the device, so the edge answers.
    NeededModalityLocked,
    /// There is no cloud at the moment, so the edge answers.
    CloudAway,
    /// There is no edge model yet, so it neither answers nor drafts.
    EdgeNotReady,
    /// The edge model's tokens are not the target's, so it answers alone or not at all, and drafts nothing.
    OtherTokenizer,
    /// The edge is confident enough for the risk bound, and standing costs least.
    ConfidentEdge,
    /// Looking at the media first would have taken longer than it saves, so all of them were sent at once.
    LookCostsMore,
}

/// Who wrote a token first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenSource {
    /// The edge's draft model.
    EdgeDraft,
    /// The target, before all modalities had arrived.
    PartialContext,
    /// The draft model beside the target.
    CoLocatedDraft,
    /// The target on the full context.
    Target,
}

/// What became of a token of the final answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenFate {
    /// A draft the target confirmed.
    Accepted,
    /// The target's token in place of a draft it rejected.
    Corrected,
    /// The target's own, where no draft stood.
    Written,
    /// The edge's, which stood without the target.
    Unverified,
}

/// Source and fate of one token of the final answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TokenOrigin {
    /// Who wrote it first.
    pub source: TokenSource,
    /// What became of it.
    pub fate: TokenFate,
}

/// Which parts of a sequence were kept, one bit each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepMask {
    parts: u32,
    /// Part `i` is bit `i % 8` of byte `i / 8`; what is missing counts as not kept.
    bits: Vec<u8>,
}

impl KeepMask {
    /// The mask that keeps exactly the `true` parts.
    ///
    /// # Panics
    /// If there are more than `u32::MAX` parts.
    pub fn new(kept: &[bool]) -> Self {
        let mut bits = vec![0; kept.len().div_ceil(8)];
        for (part, _) in kept.iter().enumerate().filter(|(_, kept)| **kept) {
            bits[part / 8] |= 1 << (part % 8);
        }
        Self { parts: u32::try_from(kept.len()).expect("a mask has far fewer parts"), bits }
    }

    /// Parts in all.
    pub fn parts(&self) -> u32 {
        self.parts
    }

    /// Parts that were kept.
    pub fn kept(&self) -> u32 {
        // Bounded by the bytes that are there: a mask off the wire may announce any number of parts.
        let held = u32::try_from(self.bits.len() * 8).unwrap_or(u32::MAX);
        (0..self.parts.min(held)).map(|part| u32::from(self.is_kept(part))).sum()
    }

    /// Whether a part was kept; `false` past the end.
    pub fn is_kept(&self, part: u32) -> bool {
        let byte = self.bits.get(part as usize / 8).copied().unwrap_or(0);
        part < self.parts && byte & (1 << (part % 8)) != 0
    }
}

/// How much of a modality a question needs, by Modality Activation Sparsity. Counts are 0 of 0 where a kind
/// of part does not exist (windows of a picture).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct MasReceipt {
    /// Relevance r: probability that the answer changes without the modality, in 0..=1.
    pub relevance: f32,
    /// Density d: kept share of patches times kept share of frames, or of windows; in 0..=1.
    pub density: f32,
    /// MAS = 1 - r d: share of the modality's activations this question does not need, in 0..=1.
    pub mas: f32,
    /// Patches kept, of all kept frames together.
    pub kept_patches: u32,
    /// Patches of all kept frames together.
    pub patches: u32,
    /// Frames kept.
    pub kept_frames: u32,
    /// Frames given.
    pub frames: u32,
    /// Windows of sound kept.
    pub kept_windows: u32,
    /// Windows of sound given.
    pub windows: u32,
}

/// Which parts of a modality were kept; empty masks where a kind of part does not exist.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptParts {
    /// Patches of the kept frames, row by row, one frame after the other.
    pub patches: KeepMask,
    /// Frames in order of time.
    pub frames: KeepMask,
    /// Windows of sound in order of time.
    pub windows: KeepMask,
}

/// What the plan did with one modality, and what it saved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModalityPlanReceipt {
    /// The modality.
    pub modality: Modality,
    /// What was done with it.
    pub action: ModalityAction,
    /// Whether the user forbade that it leaves the device.
    pub locked: bool,
    /// Its sparsity scores; `None` where nothing scored it.
    pub mas: Option<MasReceipt>,
    /// Which of its parts were kept.
    pub kept: KeptParts,
    /// Bytes of it that crossed the network.
    pub sent_bytes: u64,
    /// Bytes of it that would have crossed under [`Policy::CloudOnly`].
    pub cloud_only_bytes: u64,
}

/// Expected costs of a plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct PredictedCost {
    /// Until the first token that no later one replaces, in milliseconds.
    pub first_token_ms: f64,
    /// Until the whole answer is settled, in milliseconds.
    pub latency_ms: f64,
    /// Bytes from edge to cloud.
    pub uplink_bytes: f64,
    /// Floating-point operations on the edge.
    pub edge_flops: f64,
    /// Floating-point operations in the cloud.
    pub cloud_flops: f64,
}

/// A decision in the middle of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanChange {
    /// Tokens that stood when it was made.
    pub at_token: u32,
    /// Who writes from there on.
    pub strategy: Strategy,
    /// Why.
    pub reason: PlanReason,
}

/// Verification of an edge answer that stood, after the user has had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShadowCheck {
    /// Under way.
    Pending,
    /// The target says the same.
    Agreed,
    /// The target says something else.
    Differed,
    /// The cloud could not be asked.
    Failed,
}

/// The plan's part of a receipt: what was decided, why, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanReceipt {
    /// What the request was allowed to use.
    pub policy: Policy,
    /// What the answer is held to.
    pub mode: AnswerMode,
    /// Who wrote, as decided last.
    pub strategy: Strategy,
    /// Why the plan was made so.
    pub reason: PlanReason,
    /// What it was expected to cost when it was made.
    pub predicted: PredictedCost,
    /// Calibrated probability that the edge's answer equals the target's, in 0..=1, where the edge gave one.
    pub edge_confidence: Option<f32>,
    /// Decisions after the first that changed who writes, in order.
    pub changes: Vec<PlanChange>,
    /// What verifying an answer that stood has found, where it was verified to watch the risk bound. The bytes and
    /// operations that took are among those of this receipt.
    pub shadow: Option<ShadowCheck>,
    /// One entry for each modality that was given.
    pub modalities: Vec<ModalityPlanReceipt>,
    /// One entry for each token of the final answer, in order.
    pub tokens: Vec<TokenOrigin>,
    /// Verification rounds.
    pub rounds: u32,
    /// Draft tokens proposed, of all sources together.
    pub proposed_drafts: u32,
    /// Draft tokens the target confirmed.
    pub accepted_drafts: u32,
    /// Floating-point operations on the edge, counted.
    pub edge_flops: u64,
    /// Floating-point operations in the cloud, counted.
    pub cloud_flops: u64,
}

impl PlanReceipt {
    /// Tokens of the final answer with this source and fate.
    pub fn tokens_of(&self, source: TokenSource, fate: TokenFate) -> usize {
        self.tokens.iter().filter(|token| **token == TokenOrigin { source, fate }).count()
    }

    /// Accepted drafts per proposed draft; `None` if nothing was proposed.
    pub fn acceptance_rate(&self) -> Option<f64> {
        (self.proposed_drafts > 0).then(|| f64::from(self.accepted_drafts) / f64::from(self.proposed_drafts))
    }

    /// Bytes of all modalities that were not sent although cloud-only would have; negative if more were sent.
    pub fn saved_bytes(&self) -> i64 {
        self.modalities
            .iter()
            .map(|one| one.cloud_only_bytes.cast_signed() - one.sent_bytes.cast_signed())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::frame::{decode, encode};

    fn receipt(kept: &[bool], tokens: Vec<TokenOrigin>) -> PlanReceipt {
        PlanReceipt {
            policy: Policy::Msao,
            mode: AnswerMode::RiskControlled { epsilon: 0.05 },
            strategy: Strategy::Distributed { draft_tokens: 4, pipelined: true },
            reason: PlanReason::Cheapest,
            predicted: PredictedCost { latency_ms: 120.0, ..PredictedCost::default() },
            edge_confidence: Some(0.5),
            changes: vec![PlanChange {
                at_token: 2,
                strategy: Strategy::Cloud,
                reason: PlanReason::Cheapest,
            }],
            shadow: Some(ShadowCheck::Agreed),
            modalities: vec![ModalityPlanReceipt {
                modality: Modality::Vision,
                action: ModalityAction::Pruned,
                locked: false,
                mas: Some(MasReceipt { relevance: 0.9, density: 0.5, mas: 0.55, ..MasReceipt::default() }),
                kept: KeptParts { patches: KeepMask::new(kept), ..KeptParts::default() },
                sent_bytes: 100,
                cloud_only_bytes: 300,
            }],
            tokens,
            rounds: 2,
            proposed_drafts: 8,
            accepted_drafts: 6,
            edge_flops: 1,
            cloud_flops: 2,
        }
    }

    proptest! {
        #[test]
        fn a_receipt_round_trips_and_its_mask_is_as_given(
            kept in proptest::collection::vec(any::<bool>(), 0..70),
        ) {
            let token = TokenOrigin { source: TokenSource::EdgeDraft, fate: TokenFate::Accepted };
            let receipt = receipt(&kept, vec![token; 3]);
            let back: PlanReceipt = decode(&encode(&receipt).unwrap()).unwrap();
            prop_assert_eq!(&back, &receipt);
            let mask = &back.modalities[0].kept.patches;
            prop_assert_eq!(mask.parts() as usize, kept.len());
            prop_assert_eq!(mask.kept() as usize, kept.iter().filter(|kept| **kept).count());
            for (part, kept) in kept.iter().enumerate() {
                prop_assert_eq!(mask.is_kept(part as u32), *kept);
            }
            prop_assert!(!mask.is_kept(mask.parts()));
            prop_assert_eq!(back.tokens_of(TokenSource::EdgeDraft, TokenFate::Accepted), 3);
            prop_assert_eq!(back.tokens_of(TokenSource::Target, TokenFate::Accepted), 0);
            prop_assert_eq!(back.saved_bytes(), 200);
            prop_assert_eq!(back.acceptance_rate(), Some(0.75));
        }
    }

    #[test]
    fn a_mask_that_announces_more_parts_than_it_holds_keeps_none_of_them() {
        let mask = KeepMask { parts: 9, bits: vec![0xff] };
        assert!(mask.is_kept(7) && !mask.is_kept(8));
        assert_eq!(mask.kept(), 8);
    }

    #[test]
    fn nothing_leaves_unless_the_action_says_so() {
        use ModalityAction::{Drop, Edge, Pruned, Whole};
        assert_eq!(
            [Drop, Edge, Pruned, Whole].map(ModalityAction::leaves_device),
            [false, false, true, true]
        );
    }
}
