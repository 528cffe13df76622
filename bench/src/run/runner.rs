//! What a policy is to the matrix, whoever carries it out.

use anyhow::Result;

use super::request::Request;
use crate::record::Record;

/// Answers requests under one policy over one network, one after the other.
pub(crate) trait PolicyRunner: Send {
    /// Brings the session up to date with the network as it is now; not measured.
    fn prepare(&mut self);

    /// Answers a request. One that has no answer has a record that says why.
    ///
    /// # Errors
    /// If the run cannot go on.
    fn answer(&mut self, request: &Request) -> Result<Answered>;
}

/// What came of a request.
#[derive(Debug, Clone)]
pub(crate) struct Answered {
    /// What is kept of it.
    pub(crate) record: Record,
    /// Whether the target alone on the same kept inputs says the same; `None` where that was not asked.
    pub(crate) as_alone: Option<bool>,
}
