//! The plan: per modality drop, edge, pruned or whole; per request who writes; decided again each round.
//!
//! What is allowed is settled first and without regard to cost: locks, then the policy, then what is there,
//! then whether an edge answer may stand. Among what is left, the plan is the one with the least expected
//! cost
//!
//! ```text
//! cost = w_ms * latency + w_KiB * uplink + w_edge * edge GFLOP + w_cloud * cloud GFLOP
//! ```
//!
//! by the closed forms of [`cost`](crate::cost). All candidates are compared, some dozens, so the choice is
//! the optimum of the model and not of a heuristic. The coarse and the fine decision of MSAO (arXiv
//! 2604.02945) are [`choose_plan`] and [`replan`]; [`looks_first`] says whether the media are scored before
//! the first of them, [`holds_for_edge`] whether it waits for the edge's answer.

mod allowed;
mod choose;
#[cfg(test)]
mod fixtures;
mod hold;
mod look;
mod request;
mod round;

pub use allowed::{Capabilities, NoPlan};
pub use choose::{Plan, PlannedModality, choose_plan};
pub use hold::holds_for_edge;
pub use look::looks_first;
pub use request::{Form, ModalityInput, PlanRequest, Standing, Weights};
pub use round::{RoundPlan, RoundState, replan};
