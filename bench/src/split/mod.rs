//! The layer-wise split, as a baseline: the edge runs the towers and the first `k` layers of the *target*, the cloud the
//! rest and the head.
//!
//! After PerLLM and its kin, which cut one model in two instead of pairing a small with a large one. For a prompt the edge
//! sends the hidden values of all positions up, and the first token's id comes down; each further token is an id down and
//! one row up. Hidden values travel as 16-bit floats, half of what they are in memory: a baseline must be strong. It
//! looks at whole media, writes greedily, and answers as the target alone but for that rounding.
//!
//! `k` is the best of all for the network by the sum of measured times and the wire's ([`cuts`]), again because a
//! baseline must be strong. It is at least 1, or nothing would be split.
//!
//! | module | what it is |
//! |---|---|
//! | [`wire`] | what edge and cloud say to each other, and its budgets |
//! | [`server`] | the cloud's half: a thread in this process, or `msao-bench split-server` |
//! | [`runner`] | the edge's half |
//! | [`answer`] | an answer with its times, bytes and operations, and its line of the journal |
//! | [`cuts`] | what each `k` costs, and the best |

mod answer;
mod command;
mod cuts;
mod runner;
mod server;
mod wire;

pub(crate) use self::{
    answer::SplitAnswer,
    command::{Arguments, run},
    cuts::{CutTimes, Uplink},
    runner::SplitRunner,
    server::SplitServer,
};

/// Name of the policy in the journal.
pub(crate) const POLICY: &str = "layer_split";
