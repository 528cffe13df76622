//! A token bucket: what a rate allows, with a burst.

use std::time::{Duration, Instant};

/// Fills evenly up to a burst; each take empties it by one.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    tokens: f64,
    filled: Instant,
}

impl TokenBucket {
    /// A full bucket for at most this burst.
    pub(crate) fn full(burst: f64, now: Instant) -> Self {
        Self { tokens: burst, filled: now }
    }

    /// Takes one, at a rate above 0.
    ///
    /// # Errors
    /// How long it takes until there is one.
    pub(crate) fn take(&mut self, burst: f64, per_s: f64, now: Instant) -> Result<(), Duration> {
        let passed_s = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + passed_s * per_s).min(burst);
        self.filled = self.filled.max(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.tokens) / per_s))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let start = Instant::now();
        let mut bucket = TokenBucket::full(3.0, start);
        for _ in 0..3 {
            assert_eq!(bucket.take(3.0, 2.0, start), Ok(()));
        }
        assert_eq!(bucket.take(3.0, 2.0, start), Err(Duration::from_millis(500)));
        assert_eq!(bucket.take(3.0, 2.0, start + Duration::from_millis(500)), Ok(()));
        assert!(bucket.take(3.0, 2.0, start + Duration::from_millis(501)).is_err());
    }

    proptest! {
        /// However requests are spread, no more pass than the burst and what the time allows.
        #[test]
        fn the_rate_holds_for_any_arrivals(
            gaps_ms in proptest::collection::vec(0_u64..400, 1..300),
            burst in 1_u32..20,
            per_s in 1_u32..50,
        ) {
            let (burst, per_s) = (f64::from(burst), f64::from(per_s));
            let start = Instant::now();
            let mut bucket = TokenBucket::full(burst, start);
            let (mut now, mut passed) = (start, 0_u32);
            for gap_ms in gaps_ms {
                now += Duration::from_millis(gap_ms);
                match bucket.take(burst, per_s, now) {
                    Ok(()) => passed += 1,
                    // The advice is right: then one passes.
                    Err(wait) => {
                        now += wait + Duration::from_micros(1);
                        prop_assert_eq!(bucket.take(burst, per_s, now), Ok(()));
                        passed += 1;
                    }
                }
                let allowed = burst + (now - start).as_secs_f64() * per_s;
                prop_assert!(f64::from(passed) <= allowed + 1e-6);
            }
        }
    }
}
