//! The headers of files of weights, by requests for ranges: what does not suit its configuration is refused before it moves.

use msao_models::WeightHeaders;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderValue, RANGE};

use super::error::HubError;
use super::http::{Failure, Hub};
use super::info::RemoteFile;
use super::retry::Retry;

/// Enough for the headers of most files, so that one request will do.
const FIRST_BYTES: u64 = 256 << 10;

/// Reads a file's header on the hub.
///
/// # Errors
/// [`HubError::Unsuitable`] for what is no such file, or one that was cut.
pub(super) async fn read(
    hub: &Hub<'_>,
    commit: &str,
    file: &RemoteFile,
    headers: &mut WeightHeaders,
) -> Result<(), HubError> {
    let unsuitable = |source| HubError::Unsuitable { id: hub.reference.id(), source };
    let mut head = beginning(hub, commit, file, FIRST_BYTES).await?;
    if let Some(first) = head.first_chunk() {
        let end = WeightHeaders::end_of_header(&file.name, *first).map_err(unsuitable)?;
        if end > head.len() as u64 && end <= file.bytes {
            head = beginning(hub, commit, file, end).await?;
        }
    }
    headers.add(&file.name, &head, file.bytes).map_err(unsuitable)
}

/// The first bytes of a file, at most so many.
async fn beginning(hub: &Hub<'_>, commit: &str, file: &RemoteFile, bytes: u64) -> Result<Vec<u8>, HubError> {
    let bytes = bytes.min(file.bytes);
    if bytes == 0 {
        return Ok(Vec::new());
    }
    let mut range = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(&format!("bytes=0-{}", bytes - 1)) {
        range.insert(RANGE, value);
    }
    let attempt = async || -> Result<Vec<u8>, Failure> {
        let reply = hub.get(hub.file_address(commit, &file.name), &file.name, &range).await?;
        let mut response = reply.response;
        if !matches!(response.status(), StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
            return Err(Failure::transient(format!("status {}", response.status().as_u16())));
        }
        let mut head = Vec::new();
        // Whoever knows no ranges sends all of it; what is behind the beginning is not waited for.
        while (head.len() as u64) < bytes {
            let Some(piece) = hub.piece(&mut response).await? else {
                return Err(Failure::transient("its beginning was cut"));
            };
            let room = (bytes - head.len() as u64).min(piece.as_ref().len() as u64);
            head.extend_from_slice(&piece.as_ref()[..room as usize]);
        }
        Ok(head)
    };
    Retry::new(&file.name, hub.settings.patience).run(attempt).await
}
