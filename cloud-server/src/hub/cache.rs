//! Where files of the hub are kept: the layout that all of its tools share, so that what one has fetched another finds.
//!
//! ```text
//! models--OWNER--NAME/blobs/HASH              contents; HASH.incomplete is one that is still coming
//!                     snapshots/COMMIT/FILE   links to them
//!                     refs/REVISION           the commit of a branch or tag
//!                     msao/COMMIT/NAME/FILE   ours: the same in a folder that is named as the checkpoint is
//! .locks/models--OWNER--NAME/HASH.lock        whoever fetches a content holds it
//! ```
//!
//! Names of folders, snapshots and refs are the `hf-hub` crate's.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hf_hub::{Cache, CacheRepo, Repo, RepoType};

use super::digest::ContentHash;
use super::error::HubError;
use super::options::HubSettings;
use super::reference::{HubReference, is_commit};

/// A ref is a commit; a file of more is none.
const MAX_REF_BYTES: u64 = 256;
const LOCK_POLL: Duration = Duration::from_millis(250);
/// Our own folder beside the layout's.
const OWN: &str = "msao";

/// The part of the cache that belongs to one repository.
#[derive(Debug)]
pub(super) struct RepositoryCache {
    top: PathBuf,
    folder: PathBuf,
    locks: PathBuf,
    reference: HubReference,
    layout: CacheRepo,
}

impl RepositoryCache {
    pub(super) fn new(settings: &HubSettings, reference: &HubReference) -> Self {
        let revision = reference.revision().to_owned();
        let repo = Repo::with_revision(reference.id(), RepoType::Model, revision);
        let name = repo.folder_name();
        let top = settings.cache.clone();
        Self {
            folder: top.join(&name),
            locks: top.join(".locks").join(&name),
            reference: reference.clone(),
            layout: Cache::new(top.clone()).repo(repo),
            top,
        }
    }

    /// The cache's own folder.
    pub(super) fn top(&self) -> &Path {
        &self.top
    }

    /// The commit that the revision was at when it was last fetched whole.
    pub(super) fn commit(&self) -> Option<String> {
        if self.reference.is_pinned() {
            return Some(self.reference.revision().to_owned());
        }
        let path = self.folder.join("refs").join(self.reference.revision());
        let is_small = fs::metadata(&path).is_ok_and(|file| file.len() <= MAX_REF_BYTES);
        let text = is_small.then(|| fs::read_to_string(&path).ok()).flatten()?;
        Some(text.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// Notes the commit that the revision is at.
    pub(super) fn remember(&self, commit: &str) -> Result<(), HubError> {
        if self.reference.is_pinned() {
            return Ok(());
        }
        self.layout.create_ref(commit).map_err(HubError::cache(self.folder.join("refs")))
    }

    /// The folder of a commit's files.
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.layout.pointer_path(commit)
    }

    /// A content.
    pub(super) fn blob(&self, hash: &ContentHash) -> PathBuf {
        self.folder.join("blobs").join(hash.as_str())
    }

    /// A content that is still coming.
    pub(super) fn part(&self, hash: &ContentHash) -> PathBuf {
        self.folder.join("blobs").join(format!("{}.incomplete", hash.as_str()))
    }

    /// Bytes of a content that are here already.
    pub(super) fn bytes_here(&self, hash: &ContentHash) -> u64 {
        let bytes = |path: PathBuf| fs::metadata(path).map(|file| file.len());
        bytes(self.blob(hash)).or_else(|_| bytes(self.part(hash))).unwrap_or(0)
    }

    /// Makes the folders that files are written to.
    pub(super) fn prepare(&self, commit: &str) -> Result<(), HubError> {
        for folder in [self.folder.join("blobs"), self.snapshot(commit), self.locks.clone()] {
            fs::create_dir_all(&folder).map_err(HubError::cache(folder))?;
        }
        Ok(())
    }

    /// Lets a content stand in a commit's folder under its name, which is a plain one.
    pub(super) fn link(&self, commit: &str, name: &str, hash: &ContentHash) -> Result<(), HubError> {
        let pointer = self.snapshot(commit).join(name);
        let content = Path::new("../../blobs").join(hash.as_str());
        link(&pointer, &content).map_err(HubError::cache(pointer))
    }

    /// A folder with the checkpoint's own name and the commit's files, of these names; the commit's folder itself where the
    /// cache cannot be written.
    pub(super) fn named<'n>(&self, commit: &str, names: impl IntoIterator<Item = &'n str>) -> PathBuf {
        let folder = self.folder.join(OWN).join(commit).join(self.reference.name());
        let snapshot = Path::new("../../../snapshots").join(commit);
        let mut made = fs::create_dir_all(&folder);
        for name in names {
            made = made.and_then(|()| link(&folder.join(name), &snapshot.join(name)));
        }
        if made.is_ok() { folder } else { self.snapshot(commit) }
    }

    /// Waits until nobody else fetches a content; the lock goes with what is returned.
    pub(super) async fn lock(&self, hash: &ContentHash, name: &str) -> Result<File, HubError> {
        let path = self.locks.join(format!("{}.lock", hash.as_str()));
        let file = File::create(&path).map_err(HubError::cache(path.clone()))?;
        let mut has_told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => {}
                // A file system without locks: contents are held to their hash all the same.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                    return Ok(file);
                }
                Err(TryLockError::Error(error)) => return Err(HubError::cache(path)(error)),
            }
            if !has_told {
                tracing::info!(file = name, "another process fetches this file; waiting for it");
                has_told = true;
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
    }

    /// Bytes that may still be written to the cache; `None` where nothing is known.
    pub(super) fn free_bytes(&self) -> Option<u64> {
        free_bytes(self.top.ancestors().find(|folder| folder.is_dir())?)
    }
}

#[cfg(unix)]
fn free_bytes(folder: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder).ok()?;
    found.f_bavail.checked_mul(found.f_frsize)
}

#[cfg(not(unix))]
fn free_bytes(_folder: &Path) -> Option<u64> {
    None
}

/// Makes `link` lead to `target`, which is relative to the link's folder, unless it does.
fn link(link: &Path, target: &Path) -> io::Result<()> {
    let leads_there = fs::read_link(link).is_ok_and(|to| to == target);
    if leads_there { Ok(()) } else { point(link, target) }
}

/// As [`link`]; whatever stood there goes.
#[cfg(unix)]
fn point(link: &Path, target: &Path) -> io::Result<()> {
    match fs::remove_file(link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    match std::os::unix::fs::symlink(target, link) {
        // Another process was quicker.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Symbolic links are for administrators there; a second name for the same content is for all.
#[cfg(not(unix))]
fn point(link: &Path, target: &Path) -> io::Result<()> {
    let content = link.parent().unwrap_or(Path::new(".")).join(target);
    match fs::remove_file(link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::hard_link(content, link)
}
