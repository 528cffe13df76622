//! Measured latencies beside simulated ones.

use std::fmt::Write;

use serde::Serialize;

use crate::report::statistics::{Estimate, bootstrap, mean, quantile};

/// How far off a simulation may be, as a share.
const TOLERANCE: f64 = 0.1;

/// A figure of a policy over a network, in ms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Figure {
    pub(crate) measured_ms: Estimate,
    pub(crate) simulated_ms: f64,
}

impl Figure {
    /// Simulated over measured, less 1.
    pub(crate) fn error(&self) -> f64 {
        self.simulated_ms / self.measured_ms.value - 1.0
    }

    /// Whether the error is at most 10 %.
    pub(crate) fn is_close(&self) -> bool {
        self.error().abs() <= TOLERANCE
    }

    /// Whether the measured requests cannot tell the simulated figure from their own.
    pub(crate) fn is_in_interval(&self) -> bool {
        (self.measured_ms.low..=self.measured_ms.high).contains(&self.simulated_ms)
    }

    fn show(&self) -> String {
        let (measured, simulated) = (self.measured_ms.show(0), self.simulated_ms);
        format!("{measured} | {simulated:.0} | {:+.1} %", 100.0 * self.error())
    }
}

/// A policy over a network, measured and simulated.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Compared {
    pub(crate) policy: String,
    pub(crate) network: String,
    /// Requests measured.
    pub(crate) requests: usize,
    pub(crate) mean: Figure,
    pub(crate) median: Figure,
}

impl Compared {
    /// `None` where one of them has no latencies.
    pub(super) fn of(
        policy: &str,
        network: &str,
        measured_ms: &[f64],
        mut simulated_ms: Vec<f64>,
    ) -> Option<Self> {
        let [mean_ms, median_ms] = bootstrap(measured_ms.len(), |drawn| {
            let mut drawn: Vec<f64> = drawn.iter().map(|index| measured_ms[*index]).collect();
            [mean(drawn.iter().copied()), quantile(&mut drawn, 0.5)]
        });
        let figure = |measured_ms, simulated_ms| Figure { measured_ms, simulated_ms };
        Some(Self {
            policy: policy.to_owned(),
            network: network.to_owned(),
            requests: measured_ms.len(),
            mean: figure(mean_ms?, mean(simulated_ms.iter().copied())),
            median: figure(median_ms?, quantile(&mut simulated_ms, 0.5)),
        })
    }
}

/// All of them as a table, and how many are close enough.
pub(crate) fn table(compared: &[Compared]) -> String {
    let mut text = "| network | policy | mean, measured ms | simulated ms | error | median, measured ms | simulated ms | \
                    error | within 10 % |\n|---|---|---:|---:|---:|---:|---:|---:|---|\n"
        .to_owned();
    for one in compared {
        let within = match (one.mean.is_close(), one.median.is_close()) {
            (true, true) => "yes",
            (true, false) if one.median.is_in_interval() => "the mean; the median within its interval",
            (true, false) => "the mean",
            (false, true) => "the median",
            (false, false) => "no",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {within} |",
            one.network,
            one.policy,
            one.mean.show(),
            one.median.show()
        );
    }
    let close =
        |figure: fn(&Compared) -> &Figure| compared.iter().filter(|one| figure(one).is_close()).count();
    let _ = writeln!(
        text,
        "\nOf {} comparisons {} means and {} medians are within 10 %. In brackets: 95 % intervals of what was measured.",
        compared.len(),
        close(|one| &one.mean),
        close(|one| &one.median)
    );
    text
}
