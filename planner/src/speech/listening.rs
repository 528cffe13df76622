//! Who listens, and what becomes of a transcript.

/// Confidence from which a transcript stands unless it was calibrated: a geometric mean of token probabilities.
///
/// Whisper itself keeps a window from a mean log-probability of -1 on, which is 0.37; ours asks for twice as much, so that what
/// it merely would not try again is offloaded. It bounds no error rate: [`calibrate`](super::calibrate) does, on one's own recordings.
pub const DEFAULT_THRESHOLD: f64 = 0.74;

/// Who could listen to a recording.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ears {
    /// The device has a speech model.
    pub edge: bool,
    /// The cloud hears, and this recording may be sent there: it is not locked, and the policy allows it.
    pub cloud: bool,
}

/// Who listens first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// The device writes it down.
    Edge,
    /// The sound is sent.
    Cloud,
    /// Neither can.
    Nobody,
}

/// What listening to one recording is expected to take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ListeningCosts {
    /// Milliseconds of the device's transcription.
    pub edge_ms: f64,
    /// Milliseconds of listening in the cloud.
    pub cloud_ms: f64,
    /// Milliseconds of sending the sound.
    pub send_ms: f64,
    /// Price of sending it, in milliseconds: 0 where bytes cost nothing but their time.
    pub send_price_ms: f64,
    /// Share of the device's transcripts that are confident enough, in [0, 1].
    pub enough: f64,
}

impl ListeningCosts {
    fn in_cloud(&self) -> f64 {
        self.send_ms + self.send_price_ms + self.cloud_ms
    }

    /// `edge + (1 - enough) (send + price + cloud)`: what is not confident is sent after all.
    fn on_edge(&self) -> f64 {
        self.edge_ms + (1.0 - self.enough.clamp(0.0, 1.0)) * self.in_cloud()
    }
}

/// Who listens first: whoever is expected to be done sooner, the device where it makes no difference.
pub fn who_listens(ears: Ears, costs: &ListeningCosts) -> Listener {
    match (ears.edge, ears.cloud) {
        (true, true) if costs.on_edge() > costs.in_cloud() => Listener::Cloud,
        (true, _) => Listener::Edge,
        (false, true) => Listener::Cloud,
        (false, false) => Listener::Nobody,
    }
}

/// What a transcript of the device is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It replaces the sound.
    Words,
    /// The sound is sent, since somebody there may understand it better.
    Offload,
    /// It replaces the sound though it is not confident: nobody else may listen. The user is told.
    Doubtful,
}

/// What to do with a transcript; a confidence that is no number is not enough.
pub fn after_listening(confidence: f64, threshold: f64, ears: Ears) -> Outcome {
    if confidence >= threshold {
        Outcome::Words
    } else if ears.cloud {
        Outcome::Offload
    } else {
        Outcome::Doubtful
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn costs(edge_ms: f64, send_ms: f64, enough: f64) -> ListeningCosts {
        ListeningCosts { edge_ms, cloud_ms: 100.0, send_ms, send_price_ms: 0.0, enough }
    }

    const BOTH: Ears = Ears { edge: true, cloud: true };

    #[test]
    fn a_slow_link_makes_the_device_listen_and_a_slow_device_the_cloud() {
        assert_eq!(who_listens(BOTH, &costs(500.0, 3_000.0, 0.8)), Listener::Edge);
        assert_eq!(who_listens(BOTH, &costs(9_000.0, 50.0, 0.8)), Listener::Cloud);
        assert_eq!(who_listens(BOTH, &costs(500.0, 3_000.0, 0.0)), Listener::Cloud, "it is never enough");
        let priced = ListeningCosts { send_price_ms: 1e6, ..costs(9_000.0, 50.0, 0.8) };
        assert_eq!(who_listens(BOTH, &priced), Listener::Edge, "bytes are dear");
    }

    #[test]
    fn doubt_is_offloaded_where_somebody_may_hear() {
        assert_eq!(after_listening(0.9, 0.74, BOTH), Outcome::Words);
        assert_eq!(after_listening(0.5, 0.74, BOTH), Outcome::Offload);
        assert_eq!(after_listening(f64::NAN, 0.74, BOTH), Outcome::Offload);
        assert_eq!(after_listening(0.5, 0.74, Ears { cloud: false, ..BOTH }), Outcome::Doubtful);
    }

    proptest! {
        #[test]
        fn what_may_not_leave_is_never_sent(
            (edge, edge_ms, send_ms) in (any::<bool>(), 0.0..1e5f64, 0.0..1e5f64),
            (enough, confidence, threshold) in (0.0..1.0f64, 0.0..1.0f64, 0.0..1.0f64),
        ) {
            let locked = Ears { edge, cloud: false };
            prop_assert_ne!(who_listens(locked, &costs(edge_ms, send_ms, enough)), Listener::Cloud);
            prop_assert_ne!(after_listening(confidence, threshold, locked), Outcome::Offload);
        }

        #[test]
        fn a_faster_device_never_makes_the_cloud_listen(
            edge_ms in 0.0..1e5f64, faster in 0.0..1.0f64, send_ms in 0.0..1e5f64, enough in 0.0..1.0f64,
        ) {
            if who_listens(BOTH, &costs(edge_ms, send_ms, enough)) == Listener::Edge {
                prop_assert_eq!(who_listens(BOTH, &costs(edge_ms * faster, send_ms, enough)), Listener::Edge);
            }
        }
    }
}
