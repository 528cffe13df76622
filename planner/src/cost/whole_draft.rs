//! What drafts are worth to a target that does not wait for them.

use super::expected_tokens;
use crate::estimate::Estimates;

/// Expected milliseconds saved if `draft_tokens` drafts are there when the target has read the prompt, it verifies them in one
/// pass, and writes on by itself behind the first that it rejects. Negative if the pass costs more than it saves.
///
/// ```text
/// (E(alpha, gamma) - 1) t_t - (t_v(gamma + 1) - t_t)
/// ```
///
/// Nothing is waited for, so no round trip appears: against the target alone it is lost only where verifying costs more
/// than writing.
pub fn whole_draft_saving_ms(acceptance: f64, draft_tokens: u8, estimates: &Estimates) -> f64 {
    let step_ms = estimates.target_decode_ms;
    let verify_ms = estimates.target_verify.ms(f64::from(draft_tokens) + 1.0);
    (expected_tokens(acceptance, draft_tokens) - 1.0) * step_ms - (verify_ms - step_ms)
}

/// How long the target should wait for a further draft, in milliseconds: as long as one takes to come, if that is less than
/// writing by itself what the draft is expected to save, else not at all.
///
/// ```text
/// W = RTT + gamma t_d      waited for iff  W < (E(alpha, gamma) - 1) t_t
/// ```
///
/// This is the condition under which synchronous distributed speculation beats the cloud (arXiv 2606.25091), with a
/// verification that takes as long as a step.
pub fn draft_wait_ms(acceptance: f64, draft_tokens: u8, estimates: &Estimates) -> f64 {
    let wait_ms = estimates.rtt_ms + f64::from(draft_tokens) * estimates.edge_decode_ms;
    let saved_ms = (expected_tokens(acceptance, draft_tokens) - 1.0) * estimates.target_decode_ms;
    if wait_ms < saved_ms { wait_ms } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;
    use crate::estimate::AffineMs;

    fn estimates(rtt_ms: f64) -> Estimates {
        Estimates {
            rtt_ms,
            edge_decode_ms: 1.0,
            target_decode_ms: 20.0,
            target_verify: AffineMs { base_ms: 20.0, per_unit_ms: 0.0 },
            ..Estimates::default()
        }
    }

    #[test]
    fn a_certain_draft_saves_its_steps_and_a_hopeless_one_nothing() {
        assert_eq!(whole_draft_saving_ms(1.0, 4, &estimates(500.0)), 80.0);
        assert_eq!(whole_draft_saving_ms(0.0, 4, &estimates(0.0)), 0.0);
        let dear =
            Estimates { target_verify: AffineMs { base_ms: 20.0, per_unit_ms: 9.0 }, ..estimates(0.0) };
        assert!(whole_draft_saving_ms(0.1, 4, &dear) < 0.0, "rows that are rejected cost too");
    }

    #[test]
    fn a_near_edge_is_waited_for_and_a_far_one_is_not() {
        assert_eq!(draft_wait_ms(0.9, 4, &estimates(10.0)), 14.0);
        assert_eq!(draft_wait_ms(0.9, 4, &estimates(200.0)), 0.0);
    }

    proptest! {
        #[test]
        fn better_drafts_save_more_and_are_rather_waited_for(
            low in 0.0..1.0_f64, more in 0.0..1.0_f64, gamma in 1..16_u8, rtt_ms in 0.0..200.0_f64,
        ) {
            let (high, now) = ((low + more).min(1.0), estimates(rtt_ms));
            prop_assert!(whole_draft_saving_ms(high, gamma, &now) >= whole_draft_saving_ms(low, gamma, &now) - 1e-9);
            prop_assert!(draft_wait_ms(low, gamma, &now) == 0.0 || draft_wait_ms(high, gamma, &now) > 0.0);
        }
    }
}
