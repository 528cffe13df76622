//! Rate of a direction of the network, from transfers of known size that happened anyway.
//!
//! A transfer of b bytes that was acknowledged after t milliseconds spent `t - RTT` sending. The estimate is
//! bytes over milliseconds of all transfers, old ones forgotten by the bytes that came after:
//!
//! ```text
//! B <- B 2^(-b / h) + b      T <- T 2^(-b / h) + (t - RTT)      rate = B / T
//! ```
//!
//! so it is weighted by bytes, and predicts the duration of an upload without bias, which the mean of the
//! rates would not. Small messages tell the RTT and nothing about the rate (application-limited): they are
//! ignored.

/// Transfers below this size are ignored, in bytes: about what a first flight of TCP carries, which takes one
/// RTT at any rate.
const MIN_TRANSFER_BYTES: u64 = 8 * 1024;

/// Bytes after which an older transfer counts half.
const HALF_LIFE_BYTES: f64 = 512.0 * 1024.0;

/// Part of a transfer's duration that counts as sending at the least: the RTT varies, and a transfer must not
/// seem to take no time.
const MIN_SENDING_SHARE: f64 = 0.1;

/// Rate of one direction.
#[derive(Debug, Clone, Default)]
pub struct RateEstimator {
    bytes: f64,
    sending_ms: f64,
}

impl RateEstimator {
    /// Nothing measured yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a transfer: `elapsed_ms` from its first byte's departure to its acknowledgement, of which the
    /// path without queues takes `rtt_ms`. Small transfers and impossible durations are ignored.
    pub fn observe(&mut self, bytes: u64, elapsed_ms: f64, rtt_ms: f64) {
        if bytes < MIN_TRANSFER_BYTES || !(elapsed_ms.is_finite() && elapsed_ms > 0.0 && rtt_ms >= 0.0) {
            return;
        }
        let keep = (-(bytes as f64) / HALF_LIFE_BYTES).exp2();
        self.bytes = self.bytes * keep + bytes as f64;
        self.sending_ms = self.sending_ms * keep + (elapsed_ms - rtt_ms).max(MIN_SENDING_SHARE * elapsed_ms);
    }

    /// Bytes a second; `None` until measured.
    pub fn bytes_per_s(&self) -> Option<f64> {
        (self.sending_ms > 0.0).then(|| self.bytes / self.sending_ms * 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_freed_of_the_round_trip() {
        let mut rate = RateEstimator::new();
        assert_eq!(rate.bytes_per_s(), None);
        rate.observe(100_000, 140.0, 40.0);
        assert_eq!(rate.bytes_per_s(), Some(1_000_000.0));
    }

    #[test]
    fn small_messages_and_impossible_durations_say_nothing() {
        let mut rate = RateEstimator::new();
        rate.observe(MIN_TRANSFER_BYTES - 1, 100.0, 40.0);
        rate.observe(100_000, f64::NAN, 40.0);
        rate.observe(100_000, 0.0, 40.0);
        rate.observe(100_000, 10.0, f64::NAN);
        assert_eq!(rate.bytes_per_s(), None);
        rate.observe(100_000, 10.0, 40.0);
        assert_eq!(rate.bytes_per_s(), Some(100_000_000.0), "a tenth of the duration counts");
    }

    #[test]
    fn the_estimate_predicts_the_next_upload_and_follows_a_change() {
        let (mut rate, rtt_ms) = (RateEstimator::new(), 20.0);
        let mut send = |bytes: u64, bytes_per_ms: f64| {
            rate.observe(bytes, bytes as f64 / bytes_per_ms + rtt_ms, rtt_ms);
            rate.bytes_per_s().unwrap() / 1000.0
        };
        for bytes in [10_000, 300_000, 50_000] {
            assert!((send(bytes, 500.0) - 500.0).abs() < 1e-9);
        }
        for _ in 0..10 {
            send(300_000, 50.0);
        }
        assert!((send(300_000, 50.0) - 50.0).abs() < 1.0);
    }
}
