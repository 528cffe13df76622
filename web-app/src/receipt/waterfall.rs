//! Where the milliseconds went, as bars on a common axis.
//!
//! Device and server each tell how long their own work took, in order, by clocks of their own. The page knows when it
//! sent the question and when the answer was complete; what is left of that is the way there and back. When bytes
//! arrive no page can see, so both ways are drawn equally long.

use msao_protocol::{Receipt, SpanKind};

use super::TurnReceipt;

/// Bars on a common axis.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Waterfall {
    /// The rows.
    pub lanes: Vec<Lane>,
    /// End of the axis.
    pub total_ms: f64,
}

/// A row of bars that do not overlap.
#[derive(Debug, Clone, PartialEq)]
pub struct Lane {
    /// Where it happened.
    pub place: Place,
    /// What, in order.
    pub bars: Vec<Bar>,
}

/// Where something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// In this page.
    Device,
    /// Between the two.
    Network,
    /// On the server.
    Server,
}

impl Place {
    /// Its name.
    pub fn label(self) -> &'static str {
        match self {
            Self::Device => "This device",
            Self::Network => "On the way",
            Self::Server => "Server",
        }
    }
}

/// A stretch of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bar {
    /// What was done; `None` for being on the way.
    pub kind: Option<SpanKind>,
    /// When it began, in milliseconds since the question.
    pub start_ms: f64,
    /// How long it took.
    pub ms: f64,
}

impl Bar {
    /// When it was over.
    pub fn end_ms(&self) -> f64 {
        self.start_ms + self.ms
    }
}

impl Waterfall {
    /// The rows of a receipt. Spans that took no time are left out.
    pub fn of(receipt: &TurnReceipt) -> Self {
        let mut lanes = Vec::new();
        if let Some(edge) = &receipt.edge {
            lanes.push(Lane { place: Place::Device, bars: laid(edge, 0.0) });
        }
        if let (Some(cloud), Some(sent_ms)) = (&receipt.cloud, receipt.timing.sent_at_ms) {
            let work_ms: f64 = cloud.spans.iter().map(|span| whole_ms(span.ms)).sum();
            let done_ms = receipt.timing.cloud.total_ms.unwrap_or(sent_ms + work_ms).max(sent_ms + work_ms);
            let way_ms = (done_ms - sent_ms - work_ms) / 2.0;
            let way = |start_ms| Bar { kind: None, start_ms, ms: way_ms };
            if way_ms > 0.0 {
                lanes.push(Lane { place: Place::Network, bars: vec![way(sent_ms), way(done_ms - way_ms)] });
            }
            lanes.push(Lane { place: Place::Server, bars: laid(cloud, sent_ms + way_ms) });
        }
        lanes.retain(|lane| !lane.bars.is_empty());
        let ends = lanes.iter().flat_map(|lane| &lane.bars).map(Bar::end_ms);
        let answered = [receipt.timing.edge.total_ms, receipt.timing.cloud.total_ms];
        let total_ms = ends.chain(answered.into_iter().flatten()).map(whole_ms).fold(0.0, f64::max);
        Self { lanes, total_ms }
    }

    /// Milliseconds of each kind of work at a place, in the order things began.
    pub fn sums(&self, place: Place) -> Vec<(Option<SpanKind>, f64)> {
        let mut sums: Vec<(Option<SpanKind>, f64)> = Vec::new();
        for bar in self.lanes.iter().filter(|lane| lane.place == place).flat_map(|lane| &lane.bars) {
            match sums.iter_mut().find(|(kind, _)| *kind == bar.kind) {
                Some((_, ms)) => *ms += bar.ms,
                None => sums.push((bar.kind, bar.ms)),
            }
        }
        sums
    }
}

