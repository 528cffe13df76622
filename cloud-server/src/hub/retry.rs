//! Trying again: a bounded number of times, ever later, and as late as the hub asks.

use std::time::Duration;

use super::error::HubError;
use super::http::Failure;
use super::options::Patience;

const LONGEST_OWN_PAUSE: Duration = Duration::from_secs(30);

/// Attempts at one thing.
#[derive(Debug)]
pub(super) struct Retry<'a> {
    what: &'a str,
    patience: Patience,
    failed: u32,
}

impl<'a> Retry<'a> {
    pub(super) fn new(what: &'a str, patience: Patience) -> Self {
        Self { what, patience, failed: 0 }
    }

    /// Something was gained, so failures are counted from here.
    pub(super) fn progressed(&mut self) {
        self.failed = 0;
    }

    /// Waits until another attempt is due.
    ///
    /// # Errors
    /// The failure itself where no other attempt would help, [`HubError::Unreachable`] after the last one.
    pub(super) async fn after(&mut self, failure: Failure) -> Result<(), HubError> {
        let (reason, asked) = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Transient { reason, pause } => (reason, pause),
        };
        self.failed += 1;
        if self.failed >= self.patience.attempts {
            return Err(HubError::Unreachable { what: self.what.to_owned(), reason });
        }
        let pause = asked.unwrap_or_else(|| self.own_pause());
        tracing::warn!(
            what = self.what,
            reason,
            ?pause,
            attempt = self.failed,
            "the hub failed; trying again"
        );
        tokio::time::sleep(pause).await;
        Ok(())
    }

    fn own_pause(&self) -> Duration {
        let doubled = self.patience.first_pause.saturating_mul(1 << (self.failed - 1).min(16));
        doubled.min(LONGEST_OWN_PAUSE)
    }

    /// Repeats an attempt until it succeeds or no other is due.
    ///
    /// # Errors
    /// As [`Self::after`].
    pub(super) async fn run<T>(
        mut self,
        mut attempt: impl AsyncFnMut() -> Result<T, Failure>,
    ) -> Result<T, HubError> {
        loop {
            match attempt().await {
                Ok(value) => return Ok(value),
                Err(failure) => self.after(failure).await?,
            }
        }
    }
}
