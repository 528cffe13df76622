//! Who may do what, over real connections: keys, session tokens, limits, addresses, TLS, and what the log says of it.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../server/checkpoint.rs"]
mod checkpoint;
mod keys;
mod limits;
mod network;
mod secrecy;
mod sharing;
#[path = "../server/support.rs"]
#[allow(dead_code, reason = "shared with the tests of sessions, which use more of it")]
mod support;
mod tls;
mod tokens;
mod world;
