//! Upstream engines behind the server: a real one, and bytes that a real one sends only when something goes wrong.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests, which say what they skip")]

#[path = "../server/checkpoint.rs"]
#[allow(dead_code, reason = "shared with the tests of the embedded engine")]
mod checkpoint;
mod engines;
mod faults;
mod real;
mod scripted;
mod startup;
#[path = "../server/support.rs"]
#[allow(dead_code, reason = "shared with the tests of the embedded engine")]
mod support;
