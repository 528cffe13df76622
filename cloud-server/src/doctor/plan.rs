//! What everything that is loaded will take in memory, by the configurations alone, and what would fit if that is too much.

use super::{Finding, Verdict};
use crate::checkpoint_places::CheckpointPlaces;
use crate::config::ServerConfig;
use crate::memory::{Outcome, ServerPlan};

/// The plan that the server's start is held to; `None` where a configuration cannot be found or read, which is told elsewhere.
pub(super) fn of_server(config: &ServerConfig) -> Option<Finding> {
    let plan = ServerPlan::of(config, &CheckpointPlaces::find(config).ok()?)?;
    Some(match plan.outcome() {
        Outcome::Fits => Finding::new("memory", Verdict::Good, plan.to_string()),
        Outcome::Tight(says) => Finding::new("memory", Verdict::Doubtful, says),
        Outcome::TooLarge(says) => Finding::new("memory", Verdict::Bad, says),
    })
}
