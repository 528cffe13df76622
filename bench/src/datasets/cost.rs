//! What answers took: latency, bytes and operations, beside the accuracy.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::summary::nearest_rank;

/// What one answer took. What is not known is left out; it is never 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// Milliseconds from the question to the whole answer.
    pub(crate) total_ms: f64,
    /// Milliseconds to the first token that stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ttft_ms: Option<f64>,
    /// Bytes to the cloud: of the link under a policy, else of the request's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) up_bytes: Option<u64>,
    /// Bytes that came back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) down_bytes: Option<u64>,
    /// Counted operations on the edge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) edge_flops: Option<u64>,
    /// Counted operations in the cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cloud_flops: Option<u64>,
    /// Whether the edge's answer stood without the cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stood: Option<bool>,
}

/// The same of all answers: quantiles of times, means of everything else.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Costs {
    /// Answers behind these figures.
    pub(crate) answers: usize,
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) ttft_p50_ms: Option<f64>,
    pub(crate) up_bytes: Option<f64>,
    pub(crate) down_bytes: Option<f64>,
    pub(crate) edge_flops: Option<f64>,
    pub(crate) cloud_flops: Option<f64>,
    /// Share of answers of the edge that stood.
    pub(crate) stood: Option<f64>,
}

impl Costs {
    /// `None` without any.
    pub(crate) fn of(costs: &[Cost]) -> Option<Self> {
        let sorted = |of: fn(&Cost) -> Option<f64>| {
            let mut times: Vec<f64> = costs.iter().filter_map(of).collect();
            times.sort_by(f64::total_cmp);
            times
        };
        let mean = |of: fn(&Cost) -> Option<u64>| {
            let known: Vec<u64> = costs.iter().filter_map(of).collect();
            let sum: f64 = known.iter().map(|one| *one as f64).sum();
            (!known.is_empty()).then(|| sum / known.len() as f64)
        };
        let (totals, firsts) = (sorted(|cost| Some(cost.total_ms)), sorted(|cost| cost.ttft_ms));
        (!totals.is_empty()).then(|| Self {
            answers: totals.len(),
            p50_ms: nearest_rank(&totals, 0.5),
            p95_ms: nearest_rank(&totals, 0.95),
            ttft_p50_ms: (!firsts.is_empty()).then(|| nearest_rank(&firsts, 0.5)),
            up_bytes: mean(|cost| cost.up_bytes),
            down_bytes: mean(|cost| cost.down_bytes),
            edge_flops: mean(|cost| cost.edge_flops),
            cloud_flops: mean(|cost| cost.cloud_flops),
            stood: mean(|cost| cost.stood.map(u64::from)),
        })
    }
}

impl fmt::Display for Costs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answers, p50_ms, p95_ms, .. } = self;
        write!(formatter, "{answers} answers in p50 {p50_ms:.0} ms, p95 {p95_ms:.0} ms")?;
        let parts = [
            (self.ttft_p50_ms, 1.0, "ms to the first token that stands (p50)"),
            (self.up_bytes, 1e-3, "kB up"),
            (self.down_bytes, 1e-3, "kB down"),
            (self.edge_flops, 1e-9, "GFLOP on the edge"),
            (self.cloud_flops, 1e-9, "GFLOP in the cloud"),
            (self.stood, 100.0, "% stood on the edge"),
        ];
        for (value, scale, unit) in parts {
            if let Some(value) = value {
                write!(formatter, "; {:.2} {unit}", value * scale)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_counts_nowhere() {
        assert_eq!(Costs::of(&[]), None);
        let cost = |total_ms, up_bytes| Cost { total_ms, up_bytes, ..Cost::default() };
        let costs = Costs::of(&[cost(30.0, Some(1_000)), cost(10.0, None), cost(20.0, Some(3_000))]).unwrap();
        assert_eq!((costs.answers, costs.p50_ms, costs.p95_ms), (3, 20.0, 30.0));
        assert_eq!((costs.up_bytes, costs.cloud_flops, costs.stood), (Some(2_000.0), None, None));
        assert_eq!(costs.to_string(), "3 answers in p50 20 ms, p95 30 ms; 2.00 kB up");
    }
}
