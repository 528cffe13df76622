//! Who asks, as the rest of the server knows it: something that lets requests begin, or does not.

use std::sync::Arc;

use super::denial::Denial;
use super::denial::DenialReason;
use super::keyring::{Keyring, KnownKey, unix_now_s};
use super::usage::{RequestPermit, SessionPermit};

/// Who asks. It holds no key, only the name of one, so a key that is withdrawn is withdrawn at once.
#[derive(Debug, Clone)]
pub struct Caller(Option<KeyHolder>);

#[derive(Debug, Clone)]
struct KeyHolder {
    keyring: Arc<Keyring>,
    key_id: Arc<str>,
}

impl Caller {
    /// Where no keys are asked for, everyone is the same.
    pub(super) fn anyone() -> Self {
        Self(None)
    }

    pub(super) fn with_key(keyring: &Arc<Keyring>, key_id: &str) -> Self {
        Self(Some(KeyHolder { keyring: Arc::clone(keyring), key_id: key_id.into() }))
    }

    /// Names the key, for logs and for what must not be shared between keys; `None` where no keys are asked for.
    pub fn key_id(&self) -> Option<&str> {
        self.0.as_ref().map(|holder| &*holder.key_id)
    }

    /// When the key expires, in seconds since 1970.
    pub(super) fn expires_unix_s(&self) -> Option<u64> {
        self.known().ok()??.record.expires_unix_s
    }

    /// Whether the key still holds.
    pub(crate) fn check(&self) -> Result<(), Denial> {
        self.known().map(|_known| ())
    }

    /// Counts a request against the key's rate alone.
    pub(crate) fn count_request(&self) -> Result<(), Denial> {
        self.known()?.map_or(Ok(()), |key| key.usage.count_request(&key.record.limits))
    }

    /// Counts a request and holds a place for it until the permit is dropped.
    pub(crate) fn begin_request(&self) -> Result<RequestPermit, Denial> {
        let known = self.known()?;
        known
            .map_or_else(|| Ok(RequestPermit::unlimited()), |key| key.usage.begin_request(&key.record.limits))
    }

    /// Holds a place for a session until the permit is dropped.
    pub(super) fn open_session(&self) -> Result<SessionPermit, Denial> {
        let known = self.known()?;
        known.map_or_else(|| Ok(SessionPermit::unlimited()), |key| key.usage.open_session(&key.record.limits))
    }

    /// The key as it stands now; `None` where none is asked for.
    fn known(&self) -> Result<Option<Arc<KnownKey>>, Denial> {
        let Some(KeyHolder { keyring, key_id }) = &self.0 else { return Ok(None) };
        let gone = || Denial::new(DenialReason::InvalidKey, "this key is no longer known: ask for a new one");
        let known = keyring.find(key_id).ok_or_else(gone)?;
        known.check(unix_now_s())?;
        Ok(Some(known))
    }
}
