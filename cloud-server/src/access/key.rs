//! API keys: what their owners hold, and what is kept of them.
//!
//! A key holds 256 random bits, so its SHA-256 is all that has to be kept: nobody can guess such a key from its hash, however
//! fast hashing is. Slow hashes (argon2) protect what people choose; here they would cost each request some 50 ms and
//! give strangers a way to keep the processor busy.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::AccessError;

/// Begins every key, so that scanners for leaked secrets know one.
const PREFIX: &str = "msao_";
const ID_BYTES: usize = 4;
const SECRET_BYTES: usize = 32;
/// Longest text that is looked at as a key.
const MAX_CHARS: usize = 128;

/// A key as its owner holds it: `msao_`, an id that may be shown, `_`, and the secret.
pub(crate) struct ApiKey {
    text: String,
    id_chars: usize,
}

impl ApiKey {
    /// A new key.
    ///
    /// # Errors
    /// When the operating system has no random numbers.
    pub(crate) fn random() -> Result<Self, AccessError> {
        let mut bytes = [0; ID_BYTES + SECRET_BYTES];
        fill_random(&mut bytes)?;
        let (id, secret) = bytes.split_at(ID_BYTES);
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = format!("{PREFIX}{id}_{}", BASE64_URL_SAFE_NO_PAD.encode(secret));
        Ok(Self { text, id_chars: id.len() })
    }

    /// Reads what somebody sent; `None` if it is no key.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(PREFIX).filter(|_| text.len() <= MAX_CHARS)?;
        let (id, secret) = rest.split_once('_')?;
        let is_whole = !id.is_empty() && !secret.is_empty();
        is_whole.then(|| Self { text: text.to_owned(), id_chars: id.len() })
    }

    /// Names the key, and may be shown.
    pub(crate) fn id(&self) -> &str {
        &self.text[PREFIX.len()..PREFIX.len() + self.id_chars]
    }

    pub(crate) fn hash(&self) -> KeyHash {
        KeyHash(Sha256::digest(&self.text).into())
    }

    /// All of it, to hand to its owner once.
    pub(crate) fn reveal(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for ApiKey {
    /// Without the secret, which must never reach a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ApiKey").field("id", &self.id()).finish_non_exhaustive()
    }
}

/// SHA-256 of a key, in hexadecimal digits in the file.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct KeyHash([u8; 32]);

impl KeyHash {
    /// Compares in a time that does not depend on where the two differ.
    pub(crate) fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("KeyHash(..)")
    }
}

impl From<KeyHash> for String {
    fn from(hash: KeyHash) -> Self {
        hash.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl TryFrom<String> for KeyHash {
    type Error = String;

    fn try_from(digits: String) -> Result<Self, String> {
        let wrong = || "a key's hash has 64 hexadecimal digits".to_owned();
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            let pair = str::from_utf8(pair).map_err(|_not_text| wrong())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_no_number| wrong())?;
        }
        Ok(Self(hash))
    }
}

/// What a key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scope {
    /// Everything below `/v1/` but what has a scope of its own.
    Api,
    /// Sessions over the WebSocket.
    Session,
    /// Making session tokens for pages.
    Tokens,
    /// What is not below `/v1/`: metrics, the API's description, and the weights that the page does not need.
    Operate,
}

impl Scope {
    /// As files and flags write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Session => "session",
            Self::Tokens => "tokens",
            Self::Operate => "operate",
        }
    }
}

pub(super) fn fill_random(bytes: &mut [u8]) -> Result<(), AccessError> {
    getrandom::fill(bytes).map_err(|error| AccessError::Random(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_and_another_does_not_match() {
        let (key, other) = (ApiKey::random().unwrap(), ApiKey::random().unwrap());
        let read = ApiKey::parse(key.reveal()).unwrap();
        assert_eq!(read.id(), key.id());
        assert!(read.hash().matches(&key.hash()));
        assert!(!other.hash().matches(&key.hash()));
        // 256 bits in base64.
        assert_eq!(key.reveal().len(), 5 + 8 + 1 + 43);
    }

    #[test]
    fn what_is_no_key_is_none() {
        for text in
            ["", "msao_", "msao__x", "msao_id_", "sk-123", "msao_id", &format!("msao_1_{}", "x".repeat(200))]
        {
            assert!(ApiKey::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn neither_key_nor_hash_is_printed() {
        let key = ApiKey::random().unwrap();
        let secret = key.reveal().rsplit_once(key.id()).unwrap().1;
        assert!(!format!("{key:?} {:?}", key.hash()).contains(secret));
        let digits = String::from(key.hash());
        assert!(!format!("{:?}", key.hash()).contains(&digits));
        assert!(KeyHash::try_from(digits).unwrap().matches(&key.hash()));
        for wrong in [String::new(), "0".repeat(63), "g".repeat(64), "ä".repeat(32)] {
            assert!(KeyHash::try_from(wrong).is_err());
        }
    }
}
