//! Session tokens: what a web page gets instead of a key.
//!
//! A page is read by everyone who opens it, so a key must not be in it. The page's own server trades its key for a token that
//! opens sessions for a few minutes, from pages of one origin only. A token is signed and not kept anywhere: any server
//! that has the secret can check it. It counts against the limits of the key that it was made with, and ends with it.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::AccessError;
use super::denial::{Denial, DenialReason};
use super::key::fill_random;

const SECRET_BYTES: usize = 32;
/// Longest token that is looked at.
const MAX_CHARS: usize = 1_024;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claims {
    /// Id of the key that it was made with.
    pub(super) key: String,
    /// Origin of the pages that may use it.
    pub(super) origin: String,
    pub(super) expires_unix_s: u64,
}

/// Signs tokens and checks them.
#[derive(Clone)]
pub(super) struct Signer(Hmac<Sha256>);

impl Signer {
    /// With a secret of its own: tokens end with this process and hold on this server only.
    pub(super) fn random() -> Result<Self, AccessError> {
        let mut secret = [0; SECRET_BYTES];
        fill_random(&mut secret)?;
        Ok(Self::new(&secret))
    }

    /// With the secret in a file, which several servers may share.
    pub(super) fn read(path: &Path) -> Result<Self, AccessError> {
        let secret =
            std::fs::read(path).map_err(|source| AccessError::Secret { path: path.to_owned(), source })?;
        let secret = secret.trim_ascii();
        if secret.len() < SECRET_BYTES {
            return Err(AccessError::ShortSecret { path: path.to_owned(), bytes: secret.len() });
        }
        Ok(Self::new(secret))
    }

    fn new(secret: &[u8]) -> Self {
        Self(Hmac::new_from_slice(secret).expect("HMAC takes a key of any length"))
    }

    pub(super) fn sign(&self, claims: &Claims) -> Result<String, serde_json::Error> {
        let payload = BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims)?);
        let tag = self.0.clone().chain_update(&payload).finalize().into_bytes();
        Ok(format!("{payload}.{}", BASE64_URL_SAFE_NO_PAD.encode(tag)))
    }

    /// What a token says, if it is ours, and comes in time and from the page it was made for.
    pub(super) fn verify(
        &self,
        token: &str,
        origin: Option<&str>,
        now_unix_s: u64,
    ) -> Result<Claims, Denial> {
        let denied = |why: &str| Denial::new(DenialReason::InvalidKey, why);
        let forged =
            || denied("this is no session token of this server: get one with POST /v1/session-tokens");
        let (payload, tag) = token.split_once('.').filter(|_| token.len() <= MAX_CHARS).ok_or_else(forged)?;
        let tag = BASE64_URL_SAFE_NO_PAD.decode(tag).map_err(|_no_base64| forged())?;
        // In constant time, and before anything of the token is read.
        self.0.clone().chain_update(payload).verify_slice(&tag).map_err(|_differs| forged())?;
        let json = BASE64_URL_SAFE_NO_PAD.decode(payload).map_err(|_no_base64| forged())?;
        let claims: Claims = serde_json::from_slice(&json).map_err(|_other_version| forged())?;
        if claims.expires_unix_s <= now_unix_s {
            return Err(denied("this session token has expired: get a new one with POST /v1/session-tokens"));
        }
        if !origin.is_some_and(|origin| origin.eq_ignore_ascii_case(&claims.origin)) {
            return Err(Denial::new(
                DenialReason::ForeignOrigin,
                "this session token was made for pages of another origin: get one for this page's",
            ));
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAGE: &str = "https://page.test";

    fn claims() -> Claims {
        Claims { key: "0a1b".into(), origin: PAGE.into(), expires_unix_s: 100 }
    }

    #[test]
    fn a_token_holds_for_its_origin_and_time_and_secret() {
        let (signer, other) = (Signer::new(&[1; 32]), Signer::new(&[2; 32]));
        let token = signer.sign(&claims()).unwrap();
        assert_eq!(signer.verify(&token, Some("HTTPS://Page.test"), 99), Ok(claims()));
        let said = |signer: &Signer, origin, now| signer.verify(&token, origin, now).unwrap_err().message;
        assert!(said(&signer, Some(PAGE), 100).contains("expired"));
        assert!(said(&other, Some(PAGE), 99).contains("no session token of this server"));
        for origin in [Some("https://other.test"), Some("null"), Some(""), None] {
            assert!(said(&signer, origin, 99).contains("another origin"), "{origin:?}");
        }
    }

    #[test]
    fn a_short_secret_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, b"change me\n").unwrap();
        assert!(matches!(Signer::read(&path), Err(AccessError::ShortSecret { bytes: 9, .. })));
        std::fs::write(&path, b"0123456789abcdef0123456789abcdef\n").unwrap();
        let token = Signer::read(&path).unwrap().sign(&claims()).unwrap();
        // A line's end belongs to the file, not to the secret.
        std::fs::write(&path, b"0123456789abcdef0123456789abcdef").unwrap();
        assert!(Signer::read(&path).unwrap().verify(&token, Some(PAGE), 1).is_ok());
    }

    proptest! {
        #[test]
        fn a_changed_token_never_holds(at in any::<prop::sample::Index>(), with in "[A-Za-z0-9_.-]") {
            let signer = Signer::new(&[1; 32]);
            let token = signer.sign(&claims()).unwrap();
            let at = at.index(token.len());
            let changed = format!("{}{with}{}", &token[..at], &token[at + 1..]);
            // The last digit of a base64 text may hold unused bits, which this decoder refuses as well.
            prop_assert_eq!(signer.verify(&changed, Some(PAGE), 1).is_ok(), changed == token);
        }

        #[test]
        fn any_text_is_refused_without_panic(text in ".{0,80}") {
            prop_assert!(Signer::new(&[1; 32]).verify(&text, Some(PAGE), 1).is_err());
        }
    }
}
