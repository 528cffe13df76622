//! Why a server gives no answer, and whose fault it is.

use std::time::Duration;

use thiserror::Error;

/// No answer of an OpenAI-compatible server.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(in crate::datasets) enum OpenAiError {
    /// It cannot be reached, or says nothing in time.
    #[error("{url} is away: {source}; check the address and that the server runs")]
    Away {
        /// Its address.
        url: String,
        /// What the connection says.
        source: Box<ureq::Error>,
    },
    /// It says no.
    #[error("the server says {status}: {message}{}", remedy(*status))]
    Status {
        /// The HTTP status.
        status: u16,
        /// Its words.
        message: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// It said no as often as it was asked.
    #[error("asked {tries} times: {last}")]
    GivenUp {
        /// How often it was asked.
        tries: u32,
        /// What it said last.
        last: Box<OpenAiError>,
    },
    /// It replies something else than documented.
    #[error(
        "the server's reply is not in OpenAI's form: {0}; check that the address ends in the API's root, such as /v1"
    )]
    Form(serde_json::Error),
    /// A completion without a choice.
    #[error("the server's completion has no choice")]
    NoChoice,
    /// It lists no model, or not that it can say so.
    #[error("the server lists no model{}; name one with --upstream-model", why(.0.as_deref()))]
    NoModel(Option<Box<OpenAiError>>),
}

impl OpenAiError {
    pub(super) fn away(url: &str, source: ureq::Error) -> Self {
        Self::Away { url: url.to_owned(), source: Box::new(source) }
    }

    /// Whether asking again can help.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Away { source, .. } => !matches!(
                **source,
                ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::BodyExceedsLimit(_)
            ),
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
            Self::GivenUp { .. } | Self::Form(_) | Self::NoChoice | Self::NoModel(_) => false,
        }
    }

    /// Whether another question may well be answered.
    pub(super) fn is_of_the_question(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status, 400 | 413 | 415 | 422),
            Self::NoChoice => true,
            Self::Away { .. } | Self::GivenUp { .. } | Self::Form(_) | Self::NoModel(_) => false,
        }
    }

    /// When the server wants to be asked again.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The same, after so many tries.
    pub(super) fn after(self, tries: u32) -> Self {
        Self::GivenUp { tries, last: Box::new(self) }
    }
}

fn why(reason: Option<&OpenAiError>) -> String {
    reason.map_or_else(String::new, |reason| format!(" ({reason})"))
}

fn remedy(status: u16) -> &'static str {
    match status {
        401 | 403 => "; put the right key into the variable that --upstream-key-env names",
        404 => "; check the address (it ends in /v1 as a rule) and --upstream-model",
        300..=399 => "; give the address that it redirects to",
        429 => "; ask fewer questions at a time with --concurrency",
        _ => "",
    }
}
