//! How a network changes over time: piecewise-constant segments, and the arithmetic of when a byte has passed.
//!
//! Pure: times are milliseconds since the trace began.

use serde::{Deserialize, Serialize};

use super::{
    error::LinkError,
    shape::{Shape, Way},
};

/// A day in steps of a second, with room.
const MOST_SEGMENTS: usize = 100_000;

/// What passes during a segment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Bytes, at the segment's rate.
    #[default]
    Open,
    /// Nothing; connections stay, and what waits goes on afterwards.
    Outage,
    /// Nothing; connections are closed when it begins, and new ones until it ends.
    Cut,
}

/// A stretch of time in which nothing changes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Segment {
    /// When it begins; it ends where the next one begins.
    pub(crate) at_ms: f64,
    /// Rate, delay and queue.
    #[serde(flatten)]
    pub(crate) shape: Shape,
    /// What passes.
    #[serde(default)]
    pub(crate) state: State,
}

/// A network over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trace {
    /// In order of time, the first at 0.
    pub(crate) segments: Vec<Segment>,
    /// After so long it begins anew; without, the last segment stays.
    #[serde(default)]
    pub(crate) period_ms: Option<f64>,
}

impl From<Shape> for Trace {
    fn from(shape: Shape) -> Self {
        Self { segments: vec![Segment { at_ms: 0.0, shape, state: State::Open }], period_ms: None }
    }
}

impl Trace {
    /// Whether it can be emulated.
    ///
    /// # Errors
    /// If segments are out of order or a figure is out of its range.
    pub(crate) fn check(&self) -> Result<(), LinkError> {
        let fail = |found: String| Err(LinkError::Segments { most: MOST_SEGMENTS, found });
        if self.segments.is_empty() || self.segments.len() > MOST_SEGMENTS {
            return fail(format!("it has {}", self.segments.len()));
        }
        if self.segments[0].at_ms != 0.0 {
            return fail(format!("the first is at {} ms", self.segments[0].at_ms));
        }
        let times = self.segments.iter().map(|segment| segment.at_ms).chain(self.period_ms);
        if !times.clone().all(f64::is_finite) || !times.is_sorted_by(|one, next| one < next) {
            return fail("times or the period are out of order".into());
        }
        for (index, segment) in self.segments.iter().enumerate() {
            segment.shape.check(index)?;
        }
        if self.period_ms.is_some() && self.segments.iter().all(|segment| segment.state != State::Open) {
            return Err(LinkError::NeverOpen);
        }
        Ok(())
    }

    /// The segment that holds at `time_ms`, and when it ends.
    pub(crate) fn at(&self, time_ms: f64) -> (&Segment, f64) {
        let time_ms = time_ms.max(0.0);
        let begin_ms = self.period_ms.map_or(0.0, |period| (time_ms / period).floor() * period);
        let index = self.segments.partition_point(|segment| begin_ms + segment.at_ms <= time_ms).max(1) - 1;
        let next_ms = self.segments.get(index + 1).map(|segment| segment.at_ms).or(self.period_ms);
        let end_ms = next_ms.map_or(f64::INFINITY, |next| begin_ms + next);
        // A rounding error at the end of a period must not make a segment that never ends.
        if end_ms > time_ms { (&self.segments[index], end_ms) } else { self.at(time_ms.next_up()) }
    }

    /// When `bytes` that begin to pass at `start_ms` have passed; `None` if they never will.
    pub(crate) fn departure_ms(&self, way: Way, start_ms: f64, bytes: usize) -> Option<f64> {
        let (mut now_ms, mut bits) = (start_ms.max(0.0), bytes as f64 * 8.0);
        loop {
            let (segment, end_ms) = self.at(now_ms);
            if segment.state == State::Open {
                let bits_per_ms = segment.shape.direction(way).rate_bits_per_s / 1e3;
                let done_ms = now_ms + bits / bits_per_ms;
                if done_ms <= end_ms {
                    return Some(done_ms);
                }
                bits -= (end_ms - now_ms) * bits_per_ms;
            }
            if end_ms.is_infinite() {
                return None;
            }
            now_ms = end_ms;
        }
    }

