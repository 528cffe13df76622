//! The file of keys: JSON with one record a key, written whole and read again when it changes.
//!
//! A change takes effect within [`READ_AGAIN`], revocations included, and also for sessions that are open. A file that cannot be
//! read leaves the keys as they were, loudly: half a file must neither lock everyone out nor let anyone in.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::denial::{Denial, DenialReason};
use super::file_watch::FileWatch;
use super::key::{ApiKey, KeyHash, Scope};
use super::usage::{KeyLimits, Usage};

/// How often the file is looked at.
const READ_AGAIN: Duration = Duration::from_millis(500);

/// What is kept of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyRecord {
    /// As in the key itself.
    pub(super) id: String,
    /// What its owner is called, for people.
    pub(super) name: String,
    pub(super) sha256: KeyHash,
    pub(super) scopes: Vec<Scope>,
    pub(super) created_unix_s: u64,
    /// `None` for a key that lasts.
    #[serde(default)]
    pub(super) expires_unix_s: Option<u64>,
    /// Revoked keys stay, so that their ids are not used again and their owners are told.
    #[serde(default)]
    pub(super) revoked: bool,
    #[serde(default)]
    pub(super) limits: KeyLimits,
}

/// The file's content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyFile {
    pub(super) keys: Vec<KeyRecord>,
}

/// Why a file of keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// It cannot be read or written.
    #[error("{path} cannot be used: {source}; `msao-server keys create --keys-file {path}` makes one", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It is no file of keys.
    #[error("{path} is no file of keys: {source}", path = path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// Two keys have one id.
    #[error("{path} holds two keys with the id {id}: remove one of them", path = path.display())]
    Duplicate {
        /// The file.
        path: PathBuf,
        /// Their id.
        id: String,
    },
    /// A limit that lets nothing through.
    #[error("key {id} in {path} has a limit of 0, which lets nothing through: revoke the key instead", path = path.display())]
    ZeroLimit {
        /// The file.
        path: PathBuf,
        /// The key's id.
        id: String,
    },
}

impl KeyFile {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// When it is not there or no file of keys.
    pub(super) fn read(path: &Path) -> Result<Self, KeyringError> {
        let path_of = || path.to_owned();
        let json = std::fs::read(path).map_err(|source| KeyringError::Io { path: path_of(), source })?;
        let file: Self =
            serde_json::from_slice(&json).map_err(|source| KeyringError::Json { path: path_of(), source })?;
        for (index, record) in file.keys.iter().enumerate() {
            let id = || record.id.clone();
            if file.keys[..index].iter().any(|other| other.id == record.id) {
                return Err(KeyringError::Duplicate { path: path_of(), id: id() });
            }
            let KeyLimits { requests_per_minute, requests_in_flight, sessions } = record.limits;
            if requests_per_minute == 0 || requests_in_flight == 0 || sessions == 0 {
                return Err(KeyringError::ZeroLimit { path: path_of(), id: id() });
            }
        }
        Ok(file)
    }

    /// Puts a whole file in the place of the old one, readable by its owner only.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub(super) fn write(&self, path: &Path) -> Result<(), KeyringError> {
        let failed = |source: io::Error| KeyringError::Io { path: path.to_owned(), source };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // A server that reads meanwhile sees the old file or the new one.
        let mut draft = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        serde_json::to_writer_pretty(&mut draft, self).map_err(|error| failed(error.into()))?;
        draft.as_file().sync_all().map_err(failed)?;
        draft.persist(path).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

/// A key that is known, and what it has under way.
#[derive(Debug)]
pub(super) struct KnownKey {
    pub(super) record: KeyRecord,
    pub(super) usage: Arc<Usage>,
}

impl KnownKey {
    /// Whether it still holds.
    pub(super) fn check(&self, now_unix_s: u64) -> Result<(), Denial> {
        let denied = |why: &str| Err(Denial::new(DenialReason::InvalidKey, why));
        if self.record.revoked {
            return denied("this key was revoked: ask for a new one");
        }
        if self.record.expires_unix_s.is_some_and(|expires| expires <= now_unix_s) {
            return denied("this key has expired: ask for a new one");
        }
        Ok(())
    }
}

type Keys = HashMap<String, Arc<KnownKey>>;

/// The keys that are known at present.
#[derive(Debug)]
pub(super) struct Keyring {
    watch: FileWatch,
    keys: RwLock<Keys>,
}

impl Keyring {
    /// Reads a file of keys.
    ///
    /// # Errors
    /// When it cannot be used.
    pub(super) fn open(path: &Path) -> Result<Self, KeyringError> {
        let watch = FileWatch::new(path, READ_AGAIN);
        let keys = known(KeyFile::read(path)?, &Keys::new());
        Ok(Self { watch, keys: RwLock::new(keys) })
    }

