//! Expected latency, bytes and FLOPs of an answer, or of the rest of one, under each strategy.
//!
//! The equations stand in the [module above](super). Tokens stream: what the target writes by itself costs
//! one round trip in all, however many tokens there are; a verified draft costs one round trip each.

use msao_protocol::{PredictedCost, Strategy};

use super::{Acceptance, Remaining, TokenFlops, WireSizes, Work, expected_rounds, pipelined_blocks};
use crate::estimate::Estimates;

/// Expected cost of an answer under `strategy`.
pub fn expected_cost(
    strategy: Strategy,
    work: &Work,
    estimates: &Estimates,
    acceptance: Acceptance,
) -> PredictedCost {
    let upload_ms = work.upload_bytes / estimates.uplink_bytes_per_s * 1000.0;
    let drafted = work.edge_drafted_tokens > 0.0;
    let start = Start {
        tokens: work.answer_tokens.max(1.0),
        target_ready_ms: upload_ms
            + estimates.rtt_ms / 2.0
            + estimates.queue_ms
            + estimates.target_prefill.ms(work.target_prompt_tokens),
        free_tokens: 1.0,
        co_located_prefill_ms: estimates.co_located_prefill.ms(work.target_prompt_tokens),
        edge_first_ms: estimates.edge_prefill.ms(work.edge_prompt_tokens),
        edge_drafted_tokens: work.edge_drafted_tokens,
        upload_bytes: work.upload_bytes,
        edge_flops: if drafted { 0.0 } else { work.edge_prefill_flops },
        target_flops: work.target_prefill_flops,
        co_located_flops: work.co_located_prefill_flops,
    };
    start.cost(strategy, work.token_flops, work.wire, estimates, acceptance)
}

/// Expected cost of the rest of an answer under `strategy`, at the edge's side of the network, now.
pub fn expected_remaining_cost(
    strategy: Strategy,
    rest: &Remaining,
    estimates: &Estimates,
    acceptance: Acceptance,
) -> PredictedCost {
    let goes_on = match strategy {
        Strategy::CoLocated { .. } => matches!(rest.current, Strategy::CoLocated { .. }),
        _ => strategy == rest.current,
    };
    // Drafts that travel tell the server by themselves.
    let told_ms = if goes_on || strategy.uses_edge() { 0.0 } else { estimates.rtt_ms / 2.0 };
    let start = Start {
        tokens: rest.tokens.max(1.0),
        target_ready_ms: told_ms,
        free_tokens: 0.0,
        co_located_prefill_ms: if goes_on {
            0.0
        } else {
            estimates.co_located_prefill.ms(rest.context_tokens)
        },
        edge_first_ms: estimates.edge_decode_ms,
        edge_drafted_tokens: rest.edge_drafted_tokens,
        upload_bytes: 0.0,
        edge_flops: 0.0,
        target_flops: 0.0,
        co_located_flops: if goes_on { 0.0 } else { rest.context_tokens * rest.token_flops.co_located },
    };
    start.cost(strategy, rest.token_flops, rest.wire, estimates, acceptance)
}

/// Milliseconds of a synchronous round of distributed speculation, `gamma t_d + RTT + t_v(gamma + 1)` with
/// the transfer of the drafts and the wait for the server's next batch: what
/// [`DraftLengthController::choose`](crate::draft_length::DraftLengthController::choose) weighs.
pub fn distributed_round_ms(draft_tokens: u8, estimates: &Estimates, wire: WireSizes) -> f64 {
    f64::from(draft_tokens) * estimates.edge_decode_ms + away_ms(draft_tokens, estimates, wire)
}

/// From the departure of a proposal to its result.
fn away_ms(draft_tokens: u8, estimates: &Estimates, wire: WireSizes) -> f64 {
    proposal_up_ms(draft_tokens, estimates, wire)
        + estimates.target_verify.ms(f64::from(draft_tokens) + 1.0)
        + down_ms(wire, estimates)
}

