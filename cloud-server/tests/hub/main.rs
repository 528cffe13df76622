//! Published checkpoints from a hub on this machine: the real client, the hub's protocol, and what goes wrong.

#![allow(clippy::unwrap_used, reason = "tests")]

mod downloads;
mod hub_server;
mod interruptions;
mod program;
#[path = "../../../models/tests/published_checkpoint/mod.rs"]
mod published_checkpoint;
mod refusals;
mod serving;
mod support;
