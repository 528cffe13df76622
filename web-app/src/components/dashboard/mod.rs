//! The parts of the dashboard: charts of this conversation, and the bench's results.

mod bench;
mod chart;

pub(crate) use bench::BenchSection;
pub(crate) use chart::ChartView;
