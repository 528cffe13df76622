//! Delay, rate and queue of a network at one moment, per direction.

use serde::{Deserialize, Serialize};

use super::error::LinkError;

/// Slowest and fastest rate: below, one chunk would take a minute; above, this proxy is no bottleneck.
const RATE_BITS_PER_S: (f64, f64) = (1e4, 2e10);
const DELAY_MS: (f64, f64) = (0.0, 10_000.0);
const QUEUE_BYTES: (u64, u64) = (4 << 10, 64 << 20);

/// The smallest queue that a preset has: some full-sized packets at any rate.
const LEAST_PRESET_QUEUE_BYTES: f64 = 65_536.0;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From who connects to us, the edge.
    Up,
    /// To it.
    Down,
}

/// One direction of a network.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Direction {
    /// Bits that pass in a second.
    pub(crate) rate_bits_per_s: f64,
    /// One-way delay of a bit that has passed the bottleneck.
    pub(crate) delay_ms: f64,
    /// Bytes that may wait before the bottleneck; when they do, the sender is not read from.
    pub(crate) queue_bytes: u64,
}

/// Both directions of a network.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shape {
    /// From the edge to the cloud.
    pub(crate) up: Direction,
    /// From the cloud to the edge.
    pub(crate) down: Direction,
}

impl Direction {
    /// Half of `rtt_ms`, and a queue of one bandwidth-delay product, the classical size of a router's.
    pub(crate) fn new(rate_bits_per_s: f64, rtt_ms: f64) -> Self {
        let product = rate_bits_per_s / 8.0 * rtt_ms / 1e3;
        let queue_bytes = product.max(LEAST_PRESET_QUEUE_BYTES) as u64;
        Self { rate_bits_per_s, delay_ms: rtt_ms / 2.0, queue_bytes: queue_bytes.min(QUEUE_BYTES.1) }
    }

    fn check(&self, segment: usize) -> Result<(), LinkError> {
        let figures = [
            ("rate_bits_per_s", self.rate_bits_per_s, RATE_BITS_PER_S),
            ("delay_ms", self.delay_ms, DELAY_MS),
            ("queue_bytes", self.queue_bytes as f64, (QUEUE_BYTES.0 as f64, QUEUE_BYTES.1 as f64)),
        ];
        for (what, value, (least, most)) in figures {
            if !(least..=most).contains(&value) {
                return Err(LinkError::OutOfRange { segment, what, value, least, most });
            }
        }
        Ok(())
    }
}

impl Shape {
    /// Both directions with half of `rtt_ms` and [the usual queue](Direction::new).
    pub(crate) fn new(up_bits_per_s: f64, down_bits_per_s: f64, rtt_ms: f64) -> Self {
        Self { up: Direction::new(up_bits_per_s, rtt_ms), down: Direction::new(down_bits_per_s, rtt_ms) }
    }

    /// One direction.
    pub(crate) fn direction(&self, way: Way) -> &Direction {
        match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        }
    }

    /// Delay there and back.
    pub(crate) fn rtt_ms(&self) -> f64 {
        self.up.delay_ms + self.down.delay_ms
    }

    /// Whether every figure is within its range.
    ///
    /// # Errors
    /// The first that is not; `segment` says whose.
    pub(crate) fn check(&self, segment: usize) -> Result<(), LinkError> {
        self.up.check(segment)?;
        self.down.check(segment)
    }
}
