//! Traces as a device on the way would have recorded them, made from a seed by three small models.
//!
//! - **lte**: the rate drifts. Its logarithm is an AR(1) process in steps of 200 ms, around 12 Mbit/s up and 40 down,
//!   standard deviation 0.6, correlation time 4 s; the RTT is 45 ms at the median rate and grows as its square root
//!   falls, as a cell that serves more users queues longer.
//! - **wifi**: 60 Mbit/s up, 120 down, 12 ms, with mild drift (0.2), and stalls of 50 to 300 ms, every 3 s on average
//!   (exponential): a burst of losses, seen above as the wait for retransmissions.
//! - **train**: lte, with tunnels: outages of 1 to 4 s, every 12 s on average, and one cut of 1.5 s a minute, as at
//!   a handover that fails: the device gets another address.
//!
//! A trace is a minute long and repeats. Rates stay within a factor of 8 of their median.

use super::{
    shape::Shape,
    trace::{Segment, State, Trace},
};

const PERIOD_MS: f64 = 60_000.0;
const STEP_MS: f64 = 200.0;
const MOST_DRIFT: f64 = 8.0;

/// Who has recorded it, so to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Model {
    /// A phone in a cell.
    Lte,
    /// A laptop far from its access point.
    Wifi,
    /// A phone in a train.
    Train,
}

/// A trace by its model and seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// How it is made.
    pub(crate) model: Model,
    /// Of its random numbers: the same seed makes the same trace.
    pub(crate) seed: u64,
}

impl Model {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Lte, Self::Wifi, Self::Train];

    /// Its name in scenarios.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lte => "lte",
            Self::Wifi => "wifi",
            Self::Train => "train",
        }
    }
}

/// A drifting rate.
struct Drift {
    up_bits_per_s: f64,
    down_bits_per_s: f64,
    rtt_ms: f64,
    /// Of the rate's natural logarithm.
    deviation: f64,
    correlation_ms: f64,
}

const LTE: Drift =
    Drift { up_bits_per_s: 12e6, down_bits_per_s: 40e6, rtt_ms: 45.0, deviation: 0.6, correlation_ms: 4e3 };
const WIFI: Drift =
    Drift { up_bits_per_s: 60e6, down_bits_per_s: 120e6, rtt_ms: 12.0, deviation: 0.2, correlation_ms: 2e3 };

/// When nothing passes.
struct Gaps {
    mean_interval_ms: f64,
    length_ms: (f64, f64),
}

const STALLS: Gaps = Gaps { mean_interval_ms: 3e3, length_ms: (50.0, 300.0) };
const TUNNELS: Gaps = Gaps { mean_interval_ms: 12e3, length_ms: (1e3, 4e3) };
const CUT_MS: f64 = 1.5e3;

impl Recorded {
    /// The trace, the same on every machine but for the last bits of its figures.
    pub(crate) fn trace(self) -> Trace {
        let mut random = Random(self.seed ^ ((self.model as u64 + 1) << 56));
        let (drift, gaps) = match self.model {
            Model::Lte => (LTE, None),
            Model::Wifi => (WIFI, Some(STALLS)),
            Model::Train => (LTE, Some(TUNNELS)),
        };
        let shapes = drift.shapes(&mut random);
        let mut closed = gaps.map_or_else(Vec::new, |gaps| gaps.times(&mut random));
        if self.model == Model::Train {
            let begin_ms = random.between(5e3, PERIOD_MS - 10e3);
            let end_ms = begin_ms + CUT_MS;
            closed.retain(|(gap_ms, gap_end_ms, _)| *gap_end_ms < begin_ms || *gap_ms > end_ms);
            closed.push((begin_ms, end_ms, State::Cut));
            closed.sort_by(|one, next| one.0.total_cmp(&next.0));
        }
        Trace { segments: segments(&shapes, &closed), period_ms: Some(PERIOD_MS) }
    }
}

impl Drift {
    /// One shape a step.
    fn shapes(&self, random: &mut Random) -> Vec<Shape> {
        let kept = (-STEP_MS / self.correlation_ms).exp();
        let news = self.deviation * (1.0 - kept * kept).sqrt();
        let mut logarithm = self.deviation * random.normal();
        let step = |_| {
            logarithm = kept * logarithm + news * random.normal();
            let factor = logarithm.exp().clamp(1.0 / MOST_DRIFT, MOST_DRIFT);
            let rtt_ms = self.rtt_ms * factor.min(1.0).powf(-0.5);
            Shape::new(self.up_bits_per_s * factor, self.down_bits_per_s * factor, rtt_ms)
        };
        (0..(PERIOD_MS / STEP_MS) as usize).map(step).collect()
    }
}

impl Gaps {
    /// Beginnings and ends, in order and apart, with a second free at both ends of the period.
    fn times(&self, random: &mut Random) -> Vec<(f64, f64, State)> {
        let mut times = Vec::new();
        let mut now_ms = 1e3;
        loop {
            let begin_ms = now_ms + random.exponential(self.mean_interval_ms);
            let end_ms = begin_ms + random.between(self.length_ms.0, self.length_ms.1);
            if end_ms > PERIOD_MS - 1e3 {
                return times;
            }
            times.push((begin_ms, end_ms, State::Outage));
            now_ms = end_ms + STEP_MS;
        }
    }
}

