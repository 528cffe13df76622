//! The page's own files over HTTP.

use gloo_net::http::{Request, Response};

/// A text file.
///
/// # Errors
/// In words: the server is away, or has no such file.
pub(crate) async fn text(url: &str) -> Result<String, String> {
    get(url).await?.text().await.map_err(|error| error.to_string())
}

/// Any file.
///
/// # Errors
/// In words: the server is away, or has no such file.
pub(crate) async fn bytes(url: &str) -> Result<Vec<u8>, String> {
    get(url).await?.binary().await.map_err(|error| error.to_string())
}

async fn get(url: &str) -> Result<Response, String> {
    let response = Request::get(url).send().await.map_err(|_| "the server is away".to_owned())?;
    if response.ok() { Ok(response) } else { Err(format!("the server says {}", response.status())) }
}
