//! Live estimates of network, edge, target and queue: what the plan reckons with.
//!
//! Every estimator is fed by what flows anyway (answers to messages, uploads, steps that were timed);
//! [`should_ping`] adds one ping a silence. Until something is measured, a prior stands in. Times come in as
//! arguments.

mod live;
mod ping;
mod rate;
mod rtt;
mod step;

pub use live::{Estimates, LiveEstimates};
pub use ping::{IDLE_BEFORE_PING_MS, should_ping};
pub use rate::RateEstimator;
pub use rtt::RttEstimator;
pub use step::{AffineEstimator, AffineMs, StepEstimator};
