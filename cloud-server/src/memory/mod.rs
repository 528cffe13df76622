//! Whether what the server is to load fits this machine's memory, before anything is read.
//!
//! | file | what happens there |
//! |---|---|
//! | `available` | what programs may still take: of the machine, and within the limits of a container or a unit |
//! | `plan` | what all that is loaded takes together, and what would fit where that is too much |

mod available;
mod plan;

pub(crate) use available::available_bytes;
pub(crate) use plan::{Outcome, ServerPlan};