/// From the departure of a proposal to the moment the target takes it up.
fn proposal_up_ms(draft_tokens: u8, estimates: &Estimates, wire: WireSizes) -> f64 {
    let bytes = wire.proposal_bytes(draft_tokens);
    estimates.rtt_ms / 2.0 + bytes / estimates.uplink_bytes_per_s * 1000.0 + estimates.round_queue_ms
}

/// The state from which tokens are written, and what has been spent to get there.
struct Start {
    tokens: f64,
    /// When the target has read everything.
    target_ready_ms: f64,
    /// Tokens that come with the target's reading: 1 after a prefill, else 0.
    free_tokens: f64,
    co_located_prefill_ms: f64,
    /// When the edge's first draft is there, if none is yet.
    edge_first_ms: f64,
    edge_drafted_tokens: f64,
    upload_bytes: f64,
    edge_flops: f64,
    target_flops: f64,
    co_located_flops: f64,
}

impl Start {
    /// When the edge has written `tokens` tokens, in milliseconds.
    fn edge_has_ms(&self, tokens: f64, step_ms: f64) -> f64 {
        let missing = (tokens - self.edge_drafted_tokens).max(0.0);
        if self.edge_drafted_tokens > 0.0 || missing == 0.0 {
            missing * step_ms
        } else {
            self.edge_first_ms + (missing - 1.0).max(0.0) * step_ms
        }
    }

    fn cost(
        &self,
        strategy: Strategy,
        flops: TokenFlops,
        wire: WireSizes,
        estimates: &Estimates,
        acceptance: Acceptance,
    ) -> PredictedCost {
        match strategy {
            Strategy::EdgeOnly => {
                let written = (self.tokens - self.edge_drafted_tokens).max(0.0);
                PredictedCost {
                    first_token_ms: self.edge_has_ms(1.0, estimates.edge_decode_ms),
                    latency_ms: self.edge_has_ms(self.tokens, estimates.edge_decode_ms),
                    edge_flops: self.edge_flops + written * flops.edge,
                    ..PredictedCost::default()
                }
            }
            Strategy::Cloud => self.cloud(flops, wire, estimates),
            Strategy::CoLocated { draft_tokens } => {
                self.co_located(draft_tokens, flops, wire, estimates, acceptance.co_located)
            }
            Strategy::Distributed { draft_tokens, pipelined } => {
                self.distributed(draft_tokens, pipelined, flops, wire, estimates, acceptance.edge)
            }
        }
    }

    fn cloud(&self, flops: TokenFlops, wire: WireSizes, estimates: &Estimates) -> PredictedCost {
        let down_ms = down_ms(wire, estimates);
        let steps = self.tokens - self.free_tokens;
        PredictedCost {
            first_token_ms: self.target_ready_ms
                + (1.0 - self.free_tokens) * estimates.target_decode_ms
                + down_ms,
            latency_ms: self.target_ready_ms + steps * estimates.target_decode_ms + down_ms,
            uplink_bytes: self.upload_bytes,
            edge_flops: 0.0,
            cloud_flops: self.target_flops + steps * flops.target,
        }
    }

    fn co_located(
        &self,
        draft_tokens: u8,
        flops: TokenFlops,
        wire: WireSizes,
        estimates: &Estimates,
        acceptance: f64,
    ) -> PredictedCost {
        let gamma = f64::from(draft_tokens);
        let down_ms = down_ms(wire, estimates);
        let round_ms = gamma * estimates.co_located_decode_ms + estimates.target_verify.ms(gamma + 1.0);
        let rounds = expected_rounds(acceptance, draft_tokens, self.tokens - self.free_tokens);
        let drafting_ms = self.target_ready_ms + self.co_located_prefill_ms;
        let first_ms = if self.free_tokens > 0.0 { self.target_ready_ms } else { drafting_ms + round_ms };
        // An answer of one token that the prefill gave needs no drafts.
        let settled_ms = if rounds > 0.0 { drafting_ms + rounds * round_ms } else { self.target_ready_ms };
        PredictedCost {
            first_token_ms: first_ms + down_ms,
            latency_ms: settled_ms + down_ms,
            uplink_bytes: self.upload_bytes,
            edge_flops: 0.0,
            cloud_flops: self.target_flops
                + self.co_located_flops
                + rounds * (gamma * flops.co_located + (gamma + 1.0) * flops.target),
        }
    }

