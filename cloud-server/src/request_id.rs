//! One name for each HTTP request, in the answer and in every line of the log about it.
//!
//! A caller or a proxy that names its request in `X-Request-Id` finds that name again; others get one made here. A
//! WebSocket keeps the name of the request that opened it.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Instant;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use tracing::Instrument as _;

use crate::telemetry::adopt_caller;

const NAME: HeaderName = HeaderName::from_static("x-request-id");
/// Longest name that is taken over.
const MAX_BYTES: usize = 128;

/// Names the request, tells the name, and logs how the request ended. Of its address only the path is logged: what
/// follows may be nobody's business.
pub(crate) async fn name_request<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let id = taken_over(request.headers()).unwrap_or_else(made_here);
    let shown = id.to_str().unwrap_or_default();
    let span = tracing::info_span!("request", id = shown, method = %request.method(), path = request.path());
    adopt_caller(&span, request.headers());
    let started = Instant::now();
    let mut response = next.call(request).instrument(span.clone()).await?;
    span.in_scope(|| {
        let (status, ms) = (response.status().as_u16(), started.elapsed().as_secs_f64() * 1e3);
        tracing::debug!(status, ms, "responded");
    });
    response.headers_mut().insert(NAME, id);
    Ok(response)
}

/// The caller's own name for it, if it can stand in a log as it is.
fn taken_over(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get(NAME)?;
    let bytes = id.as_bytes();
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:/+=@".contains(byte);
    ((1..=MAX_BYTES).contains(&bytes.len()) && bytes.iter().all(is_plain)).then(|| id.clone())
}

/// A new name. It has to be unlike others, not secret, and the keys of the standard hash maps are that.
fn made_here() -> HeaderValue {
    let id = format!("{:016x}", RandomState::new().build_hasher().finish());
    HeaderValue::from_str(&id).unwrap_or_else(|_not_hexadecimal| HeaderValue::from_static("unnamed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(id: &str) -> Option<HeaderValue> {
        let mut headers = HeaderMap::new();
        headers.insert(NAME, HeaderValue::from_str(id).unwrap());
        taken_over(&headers)
    }

    #[test]
    fn only_names_that_a_log_can_hold_are_taken_over() {
        assert_eq!(named("Root=1-67891233-abc.d").unwrap(), "Root=1-67891233-abc.d");
        for id in ["", "a b", "a\"b", "{}", &"x".repeat(129)] {
            assert_eq!(named(id), None, "{id}");
        }
    }

    #[test]
    fn made_names_differ() {
        let names: std::collections::HashSet<_> =
            (0..1_000).map(|_| made_here().to_str().unwrap().to_owned()).collect();
        assert_eq!(names.len(), 1_000);
    }
}