/// Spans one behind the other.
fn laid(receipt: &Receipt, from_ms: f64) -> Vec<Bar> {
    let mut start_ms = from_ms;
    let bars = receipt.spans.iter().map(|span| {
        let bar = Bar { kind: Some(span.kind), start_ms, ms: whole_ms(span.ms) };
        start_ms = bar.end_ms();
        bar
    });
    bars.filter(|bar| bar.ms > 0.0).collect()
}

/// A server's receipt comes from outside: what is no length of time counts as none.
fn whole_ms(ms: f64) -> f64 {
    if ms.is_finite() { ms.max(0.0) } else { 0.0 }
}

/// Round values from 0 to at most `total`, about five of them.
pub fn ticks(total: f64) -> Vec<f64> {
    if !(total.is_finite() && total > 0.0) {
        return vec![0.0];
    }
    let rough = total / 4.0;
    let magnitude = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * magnitude);
    let step = step.into_iter().find(|step| *step >= rough).unwrap_or(10.0 * magnitude);
    (0..=(total / step) as u32).map(|index| f64::from(index) * step).collect()
}

#[cfg(test)]
mod tests {
    use msao_protocol::Span;
    use proptest::prelude::{prop_assert, proptest};

    use super::*;
    use crate::receipt::fixtures::receipt;

    fn server_takes(spans: &[f64], sent_ms: f64, done_ms: f64) -> Waterfall {
        let mut receipt = receipt();
        let spans = spans.iter().map(|ms| Span { kind: SpanKind::Prefill, ms: *ms }).collect();
        receipt.cloud = Some(Receipt { spans, ..Receipt::default() });
        receipt.timing.sent_at_ms = Some(sent_ms);
        receipt.timing.cloud.total_ms = Some(done_ms);
        Waterfall::of(&receipt)
    }

    #[test]
    fn what_the_server_does_not_account_for_was_on_the_way() {
        let waterfall = server_takes(&[40.0, 10.0], 30.0, 100.0);
        assert_eq!(waterfall.sums(Place::Network), [(None, 20.0)]);
        assert_eq!(waterfall.sums(Place::Server), [(Some(SpanKind::Prefill), 50.0)]);
        let server = &waterfall.lanes.iter().find(|lane| lane.place == Place::Server).unwrap().bars;
        assert_eq!((server[0].start_ms, server[1].end_ms()), (40.0, 90.0));
        assert_eq!(waterfall.total_ms, 100.0);
        assert_eq!(waterfall.sums(Place::Device)[0], (Some(SpanKind::Encode), 12.0));
    }

    #[test]
    fn without_the_cloud_there_is_the_device_alone() {
        let waterfall = Waterfall::of(&TurnReceipt { cloud: None, ..receipt() });
        let places: Vec<_> = waterfall.lanes.iter().map(|lane| lane.place).collect();
        assert_eq!(places, [Place::Device]);
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(100.0), [0.0, 50.0, 100.0]);
        assert_eq!(ticks(340.0), [0.0, 100.0, 200.0, 300.0]);
        assert_eq!(ticks(0.0), [0.0]);
        assert_eq!(ticks(f64::NAN), [0.0]);
    }

    proptest! {
        #[test]
        fn bars_lie_on_the_axis_and_never_overlap(
            spans in proptest::collection::vec(-5.0..500.0, 0..12), sent in 0.0..400.0, done in 0.0..2_000.0
        ) {
            let waterfall = server_takes(&spans, sent, done);
            for lane in &waterfall.lanes {
                let mut before = 0.0;
                for bar in &lane.bars {
                    prop_assert!(bar.ms > 0.0 && bar.start_ms >= before - 1e-6);
                    before = bar.end_ms();
                    prop_assert!(before <= waterfall.total_ms + 1e-6);
                }
            }
        }

        #[test]
        fn there_are_a_few_ticks(total in 0.001..1e7) {
            let ticks = ticks(total);
            prop_assert!((2..=6).contains(&ticks.len()), "{ticks:?}");
            prop_assert!(ticks.last().is_some_and(|last| *last <= total));
        }
    }
}
