//! A discrete-event simulator of MSAO and its baselines: from measured or reckoned step times to whole answers under load.
//!
//! It extrapolates what cannot be measured on one machine: the paper's hardware, and 10 to 10,000 clients a server. The
//! planner's decisions are the real ones ([`choose_plan`](msao_planner::plan::choose_plan) with the true parameters, the
//! real risk controller); clients, links and the server's scheduler are modelled.
//!
//! | question | module |
//! |---|---|
//! | what does a step take? | [`times`], or [`roofline`] of [`hardware`] and [`model_size`]; [`pace`]: how much that varies |
//! | what is asked, and how well do drafts do? | [`workload`] |
//! | who asks when, over which network? | [`scenario`] |
//! | what happens next? | [`world`], with [`edge`] and [`server`] |
//! | what came of it? | [`outcome`], [`report`] |
//! | does a measured run come out again? | [`replay`] |
//!
//! What it does not model: late media, lost packets, networks that change, memory for caches, refusals of a full server, and
//! what a client has yet to learn about its surroundings: planners are told the true step times. Answers are greedy.

mod command;
mod decide;
mod edge;
mod events;
mod hardware;
mod link;
mod model_size;
pub(crate) mod outcome;
pub(crate) mod pace;
pub(crate) mod replay;
pub(crate) mod report;
mod request;
mod roofline;
pub(crate) mod scenario;
mod server;
pub(crate) mod settings;
pub(crate) mod times;
pub(crate) mod workload;
pub(crate) mod world;

#[cfg(test)]
mod tests;

pub(crate) use command::{Options, run};