/// Steps of the drift, cut where gaps begin and end.
fn segments(shapes: &[Shape], closed: &[(f64, f64, State)]) -> Vec<Segment> {
    let steps = (0..shapes.len()).map(|step| step as f64 * STEP_MS);
    let mut times: Vec<f64> =
        steps.chain(closed.iter().flat_map(|(begin_ms, end_ms, _)| [*begin_ms, *end_ms])).collect();
    times.sort_by(f64::total_cmp);
    times.dedup();
    let state = |at_ms: f64| {
        let gap = closed.iter().find(|(begin_ms, end_ms, _)| (*begin_ms..*end_ms).contains(&at_ms));
        gap.map_or(State::Open, |gap| gap.2)
    };
    let segment =
        |at_ms: f64| Segment { at_ms, shape: shapes[(at_ms / STEP_MS) as usize], state: state(at_ms) };
    let mut segments: Vec<Segment> = times.into_iter().map(segment).collect();
    // Inside a cut each step would be a cut of its own.
    segments.dedup_by(|next, one| one.state == State::Cut && next.state == State::Cut);
    segments
}

/// SplitMix64 (Steele, Lea, Flood 2014), and what is drawn with it.
struct Random(u64);

impl Random {
    /// In [0, 1).
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, least: f64, most: f64) -> f64 {
        least + (most - least) * self.uniform()
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.uniform()).ln()
    }

    /// Box and Muller's.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traces(model: Model) -> Vec<Trace> {
        (0..40).map(|seed| Recorded { model, seed }.trace()).collect()
    }

    /// Lengths of closed stretches.
    fn gaps_ms(trace: &Trace, state: State) -> Vec<f64> {
        let mut gaps = Vec::new();
        let ends = trace.segments.iter().skip(1).map(|next| next.at_ms).chain(trace.period_ms);
        let mut is_inside = false;
        for (segment, end_ms) in trace.segments.iter().zip(ends) {
            let length_ms = end_ms - segment.at_ms;
            match (segment.state == state, is_inside) {
                (true, true) => *gaps.last_mut().unwrap() += length_ms,
                (true, false) => gaps.push(length_ms),
                (false, _) => {}
            }
            is_inside = segment.state == state;
        }
        gaps
    }

    #[test]
    fn a_seed_makes_one_trace_and_another_seed_another() {
        for model in Model::ALL {
            let all = traces(model);
            assert_eq!(all[5], Recorded { model, seed: 5 }.trace());
            assert_ne!(all[5], all[6]);
            for trace in all {
                trace.check().unwrap();
            }
        }
    }

    #[test]
    fn lte_drifts_around_its_median_and_its_rtt_rises_when_the_rate_falls() {
        let shapes: Vec<Shape> =
            traces(Model::Lte).iter().flat_map(|trace| trace.segments.iter().map(|one| one.shape)).collect();
        let mut logarithms: Vec<f64> =
            shapes.iter().map(|shape| (shape.up.rate_bits_per_s / 12e6).ln()).collect();
        logarithms.sort_by(f64::total_cmp);
        assert!(logarithms[logarithms.len() / 2].abs() < 0.2, "{}", logarithms[logarithms.len() / 2]);
        let square: f64 = logarithms.iter().map(|one| one * one).sum::<f64>() / logarithms.len() as f64;
        assert!((0.45..0.75).contains(&square.sqrt()), "{}", square.sqrt());
        let slow = shapes.iter().filter(|shape| shape.up.rate_bits_per_s < 6e6);
        assert!(slow.clone().count() > 100);
        assert!(slow.clone().all(|shape| shape.rtt_ms() > 63.0));
    }

    #[test]
    fn wifi_stalls_briefly_and_trains_have_tunnels_and_a_cut() {
        for trace in traces(Model::Wifi) {
            let stalls = gaps_ms(&trace, State::Outage);
            assert!((3..60).contains(&stalls.len()), "{stalls:?}");
            assert!(stalls.iter().all(|stall| (49.9..300.1).contains(stall)), "{stalls:?}");
            assert!(gaps_ms(&trace, State::Cut).is_empty());
        }
        let mut tunnels = 0;
        for trace in traces(Model::Train) {
            let outages = gaps_ms(&trace, State::Outage);
            assert!(outages.iter().all(|outage| (999.9..4000.1).contains(outage)), "{outages:?}");
            tunnels += outages.len();
            let cuts = gaps_ms(&trace, State::Cut);
            assert!(cuts.len() == 1 && (cuts[0] - CUT_MS).abs() < 0.1, "{cuts:?}");
            let begins = trace.segments.iter().filter(|segment| segment.state == State::Cut).count();
            assert_eq!(begins, 1, "a cut closes connections once");
        }
        assert!(tunnels > 40, "{tunnels}");
    }
}
