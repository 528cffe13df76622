//! Failures as OpenAI's clients expect them: `{"error": {"message", "type", "param", "code"}}` and a status.

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use msao_protocol::ErrorCode;
use serde::Serialize;

use crate::engine::{Busy, EngineError, Full, SPEECH_RETRY_MS};
use crate::intake::Refusal;

/// What OpenAI's clients look at before [`RETRY_AFTER`], in milliseconds.
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
/// When to come back to a server that stops, or that is full for reasons that nothing is known of.
const DEFAULT_RETRY_MS: u32 = 1_000;

/// The code of a body that ended early, or took too long.
const UNREADABLE: &str = "unreadable_body";

/// Why a request of the HTTP API has no answer; as a response, it is OpenAI's `error` object.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    status: StatusCode,
    code: String,
    message: String,
    /// The field of the request that is to blame, such as `messages[0].content`.
    param: Option<String>,
    retry_after_ms: Option<u32>,
}

#[derive(Serialize)]
struct Body<'a> {
    error: Details<'a>,
}

#[derive(Serialize)]
struct Details<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'a str>,
    code: &'a str,
}

impl ApiError {
    fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into(), param: None, retry_after_ms: None }
    }

    /// The request says something that cannot be understood or is not possible.
    pub(crate) fn invalid(param: impl Into<String>, code: &str, message: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..Self::new(StatusCode::BAD_REQUEST, code, message) }
    }

    /// Something that OpenAI's API has and this server has not.
    pub(crate) fn unsupported(param: &str, message: impl Into<String>) -> Self {
        Self::invalid(param, "unsupported_parameter", message)
    }

    /// Something is too large to be looked at.
    pub(crate) fn too_large(param: impl Into<String>, message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message);
        Self { param: Some(param.into()), ..error }
    }

    /// The request's body is unreadable: it ended early, or took too long.
    pub(crate) fn unreadable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, UNREADABLE, message)
    }

    /// There is no such model here.
    pub(crate) fn no_model(asked: &str, name: &str) -> Self {
        // What a client sends is cut before it is sent back.
        let asked: String = asked.chars().take(80).collect();
        let message = format!("there is no model `{asked}` on this server: ask for `{name}`");
        let error = Self::new(StatusCode::NOT_FOUND, "model_not_found", message);
        Self { param: Some("model".to_owned()), ..error }
    }

    /// Nothing here writes recordings down.
    pub(crate) fn no_speech() -> Self {
        let message = "this server has no speech model: its operator names one with --speech";
        Self::invalid("model", "no_speech_model", message)
    }

    /// Too many recordings wait to be written down.
    pub(crate) fn full_of_speech(full: Full) -> Self {
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "busy", full.to_string());
        Self { retry_after_ms: Some(SPEECH_RETRY_MS), ..error }
    }

    /// There is no such address.
    pub(crate) fn no_route() -> Self {
        let message = "there is nothing at this address: see /docs for those that there are";
        Self::new(StatusCode::NOT_FOUND, "unknown_url", message)
    }

    /// The address takes other methods.
    pub(crate) fn wrong_method() -> Self {
        let message = "this address takes another method: see /docs for those that it takes";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    /// The server stops.
    pub(crate) fn stopping() -> Self {
        let message = "the server is shutting down: try again in a moment";
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", message);
        Self { retry_after_ms: Some(DEFAULT_RETRY_MS), ..error }
    }

    /// More requests are being read than memory is set aside for.
    pub(crate) fn crowded() -> Self {
        let message = "too many large requests come in at once: try again in a moment";
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "busy", message);
        Self { retry_after_ms: Some(DEFAULT_RETRY_MS), ..error }
    }

    /// Names the field to blame, where nothing more exact is known.
    #[must_use]
    pub(crate) fn about(mut self, param: &str) -> Self {
        if self.status.is_client_error() && self.status != StatusCode::TOO_MANY_REQUESTS {
            self.param.get_or_insert_with(|| param.to_owned());
        }
        self
    }

    /// Whether what came of the body is all that comes of it.
    pub(super) fn is_unreadable(&self) -> bool {
        self.code == UNREADABLE
    }

    /// Whether the server itself is to blame.
    pub fn is_internal(&self) -> bool {
        self.status == StatusCode::INTERNAL_SERVER_ERROR
    }

    /// For programs.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The error as JSON, for a stream that has begun.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.body()).unwrap_or_default()
    }

    fn body(&self) -> Body<'_> {
        let (param, code) = (self.param.as_deref(), self.code.as_str());
        let r#type = match self.status {
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        Body { error: Details { message: &self.message, r#type, param, code } }
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut response = HttpResponse::build(self.status);
        if let Some(ms) = self.retry_after_ms {
            response.insert_header((RETRY_AFTER, HeaderValue::from(ms.div_ceil(1_000).max(1))));
            response.insert_header((RETRY_AFTER_MS, HeaderValue::from(ms)));
        }
        response.json(self.body())
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let Refusal { code, message } = refusal;
        Self::new(status_of(code), &name_of(code), message)
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        let code = error.code();
        let retry_after_ms = error.retry_after_ms();
        Self { retry_after_ms, ..Self::new(status_of(code), &name_of(code), error.to_string()) }
    }
}