    fn distributed(
        &self,
        draft_tokens: u8,
        pipelined: bool,
        flops: TokenFlops,
        wire: WireSizes,
        estimates: &Estimates,
        acceptance: f64,
    ) -> PredictedCost {
        let gamma = f64::from(draft_tokens);
        let verify_ms = estimates.target_verify.ms(gamma + 1.0);
        let draft_ms = gamma * estimates.edge_decode_ms;
        let away_ms = away_ms(draft_tokens, estimates, wire);
        let round_ms = distributed_round_ms(draft_tokens, estimates, wire);

        let arrived_ms =
            self.edge_has_ms(gamma, estimates.edge_decode_ms) + proposal_up_ms(draft_tokens, estimates, wire);
        let first_ms = arrived_ms.max(self.target_ready_ms) + verify_ms + down_ms(wire, estimates);
        let (later_ms, rounds, drafts) = if pipelined {
            let blocks = pipelined_blocks(acceptance, draft_tokens, self.tokens);
            let later_ms = (blocks.runs - 1.0) * round_ms + blocks.later_blocks * draft_ms.max(away_ms);
            // Each run has one block drafted ahead that its rejection throws away.
            let drafts = (2.0 * blocks.runs + blocks.later_blocks) * gamma;
            (later_ms, blocks.runs + blocks.later_blocks, drafts)
        } else {
            let rounds = expected_rounds(acceptance, draft_tokens, self.tokens);
            ((rounds - 1.0) * round_ms, rounds, rounds * gamma)
        };
        PredictedCost {
            first_token_ms: first_ms,
            latency_ms: first_ms + later_ms,
            uplink_bytes: self.upload_bytes + rounds * wire.proposal_bytes(draft_tokens),
            edge_flops: self.edge_flops + (drafts - self.edge_drafted_tokens).max(0.0) * flops.edge,
            cloud_flops: self.target_flops + rounds * (gamma + 1.0) * flops.target,
        }
    }
}

