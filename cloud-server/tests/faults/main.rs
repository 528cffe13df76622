//! What must not go wrong when connections, servers and clients do: cut, slow, half open, restarted, stopped.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../server/checkpoint.rs"]
mod checkpoint;
mod courses;
mod cuts;
mod fault_proxy;
mod page;
mod process;
#[cfg(target_os = "linux")]
#[path = "../support/raw_socket.rs"]
mod raw_socket;
#[cfg(unix)]
mod restarts;
#[cfg(unix)]
mod shutdown;
#[cfg(target_os = "linux")]
mod slow_readers;
#[allow(dead_code, reason = "shared with the tests of the server, which use all of it")]
#[path = "../server/support.rs"]
mod support;
#[cfg(all(unix, feature = "otel"))]
mod traces;
