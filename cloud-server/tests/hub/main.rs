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
#[path = "../../../models/tests/speech_checkpoint/mod.rs"]
#[allow(dead_code, reason = "recordings are of another kind here")]
mod speech_checkpoint;
mod support;
