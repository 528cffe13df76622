//! Who asks over HTTP, as the engine knows it: whoever holds a key.
//!
//! The turns of a conversation come as requests of their own, so what one of them read is kept for the next one of the same key,
//! and the requests of a key take turns with those of others as a session's questions do. Without keys nobody can be told
//! from anybody else, a proxy's visitors for instance: then each request is somebody new, and nothing of it is kept.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use msao_protocol::RequestId;

use crate::access::Caller;
use crate::engine::Owner;

/// The holders of keys who have asked since the server started: at most as many as there were keys.
#[derive(Debug, Default)]
pub(super) struct Owners {
    by_key_id: Mutex<HashMap<Box<str>, Owner>>,
    requests: AtomicU32,
}

impl Owners {
    /// Whose requests the caller's are; `None` without a key.
    pub(super) fn of(&self, caller: &Caller) -> Option<Owner> {
        let key_id = caller.key_id()?;
        let mut by_key_id = self.by_key_id.lock().unwrap_or_else(PoisonError::into_inner);
        Some(*by_key_id.entry(key_id.into()).or_insert_with(Owner::unique))
    }

    /// A name for a request. Long before they come again, the engine has forgotten whoever had it.
    pub(super) fn next_request_id(&self) -> RequestId {
        self.requests.fetch_add(1, Ordering::Relaxed)
    }
}
