//! How long and how often a busy server is asked again: exponential backoff with jitter (Metcalfe and Boggs 1976).

use std::time::Duration;

use super::error::OpenAiError;

/// The longest pause of ours, and the longest that a server can ask for.
const LONGEST: Duration = Duration::from_secs(30);
const LONGEST_ASKED: Duration = Duration::from_secs(120);

/// How often, and from which pause on.
#[derive(Debug, Clone, Copy)]
pub(in crate::datasets) struct Patience {
    /// Tries in all.
    pub(in crate::datasets) tries: u32,
    /// Before the second try; doubled from one to the next.
    pub(in crate::datasets) first_pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { tries: 7, first_pause: Duration::from_secs(1) }
    }
}

impl Patience {
    /// The pause after so many tries; `None` to give up. `uniform` is in [0, 1): clients that were turned away together
    /// do not come back together.
    pub(super) fn pause(self, tries: u32, error: &OpenAiError, uniform: f64) -> Option<Duration> {
        if tries >= self.tries || !error.is_passing() {
            return None;
        }
        let doubled = self.first_pause.saturating_mul(1 << (tries - 1).min(16)).min(LONGEST);
        let asked = error.retry_after().unwrap_or_default().min(LONGEST_ASKED);
        Some(doubled.mul_f64(0.5 + uniform / 2.0).max(asked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(retry_after: Option<u64>) -> OpenAiError {
        let retry_after = retry_after.map(Duration::from_secs);
        OpenAiError::Status { status: 429, message: String::new(), retry_after }
    }

    #[test]
    fn pauses_grow_and_end_and_the_server_can_lengthen_them() {
        let patience = Patience { tries: 9, first_pause: Duration::from_secs(1) };
        let pauses: Vec<u64> =
            (1..9).map(|tries| patience.pause(tries, &busy(None), 0.0).unwrap().as_millis() as u64).collect();
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000]);
        assert_eq!(patience.pause(9, &busy(None), 0.0), None);
        let asked = |seconds| patience.pause(1, &busy(Some(seconds)), 0.5).unwrap();
        assert_eq!(asked(7), Duration::from_secs(7));
        assert_eq!(asked(100_000), LONGEST_ASKED, "a server must not stop a run for days");
        let refused = OpenAiError::Status { status: 400, message: String::new(), retry_after: None };
        assert_eq!(patience.pause(1, &refused, 0.0), None);
    }
}
