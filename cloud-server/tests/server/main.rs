//! The server in process, as its clients see it: HTTP, sessions, and what goes wrong.

#![allow(clippy::unwrap_used, reason = "tests")]

mod abuse;
mod across;
mod checkpoint;
mod clips;
mod conversations;
mod edge_models;
mod edge_tiles;
#[path = "../support/forged_png.rs"]
mod forged_png;
mod frames;
mod http;
mod memory;
mod program;
mod published;
#[path = "../../../models/tests/published_checkpoint/mod.rs"]
mod published_checkpoint;
#[path = "../support/raw_socket.rs"]
mod raw_socket;
mod sampling;
mod sessions;
mod speculation;
mod speech;
#[path = "../../../models/tests/speech_checkpoint/mod.rs"]
#[allow(dead_code, reason = "recordings are of another kind here")]
mod speech_checkpoint;
mod startup;
mod steering;
mod support;
mod verify_only;
