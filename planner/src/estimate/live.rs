//! All estimators of a session together, and the snapshot of them that a plan is made from.

use serde::{Deserialize, Serialize};

use super::{AffineEstimator, AffineMs, RateEstimator, RttEstimator, StepEstimator};

/// What network, edge and cloud are believed to take at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimates {
    /// Round trip of a small message, smoothed, in milliseconds.
    pub rtt_ms: f64,
    /// Rate from edge to cloud, in bytes a second.
    pub uplink_bytes_per_s: f64,
    /// Rate from cloud to edge, in bytes a second.
    pub downlink_bytes_per_s: f64,
    /// Edge: first pass over a prompt of so many tokens; its first token comes with it.
    pub edge_prefill: AffineMs,
    /// Edge: one decode step, t_d.
    pub edge_decode_ms: f64,
    /// Target: encoding and first pass over a prompt of so many tokens; its first token comes with it.
    pub target_prefill: AffineMs,
    /// Target: one decode step.
    pub target_decode_ms: f64,
    /// Target: one pass that verifies so many rows (drafts and the token after them), t_v.
    pub target_verify: AffineMs,
    /// Draft model on the server: first pass over a prompt of so many tokens.
    pub co_located_prefill: AffineMs,
    /// Draft model on the server: one decode step.
    pub co_located_decode_ms: f64,
    /// Wait before the server takes up a new request, in milliseconds.
    pub queue_ms: f64,
    /// Wait of a verification before the server's next batch takes it in, in milliseconds.
    pub round_queue_ms: f64,
}

impl Default for Estimates {
    /// Before anything is measured: a laptop's small model, a server on a home connection's far side. Every
    /// one of them is replaced by its first measurement.
    fn default() -> Self {
        Self {
            rtt_ms: 50.0,
            uplink_bytes_per_s: 1_250_000.0,
            downlink_bytes_per_s: 5_000_000.0,
            edge_prefill: AffineMs { base_ms: 20.0, per_unit_ms: 0.5 },
            edge_decode_ms: 10.0,
            target_prefill: AffineMs { base_ms: 20.0, per_unit_ms: 0.5 },
            target_decode_ms: 20.0,
            target_verify: AffineMs { base_ms: 18.0, per_unit_ms: 2.0 },
            co_located_prefill: AffineMs { base_ms: 10.0, per_unit_ms: 0.1 },
            co_located_decode_ms: 5.0,
            queue_ms: 0.0,
            round_queue_ms: 0.0,
        }
    }
}

/// How far back the minimum of the RTT looks, in milliseconds.
const RTT_WINDOW_MS: f64 = 60_000.0;

/// Samples the median of a step's time looks at.
const STEP_WINDOW: usize = 15;

/// Samples the median of a wait looks at: load comes and goes faster than hardware does.
const QUEUE_WINDOW: usize = 3;

/// The estimators of a session. Feed each field with what is measured; [`Self::snapshot`] fills what is not.
#[derive(Debug, Clone)]
pub struct LiveEstimates {
    /// Round-trip time.
    pub rtt: RttEstimator,
    /// Edge to cloud.
    pub uplink: RateEstimator,
    /// Cloud to edge.
    pub downlink: RateEstimator,
    /// Edge prefill, by prompt tokens.
    pub edge_prefill: AffineEstimator,
    /// Edge decode step.
    pub edge_decode: StepEstimator,
    /// Target prefill, by prompt tokens.
    pub target_prefill: AffineEstimator,
    /// Target decode step.
    pub target_decode: StepEstimator,
    /// Target verification, by rows.
    pub target_verify: AffineEstimator,
    /// Co-located draft's prefill, by prompt tokens.
    pub co_located_prefill: AffineEstimator,
    /// Co-located draft's decode step.
    pub co_located_decode: StepEstimator,
    /// Wait of new requests.
    pub queue: StepEstimator,
    /// Wait of verifications.
    pub round_queue: StepEstimator,
    prior: Estimates,
}

impl LiveEstimates {
    /// Nothing measured yet: `prior` stands in.
    pub fn new(prior: Estimates) -> Self {
        Self {
            rtt: RttEstimator::new(RTT_WINDOW_MS),
            uplink: RateEstimator::new(),
            downlink: RateEstimator::new(),
            edge_prefill: AffineEstimator::new(prior.edge_prefill),
            edge_decode: StepEstimator::new(STEP_WINDOW),
            target_prefill: AffineEstimator::new(prior.target_prefill),
            target_decode: StepEstimator::new(STEP_WINDOW),
            target_verify: AffineEstimator::new(prior.target_verify),
            co_located_prefill: AffineEstimator::new(prior.co_located_prefill),
            co_located_decode: StepEstimator::new(STEP_WINDOW),
            queue: StepEstimator::new(QUEUE_WINDOW),
            round_queue: StepEstimator::new(QUEUE_WINDOW),
            prior,
        }
    }

    /// Takes in an upload that was acknowledged after `elapsed_ms`; the RTT is taken from the session's own
    /// minimum.
    pub fn observe_upload(&mut self, bytes: u64, elapsed_ms: f64) {
        self.uplink.observe(bytes, elapsed_ms, self.rtt.min_ms().unwrap_or(self.prior.rtt_ms));
    }

    /// What is believed now: each measurement, or else its prior.
    pub fn snapshot(&self) -> Estimates {
        let prior = &self.prior;
        Estimates {
            rtt_ms: self.rtt.smoothed_ms().unwrap_or(prior.rtt_ms),
            uplink_bytes_per_s: self.uplink.bytes_per_s().unwrap_or(prior.uplink_bytes_per_s),
            downlink_bytes_per_s: self.downlink.bytes_per_s().unwrap_or(prior.downlink_bytes_per_s),
            edge_prefill: self.edge_prefill.line(),
            edge_decode_ms: self.edge_decode.ms().unwrap_or(prior.edge_decode_ms),
            target_prefill: self.target_prefill.line(),
            target_decode_ms: self.target_decode.ms().unwrap_or(prior.target_decode_ms),
            target_verify: self.target_verify.line(),
            co_located_prefill: self.co_located_prefill.line(),
            co_located_decode_ms: self.co_located_decode.ms().unwrap_or(prior.co_located_decode_ms),
            queue_ms: self.queue.ms().unwrap_or(prior.queue_ms),
            round_queue_ms: self.round_queue.ms().unwrap_or(prior.round_queue_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prior_stands_until_something_is_measured() {
        let prior = Estimates { rtt_ms: 33.0, ..Estimates::default() };
        let mut live = LiveEstimates::new(prior);
        assert_eq!(live.snapshot(), prior);
        live.rtt.observe(0.0, 80.0);
        live.queue.observe(7.0);
        live.observe_upload(100_000, 180.0);
        let expected = Estimates { rtt_ms: 80.0, queue_ms: 7.0, uplink_bytes_per_s: 1_000_000.0, ..prior };
        assert_eq!(live.snapshot(), expected);
    }
}
