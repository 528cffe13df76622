//! Why something may not be done, and how HTTP and sessions are told.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header;
use msao_protocol::{ErrorCode, ErrorReport, RequestId};
use serde_json::json;

/// Why something may not be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Denial {
    pub(crate) reason: DenialReason,
    /// For people: what is missing, and the remedy.
    pub(crate) message: String,
    /// When trying again makes sense.
    pub(crate) retry_after: Option<Duration>,
}

/// What kind of a denial it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DenialReason {
    /// No credentials came, or none that hold.
    InvalidKey,
    /// The credentials hold, but not for this.
    MissingScope,
    /// The page or the name in the address is not known here.
    ForeignOrigin,
    /// Too much was asked for.
    TooMany,
    /// The request makes no sense.
    Malformed,
}

impl Denial {
    /// When to try again where nobody can know when a place is free.
    pub(super) const PLACE_TAKEN: Duration = Duration::from_secs(1);

    pub(super) fn new(reason: DenialReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), retry_after: None }
    }

    pub(super) fn too_many(message: String, retry_after: Duration) -> Self {
        Self { reason: DenialReason::TooMany, message, retry_after: Some(retry_after) }
    }

    /// As a session is told, about one request.
    pub(crate) fn report(&self, request_id: RequestId) -> ErrorReport {
        let code = match self.reason {
            DenialReason::TooMany => ErrorCode::Busy,
            _ => ErrorCode::Unauthorized,
        };
        let retry_after_ms = self.retry_after.map(|wait| u32::try_from(wait.as_millis()).unwrap_or(u32::MAX));
        ErrorReport { request_id: Some(request_id), code, message: self.message.clone(), retry_after_ms }
    }

    /// In OpenAI's form below `/v1/`, as text elsewhere.
    pub(super) fn response(&self, path: &str) -> HttpResponse {
        let (status, kind, code) = match self.reason {
            DenialReason::InvalidKey => {
                (StatusCode::UNAUTHORIZED, "invalid_request_error", "invalid_api_key")
            }
            DenialReason::MissingScope => (StatusCode::FORBIDDEN, "permission_error", "insufficient_scope"),
            DenialReason::ForeignOrigin => (StatusCode::FORBIDDEN, "permission_error", "origin_not_allowed"),
            DenialReason::TooMany => {
                (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "rate_limit_exceeded")
            }
            DenialReason::Malformed => (StatusCode::BAD_REQUEST, "invalid_request_error", "invalid_request"),
        };
        let mut response = HttpResponse::build(status);
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        if status == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        if let Some(wait) = self.retry_after {
            response.insert_header((header::RETRY_AFTER, wait.as_secs_f64().ceil().max(1.0).to_string()));
        }
        if path.starts_with("/v1/") {
            let error = json!({ "message": self.message, "type": kind, "param": null, "code": code });
            response.json(json!({ "error": error }))
        } else {
            response.content_type("text/plain; charset=utf-8").body(self.message.clone())
        }
    }
}
