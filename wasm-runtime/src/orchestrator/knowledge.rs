//! What a session has learnt about network, machines and models, from nothing but the answers that flow anyway.
//!
//! A page cannot see when its bytes have left the device. But a receipt says how long the server worked; what remains
//! of the time between asking and the end is the network's:
//!
//! ```text
//! network time = (end - asked) - (server's spans)  =  RTT + bytes / uplink rate
//! ```
//!
//! Every verification teaches how long drafts should be, and every answer that both sides gave how sure the edge may be
//! of the next one. Nothing is tuned beforehand.

use msao_planner::{
    SplitMix64,
    cost::{Acceptance, TokenFlops, WireSizes, distributed_round_ms},
    draft_length::{DEFAULT_DISCOUNT, DraftLengthController},
    estimate::{AffineEstimator, AffineMs, Estimates, LiveEstimates},
    plan::{Capabilities, Weights},
};
use msao_protocol::{ModelInfo, Receipt, Span, SpanKind, Strategy, TokenId, Vocabulary};

use super::{
    hearing::Listening,
    look::Looking,
    preferences::{MAX_DRAFT_TOKENS, Preferences},
    standing::Confidence,
};

/// Weight of a new answer in a moving average.
const AVERAGE_STEP: f64 = 0.1;
/// Acceptance of the server's own drafts before there are any.
const USUAL_ACCEPTANCE: f64 = 0.8;
/// Tokens of a typical answer before there is one. The end counts, since it takes a step to write.
const USUAL_ANSWER_TOKENS: f64 = 5.0;

/// Prompt tokens of a typical question with a picture.
const USUAL_PROMPT_TOKENS: f64 = 80.0;

/// What is there to answer a question.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Present {
    /// Weights of the edge model; `None` while it is not ready.
    pub edge_parameters: Option<u64>,
    /// What its token ids mean.
    pub edge_vocabulary: Vocabulary,
    /// The model in the cloud; `None` while there is no session.
    pub target: Option<ModelInfo>,
}

impl Present {
    /// Ids that mean the same on both sides lie below; 0 where the models do not agree in any.
    pub(super) fn shared_tokens(&self) -> TokenId {
        let agrees = |target: &&ModelInfo| target.vocabulary == self.edge_vocabulary;
        match self.target.as_ref().filter(agrees) {
            // Tests and old servers tell nothing.
            Some(target) if target.vocabulary.tokens == 0 => TokenId::MAX,
            Some(target) => target.vocabulary.tokens,
            None => 0,
        }
    }
}

/// What a plan needs to know besides the question.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Situation {
    pub(super) estimates: Estimates,
    pub(super) acceptance: Acceptance,
    pub(super) capabilities: Capabilities,
    pub(super) token_flops: TokenFlops,
    pub(super) answer_tokens: f64,
    pub(super) weights: Weights,
}

/// How long an answer took as seen from the page.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoundTripOfAnswer {
    /// Bytes of the message that asked.
    pub asked_bytes: u64,
    /// Milliseconds from handing that over to the end of the answer.
    pub to_end_ms: f64,
}

/// The estimators of a session.
#[derive(Debug, Clone)]
pub struct Knowledge {
    /// What is known about the edge's confidence.
    pub confidence: Confidence,
    /// What the user wants.
    pub preferences: Preferences,
    /// What looking at media takes and brings.
    pub(super) looking: Looking,
    /// What listening takes, and how often a transcript is enough.
    pub(super) listening: Listening,
    live: LiveEstimates,
    /// Work of the server's own draft model for an answer, by tokens that it proposed: what reading takes, and each step.
    co_located: AffineEstimator,
    lengths: DraftLengthController,
    co_located_acceptance: f64,
    answer_tokens: f64,
    /// Operations of an answer in the cloud, in 10^9.
    answer_gflop: f64,
    rng: SplitMix64,
}

impl Knowledge {
    /// Nothing learnt yet. `seed` is of the random numbers that draft lengths and shadow verifications are drawn with.
    pub fn new(seed: u64) -> Self {
        Self {
            confidence: Confidence::default(),
            preferences: Preferences::default(),
            looking: Looking::default(),
            listening: Listening::default(),
            live: LiveEstimates::new(Estimates::default()),
            co_located: AffineEstimator::new(AffineMs {
                base_ms: Estimates::default().co_located_prefill.ms(USUAL_PROMPT_TOKENS),
                per_unit_ms: Estimates::default().co_located_decode_ms,
            }),
            lengths: DraftLengthController::new(MAX_DRAFT_TOKENS, DEFAULT_DISCOUNT),
            co_located_acceptance: USUAL_ACCEPTANCE,
            answer_tokens: USUAL_ANSWER_TOKENS,
            answer_gflop: 0.0,
            rng: SplitMix64::new(seed),
        }
    }

    /// What network and machines are believed to take now.
    pub fn estimates(&self) -> Estimates {
        let AffineMs { base_ms, per_unit_ms } = self.co_located.line();
        let live = self.live.snapshot();
        Estimates {
            co_located_prefill: AffineMs { base_ms, per_unit_ms: 0.0 },
            co_located_decode_ms: per_unit_ms,
            // A decode step is a pass over one row. Where drafts are verified it is never seen by itself.
            target_decode_ms: live.target_verify.ms(1.0),
            ..live
        }
    }

