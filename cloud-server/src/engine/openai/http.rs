//! HTTP to one upstream: requests with a key, answers with a budget and typed errors.
//!
//! No redirects, so that a key goes to the named host only, and no proxies, so that the address an operator writes is the
//! one that is asked. Dropping a stream closes its connection, which is how an upstream hears of a cancelled request.

use std::collections::VecDeque;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Response, redirect};
use serde::Serialize;

use super::error::UpstreamError;
use super::sse::SseReader;
use super::wire::Piece;
use crate::tls;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes of an answer that is no stream: a few hundred for each token of the longest prompt that is scored.
const MAX_BODY_BYTES: usize = 16 << 20;
/// Most characters of what a refusal says.
const MAX_REASON_CHARS: usize = 300;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The key cannot stand in a header.
    #[error(
        "the key of the upstreams has characters that no HTTP header may have: look at the variable that --upstream-key-env names"
    )]
    Key,
    /// TLS or the like cannot be set up.
    #[error("no HTTPS client can be made: {0}; install the system's certificates")]
    Client(String),
}

/// One upstream's address and the way there.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    client: Client,
    /// Such as `http://host:8000/v1`, without a slash at its end.
    base: String,
}

/// An answer as it is written.
#[derive(Debug)]
pub(super) struct Stream {
    response: Response,
    reader: Option<SseReader>,
    ready: VecDeque<String>,
}

/// A client for all upstreams; `needs_tls` says whether one is asked by HTTPS.
///
/// # Errors
/// When the key is no header value or TLS cannot be set up.
pub(super) fn client(key: Option<&str>, needs_tls: bool) -> Result<Client, ClientError> {
    tls::choose_provider();
    let mut headers = HeaderMap::new();
    if let Some(key) = key {
        let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_error| ClientError::Key)?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let mut builder = Client::builder()
        .default_headers(headers)
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(redirect::Policy::none())
        .no_proxy();
    if !needs_tls {
        // A bare image has no certificates, and needs none for plain HTTP.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|error| ClientError::Client(error.to_string()))
}

impl Endpoint {
    pub(super) fn new(client: Client, base: &str) -> Self {
        Self { client, base: base.trim_end_matches('/').to_owned() }
    }

    /// Begins a streamed answer.
    ///
    /// # Errors
    /// As the status says, or when there is no connection.
    pub(super) async fn stream(&self, request: &impl Serialize) -> Result<Stream, UpstreamError> {
        let response = self.post(&self.chat(), request).await?;
        Ok(Stream { response, reader: Some(SseReader::default()), ready: VecDeque::new() })
    }

    /// Asks for a whole answer.
    ///
    /// # Errors
    /// As the status says, when there is no connection, or the answer exceeds its budget.
    pub(super) async fn whole(&self, request: &impl Serialize) -> Result<Vec<u8>, UpstreamError> {
        body(self.post(&self.chat(), request).await?).await
    }

    /// Asks SGLang's `/generate`, which stands beside `/v1`.
    ///
    /// # Errors
    /// As the status says, when there is no connection, or the answer exceeds its budget.
    pub(super) async fn generate(&self, request: &impl Serialize) -> Result<Vec<u8>, UpstreamError> {
        body(self.post(&format!("{}/generate", self.root()), request).await?).await
    }

    /// `/v1/models`.
    ///
    /// # Errors
    /// As the status says, when there is no connection, or the answer exceeds its budget.
    pub(super) async fn models(&self) -> Result<Vec<u8>, UpstreamError> {
        body(self.get(&format!("{}/models", self.base)).await?).await
    }

    /// The status of `/health`, which stands beside `/v1`.
    ///
    /// # Errors
    /// When there is no connection.
    pub(super) async fn health(&self) -> Result<u16, UpstreamError> {
        let response =
            self.client.get(format!("{}/health", self.root())).send().await.map_err(unreachable)?;
        Ok(response.status().as_u16())
    }

    fn root(&self) -> &str {
        self.base.strip_suffix("/v1").unwrap_or(&self.base)
    }

    fn chat(&self) -> String {
        format!("{}/chat/completions", self.base)
    }

    async fn get(&self, url: &str) -> Result<Response, UpstreamError> {
        checked(self.client.get(url).send().await.map_err(unreachable)?).await
    }

    async fn post(&self, url: &str, request: &impl Serialize) -> Result<Response, UpstreamError> {
        let body = serde_json::to_vec(request).map_err(|error| {
            UpstreamError::Malformed(format!("a request of ours does not encode: {error}"))
        })?;
        let request = self.client.post(url).header(CONTENT_TYPE, "application/json").body(body);
        checked(request.send().await.map_err(unreachable)?).await
    }
}

impl Stream {
    /// The next piece; `None` at the stream's end. May be dropped while it waits, without loss.
    ///
    /// # Errors
    /// When the connection breaks or what comes is no stream of chunks.
    pub(super) async fn next(&mut self) -> Result<Option<Piece>, UpstreamError> {
        let malformed = |error: super::sse::SseError| UpstreamError::Malformed(error.to_string());
        loop {
            if let Some(data) = self.ready.pop_front() {
                return Piece::read(&data).map(Some);
            }
            let Some(reader) = &mut self.reader else { return Ok(None) };
            match self.response.chunk().await {
                Ok(Some(bytes)) => self.ready.extend(reader.push(&bytes).map_err(malformed)?),
                Ok(None) => {
                    let rest = self.reader.take().map(SseReader::finish).transpose().map_err(malformed)?;
                    self.ready.extend(rest.flatten());
                }
                Err(_broken) => return Err(UpstreamError::Cut),
            }
        }
    }
}

/// Lets a success through.
async fn checked(response: Response) -> Result<Response, UpstreamError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let bytes = body(response).await.unwrap_or_default();
    Err(UpstreamError::of_status(status.as_u16(), reason(&bytes)))
}

