//! The page's own files over HTTP.

use std::sync::Arc;

use gloo_net::http::{Request, Response};
use serde::de::DeserializeOwned;

/// Why a file did not come.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum FetchError {
    /// No answer at all.
    #[error("the server is away")]
    Away,
    /// An answer, but not the file.
    #[error("the server says {0}")]
    Status(u16),
    /// The file ended too soon.
    #[error("the connection was cut")]
    Cut,
    /// The file is larger than anything of its kind.
    #[error("the file has more than {0} bytes")]
    TooLarge(usize),
    /// The file is not what it should be.
    #[error("the file is damaged: {0}")]
    Damaged(#[source] Arc<serde_json::Error>),
}

/// A JSON file.
///
/// # Errors
/// Any [`FetchError`] but [`FetchError::TooLarge`].
pub(crate) async fn json<T: DeserializeOwned>(url: &str) -> Result<T, FetchError> {
    let text = get(url).await?.text().await.map_err(|_| FetchError::Cut)?;
    serde_json::from_str(&text).map_err(|error| FetchError::Damaged(Arc::new(error)))
}

/// A JSON file of at most so many bytes.
///
/// # Errors
/// Any [`FetchError`].
pub(crate) async fn json_within<T: DeserializeOwned>(url: &str, most_bytes: usize) -> Result<T, FetchError> {
    let response = get(url).await?;
    // Refused before it is downloaded, where the server says how much it is.
    let announced = response.headers().get("content-length").and_then(|length| length.parse().ok());
    if announced.is_some_and(|length: usize| length > most_bytes) {
        return Err(FetchError::TooLarge(most_bytes));
    }
    let bytes = response.binary().await.map_err(|_| FetchError::Cut)?;
    if bytes.len() > most_bytes {
        return Err(FetchError::TooLarge(most_bytes));
    }
    serde_json::from_slice(&bytes).map_err(|error| FetchError::Damaged(Arc::new(error)))
}

/// Any file.
///
/// # Errors
/// Any [`FetchError`] but [`FetchError::Damaged`] and [`FetchError::TooLarge`].
pub(crate) async fn bytes(url: &str) -> Result<Vec<u8>, FetchError> {
    get(url).await?.binary().await.map_err(|_| FetchError::Cut)
}

async fn get(url: &str) -> Result<Response, FetchError> {
    let response = Request::get(url).send().await.map_err(|_| FetchError::Away)?;
    if response.ok() { Ok(response) } else { Err(FetchError::Status(response.status())) }
}