    /// When the first cut behind `after_ms` begins.
    pub(crate) fn next_cut_ms(&self, after_ms: f64) -> Option<f64> {
        let cuts = || self.segments.iter().filter(|segment| segment.state == State::Cut);
        let Some(period) = self.period_ms else {
            return cuts().map(|cut| cut.at_ms).find(|at| *at > after_ms);
        };
        let begin_ms = (after_ms.max(0.0) / period).floor() * period;
        let times = |begin_ms: f64| cuts().map(move |cut| begin_ms + cut.at_ms);
        times(begin_ms).chain(times(begin_ms + period)).find(|at| *at > after_ms)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment(at_ms: f64, mbit: f64, state: State) -> Segment {
        Segment { at_ms, shape: Shape::new(mbit * 1e6, mbit * 2e6, 20.0), state }
    }

    /// 8 Mbit/s for 100 ms, nothing for 50 ms, 16 Mbit/s for 50 ms; anew each 200 ms.
    fn trace() -> Trace {
        let segments = vec![
            segment(0.0, 8.0, State::Open),
            segment(100.0, 8.0, State::Outage),
            segment(150.0, 16.0, State::Open),
        ];
        Trace { segments, period_ms: Some(200.0) }
    }

    #[test]
    fn bytes_pass_at_the_rate_of_each_segment_and_wait_in_an_outage() {
        let trace = trace();
        // 1 kB takes 1 ms at 8 Mbit/s.
        assert_eq!(trace.departure_ms(Way::Up, 10.0, 1000), Some(11.0));
        assert_eq!(trace.departure_ms(Way::Down, 10.0, 1000), Some(10.5));
        assert_eq!(trace.departure_ms(Way::Up, 99.0, 3000), Some(151.0));
        assert_eq!(trace.departure_ms(Way::Up, 0.0, 100_000 + 100_000 + 5_000), Some(205.0));
        let forever = Trace { period_ms: None, segments: trace.segments[..2].to_vec() };
        assert_eq!(forever.departure_ms(Way::Up, 99.0, 2000), None);
    }

    #[test]
    fn cuts_are_found_in_every_period() {
        let mut trace = trace();
        assert_eq!(trace.next_cut_ms(-1.0), None);
        trace.segments[1].state = State::Cut;
        assert_eq!(trace.next_cut_ms(-1.0), Some(100.0));
        assert_eq!(trace.next_cut_ms(100.0), Some(300.0));
        trace.period_ms = None;
        assert_eq!(trace.next_cut_ms(100.0), None);
    }

    #[test]
    fn what_cannot_be_emulated_is_refused() {
        assert!(trace().check().is_ok());
        let with = |change: &dyn Fn(&mut Trace)| {
            let mut trace = trace();
            change(&mut trace);
            trace.check().unwrap_err()
        };
        assert!(matches!(with(&|trace| trace.segments.clear()), LinkError::Segments { .. }));
        assert!(matches!(with(&|trace| trace.segments[0].at_ms = 1.0), LinkError::Segments { .. }));
        assert!(matches!(with(&|trace| trace.segments[2].at_ms = 99.0), LinkError::Segments { .. }));
        assert!(matches!(with(&|trace| trace.period_ms = Some(150.0)), LinkError::Segments { .. }));
        assert!(matches!(with(&|trace| trace.period_ms = Some(f64::NAN)), LinkError::Segments { .. }));
        let slow = with(&|trace| trace.segments[1].shape.down.rate_bits_per_s = 0.0);
        assert!(matches!(slow, LinkError::OutOfRange { segment: 1, .. }), "{slow}");
        let late = with(&|trace| trace.segments[0].shape.up.delay_ms = f64::NAN);
        assert!(matches!(late, LinkError::OutOfRange { segment: 0, .. }), "{late}");
        let shut = with(&|trace| trace.segments.iter_mut().for_each(|one| one.state = State::Outage));
        assert!(matches!(shut, LinkError::NeverOpen));
    }

    proptest! {
        /// However bytes are cut, the last one passes at the same time.
        #[test]
        fn chunks_pass_when_the_whole_would(
            start_ms in 0.0..1e4_f64,
            chunks in prop::collection::vec(1_usize..20_000, 1..20),
        ) {
            let trace = trace();
            let mut at_ms = start_ms;
            for chunk in &chunks {
                let next_ms = trace.departure_ms(Way::Up, at_ms, *chunk).unwrap();
                prop_assert!(next_ms > at_ms);
                at_ms = next_ms;
            }
            let whole_ms = trace.departure_ms(Way::Up, start_ms, chunks.iter().sum()).unwrap();
            prop_assert!((whole_ms - at_ms).abs() < 1e-3, "{whole_ms} {at_ms}");
        }

        /// Time goes on, also at the seams of segments and periods.
        #[test]
        fn a_segment_ends_after_the_time_it_holds_at(time_ms in 0.0..1e7_f64, period_ms in 150.1..3e3_f64) {
            let trace = Trace { period_ms: Some(period_ms), ..trace() };
            let (_, end_ms) = trace.at(time_ms);
            prop_assert!(end_ms > time_ms);
            prop_assert!(trace.at(end_ms).1 > end_ms);
        }
    }
}