    /// Keys in the file.
    pub(super) fn len(&self) -> usize {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(super) fn find(&self, id: &str) -> Option<Arc<KnownKey>> {
        self.read_again_if_changed();
        self.keys.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// The key that somebody sent.
    ///
    /// # Errors
    /// One for all texts that are no key of ours; who holds a real one is told what is wrong with it.
    pub(super) fn authenticate(&self, text: &str, now_unix_s: u64) -> Result<Arc<KnownKey>, Denial> {
        let unknown = || {
            Denial::new(
                DenialReason::InvalidKey,
                "this is no API key of this server: check it, or ask for one",
            )
        };
        let key = ApiKey::parse(text).ok_or_else(unknown)?;
        let known = self
            .find(key.id())
            .filter(|known| known.record.sha256.matches(&key.hash()))
            .ok_or_else(unknown)?;
        known.check(now_unix_s)?;
        Ok(known)
    }

    fn read_again_if_changed(&self) {
        if !self.watch.has_changed() {
            return;
        }
        match KeyFile::read(self.watch.path()) {
            Ok(file) => {
                let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
                *keys = known(file, &keys);
                tracing::info!(keys = keys.len(), "the file of keys was read again");
            }
            Err(error) => {
                tracing::error!(%error, "the file of keys changed and cannot be used; the keys stay as they were")
            }
        }
    }
}

/// The file's keys, each with the usage that it had before.
fn known(file: KeyFile, before: &Keys) -> Keys {
    let known = |record: KeyRecord| {
        let usage = before
            .get(&record.id)
            .map_or_else(|| Arc::new(Usage::new(&record.limits)), |before| Arc::clone(&before.usage));
        (record.id.clone(), Arc::new(KnownKey { record, usage }))
    };
    file.keys.into_iter().map(known).collect()
}

/// Seconds since 1970; a clock before that counts as then.
pub(super) fn unix_now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &ApiKey) -> KeyRecord {
        KeyRecord {
            id: key.id().into(),
            name: "test".into(),
            sha256: key.hash(),
            scopes: vec![Scope::Api],
            created_unix_s: 0,
            expires_unix_s: Some(100),
            revoked: false,
            limits: KeyLimits::default(),
        }
    }

    #[test]
    fn only_the_whole_key_in_its_time_is_let_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let (key, other) = (ApiKey::random().unwrap(), ApiKey::random().unwrap());
        let revoked = KeyRecord { revoked: true, ..record(&other) };
        KeyFile { keys: vec![record(&key), revoked] }.write(&path).unwrap();
        let json = std::fs::read_to_string(&path).unwrap();
        assert!(!json.contains(key.reveal().rsplit('_').next().unwrap()), "the secret is in the file");
        let ring = Keyring::open(&path).unwrap();
        assert_eq!(ring.authenticate(key.reveal(), 99).unwrap().record.id, key.id());
        let said = |text: &str, now| ring.authenticate(text, now).unwrap_err().message;
        assert!(said(key.reveal(), 100).contains("expired"));
        assert!(said(other.reveal(), 1).contains("revoked"));
        // One id with another secret is nobody, and hears no more than anybody.
        let forged = format!("msao_{}_{}", key.id(), other.reveal().rsplit('_').next().unwrap());
        for text in [&forged, "msao_x_y", "", &key.reveal()[..key.reveal().len() - 1]] {
            assert!(said(text, 1).contains("no API key of this server"), "{text}");
        }
    }

    #[test]
    fn files_that_are_wrong_say_how() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let said = |json: &str| {
            std::fs::write(&path, json).unwrap();
            Keyring::open(&path).unwrap_err().to_string()
        };
        assert!(said("{").contains("no file of keys"));
        assert!(said(r#"{"keys": [], "x": 1}"#).contains("unknown field"));
        let key = ApiKey::random().unwrap();
        let twice = KeyFile { keys: vec![record(&key), record(&key)] };
        assert!(said(&serde_json::to_string(&twice).unwrap()).contains("two keys"));
        let limits = KeyLimits { sessions: 0, ..KeyLimits::default() };
        let closed = KeyFile { keys: vec![KeyRecord { limits, ..record(&key) }] };
        assert!(said(&serde_json::to_string(&closed).unwrap()).contains("limit of 0"));
        assert!(Keyring::open(&folder.path().join("none")).unwrap_err().to_string().contains("keys create"));
    }
}
