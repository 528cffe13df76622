//! Whether a file was changed, looked at when somebody asks and not more often than is worth it.
//!
//! Chosen over a signal: it needs no process id, works in containers and where there are no signals, and an operator cannot
//! forget it.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// What tells two versions of a file apart; `None` where there is none.
type Stamp = Option<(SystemTime, u64, u64)>;

#[derive(Debug)]
pub(crate) struct FileWatch {
    path: PathBuf,
    every: Duration,
    seen: Mutex<(Instant, Stamp)>,
}

impl FileWatch {
    /// Watches from the file's present state on; call it before reading.
    pub(super) fn new(path: &Path, every: Duration) -> Self {
        let seen = Mutex::new((Instant::now(), stamp(path)));
        Self { path: path.to_owned(), every, seen }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it was changed since the last time this said so.
    pub(super) fn has_changed(&self) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.0.elapsed() < self.every {
            return false;
        }
        let now = stamp(&self.path);
        let changed = now != seen.1;
        *seen = (Instant::now(), now);
        changed
    }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), metadata.len(), identity(&metadata)))
}

/// A file that was put in the place of another one has another number.
#[cfg(unix)]
fn identity(metadata: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn identity(_metadata: &std::fs::Metadata) -> u64 {
    0
}
