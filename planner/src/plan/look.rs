//! Whether to look at the media before the cloud is asked.
//!
//! Looking (the first layers of the edge's towers, and the probe) lets the plan drop and prune. On a slow device, or before
//! a quick target behind a fast network, that takes longer than it saves:
//!
//! ```text
//! asking unlooked   min over plans of C(everything whole)
//! looking first     w_ms T_look + min over plans of C(what a look usually leaves)
//! ```
//!
//! Where both cost the same the edge looks: what is not needed then does not leave the device.

use super::{NoPlan, Plan, PlanRequest, choose_plan, hold::total_of_waiting};

/// What two sums of the same costs may differ by.
const ROUNDING: f64 = 1e-9;

/// Whether looking first is expected to cost no more than sending everything at once.
///
/// `unlooked` is the request with every modality whole. `left` says for each of its modalities what share of bytes and
/// tokens a look usually leaves, in 0..=1; where it is missing or no number, all of it. `look_ms` is what the look takes,
/// `stand_probability` as in [`holds_for_edge`](super::holds_for_edge). With a locked modality it always looks, since only
/// then it is known whether the question needs what must not leave.
///
/// # Errors
/// [`NoPlan`], as [`choose_plan`].
pub fn looks_first(
    unlooked: &PlanRequest,
    left: &[f64],
    look_ms: f64,
    stand_probability: f64,
) -> Result<bool, NoPlan> {
    if unlooked.modalities.iter().any(|input| input.locked) {
        return Ok(true);
    }
    let mut looked = unlooked.clone();
    for (at, input) in looked.modalities.iter_mut().enumerate() {
        let share = left.get(at).copied().filter(|share| share.is_finite()).unwrap_or(1.0).clamp(0.0, 1.0);
        input.whole.bytes *= share;
        input.whole.target_tokens *= share;
        input.whole.target_flops *= share;
    }
    let look_ms = look_ms.max(0.0);
    // The look is the first part of what the edge reads anyway, should it answer or draft.
    let edge_prefill = &mut looked.estimates.edge_prefill;
    edge_prefill.base_ms = (edge_prefill.base_ms - look_ms).max(0.0);
    let now = total(&choose_plan(unlooked)?, unlooked, stand_probability)?;
    let then = total(&choose_plan(&looked)?, &looked, stand_probability)?;
    Ok(unlooked.weights.per_ms * look_ms + then <= now * (1.0 + ROUNDING))
}

fn total(plan: &Plan, request: &PlanRequest, stand_probability: f64) -> Result<f64, NoPlan> {
    let waiting = total_of_waiting(plan, request, stand_probability)?;
    Ok(waiting.map_or(plan.total, |waiting| waiting.min(plan.total)))
}

#[cfg(test)]
mod tests {
    use msao_protocol::Modality;
    use proptest::prelude::{prop_assert, proptest};

    use super::*;
    use crate::{
        estimate::{AffineMs, Estimates},
        plan::{Form, fixtures},
    };

    fn request(target_ms_per_token: f64, uplink_bytes_per_s: f64) -> PlanRequest {
        let whole = Form { bytes: 120_000.0, edge_tokens: 30.0, target_tokens: 60.0, ..Form::default() };
        PlanRequest {
            estimates: Estimates {
                target_prefill: AffineMs { base_ms: 5.0, per_unit_ms: target_ms_per_token },
                uplink_bytes_per_s,
                ..Estimates::default()
            },
            ..fixtures::request(Modality::Audio, whole)
        }
    }

    fn looks(request: &PlanRequest, left: f64, look_ms: f64) -> bool {
        looks_first(request, &[left], look_ms, 0.0).unwrap()
    }

    #[test]
    fn a_look_that_saves_more_than_it_takes_is_taken() {
        let slow_target = request(2.0, 25e6);
        assert!(looks(&slow_target, 0.2, 35.0), "96 ms of the target's time for 35");
        assert!(!looks(&slow_target, 0.2, 350.0), "a slow device");
        assert!(!looks(&slow_target, 1.0, 35.0), "nothing is ever left out");
        let quick_target = request(0.01, 25e6);
        assert!(!looks(&quick_target, 0.2, 35.0), "the bytes alone are 4 ms");
        assert!(looks(&request(0.01, 0.6e6), 0.2, 35.0), "but 160 ms on a slow uplink");
        assert!(looks(&quick_target, f64::NAN, 0.0), "of equals it looks");
    }

    #[test]
    fn what_is_locked_is_looked_at() {
        let mut locked = request(0.01, 25e6);
        locked.modalities[0].locked = true;
        assert!(looks(&locked, 0.2, 5_000.0));
    }

    proptest! {
        #[test]
        fn the_less_is_left_and_the_quicker_the_look_the_rather_it_looks(
            per_token in 0.0..3.0_f64, uplink in 1e5..5e7_f64, left in 0.0..1.0_f64, less in 0.0..1.0_f64,
            look_ms in 0.0..300.0_f64, quicker in 0.0..1.0_f64,
        ) {
            let request = request(per_token, uplink);
            prop_assert!(!looks(&request, left, look_ms) || looks(&request, left * less, look_ms));
            prop_assert!(!looks(&request, left, look_ms) || looks(&request, left, look_ms * quicker));
        }
    }
}
