//! The parts of the dashboard: the bench's results.

mod bench;

pub(crate) use bench::BenchSection;