async fn body(mut response: Response) -> Result<Vec<u8>, UpstreamError> {
    let mut bytes = Vec::new();
    while let Some(more) = response.chunk().await.map_err(|_broken| UpstreamError::Cut)? {
        if bytes.len() + more.len() > MAX_BODY_BYTES {
            return Err(UpstreamError::Malformed(format!("an answer has more than {MAX_BODY_BYTES} bytes")));
        }
        bytes.extend_from_slice(&more);
    }
    Ok(bytes)
}

/// What a refusal says, in the forms of OpenAI and of FastAPI, without what could forge a line of a log.
fn reason(body: &[u8]) -> String {
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let said = ["/error/message", "/detail", "/message", "/error"]
        .iter()
        .find_map(|place| json.pointer(place)?.as_str())
        .unwrap_or("it does not say why");
    said.chars().filter(|character| !character.is_control()).take(MAX_REASON_CHARS).collect()
}

/// Only for the log: the address is the operator's business.
fn unreachable(error: reqwest::Error) -> UpstreamError {
    let error = error.without_url();
    let mut said = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        said = format!("{said}: {cause}");
        source = cause.source();
    }
    UpstreamError::Unreachable(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_a_refusal_is_found_and_harmless() {
        let said = |body: &str| reason(body.as_bytes());
        assert_eq!(
            said(r#"{"error":{"message":"no images\n2026 INFO forged"}}"#),
            "no images2026 INFO forged"
        );
        assert_eq!(said(r#"{"detail":"Unexpected fields"}"#), "Unexpected fields");
        assert_eq!(said("<html>"), "it does not say why");
        assert_eq!(said(&format!(r#"{{"detail":"{}"}}"#, "é".repeat(999))).chars().count(), MAX_REASON_CHARS);
    }

    #[test]
    fn a_key_is_never_shown() {
        let client = client(Some("secret-key"), false).unwrap();
        let shown = format!("{:?}", Endpoint::new(client, "http://host/v1/"));
        assert!(!shown.contains("secret-key"), "{shown}");
        assert!(matches!(super::client(Some("line\nbreak"), false), Err(ClientError::Key)));
    }
}