fn down_ms(wire: WireSizes, estimates: &Estimates) -> f64 {
    estimates.rtt_ms / 2.0 + wire.settled_bytes / estimates.downlink_bytes_per_s * 1000.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, prop_assume, proptest};

    use super::*;
    use crate::estimate::AffineMs;

    /// The setting of 2606.25091: constant times, tokens that weigh nothing, a long answer.
    fn at_a_distance(rtt_ms: f64, t_v: f64, t_d: f64) -> Estimates {
        let constant = |base_ms| AffineMs { base_ms, per_unit_ms: 0.0 };
        Estimates {
            rtt_ms,
            uplink_bytes_per_s: f64::INFINITY,
            downlink_bytes_per_s: f64::INFINITY,
            edge_prefill: constant(t_d),
            edge_decode_ms: t_d,
            target_prefill: constant(t_v),
            target_decode_ms: t_v,
            target_verify: constant(t_v),
            co_located_prefill: constant(0.0),
            co_located_decode_ms: t_d,
            queue_ms: 0.0,
            round_queue_ms: 0.0,
        }
    }

    fn work(answer_tokens: f64) -> Work {
        Work {
            answer_tokens,
            upload_bytes: 0.0,
            edge_prompt_tokens: 0.0,
            target_prompt_tokens: 0.0,
            edge_prefill_flops: 0.0,
            target_prefill_flops: 0.0,
            co_located_prefill_flops: 0.0,
            edge_drafted_tokens: 0.0,
            token_flops: TokenFlops { edge: 1.0, target: 10.0, co_located: 1.0 },
            wire: WireSizes::default(),
        }
    }

    /// Milliseconds a token of a long answer.
    fn token_ms(strategy: Strategy, estimates: &Estimates, alpha: f64) -> f64 {
        let acceptance = Acceptance { edge: alpha, co_located: alpha };
        let ms = |tokens: f64| expected_cost(strategy, &work(tokens), estimates, acceptance).latency_ms;
        (ms(6_000.0) - ms(3_000.0)) / 3_000.0
    }

    fn synchronous(draft_tokens: u8) -> Strategy {
        Strategy::Distributed { draft_tokens, pipelined: false }
    }

    fn pipelined(draft_tokens: u8) -> Strategy {
        Strategy::Distributed { draft_tokens, pipelined: true }
    }

    #[test]
    fn the_papers_examples_come_out() {
        let beats_cloud = |rtt_ms, t_v, t_d| {
            let estimates = at_a_distance(rtt_ms, t_v, t_d);
            let cloud = token_ms(Strategy::Cloud, &estimates, 0.8);
            (1..=16).any(|gamma| token_ms(synchronous(gamma), &estimates, 0.8) < cloud)
        };
        assert!(beats_cloud(88.0, 50.0, 10.0) && !beats_cloud(88.2, 50.0, 10.0));
        assert!(!beats_cloud(0.0, 20.0, 20.0), "a draft as slow as the target never pays");
    }

    #[test]
    fn a_short_answer_is_reckoned_exactly() {
        // Two tokens, alpha 0.5, gamma 1: prefill and first draft meet at the server, then one round or two.
        let estimates = at_a_distance(40.0, 50.0, 10.0);
        let acceptance = Acceptance { edge: 0.5, co_located: 0.5 };
        let cost = |strategy| expected_cost(strategy, &work(2.0), &estimates, acceptance);
        let (cloud, distributed) = (cost(Strategy::Cloud), cost(synchronous(1)));
        assert_eq!((cloud.first_token_ms, cloud.latency_ms), (90.0, 140.0));
        assert_eq!(distributed.first_token_ms, 20.0 + 50.0 + 50.0 + 20.0);
        assert_eq!(distributed.latency_ms, distributed.first_token_ms + 0.5 * (10.0 + 40.0 + 50.0));
        assert_eq!(distributed.cloud_flops, 1.5 * 2.0 * 10.0);
        assert_eq!(distributed.uplink_bytes, 1.5 * 28.0);
        assert_eq!(cost(Strategy::EdgeOnly).latency_ms, 20.0);
        assert_eq!(cost(Strategy::EdgeOnly).uplink_bytes, 0.0);
    }

    #[test]
    fn what_the_edge_has_written_is_not_paid_twice() {
        let estimates = at_a_distance(40.0, 50.0, 10.0);
        let acceptance = Acceptance { edge: 0.5, co_located: 0.5 };
        let written = Work { edge_drafted_tokens: 4.0, edge_prefill_flops: 7.0, ..work(4.0) };
        let cost = expected_cost(Strategy::EdgeOnly, &written, &estimates, acceptance);
        assert_eq!((cost.latency_ms, cost.edge_flops), (0.0, 0.0));
    }

    #[test]
    fn one_token_needs_no_drafts_on_the_server() {
        let estimates = Estimates::default();
        let acceptance = Acceptance { edge: 0.5, co_located: 0.5 };
        let latency = |strategy| expected_cost(strategy, &work(1.0), &estimates, acceptance).latency_ms;
        assert_eq!(latency(Strategy::CoLocated { draft_tokens: 3 }), latency(Strategy::Cloud));
    }

    #[test]
    fn going_on_is_cheaper_than_changing() {
        let (estimates, acceptance) = (Estimates::default(), Acceptance { edge: 0.5, co_located: 0.5 });
        let rest = |current| Remaining {
            tokens: 8.0,
            context_tokens: 100.0,
            edge_drafted_tokens: 0.0,
            current,
            token_flops: TokenFlops::default(),
            wire: WireSizes::default(),
        };
        let ms = |strategy, current| {
            expected_remaining_cost(strategy, &rest(current), &estimates, acceptance).latency_ms
        };
        let co_located = Strategy::CoLocated { draft_tokens: 4 };
        let told_ms = ms(Strategy::Cloud, synchronous(2)) - ms(Strategy::Cloud, Strategy::Cloud);
        assert!((told_ms - estimates.rtt_ms / 2.0).abs() < 1e-9);
        let change_ms =
            ms(co_located, Strategy::Cloud) - ms(co_located, Strategy::CoLocated { draft_tokens: 2 });
        assert!((change_ms - (estimates.rtt_ms / 2.0 + estimates.co_located_prefill.ms(100.0))).abs() < 1e-9);
        assert_eq!(ms(synchronous(2), Strategy::Cloud), ms(synchronous(2), synchronous(2)));
    }

    proptest! {
        #[test]
        fn synchronous_drafting_beats_the_cloud_iff_the_round_trip_is_short(
            alpha in 0.05..0.95_f64, gamma in 1..10_u8, t_v in 5.0..100.0_f64, t_d in 1.0..50.0_f64,
            rtt in 0.0..200.0_f64,
        ) {
            let estimates = at_a_distance(rtt, t_v, t_d);
            let bound = (crate::cost::expected_tokens(alpha, gamma) - 1.0) * t_v - f64::from(gamma) * t_d;
            prop_assume!((rtt - bound).abs() > 0.1);
            let cloud = token_ms(Strategy::Cloud, &estimates, alpha);
            prop_assert_eq!(token_ms(synchronous(gamma), &estimates, alpha) < cloud, rtt < bound);
        }

        #[test]
        fn co_located_drafting_beats_synchronous_and_pipelining_only_within_the_drafting_window(
            alpha in 0.05..0.95_f64, gamma in 1..10_u8, t_v in 5.0..100.0_f64, t_d in 1.0..50.0_f64,
            rtt in 0.1..200.0_f64,
        ) {
            let estimates = at_a_distance(rtt, t_v, t_d);
            let co_located = token_ms(Strategy::CoLocated { draft_tokens: gamma }, &estimates, alpha);
            prop_assert!(co_located < token_ms(synchronous(gamma), &estimates, alpha));
            // Necessary, not sufficient: a rejected block drains the pipeline.
            if token_ms(pipelined(gamma), &estimates, alpha) < co_located {
                prop_assert!(rtt < f64::from(gamma) * t_d);
            }
        }

        #[test]
        fn every_cost_grows_with_the_round_trip_and_falls_with_the_rate(
            rtt in 0.0..300.0_f64, more in 0.0..300.0_f64, rate in 1e3..1e8_f64, faster in 1.0..100.0_f64,
            alpha in 0.0..1.0_f64, gamma in 1..12_u8, tokens in 1.0..60.0_f64, bytes in 0.0..1e6_f64,
        ) {
            let near = Estimates { rtt_ms: rtt, uplink_bytes_per_s: rate, ..Estimates::default() };
            let far = Estimates { rtt_ms: rtt + more, ..near };
            let wide = Estimates { uplink_bytes_per_s: rate * faster, ..near };
            let work = Work { upload_bytes: bytes, ..work(tokens) };
            let acceptance = Acceptance { edge: alpha, co_located: alpha };
            for strategy in [
                Strategy::EdgeOnly, Strategy::Cloud, Strategy::CoLocated { draft_tokens: gamma },
                synchronous(gamma), pipelined(gamma),
            ] {
                let cost = |estimates| expected_cost(strategy, &work, estimates, acceptance);
                prop_assert!(cost(&far).latency_ms >= cost(&near).latency_ms - 1e-9);
                prop_assert!(cost(&wide).latency_ms <= cost(&near).latency_ms + 1e-9);
                prop_assert!(cost(&near).first_token_ms <= cost(&near).latency_ms + 1e-9);
            }
        }
    }
}
