//! The fine decision: before each verification round, what to do with the rest of the answer.

use msao_protocol::{PlanReason, Policy, PredictedCost, Strategy};

use super::{
    Capabilities, NoPlan, Standing, Weights,
    allowed::{Situation, allowed_strategies, cheapest},
};
use crate::{
    cost::{Acceptance, Remaining, expected_remaining_cost},
    estimate::Estimates,
};

/// An answer under way. Its media are where the plan sent them; nothing more of them is sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoundState {
    /// As in the request.
    pub policy: Policy,
    /// As in the request, with the edge's confidence as soon as its answer is complete.
    pub standing: Standing,
    /// The plan's reason was [`PlanReason::NeededModalityLocked`]: the edge goes on alone.
    pub needed_modality_locked: bool,
    /// What is there now.
    pub capabilities: Capabilities,
    /// What is yet to be written.
    pub rest: Remaining,
    /// The length the [online choice](crate::draft_length) proposes for the edge's drafts. `None`: all
    /// lengths are compared by the acceptance rate alone, which serves a pipelined answer better, since the
    /// online choice weighs synchronous rounds.
    pub edge_draft_tokens: Option<u8>,
    /// What counts.
    pub weights: Weights,
    /// What network and machines take now.
    pub estimates: Estimates,
    /// How often drafts are accepted now.
    pub acceptance: Acceptance,
}

/// How the rest of an answer is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoundPlan {
    /// Who writes on. [`Strategy::Cloud`] means: stop drafting. [`Strategy::EdgeOnly`] with
    /// [`PlanReason::ConfidentEdge`] means: the edge's answer stands, stop the target.
    pub strategy: Strategy,
    /// What the rest is expected to cost.
    pub predicted: PredictedCost,
    /// Why it is so.
    pub reason: PlanReason,
}

/// Decides who writes the rest of an answer: the cheapest of what is allowed now, the cost of changing over
/// included.
///
/// # Errors
/// [`NoPlan`], if what the answer depends on has gone away meanwhile.
pub fn replan(state: &RoundState) -> Result<RoundPlan, NoPlan> {
    let (strategies, reason) = allowed_strategies(&Situation {
        policy: state.policy,
        capabilities: state.capabilities,
        needed_modality_locked: state.needed_modality_locked,
        edge_may_stand: state.standing.may_stand(),
        edge_draft_tokens: state.edge_draft_tokens,
    })?;
    let candidates = strategies.into_iter().map(|strategy| {
        let predicted = expected_remaining_cost(strategy, &state.rest, &state.estimates, state.acceptance);
        (state.weights.total(&predicted), (strategy, predicted))
    });
    let (_, (strategy, predicted)) = cheapest(candidates).ok_or(NoPlan::NothingCanAnswer)?;
    let stood = strategy == Strategy::EdgeOnly && reason == PlanReason::Cheapest;
    Ok(RoundPlan { strategy, predicted, reason: if stood { PlanReason::ConfidentEdge } else { reason } })
}

#[cfg(test)]
mod tests {
    use msao_protocol::AnswerMode;

    use super::*;
    use crate::{
        cost::{TokenFlops, WireSizes},
        estimate::AffineMs,
    };

    fn state() -> RoundState {
        RoundState {
            policy: Policy::Msao,
            standing: Standing { mode: AnswerMode::Verified, edge_confidence: None, threshold: 0.9 },
            needed_modality_locked: false,
            capabilities: Capabilities {
                edge_ready: true,
                edge_drafts: true,
                cloud_connected: true,
                co_located: false,
                pipelining: true,
                max_draft_tokens: 8,
            },
            rest: Remaining {
                tokens: 24.0,
                context_tokens: 100.0,
                edge_drafted_tokens: 0.0,
                current: Strategy::Distributed { draft_tokens: 4, pipelined: false },
                token_flops: TokenFlops::default(),
                wire: WireSizes::default(),
            },
            edge_draft_tokens: None,
            weights: Weights::default(),
            estimates: Estimates {
                rtt_ms: 20.0,
                target_decode_ms: 50.0,
                target_verify: AffineMs { base_ms: 48.0, per_unit_ms: 2.0 },
                ..Estimates::default()
            },
            acceptance: Acceptance { edge: 0.8, co_located: 0.8 },
        }
    }

    fn strategy(state: &RoundState) -> Strategy {
        replan(state).unwrap().strategy
    }

    #[test]
    fn drafting_stops_when_it_no_longer_pays() {
        let near = state();
        assert!(matches!(strategy(&near), Strategy::Distributed { .. }));
        let far = RoundState { estimates: Estimates { rtt_ms: 600.0, ..near.estimates }, ..near };
        assert_eq!(strategy(&far), Strategy::Cloud, "the round trip has grown");
        let rejected = RoundState { acceptance: Acceptance { edge: 0.05, ..near.acceptance }, ..near };
        assert_eq!(strategy(&rejected), Strategy::Cloud, "the drafts are no good");
    }

    #[test]
    fn far_away_the_server_drafts_for_itself() {
        let near = state();
        let far = RoundState {
            estimates: Estimates { rtt_ms: 300.0, ..near.estimates },
            capabilities: Capabilities { co_located: true, ..near.capabilities },
            ..near
        };
        assert!(matches!(strategy(&far), Strategy::CoLocated { .. }));
    }

    #[test]
    fn the_online_draft_length_is_honoured() {
        let state = RoundState { edge_draft_tokens: Some(2), policy: Policy::Distributed, ..state() };
        assert_eq!(strategy(&state).draft_tokens(), 2);
    }

    #[test]
    fn a_confident_answer_stands_only_in_risk_controlled_mode() {
        let confident = |mode, confidence| {
            let standing = Standing { mode, edge_confidence: Some(confidence), threshold: 0.9 };
            let state = state();
            let rest = Remaining { edge_drafted_tokens: 24.0, ..state.rest };
            let round = replan(&RoundState { standing, rest, ..state }).unwrap();
            (round.strategy == Strategy::EdgeOnly, round.reason)
        };
        let risky = AnswerMode::RiskControlled { epsilon: 0.05 };
        assert_eq!(confident(risky, 0.95), (true, PlanReason::ConfidentEdge));
        assert!(!confident(risky, 0.85).0);
        assert!(!confident(risky, f64::NAN).0);
        assert!(!confident(AnswerMode::Verified, 1.0).0);
    }

    #[test]
    fn a_lock_and_a_cut_leave_the_edge() {
        let locked = RoundState { needed_modality_locked: true, ..state() };
        assert_eq!(replan(&locked).unwrap().reason, PlanReason::NeededModalityLocked);
        let state = state();
        let capabilities = Capabilities { cloud_connected: false, ..state.capabilities };
        let cut = replan(&RoundState { capabilities, ..state }).unwrap();
        assert_eq!((cut.strategy, cut.reason), (Strategy::EdgeOnly, PlanReason::CloudAway));
    }
}
