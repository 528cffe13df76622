//! An emulated network between edge and cloud: a TCP proxy in user space that gives each direction its delay, rate and
//! queue, steady or by a trace with outages and cuts.
//!
//! The kernel's own emulation needs rights and modules that test machines lack, and a browser's knows nothing of
//! WebSockets; this one needs two sockets. A connection costs a round trip before its first byte, as TCP's handshake
//! does; losses show as what they cost, a wait. All connections of a [`Link`] share its rate.
//!
//! | module | what it is |
//! |---|---|
//! | [`shape`] | delay, rate and queue of one moment |
//! | [`trace`] | how they change over time, and when a byte has passed |
//! | [`scenario`] | the networks of the bench, by name |
//! | [`recorded`] | traces as a phone would have recorded them |
//! | [`clock`] | the trace that holds now |
//! | [`pipe`] | the bottleneck of one direction |
//! | [`line`] | what is under way behind it, on one connection |
//! | [`proxy`] | the sockets |

mod clock;
mod command;
mod connection;
mod error;
mod line;
mod pipe;
mod proxy;
#[cfg(test)]
mod proxy_tests;
mod recorded;
mod scenario;
mod shape;
mod trace;

pub(crate) use self::{
    command::{Arguments, run},
    proxy::Link,
    scenario::Scenario,
    shape::{Direction, Shape},
};