    /// Share of the edge's drafts that the target accepts.
    pub fn edge_acceptance(&self) -> f64 {
        self.lengths.acceptance_rate()
    }

    /// A small message came back.
    pub fn round_trip(&mut self, now_ms: f64, rtt_ms: f64) {
        self.live.rtt.observe(now_ms, rtt_ms);
    }

    pub(super) fn edge_answered(&mut self, receipt: &Receipt) {
        let tokens = f64::from(receipt.prompt_tokens);
        self.live.edge_prefill.observe(tokens, receipt.ms(SpanKind::Encode) + receipt.ms(SpanKind::Prefill));
        if receipt.completion_tokens > 1 {
            let steps = f64::from(receipt.completion_tokens - 1);
            self.live.edge_decode.observe(receipt.ms(SpanKind::Decode) / steps);
        }
        self.note_length(receipt.completion_tokens);
    }

    pub(super) fn cloud_answered(
        &mut self,
        strategy: Strategy,
        receipt: &Receipt,
        trip: Option<RoundTripOfAnswer>,
    ) {
        let tokens = f64::from(receipt.prompt_tokens);
        self.live
            .target_prefill
            .observe(tokens, receipt.ms(SpanKind::Encode) + receipt.ms(SpanKind::Prefill));
        self.live.queue.observe(receipt.ms(SpanKind::Queue));
        self.listening.cloud_answered(receipt);
        let gflop = receipt.flops as f64 / 1e9;
        let step = if self.answer_gflop > 0.0 { AVERAGE_STEP } else { 1.0 };
        self.answer_gflop += step * (gflop - self.answer_gflop);
        self.note_length(receipt.completion_tokens);
        let proposed = f64::from(receipt.proposed_drafts);
        if receipt.rounds > 0 {
            let rounds = f64::from(receipt.rounds);
            let pass_ms = (receipt.ms(SpanKind::Decode) + receipt.ms(SpanKind::Verify)) / rounds;
            self.live.target_verify.observe(proposed / rounds + 1.0, pass_ms);
        }
        if proposed > 0.0 && matches!(strategy, Strategy::CoLocated { .. }) {
            self.co_located.observe(proposed, receipt.ms(SpanKind::Propose));
            let accepted = f64::from(receipt.accepted_drafts) / proposed;
            self.co_located_acceptance += AVERAGE_STEP * (accepted - self.co_located_acceptance);
        }
        if let Some(RoundTripOfAnswer { asked_bytes, to_end_ms }) = trip {
            let server_ms: f64 = receipt.spans.iter().map(|span: &Span| span.ms).sum();
            self.live.observe_upload(asked_bytes, (to_end_ms - server_ms).max(0.1));
        }
    }

    fn note_length(&mut self, tokens: u32) {
        self.answer_tokens += AVERAGE_STEP * (f64::from(tokens) + 1.0 - self.answer_tokens);
    }

    /// A round that looked at `proposed` of the edge's drafts accepted the first `accepted` of them.
    pub(super) fn edge_drafts_verified(&mut self, proposed: usize, accepted: usize) {
        let clamp = |count: usize| u8::try_from(count).unwrap_or(u8::MAX);
        self.lengths.observe(clamp(proposed), clamp(accepted));
    }

    /// How many tokens the edge should propose at once in the round that begins.
    pub(super) fn draft_tokens(&mut self) -> u8 {
        let estimates = self.estimates();
        let round_ms = |length| distributed_round_ms(length, &estimates, WireSizes::default());
        self.lengths.choose(round_ms, &mut self.rng).clamp(1, self.preferences.longest())
    }

    /// What counts: this answer's latency, and while others wait for the server, what its work costs them. An answer of G
    /// operations holds up whoever is behind it by about the wait that answers like it have caused, so an operation is
    /// priced at the queue's wait over the operations of an answer. On an idle server it is free.
    fn weights(&self, estimates: &Estimates) -> Weights {
        let price = if self.answer_gflop > 0.0 { estimates.queue_ms / self.answer_gflop } else { 0.0 };
        let per_uplink_kib = self.preferences.per_uplink_kib();
        Weights { per_cloud_gflop: price, per_uplink_kib, ..Weights::default() }
    }

    /// A number in [0, 1) that is drawn for one decision.
    pub(super) fn uniform(&mut self) -> f64 {
        self.rng.uniform()
    }

    pub(super) fn situation(&self, present: &Present) -> Situation {
        // Two operations a weight and token: what decoding costs, but for attention.
        let flops = |parameters: u64| 2.0 * parameters as f64;
        let edge = flops(present.edge_parameters.unwrap_or_default());
        let target = present.target.as_ref();
        let estimates = self.estimates();
        Situation {
            estimates,
            weights: self.weights(&estimates),
            acceptance: Acceptance { edge: self.edge_acceptance(), co_located: self.co_located_acceptance },
            capabilities: Capabilities {
                edge_ready: present.edge_parameters.is_some(),
                edge_drafts: present.shared_tokens() > 0,
                cloud_connected: target.is_some(),
                co_located: target.is_some_and(|target| target.co_located_draft),
                pipelining: true,
                max_draft_tokens: self.preferences.longest(),
            },
            token_flops: TokenFlops {
                edge,
                target: target.map_or(0.0, |target| flops(target.parameters)),
                co_located: edge,
            },
            answer_tokens: self.answer_tokens,
        }
    }
}
