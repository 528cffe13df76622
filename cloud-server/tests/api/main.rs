//! The HTTP API: its routes in process, what goes wrong, and OpenAI's own clients against a server that listens.

#![allow(clippy::unwrap_used, reason = "tests")]

mod chat;
#[path = "../server/checkpoint.rs"]
mod checkpoint;
mod clients;
mod connections;
mod errors;
mod images;
mod observing;
mod schema;
mod streaming;
mod support;
