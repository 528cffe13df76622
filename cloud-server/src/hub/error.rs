//! Why a checkpoint cannot be had from the hub; each message names the remedy. No message has a token or a signed address.

use std::io;
use std::path::PathBuf;

use msao_models::ModelError;

use super::reference::InvalidReference;

/// Why a checkpoint cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// It is named wrongly.
    #[error(transparent)]
    Reference(#[from] InvalidReference),
    /// The hub's address is none.
    #[error(
        "`{0}` is no address of a hub: write https://host or http://host:port, without user name or query"
    )]
    Endpoint(String),
    /// The token cannot be sent.
    #[error(
        "the hub's token has characters that no HTTP header may have: set HF_TOKEN to it, or log in again"
    )]
    Token,
    /// There is no folder to keep checkpoints in.
    #[error("there is no folder for the hub's cache: name one with --hub-cache, or set HF_HOME")]
    NoCache,
    /// HTTPS is not to be had.
    #[error("no HTTPS client can be made: {0}; install the system's certificates")]
    Client(String),
    /// The hub cannot be reached, or fails again and again.
    #[error(
        "the hub cannot be reached ({what}): {reason}; look at the network and at --hub-endpoint, and try again: what came is kept"
    )]
    Unreachable {
        /// What was asked for.
        what: String,
        /// What failed last.
        reason: String,
    },
    /// The hub asks to come back later.
    #[error("the hub asks to come back in {seconds} s: try again then; a token (HF_TOKEN) raises its limits")]
    TooManyRequests {
        /// Seconds to wait.
        seconds: u64,
    },
    /// No such repository, or a private one.
    #[error(
        "the hub has no {id} that may be seen: check the name; a private one needs a token that may read it (HF_TOKEN)"
    )]
    NoRepository {
        /// Owner and name.
        id: String,
    },
    /// The token is not taken.
    #[error(
        "the hub does not take the token for {id}: set HF_TOKEN to a valid one, or leave it out for what is public"
    )]
    TokenRefused {
        /// Owner and name.
        id: String,
    },
    /// A licence must be accepted first.
    #[error(
        "{id} is gated: accept its licence at {page} with your account, and set HF_TOKEN to a token of that account"
    )]
    Gated {
        /// Owner and name.
        id: String,
        /// Where the licence can be accepted.
        page: String,
    },
    /// No such branch, tag or commit.
    #[error("{id} has no revision {revision}: choose a branch, tag or commit that it has")]
    NoRevision {
        /// Owner and name.
        id: String,
        /// The revision asked for.
        revision: String,
    },
    /// A file that is needed is not there.
    #[error(
        "{id} has no {file}: choose a checkpoint with config.json, tokenizer.json and safetensors weights"
    )]
    NoFile {
        /// Owner and name.
        id: String,
        /// The file's name.
        file: String,
    },
    /// The hub forbids it otherwise.
    #[error("the hub refuses {what} (status {status}): check that the token may read it")]
    Refused {
        /// What was asked for.
        what: String,
        /// The status.
        status: u16,
    },
    /// The hub's words make no sense.
    #[error("the hub's answer about {what} is not usable: {reason}; check --hub-endpoint")]
    Answer {
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What was asked for changed while it came.
    #[error("{file} is another one than it was when the download began: try again")]
    Changed {
        /// The file's name.
        file: String,
    },
    /// What came is not what was published, twice.
    #[error("{file} came damaged twice ({reason}): it was deleted; try again later or at another network")]
    Damaged {
        /// The file's name.
        file: String,
        /// In what it differs.
        reason: String,
    },
    /// The configuration or the weights' headers do not suit this engine.
    #[error("{id} cannot be used here: {source}")]
    Unsuitable {
        /// Owner and name.
        id: String,
        /// What is wrong with it.
        source: ModelError,
    },
    /// The disk is too full.
    #[error("{id} needs {} MB more in {folder}, of which {} MB are free: make room, or name another folder with --hub-cache", needed_bytes >> 20, free_bytes >> 20, folder = folder.display())]
    DiskFull {
        /// Owner and name.
        id: String,
        /// The cache.
        folder: PathBuf,
        /// What is still to come.
        needed_bytes: u64,
        /// What is free.
        free_bytes: u64,
    },
    /// It is not in the cache, and the hub may not be asked.
    #[error("{reference} is not in the cache {folder}, and the hub is not to be asked: fetch it with `msao-server fetch` while online", folder = folder.display())]
    Offline {
        /// As it was named.
        reference: String,
        /// The cache.
        folder: PathBuf,
    },
    /// The cache cannot be read or written.
    #[error("{path}: {source}; the hub's cache must be writable, or name another folder with --hub-cache", path = path.display())]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl HubError {
    /// A failure of the file system at `path`.
    pub(super) fn cache(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Cache { path, source }
    }

    /// Whether the hub is out of reach rather than against it, so that what is in the cache may serve.
    pub(super) fn is_outage(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TooManyRequests { .. })
    }
}
