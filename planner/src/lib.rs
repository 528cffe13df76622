//! Decisions of MSAO as pure functions of plain numbers: who answers, and on which engine.
//!
//! This crate knows no clock, thread, browser, tensor library or web framework. Time and randomness come in
//! as arguments, so every decision can be replayed and tested.
//!
//! Today's rules are simple ones: the edge answers first and the cloud always confirms. The MAS scores and
//! the cost model of the paper (arXiv 2604.02945) take their place here.

mod engine;
mod route;

pub use engine::{EngineKind, EngineTimings, choose_engine};
pub use route::{Conditions, NoRoute, Route, choose_route};
