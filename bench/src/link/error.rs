//! What a link refuses.

use thiserror::Error;

/// A network that cannot be emulated.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum LinkError {
    /// A figure of a shape is out of its range.
    #[error("segment {segment}: {what} is {value}; it has to be within {least} and {most}")]
    OutOfRange {
        /// Counted from 0.
        segment: usize,
        /// The figure's name.
        what: &'static str,
        /// What it is.
        value: f64,
        /// What it may be at least.
        least: f64,
        /// What it may be at most.
        most: f64,
    },
    /// Segments are missing, too many, or not in order of time.
    #[error(
        "a trace has 1 to {most} segments, the first at 0 ms and each later than the one before it: {found}"
    )]
    Segments {
        /// Most segments.
        most: usize,
        /// What is wrong with these.
        found: String,
    },
    /// A repeated trace lets nothing through.
    #[error("a trace that repeats has an open segment: leave `period_ms` out, or add one")]
    NeverOpen,
    /// A name that stands for no network.
    #[error("{name:?} is no network: say 20ms-200mbit for a steady one, or lte:SEED, wifi:SEED, train:SEED")]
    UnknownScenario {
        /// The name.
        name: String,
    },
    /// A trace file that cannot be used.
    #[error(
        "{file}: {reason}; a trace is JSON: {{\"segments\": [{{\"at_ms\": 0, \"up\": {{\"rate_bits_per_s\": 5e6, \"delay_ms\": 20, \"queue_bytes\": 65536}}, \"down\": ...}}]}}"
    )]
    File {
        /// Where it is.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// This machine gives no port or thread.
    #[error("the link cannot start; free ports, threads or memory, or choose another --listen")]
    Start(#[from] std::io::Error),
}
