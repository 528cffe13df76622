//! What a load test found.

use serde::{Deserialize, Serialize};

/// A load test of some policies against one server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LoadReport {
    /// Requests that arrivals were drawn from.
    pub(crate) requests: usize,
    /// p95 latency that a rate must stay below, the same for every policy: see [`super::BOUND_OVER_UNLOADED`].
    pub(crate) bound_ms: f64,
    /// Seconds of arrivals at each rate, or as many more as bring 40 requests to the server.
    pub(crate) seconds: f64,
    /// Sessions that were open.
    pub(crate) sessions: usize,
    /// Processors of the server, where it was kept to some.
    pub(crate) server_cpus: Option<String>,
    /// One entry for each policy.
    pub(crate) policies: Vec<PolicyLoad>,
}

/// One policy under load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PolicyLoad {
    /// Its name.
    pub(crate) policy: String,
    /// Share of user requests that the server sees.
    pub(crate) reaching_share: f64,
    /// Median latency of those, one at a time.
    pub(crate) unloaded_ms: f64,
    /// The highest rate that was sustained, in user requests a second, standing answers included; 0 if none was.
    pub(crate) saturation_per_s: f64,
    /// The lowest rate above it that was not; `None` if all were sustained.
    pub(crate) overload_per_s: Option<f64>,
    /// Most memory that the server held, where the system tells it.
    pub(crate) server_peak_bytes: Option<u64>,
    /// Every rate that was tried, in order.
    pub(crate) trials: Vec<Trial>,
}

/// Arrivals at one rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trial {
    /// User requests a second that were asked for.
    pub(crate) rate_per_s: f64,
    /// Seconds of arrivals.
    pub(crate) seconds: f64,
    /// User requests that arrived.
    pub(crate) arrivals: usize,
    /// Of these, answers of the edge that stood and cost the server nothing.
    pub(crate) stood: usize,
    /// Of the others, those that were answered before the grace period was over.
    pub(crate) answered: usize,
    /// Of the others, those that the server refused as too many.
    pub(crate) busy: usize,
    /// Of the others, those that failed otherwise or had no answer in time.
    pub(crate) failed: usize,
    /// Median latency of what the server answered; 0 if it answered nothing.
    pub(crate) p50_ms: f64,
    /// 95th percentile of it.
    pub(crate) p95_ms: f64,
    /// Whether the rate was sustained.
    pub(crate) is_sustained: bool,
}
