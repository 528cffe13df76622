//! What can go wrong with an upstream, and what it means for the request and for the upstream.

use std::time::Duration;

use msao_protocol::ErrorCode;

/// Why an upstream gave no answer, or not all of one.
///
/// Messages go to clients, so they name neither addresses nor keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// No connection, or it broke.
    #[error(
        "an upstream engine cannot be reached: ask again in a moment; the operator finds the reason in the log"
    )]
    Unreachable(String),
    /// It failed on this request.
    #[error("an upstream engine failed with status {status}: ask again in a moment")]
    Failed {
        /// The HTTP status.
        status: u16,
    },
    /// It has as many requests as it takes.
    #[error("the upstream engines have as many requests as they take: ask again in a moment")]
    Overloaded,
    /// It does not take this request.
    #[error(
        "the upstream engine refuses the question with status {status}: {reason}; ask without what it does not take"
    )]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said, cut short.
        reason: String,
    },
    /// Key, model name or address are not what it expects.
    #[error(
        "an upstream engine refuses this server with status {status}: the operator has to look at --upstream, --upstream-model and --upstream-key-env"
    )]
    Misconfigured {
        /// The HTTP status.
        status: u16,
    },
    /// What it says is not the protocol, or exceeds a budget.
    #[error("an upstream engine speaks no chat completions: {0}")]
    Malformed(String),
    /// Its stream ended before the answer did.
    #[error("an upstream engine went away in the middle of an answer: ask again")]
    Cut,
    /// It said nothing for too long.
    #[error("an upstream engine said nothing for {} s: ask again, or let the operator raise --upstream-idle-s", .0.as_secs())]
    Silent(Duration),
    /// It did not come to an end.
    #[error(
        "an upstream engine did not finish within {} s: ask for a shorter answer", .0.as_secs()
    )]
    Endless(Duration),
    /// Another upstream, asked to go on, says something else than what stands already.
    #[error(
        "an upstream engine went away in the middle of an answer, and another one answers differently: ask again"
    )]
    Diverged,
    /// None is up.
    #[error(
        "no upstream engine is up: ask again in a moment; the operator has to start one of those named by --upstream"
    )]
    NoneUp,
}

/// What a failure says about the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// It cannot serve anyone: out until a health check passes.
    Upstream,
    /// It may be the request's fault; several in a row are not.
    Perhaps,
    /// It is well.
    Nobody,
}

impl UpstreamError {
    /// The code that tells this error to the client.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Overloaded => ErrorCode::Busy,
            Self::Refused { .. } => ErrorCode::Unsupported,
            _ => ErrorCode::Unavailable,
        }
    }

    /// What a log may tell of it: what an upstream says may quote a question.
    pub(super) fn for_log(&self) -> String {
        match self {
            Self::Unreachable(reason) | Self::Malformed(reason) => reason.clone(),
            Self::Refused { status, .. } => format!("refused with status {status}"),
            other => other.to_string(),
        }
    }

    /// What it says about the upstream.
    pub(super) fn blame(&self) -> Blame {
        match self {
            Self::Unreachable(_) | Self::Misconfigured { .. } | Self::Cut | Self::Silent(_) => {
                Blame::Upstream
            }
            Self::Failed { .. } | Self::Malformed(_) | Self::Endless(_) => Blame::Perhaps,
            Self::Overloaded | Self::Refused { .. } | Self::Diverged | Self::NoneUp => Blame::Nobody,
        }
    }

    /// Whether another upstream may do better.
    pub(super) fn is_worth_another(&self) -> bool {
        !matches!(self, Self::Refused { .. } | Self::NoneUp | Self::Endless(_))
    }

    /// What an HTTP status that is no success means.
    pub(super) fn of_status(status: u16, reason: String) -> Self {
        match status {
            429 | 503 => Self::Overloaded,
            400 | 413 | 415 | 422 => Self::Refused { status, reason },
            300..=499 => Self::Misconfigured { status },
            _ => Self::Failed { status },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_whose_fault_it_is() {
        let of = |status| {
            let error = UpstreamError::of_status(status, "x".into());
            (error.code(), error.blame(), error.is_worth_another())
        };
        assert_eq!(of(429), (ErrorCode::Busy, Blame::Nobody, true));
        assert_eq!(of(422), (ErrorCode::Unsupported, Blame::Nobody, false));
        assert_eq!(of(401), (ErrorCode::Unavailable, Blame::Upstream, true));
        assert_eq!(of(302), (ErrorCode::Unavailable, Blame::Upstream, true));
        assert_eq!(of(500), (ErrorCode::Unavailable, Blame::Perhaps, true));
    }
}
