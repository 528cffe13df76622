//! Drafts to be verified behind a finished request, on their way through an engine.

use std::sync::Arc;

use msao_protocol::{Speculation, Verified, Verify};
use tokio::sync::oneshot;

use super::mailbox::{JobHandle, Mailbox};
use super::{EngineError, Owner};

/// A verification, already held against the limits.
#[derive(Debug)]
pub struct VerifyJob {
    /// What is asked.
    pub verify: Verify,
    /// Whose request it is, and whose finished request comes before it.
    pub owner: Owner,
    outcome: oneshot::Sender<Result<Verified, EngineError>>,
}

/// Makes a verification, the session's hold on it, and where its outcome comes out. It is one pass of the model, so that
/// cancelling it by the handle is not worth anything; it ends early when nobody waits for its outcome.
pub fn verify_job(
    verify: Verify,
    owner: Owner,
) -> (VerifyJob, JobHandle, oneshot::Receiver<Result<Verified, EngineError>>) {
    let (outcome, receiver) = oneshot::channel();
    let handle = JobHandle(Arc::new(Mailbox::new(Vec::new(), Speculation::None, 0)));
    (VerifyJob { verify, owner, outcome }, handle, receiver)
}

impl VerifyJob {
    /// Whether nobody wants the outcome any more.
    pub fn is_unwanted(&self) -> bool {
        self.outcome.is_closed()
    }

    /// Ends it.
    pub fn report(self, outcome: Result<Verified, EngineError>) {
        // Nobody may be listening any more.
        let _ = self.outcome.send(outcome);
    }
}