impl From<Busy> for ApiError {
    fn from(busy: Busy) -> Self {
        let error = Self::new(status_of(ErrorCode::Busy), &name_of(ErrorCode::Busy), busy.to_string());
        Self { retry_after_ms: Some(busy.retry_after_ms), ..error }
    }
}

/// The one table from what went wrong to HTTP.
fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::TooLarge
        | ErrorCode::TooManyPixels
        | ErrorCode::TooManyImages
        | ErrorCode::AudioTooLong => StatusCode::PAYLOAD_TOO_LARGE,
        // Understood, and yet nothing can be done with it.
        ErrorCode::NotAnImage
        | ErrorCode::NotAudio
        | ErrorCode::Truncated
        | ErrorCode::AudioSilent
        | ErrorCode::KeptMismatch
        | ErrorCode::ClipMismatch => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorCode::Busy => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// A code as it is spelled on every wire of this server; OpenAI's word for the one that clients act on.
pub(crate) fn name_of(code: ErrorCode) -> String {
    if matches!(code, ErrorCode::QuestionTooLong | ErrorCode::HistoryTooLong) {
        return "context_length_exceeded".to_owned();
    }
    match serde_json::to_value(code) {
        Ok(serde_json::Value::String(name)) => name,
        _ => "internal".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::BusyReason;

    #[test]
    fn errors_have_openai_s_form_and_say_when_to_come_back() {
        let error = ApiError::from(Busy { reason: BusyReason::Full { places: 2 }, retry_after_ms: 1_200 })
            .about("messages");
        let response = error.error_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers().get(RETRY_AFTER).unwrap(), "2");
        assert_eq!(response.headers().get(RETRY_AFTER_MS).unwrap(), "1200");
        let body: serde_json::Value = serde_json::from_str(&error.to_json()).unwrap();
        assert_eq!(body["error"]["type"], "rate_limit_error");
        assert_eq!(body["error"]["code"], "busy");
        assert!(body["error"]["param"].is_null());
    }

    #[test]
    fn refusals_get_the_status_that_tells_what_to_do() {
        let status = |code| ApiError::from(Refusal::new(code, "no")).status_code().as_u16();
        for (code, expected) in [
            (ErrorCode::TooManyPixels, 413),
            (ErrorCode::NotAnImage, 422),
            (ErrorCode::QuestionTooLong, 400),
            (ErrorCode::Unsupported, 400),
            (ErrorCode::ShuttingDown, 503),
            (ErrorCode::Internal, 500),
        ] {
            assert_eq!(status(code), expected, "{code:?}");
        }
    }
}
