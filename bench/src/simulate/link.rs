//! A link in one direction: messages wait for those before them, take their bytes over the rate, and a delay.

/// First in, first out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Link {
    bytes_per_ms: f64,
    delay_ms: f64,
    free_at_ms: f64,
}

impl Link {
    /// An idle link.
    pub(super) fn new(bytes_per_s: f64, delay_ms: f64) -> Self {
        Self { bytes_per_ms: bytes_per_s / 1000.0, delay_ms, free_at_ms: 0.0 }
    }

    /// When a message that is handed over now has arrived.
    pub(super) fn send(&mut self, now_ms: f64, bytes: f64) -> f64 {
        self.free_at_ms = self.free_at_ms.max(now_ms) + bytes / self.bytes_per_ms;
        self.free_at_ms + self.delay_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_waits_for_the_one_before_it() {
        let mut link = Link::new(1_000_000.0, 10.0);
        assert_eq!(link.send(0.0, 5_000.0), 15.0);
        assert_eq!(link.send(1.0, 1_000.0), 16.0);
        assert_eq!(link.send(100.0, 0.0), 110.0);
    }
}
