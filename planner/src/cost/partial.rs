//! Whether the target should begin on what has arrived while a modality is still under way.
//!
//! The "speculative partial response" of MSAO: in the wait the target writes k tokens without the modality.
//! With probability 1 - r the modality changes nothing, and one verifying pass settles all k where k steps
//! would have been due; with probability r that pass was in vain:
//!
//! ```text
//! k      = 1 + (wait - prefill of what is there) / t_t,   at most the answer's length
//! saving = (1 - r) k t_t - t_v(k)
//! ```
//!
//! That is the latency; the text also appears sooner, which the saving does not count.

use crate::{estimate::Estimates, mas};

/// Expected saving of a partial-context start, in milliseconds; it pays if positive.
///
/// `wait_ms`: from when the rest of the prompt (`arrived_tokens`) is there until the missing modality is.
/// `relevance`: of the missing modality, in 0..=1; with several, that of any, `1 - (1 - r_1) (1 - r_2)`.
pub fn partial_context_saving_ms(
    wait_ms: f64,
    arrived_tokens: f64,
    answer_tokens: f64,
    relevance: f64,
    estimates: &Estimates,
) -> f64 {
    let writing_ms = wait_ms - estimates.target_prefill.ms(arrived_tokens);
    if writing_ms.is_nan() || writing_ms <= 0.0 {
        return 0.0;
    }
    let drafts = (1.0 + (writing_ms / estimates.target_decode_ms).floor()).min(answer_tokens);
    (1.0 - mas::needed(relevance)) * drafts * estimates.target_decode_ms - estimates.target_verify.ms(drafts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_wait_for_something_unneeded_pays() {
        // Prefill of 20 tokens: 30 ms; a step: 20 ms; verification: 18 + 2 k ms.
        let estimates = Estimates::default();
        let saving =
            |wait_ms, relevance| partial_context_saving_ms(wait_ms, 20.0, 16.0, relevance, &estimates);
        assert_eq!(saving(25.0, 0.0), 0.0, "the wait is over before the target can begin");
        assert_eq!(saving(115.0, 0.0), 5.0 * 20.0 - 28.0);
        assert_eq!(saving(10_000.0, 0.0), 16.0 * 20.0 - 50.0, "no more than the answer is written");
        assert!(saving(500.0, 0.3) > 0.0);
        assert!(saving(500.0, 0.95) < 0.0);
        assert!(saving(500.0, f64::NAN) < 0.0, "an unknown relevance counts as needed");
    }
}
