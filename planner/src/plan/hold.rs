//! Whether to wait for the edge's own answer before the cloud is asked.
//!
//! In risk-controlled mode a confident edge answer stands, and then nothing needs to be sent. Waiting for it costs the
//! edge's time where it does not stand, and gains by then that all of its tokens are there to be verified at once:
//!
//! ```text
//! asking now   min over plans of C
//! waiting      s C(edge only) + (1 - s) (w_ms T_edge + min over plans of C given the edge's answer)
//! ```
//!
//! s is the chance that the answer will stand. Where both cost the same nothing is sent: what need not leave the device
//! does not.

use msao_protocol::{AnswerMode, Strategy};

use super::{NoPlan, Plan, PlanRequest, choose_plan};
use crate::cost::{Work, expected_cost};

/// Whether waiting for the edge's answer is expected to cost no more than `now`, the plan for asking at once. Never in
/// verified mode, for an answer that cannot stand, or where the edge answers alone anyway. `stand_probability` is held to
/// 0..=1, NaN counts as 0.
///
/// # Errors
/// [`NoPlan`], as for `now` itself.
pub fn holds_for_edge(now: &Plan, request: &PlanRequest, stand_probability: f64) -> Result<bool, NoPlan> {
    let waiting = total_of_waiting(now, request, stand_probability)?;
    Ok(waiting.is_some_and(|waiting| waiting <= now.total))
}

/// What waiting for the edge's answer is expected to cost; `None` where nothing can come of it.
pub(super) fn total_of_waiting(
    now: &Plan,
    request: &PlanRequest,
    stand_probability: f64,
) -> Result<Option<f64>, NoPlan> {
    let stands = if stand_probability.is_nan() { 0.0 } else { stand_probability.clamp(0.0, 1.0) };
    let can_stand = request.policy.is_adaptive()
        && matches!(request.standing.mode, AnswerMode::RiskControlled { .. })
        && request.capabilities.edge_ready;
    if !can_stand || stands == 0.0 || now.strategy == Strategy::EdgeOnly {
        return Ok(None);
    }
    let whole = |form: fn(&super::Form) -> f64| {
        form(&request.question) + request.modalities.iter().map(|input| form(&input.whole)).sum::<f64>()
    };
    let alone = expected_cost(
        Strategy::EdgeOnly,
        &Work {
            answer_tokens: request.answer_tokens,
            edge_prompt_tokens: whole(|form| form.edge_tokens),
            edge_prefill_flops: whole(|form| form.edge_flops),
            edge_drafted_tokens: request.edge_drafted_tokens,
            token_flops: request.token_flops,
            wire: request.wire,
            // Nothing of the rest happens on the edge.
            upload_bytes: 0.0,
            target_prompt_tokens: 0.0,
            target_prefill_flops: 0.0,
            co_located_prefill_flops: 0.0,
        },
        &request.estimates,
        request.acceptance,
    );
    let after = choose_plan(&PlanRequest {
        edge_drafted_tokens: request.answer_tokens.max(request.edge_drafted_tokens),
        ..request.clone()
    })?;
    let edge = request.weights.total(&alone);
    Ok(Some(stands * edge + (1.0 - stands) * (edge + after.total)))
}

#[cfg(test)]
mod tests {
    use msao_protocol::{Modality, Policy};
    use proptest::prelude::{prop_assert, proptest};

    use super::*;
    use crate::{
        estimate::{AffineMs, Estimates},
        plan::{Form, fixtures},
    };

    fn request(mode: AnswerMode, edge_ms: f64) -> PlanRequest {
        let whole = Form { bytes: 40_000.0, edge_tokens: 16.0, target_tokens: 36.0, ..Form::default() };
        let mut request = PlanRequest {
            answer_tokens: 6.0,
            estimates: Estimates {
                edge_prefill: AffineMs { base_ms: edge_ms, per_unit_ms: 0.0 },
                edge_decode_ms: 1.0,
                ..Estimates::default()
            },
            ..fixtures::request(Modality::Vision, whole)
        };
        request.standing.mode = mode;
        (request.modalities[0].relevance, request.modalities[0].density) = (0.9, 0.5);
        request
    }

    fn holds(request: &PlanRequest, stand_probability: f64) -> bool {
        let now = choose_plan(request).unwrap();
        holds_for_edge(&now, request, stand_probability).unwrap()
    }

    const RISKY: AnswerMode = AnswerMode::RiskControlled { epsilon: 0.05 };

    #[test]
    fn a_quick_edge_that_often_stands_is_waited_for() {
        assert!(holds(&request(RISKY, 20.0), 0.7));
        assert!(!holds(&request(RISKY, 20.0), 0.0), "it never stands");
        assert!(!holds(&request(RISKY, 5_000.0), 0.7), "it is too slow");
        assert!(!holds(&request(AnswerMode::Verified, 20.0), 1.0), "nothing stands unverified");
    }

    #[test]
    fn a_policy_that_fixes_who_answers_waits_for_nobody() {
        let fixed = PlanRequest { policy: Policy::CloudOnly, ..request(RISKY, 1.0) };
        assert!(!holds(&fixed, 1.0));
    }

    proptest! {
        #[test]
        fn the_likelier_it_stands_the_rather_it_is_waited_for(
            edge_ms in 0.0..400.0_f64, low in 0.0..1.0_f64, more in 0.0..1.0_f64, rtt_ms in 1.0..300.0_f64,
        ) {
            let mut request = request(RISKY, edge_ms);
            request.estimates.rtt_ms = rtt_ms;
            let high = (low + more).min(1.0);
            prop_assert!(!holds(&request, low) || holds(&request, high));
        }
    }
}
