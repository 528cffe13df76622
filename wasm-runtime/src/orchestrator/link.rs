//! What a session has learnt about network and machines, from nothing but the answers that flow anyway.
//!
//! A page cannot see when its bytes have left the device. But a receipt says how long the server worked; what remains
//! of the time between asking and the first settled token is the network's:
//!
//! ```text
//! network time = (first settled - asked) - (server's spans up to there)  =  RTT + bytes / uplink rate
//! ```

use msao_planner::{
    cost::{Acceptance, TokenFlops},
    estimate::{Estimates, LiveEstimates},
    plan::Capabilities,
};
use msao_protocol::{Receipt, Span, SpanKind};

/// Longest draft proposed.
const MAX_DRAFT_TOKENS: u8 = 16;
/// Weight of a new answer in the acceptance rate, and the rate before any.
const ACCEPTANCE_STEP: f64 = 0.1;
const USUAL_ACCEPTANCE: f64 = 0.8;

/// What a plan needs to know besides the question.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Situation {
    /// What network and machines take.
    pub estimates: Estimates,
    /// How often drafts are accepted.
    pub acceptance: Acceptance,
    /// What is there.
    pub capabilities: Capabilities,
    /// Per token.
    pub token_flops: TokenFlops,
}

/// The estimators of a session.
#[derive(Debug, Clone)]
pub struct LinkMonitor {
    live: LiveEstimates,
    acceptance: f64,
}

impl Default for LinkMonitor {
    fn default() -> Self {
        Self { live: LiveEstimates::new(Estimates::default()), acceptance: USUAL_ACCEPTANCE }
    }
}

impl LinkMonitor {
    /// A small message came back.
    pub fn round_trip(&mut self, now_ms: f64, rtt_ms: f64) {
        self.live.rtt.observe(now_ms, rtt_ms);
    }

    /// The edge has answered.
    pub fn edge_answered(&mut self, receipt: &Receipt) {
        let tokens = f64::from(receipt.prompt_tokens);
        self.live.edge_prefill.observe(tokens, receipt.ms(SpanKind::Encode) + receipt.ms(SpanKind::Prefill));
        if receipt.completion_tokens > 1 {
            let steps = f64::from(receipt.completion_tokens - 1);
            self.live.edge_decode.observe(receipt.ms(SpanKind::Decode) / steps);
        }
    }

    /// The cloud has answered: `asked_bytes` were sent, and `to_end_ms` passed from asking to the end.
    pub fn cloud_answered(&mut self, receipt: &Receipt, asked_bytes: u64, to_end_ms: f64) {
        let tokens = f64::from(receipt.prompt_tokens);
        self.live
            .target_prefill
            .observe(tokens, receipt.ms(SpanKind::Encode) + receipt.ms(SpanKind::Prefill));
        self.live.queue.observe(receipt.ms(SpanKind::Queue));
        let passes = receipt.ms(SpanKind::Decode) + receipt.ms(SpanKind::Verify);
        if receipt.rounds > 0 {
            let rows = f64::from(receipt.proposed_drafts) / f64::from(receipt.rounds) + 1.0;
            let pass_ms = passes / f64::from(receipt.rounds);
            if receipt.proposed_drafts > 0 {
                self.live.target_verify.observe(rows, pass_ms);
            } else {
                self.live.target_decode.observe(pass_ms);
            }
        }
        let server_ms: f64 = receipt.spans.iter().map(|span: &Span| span.ms).sum();
        self.live.observe_upload(asked_bytes, (to_end_ms - server_ms).max(0.1));
        if receipt.proposed_drafts > 0 {
            let accepted = f64::from(receipt.accepted_drafts) / f64::from(receipt.proposed_drafts);
            self.acceptance += ACCEPTANCE_STEP * (accepted - self.acceptance);
        }
    }

    /// What a plan is made from now.
    pub fn situation(
        &self,
        edge_ready: bool,
        edge_parameters: u64,
        target: Option<&msao_protocol::ModelInfo>,
    ) -> Situation {
        // Two operations a weight and token: what decoding costs, but for attention.
        let flops = |parameters: u64| 2.0 * parameters as f64;
        let edge = flops(edge_parameters);
        Situation {
            estimates: self.live.snapshot(),
            acceptance: Acceptance { edge: self.acceptance, co_located: self.acceptance },
            capabilities: Capabilities {
                edge_ready,
                cloud_connected: target.is_some(),
                co_located: target.is_some_and(|target| target.co_located_draft),
                pipelining: false,
                max_draft_tokens: MAX_DRAFT_TOKENS,
            },
            token_flops: TokenFlops {
                edge,
                target: target.map_or(0.0, |target| flops(target.parameters)),
                co_located: edge,
            },
        }
    }
}
