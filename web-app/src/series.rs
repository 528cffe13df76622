//! Figures of a conversation over time, as points of small charts.

use msao_protocol::Modality;

use crate::{
    format,
    receipt::{TurnReceipt, totals::Totals, waterfall::ticks},
};

/// A figure over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name for tests.
    pub name: &'static str,
    /// Its name for people.
    pub label: &'static str,
    /// How its values are written.
    pub unit: Unit,
    /// Its lines.
    pub lines: Vec<Line>,
}

/// A line of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// What it is about.
    pub label: &'static str,
    /// Its points, in order of time.
    pub points: Vec<Point>,
}

/// A value at a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Seconds since the page was opened.
    pub at_s: f64,
    /// The value.
    pub value: f64,
}

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Milliseconds.
    Ms,
    /// Bytes.
    Bytes,
    /// A share in 0..=1.
    Share,
}

impl Unit {
    /// A value as people read it.
    pub fn words(self, value: f64) -> String {
        match self {
            Self::Ms => format::duration_ms(value),
            Self::Bytes => {
                let sign = if value < 0.0 { "−" } else { "" };
                format!("{sign}{}", format::bytes(value.abs() as u64))
            }
            Self::Share => format!("{:.0} %", value * 100.0),
        }
    }
}

/// Latency, acceptance, bytes saved and MAS of each question.
pub fn of<'a>(receipts: impl IntoIterator<Item = &'a TurnReceipt> + Clone) -> Vec<Series> {
    let line = |label, value: &dyn Fn(&TurnReceipt) -> Option<f64>| {
        let points = receipts.clone().into_iter().filter_map(|receipt| {
            let value = value(receipt).filter(|value| value.is_finite())?;
            Some(Point { at_s: receipt.timing.asked_at_ms / 1e3, value })
        });
        Line { label, points: points.collect() }
    };
    let mas = |modality| {
        move |receipt: &TurnReceipt| {
            let one = receipt.plan.modalities.iter().find(|one| one.modality == modality)?;
            one.mas.as_ref().map(|mas| f64::from(mas.mas))
        }
    };
    vec![
        Series {
            name: "latency",
            label: "Time to the whole answer",
            unit: Unit::Ms,
            lines: vec![line("answer", &TurnReceipt::latency_ms)],
        },
        Series {
            name: "acceptance",
            label: "Drafts accepted",
            unit: Unit::Share,
            lines: vec![line("accepted", &|receipt| receipt.plan.acceptance_rate())],
        },
        Series {
            name: "saved",
            label: "Bytes saved, against cloud only",
            unit: Unit::Bytes,
            lines: vec![line("saved", &|receipt| {
                (receipt.media_bytes().1 > 0).then(|| receipt.plan.saved_bytes() as f64)
            })],
        },
        Series {
            name: "mas",
            label: "MAS: what the question does not need",
            unit: Unit::Share,
            lines: vec![line("picture", &mas(Modality::Vision)), line("sound", &mas(Modality::Audio))],
        },
    ]
}

/// Where a series' points lie on a chart of some size.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// Ends of the axis of values; 0 is on it.
    pub values: (f64, f64),
    /// Ends of the axis of time, in seconds.
    pub times_s: (f64, f64),
    /// Round values on the axis.
    pub ticks: Vec<f64>,
}

impl Chart {
    /// Axes that hold all points of a series.
    pub fn of(series: &Series) -> Self {
        let points = || series.lines.iter().flat_map(|line| &line.points);
        let low = points().map(|point| point.value).fold(0.0, f64::min);
        let high = match series.unit {
            Unit::Share => 1.0,
            _ => points().map(|point| point.value).fold(0.0, f64::max),
        };
        let (high, low) = if high > low { (high, low) } else { (low + 1.0, low) };
        let first = points().map(|point| point.at_s).fold(f64::INFINITY, f64::min);
        let last = points().map(|point| point.at_s).fold(f64::NEG_INFINITY, f64::max);
        // One moment alone stands in the middle.
        let times_s = if last > first { (first, last) } else { (first - 0.5, first + 0.5) };
        let times_s = if times_s.0.is_finite() { times_s } else { (0.0, 1.0) };
        Self { values: (low, high), times_s, ticks: ticks(high) }
    }

    /// Where a point lies, from the upper left corner, in shares of width and height.
    pub fn place(&self, point: Point) -> (f64, f64) {
        let share = |value: f64, (from, to): (f64, f64)| ((value - from) / (to - from)).clamp(0.0, 1.0);
        (share(point.at_s, self.times_s), 1.0 - share(point.value, self.values))
    }
}

/// A series in a sentence: how many points, and the last of each line.
pub fn sentence(series: &Series) -> String {
    let lines = series.lines.iter().filter_map(|line| {
        let last = line.points.last()?;
        let count = format::count(line.points.len() as u64, "question");
        Some(format!("{}: last {}, over {count}", line.label, series.unit.words(last.value)))
    });
    let lines: Vec<_> = lines.collect();
    if lines.is_empty() {
        format!("{}: nothing to show yet", series.label)
    } else {
        format!("{}. {}", series.label, lines.join("; "))
    }
}

/// The share of drafts that were accepted in a conversation; `None` before there were any.
pub fn acceptance(totals: &Totals) -> Option<f64> {
    (totals.proposed_drafts > 0).then(|| totals.accepted_drafts as f64 / totals.proposed_drafts as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;
    use crate::receipt::fixtures::receipt;

    #[test]
    fn each_question_is_a_point() {
        let mut later = receipt();
        later.timing.asked_at_ms = 9_000.0;
        later.plan.proposed_drafts = 0;
        let series = of(&[receipt(), later]);
        let of = |name| &series.iter().find(|one| one.name == name).unwrap().lines;
        assert_eq!(of("latency")[0].points.len(), 2);
        assert_eq!(of("acceptance")[0].points, [Point { at_s: 5.0, value: 0.25 }], "nothing was drafted");
        assert_eq!(of("saved")[0].points[1], Point { at_s: 9.0, value: 11_100.0 });
        assert_eq!((of("mas")[0].points.len(), of("mas")[1].points.len()), (2, 0));
        assert!(sentence(&series[0]).ends_with("answer: last 100 ms, over 2 questions"));
        assert!(sentence(&super::of(&[])[0]).ends_with("nothing to show yet"));
    }

    #[test]
    fn one_point_stands_in_the_middle() {
        let series = of(&[receipt()]);
        let chart = Chart::of(&series[0]);
        assert_eq!(chart.place(series[0].lines[0].points[0]), (0.5, 0.0));
    }

    proptest! {
        #[test]
        fn all_points_are_on_the_chart(values in proptest::collection::vec((0.0..1e4, -1e6..1e6), 0..30)) {
            let points = values.iter().map(|(at_s, value)| Point { at_s: *at_s, value: *value }).collect();
            let lines = vec![Line { label: "", points }];
            let series = Series { name: "", label: "", unit: Unit::Bytes, lines };
            let chart = Chart::of(&series);
            prop_assert!(chart.values.0 < chart.values.1 && chart.times_s.0 < chart.times_s.1);
            prop_assert!(chart.values.0 <= 0.0);
            for point in &series.lines[0].points {
                let (x, y) = chart.place(*point);
                prop_assert!((0.0..=1.0).contains(&x) && (0.0..=1.0).contains(&y));
            }
        }
    }
}
