//! A slower network than the real one, for demonstrations: frames wait in line as they would on that link.
//!
//! Pure: the time comes in as an argument. Frames go up at a bounded rate, one behind the other, and each way takes half
//! of the round trip. What the session measures is then what it would measure on such a link, so that plans adapt to it.

use std::collections::VecDeque;

/// A link to be felt instead of the real one; it can only be slower.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct EmulatedLink {
    /// Added to the round-trip time, in milliseconds.
    pub rtt_ms: f64,
    /// Bytes a second from here to the server; `None` leaves the rate as it is.
    pub uplink_bytes_per_s: Option<f64>,
}

/// Frames of both directions that are still on the emulated link.
#[derive(Debug, Default)]
pub struct DelayLine {
    link: EmulatedLink,
    /// When the uplink has sent what was given to it before.
    uplink_free_at_ms: f64,
    up: VecDeque<(f64, Vec<u8>)>,
    down: VecDeque<(f64, Vec<u8>)>,
}

impl DelayLine {
    /// Nothing is on the link yet.
    pub fn new(link: EmulatedLink) -> Self {
        Self { link, ..Self::default() }
    }

    /// A frame for the server sets out at `now_ms`.
    pub fn send(&mut self, bytes: Vec<u8>, now_ms: f64) {
        let rate = self.link.uplink_bytes_per_s.filter(|rate| *rate > 0.0);
        let takes_ms = rate.map_or(0.0, |rate| bytes.len() as f64 / rate * 1_000.0);
        self.uplink_free_at_ms = self.uplink_free_at_ms.max(now_ms) + takes_ms;
        self.up.push_back((self.uplink_free_at_ms + self.link.rtt_ms / 2.0, bytes));
    }

    /// A frame of the server sets out at `now_ms`.
    pub fn receive(&mut self, bytes: Vec<u8>, now_ms: f64) {
        self.down.push_back((now_ms + self.link.rtt_ms / 2.0, bytes));
    }

    /// The next frame that has arrived at the server by `now_ms`.
    pub fn next_up(&mut self, now_ms: f64) -> Option<Vec<u8>> {
        due(&mut self.up, now_ms)
    }

    /// The next frame that has arrived here by `now_ms`.
    pub fn next_down(&mut self, now_ms: f64) -> Option<Vec<u8>> {
        due(&mut self.down, now_ms)
    }

    /// When the next frame arrives, if one is under way.
    pub fn next_due_ms(&self) -> Option<f64> {
        let heads = [self.up.front(), self.down.front()];
        heads.into_iter().flatten().map(|(due_ms, _)| *due_ms).min_by(f64::total_cmp)
    }
}

fn due(line: &mut VecDeque<(f64, Vec<u8>)>, now_ms: f64) -> Option<Vec<u8>> {
    if line.front()?.0 > now_ms {
        return None;
    }
    line.pop_front().map(|(_, bytes)| bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_link_nothing_waits() {
        let mut line = DelayLine::new(EmulatedLink::default());
        line.send(vec![1; 1_000], 5.0);
        line.receive(vec![2], 5.0);
        assert_eq!(line.next_up(5.0).map(|bytes| bytes.len()), Some(1_000));
        assert_eq!(line.next_down(5.0), Some(vec![2]));
        assert_eq!(line.next_due_ms(), None);
    }

    #[test]
    fn frames_go_up_one_behind_the_other() {
        let link = EmulatedLink { rtt_ms: 100.0, uplink_bytes_per_s: Some(10_000.0) };
        let mut line = DelayLine::new(link);
        line.send(vec![1; 1_000], 0.0);
        line.send(vec![2; 500], 10.0);
        // 100 ms and then 50 ms on the wire, half a round trip on top of each.
        assert_eq!(line.next_due_ms(), Some(150.0));
        assert_eq!(line.next_up(149.0), None);
        assert_eq!(line.next_up(150.0).map(|bytes| bytes[0]), Some(1));
        assert_eq!(line.next_up(199.0), None);
        assert_eq!(line.next_up(200.0).map(|bytes| bytes[0]), Some(2));
    }

    #[test]
    fn what_comes_back_takes_the_other_half_and_keeps_its_order() {
        let mut line = DelayLine::new(EmulatedLink { rtt_ms: 80.0, uplink_bytes_per_s: None });
        line.receive(vec![1], 0.0);
        line.receive(vec![2], 30.0);
        assert_eq!((line.next_down(39.0), line.next_down(40.0)), (None, Some(vec![1])));
        assert_eq!((line.next_down(69.0), line.next_down(70.0)), (None, Some(vec![2])));
    }
}
