//! Round-trip time: the minimum over a window, and the smoothed value with its variation.
//!
//! RFC 6298, for a sample R:
//!
//! ```text
//! first:  SRTT = R                        RTTVAR = R / 2
//! then:   RTTVAR = 3/4 RTTVAR + 1/4 |SRTT - R|
//!         SRTT   = 7/8 SRTT   + 1/8 R
//! ```
//!
//! The windowed minimum (as in BBR) is the path without queues: what a transfer's duration has to be freed of
//! before its rate can be told.

use std::collections::VecDeque;

/// Round-trip times of one session.
#[derive(Debug, Clone)]
pub struct RttEstimator {
    window_ms: f64,
    /// Samples that may yet become the minimum: times and values both rise from front to back.
    candidates: VecDeque<(f64, f64)>,
    smoothed: Option<Smoothed>,
}

#[derive(Debug, Clone, Copy)]
struct Smoothed {
    rtt_ms: f64,
    variation_ms: f64,
}

impl RttEstimator {
    /// Nothing measured yet; the minimum looks back `window_ms` milliseconds.
    pub fn new(window_ms: f64) -> Self {
        Self { window_ms, candidates: VecDeque::new(), smoothed: None }
    }

    /// Takes in a sample that ended at `now_ms`; one that is negative or no number is ignored.
    pub fn observe(&mut self, now_ms: f64, rtt_ms: f64) {
        if !(rtt_ms.is_finite() && rtt_ms >= 0.0) {
            return;
        }
        self.smoothed = Some(match self.smoothed {
            None => Smoothed { rtt_ms, variation_ms: rtt_ms / 2.0 },
            Some(Smoothed { rtt_ms: smoothed_ms, variation_ms }) => Smoothed {
                rtt_ms: 0.875 * smoothed_ms + 0.125 * rtt_ms,
                variation_ms: 0.75 * variation_ms + 0.25 * (smoothed_ms - rtt_ms).abs(),
            },
        });
        while self.candidates.back().is_some_and(|(_, value)| *value >= rtt_ms) {
            self.candidates.pop_back();
        }
        self.candidates.push_back((now_ms, rtt_ms));
        // The newest sample stays, however long the silence before the next.
        while self.candidates.len() > 1 && self.candidates[0].0 < now_ms - self.window_ms {
            self.candidates.pop_front();
        }
    }

    /// Lowest sample of the window before the latest sample, in milliseconds.
    pub fn min_ms(&self) -> Option<f64> {
        self.candidates.front().map(|(_, value)| *value)
    }

    /// SRTT, in milliseconds.
    pub fn smoothed_ms(&self) -> Option<f64> {
        self.smoothed.map(|smoothed| smoothed.rtt_ms)
    }

    /// RTTVAR, in milliseconds.
    pub fn variation_ms(&self) -> Option<f64> {
        self.smoothed.map(|smoothed| smoothed.variation_ms)
    }

    /// How long to wait for an answer that takes no work before the cloud counts as away: `SRTT + 4 RTTVAR`,
    /// in milliseconds, without RFC 6298's floor of a second.
    pub fn timeout_ms(&self) -> Option<f64> {
        self.smoothed.map(|smoothed| smoothed.rtt_ms + 4.0 * smoothed.variation_ms)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_samples_are_as_the_rfc_says() {
        let mut rtt = RttEstimator::new(10_000.0);
        assert_eq!((rtt.smoothed_ms(), rtt.min_ms(), rtt.timeout_ms()), (None, None, None));
        rtt.observe(0.0, 80.0);
        assert_eq!(
            (rtt.smoothed_ms(), rtt.variation_ms(), rtt.timeout_ms()),
            (Some(80.0), Some(40.0), Some(240.0))
        );
        rtt.observe(100.0, 160.0);
        assert_eq!((rtt.smoothed_ms(), rtt.variation_ms()), (Some(90.0), Some(50.0)));
        rtt.observe(200.0, f64::NAN);
        rtt.observe(200.0, -1.0);
        assert_eq!((rtt.smoothed_ms(), rtt.min_ms()), (Some(90.0), Some(80.0)));
    }

    proptest! {
        #[test]
        fn the_minimum_is_that_of_the_window(
            samples in proptest::collection::vec((0.0..1000.0_f64, 1.0..500.0_f64), 1..60),
        ) {
            let mut rtt = RttEstimator::new(2_000.0);
            let (mut now, mut seen) = (0.0, Vec::new());
            for (pause, sample) in samples {
                now += pause;
                rtt.observe(now, sample);
                seen.push((now, sample));
                let expected = seen
                    .iter()
                    .filter(|(at, _)| *at >= now - 2_000.0)
                    .map(|(_, value)| *value)
                    .fold(f64::INFINITY, f64::min);
                prop_assert_eq!(rtt.min_ms(), Some(expected));
            }
        }
    }
}
