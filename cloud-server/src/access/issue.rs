//! `POST /v1/session-tokens`: a page's server trades its key for a token that the page may have.

use actix_web::web::{self, ReqData};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::json;

use super::Caller;
use super::credentials::{SUBPROTOCOL, TOKEN_PREFIX};
use super::denial::{Denial, DenialReason};
use super::keyring::unix_now_s;
use super::session_token::Claims;
use crate::app::AppState;

/// Longest body that is read.
const MAX_BODY_BYTES: usize = 4_096;
const MAX_ORIGIN_CHARS: usize = 253 + 16;
const DEFAULT_LIFETIME_S: u64 = 300;
const MAX_LIFETIME_S: u64 = 3_600;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    /// Origin of the pages that are to use it, as a browser writes it.
    origin: String,
    #[serde(default = "default_lifetime_s")]
    expires_in_s: u64,
}

fn default_lifetime_s() -> u64 {
    DEFAULT_LIFETIME_S
}

/// Makes a token.
pub(super) async fn issue(
    request: HttpRequest,
    payload: web::Payload,
    caller: ReqData<Caller>,
    state: web::Data<AppState>,
) -> HttpResponse {
    let body = payload.to_bytes_limited(MAX_BODY_BYTES).await;
    let made = match body {
        Ok(Ok(body)) => make(&request, &body, &caller, &state),
        Ok(Err(_cut)) => Err(malformed("the body was cut off: send it again")),
        Err(_too_long) => {
            Err(malformed(&format!("the body has more than {MAX_BODY_BYTES} bytes: it needs only `origin`")))
        }
    };
    made.unwrap_or_else(|denial| denial.response(request.path()))
}

fn make(
    request: &HttpRequest,
    body: &[u8],
    caller: &Caller,
    state: &AppState,
) -> Result<HttpResponse, Denial> {
    let (Some(key), Some(keys)) = (caller.key_id(), &state.access.keys) else {
        return Err(malformed("this server asks for no keys, so sessions need no token"));
    };
    let wish: Wish = serde_json::from_slice(body)
        .map_err(|error| malformed(&format!(r#"{error}; send {{"origin": "https://example.org"}}"#)))?;
    if !(1..=MAX_LIFETIME_S).contains(&wish.expires_in_s) {
        return Err(malformed(&format!(
            "expires_in_s is {}; 1 to {MAX_LIFETIME_S} are accepted",
            wish.expires_in_s
        )));
    }
    if wish.origin.len() > MAX_ORIGIN_CHARS || !state.origins.knows(&wish.origin, request) {
        let message = "pages of this origin may not open sessions here; start the server with --allow-origin to let them";
        return Err(Denial::new(DenialReason::ForeignOrigin, message));
    }
    let now_unix_s = unix_now_s();
    let expires_unix_s = (now_unix_s + wish.expires_in_s).min(caller.expires_unix_s().unwrap_or(u64::MAX));
    let claims = Claims { key: key.to_owned(), origin: wish.origin, expires_unix_s };
    let token = keys.signer.sign(&claims).map_err(|error| malformed(&error.to_string()))?;
    Ok(HttpResponse::Ok().insert_header(("Cache-Control", "no-store")).json(json!({
        "protocols": [SUBPROTOCOL, format!("{TOKEN_PREFIX}{token}")],
        "token": token,
        "origin": claims.origin,
        "expires_unix_s": expires_unix_s,
    })))
}

fn malformed(message: &str) -> Denial {
    Denial::new(DenialReason::Malformed, message)
}
