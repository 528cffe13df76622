//! Decisions of MSAO as pure functions of plain numbers: what a question needs, what is sent, who writes.
//!
//! This crate knows no clock, thread, browser, tensor library or web framework. Time and randomness come in
//! as arguments, so every decision can be replayed and tested.
//!
//! | question | module |
//! |---|---|
//! | how much of each modality does this question need? | [`mas`], [`tiles`], [`frames`] and [`simhash`] for frames, [`audio_windows`] for sound |
//! | what do network and machines take just now? | [`estimate`] |
//! | what would each strategy cost? | [`cost`] |
//! | which plan, and which from here on? | [`plan`] |
//! | how many tokens to draft before asking? | [`draft_length`] |
//! | how sure is the edge really? | [`confidence`] |
//! | when may its answer stand? | [`risk`] |
//! | who writes down what is said, and is that enough? | [`speech`] |
//! | is this draft token the target's? | [`acceptance`] |
//! | which of the browser's two engines serves? | [`choose_engine`] |
//! | does a model fit this device, and what would? | [`fitting`] |
//!
//! Data flows down that table: scores and estimates into a plan, the rounds' outcomes back into the
//! estimates.

pub mod acceptance;
pub mod audio_windows;
pub mod confidence;
pub mod cost;
pub mod draft_length;
mod engine;
pub mod estimate;
pub mod fitting;
pub mod frames;
pub mod mas;
pub mod plan;
pub mod risk;
mod rng;
mod route;
pub mod simhash;
pub mod speech;
pub mod tiles;

pub use engine::{EngineKind, EngineTimings, choose_engine};
pub use rng::SplitMix64;
pub use route::{Conditions, NoRoute, Route, choose_route};
