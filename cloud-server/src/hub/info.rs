//! What the hub says of a repository at a revision: its commit, its files with sizes and hashes, its licence, its gate.

use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use super::digest::ContentHash;
use super::error::HubError;
use super::http::{Failure, Hub, answer, header};
use super::licence;
use super::reference::is_commit;
use super::retry::Retry;

/// Some hundred bytes for each file of the largest repositories.
const MAX_INFO_BYTES: u64 = 8 << 20;
const MAX_FILES: usize = 20_000;
const WHAT: &str = "the repository";

/// A repository at one commit.
#[derive(Debug, Clone)]
pub(super) struct RepositoryInfo {
    pub(super) commit: String,
    pub(super) licence: Option<String>,
    pub(super) is_gated: bool,
    files: Vec<Sibling>,
}

/// One file of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RemoteFile {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) hash: ContentHash,
}

#[derive(Deserialize)]
struct Answer {
    sha: String,
    #[serde(default)]
    gated: Value,
    #[serde(default, rename = "cardData")]
    card: Value,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Debug, Clone, Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<LargeFile>,
}

#[derive(Debug, Clone, Deserialize)]
struct LargeFile {
    #[serde(alias = "oid")]
    sha256: String,
    size: u64,
}

impl RepositoryInfo {
    /// Asks the hub.
    ///
    /// # Errors
    /// When there is no such repository or revision, the hub is out of reach, or its answer of no use.
    pub(super) async fn ask(hub: &Hub<'_>) -> Result<Self, HubError> {
        let id = hub.reference.id();
        let parts = ["api", "models"].into_iter().chain(id.split('/'));
        let mut url = hub.address(parts.chain(["revision", hub.reference.revision()]));
        url.set_query(Some("blobs=true"));
        let retry = Retry::new(WHAT, hub.settings.patience);
        let attempt = async || -> Result<Vec<u8>, Failure> {
            let reply = hub.get(url.clone(), WHAT, &HeaderMap::new()).await?;
            hub.body(reply.response, WHAT, MAX_INFO_BYTES).await
        };
        Self::read(&retry.run(attempt).await?)
    }

    fn read(json: &[u8]) -> Result<Self, HubError> {
        let Answer { sha, gated, card, siblings } =
            serde_json::from_slice(json).map_err(|error| answer(WHAT, error.to_string()))?;
        // It becomes the name of a folder.
        if !is_commit(&sha) {
            return Err(answer(WHAT, "it names no commit"));
        }
        if siblings.len() > MAX_FILES {
            return Err(answer(WHAT, format!("it has more than {MAX_FILES} files")));
        }
        let text = |key: &str| card.get(key).and_then(Value::as_str);
        let licence = licence::of_fields(text("license"), text("license_name"));
        // `false`, or how access is granted.
        let is_gated = gated.is_string() || gated == Value::Bool(true);
        Ok(Self { commit: sha, licence, is_gated, files: siblings })
    }

    /// Names of all files.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.rfilename.as_str())
    }

    /// Size and hash of a file that the repository has; where the listing leaves them out, the file itself is asked for them.
    ///
    /// # Errors
    /// [`HubError::NoFile`], or [`HubError::Answer`] where neither tells a hash.
    pub(super) async fn file(&self, hub: &Hub<'_>, name: &str) -> Result<RemoteFile, HubError> {
        let found = self.files.iter().find(|file| file.rfilename == name);
        let no_file = || HubError::NoFile { id: hub.reference.id(), file: name.to_owned() };
        let file = found.ok_or_else(no_file)?;
        let listed = match &file.lfs {
            Some(large) => Some((large.size, large.sha256.as_str())),
            None => file.size.zip(file.blob_id.as_deref()),
        };
        if let Some((bytes, hash)) = listed {
            let hash = ContentHash::parse(hash).ok_or_else(|| answer(name, "its hash is none"))?;
            return Ok(RemoteFile { name: name.to_owned(), bytes, hash });
        }
        let url = hub.file_address(&self.commit, name);
        let retry = Retry::new(name, hub.settings.patience);
        let told = retry.run(async || hub.head(url.clone(), name).await).await?;
        let told_hash = header(&told, "x-linked-etag").or_else(|| header(&told, "etag"));
        let told_bytes = header(&told, "x-linked-size").or_else(|| header(&told, "content-length"));
        let hash = told_hash.and_then(ContentHash::parse);
        let bytes = told_bytes.and_then(|bytes| bytes.parse().ok());
        let (hash, bytes) = hash.zip(bytes).ok_or_else(|| answer(name, "it tells no hash and size"))?;
        Ok(RemoteFile { name: name.to_owned(), bytes, hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read_as_the_hub_writes_it() {
        let json = br#"{"id": "a/b", "sha": "0123456789012345678901234567890123456789", "gated": "manual",
            "cardData": {"license": "apache-2.0", "tags": ["x"]}, "siblings": [{"rfilename": "config.json",
            "size": 3, "blobId": "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f"}], "downloads": 7}"#;
        let info = RepositoryInfo::read(json).unwrap();
        assert_eq!((info.is_gated, info.licence.as_deref()), (true, Some("apache-2.0")));
        assert_eq!(info.names().collect::<Vec<_>>(), ["config.json"]);
        for wrong in [&b"{}"[..], b"[]", br#"{"sha": "../..", "siblings": []}"#, b"<html>"] {
            assert!(RepositoryInfo::read(wrong).is_err());
        }
    }
}
