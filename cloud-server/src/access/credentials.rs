//! What a request brings to be let in.
//!
//! Programs send their key as `Authorization: Bearer`. Browsers cannot set headers on a WebSocket, so a page offers its token as a
//! subprotocol beside the protocol's own name. A query parameter would do as well, but addresses end up in the logs
//! of every proxy on the way and in histories; what is offered as a subprotocol does not.

use actix_web::http::header::{AUTHORIZATION, HeaderMap, ORIGIN, SEC_WEBSOCKET_PROTOCOL};

/// The subprotocol that the server chooses, where a client offers any.
pub(crate) const SUBPROTOCOL: &str = "msao.v1";
/// Comes before a token that is offered as a subprotocol.
pub(super) const TOKEN_PREFIX: &str = "msao.token.";

/// What a request brings.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Credentials<'a> {
    None,
    Key(&'a str),
    SessionToken(&'a str),
}

impl<'a> Credentials<'a> {
    /// A key goes before a token.
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let authorization = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let bearer = authorization.and_then(|value| {
            let (scheme, key) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
        });
        if let Some(key) = bearer {
            return Self::Key(key);
        }
        let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).filter_map(|value| value.to_str().ok());
        let token = offered
            .flat_map(|value| value.split(','))
            .find_map(|name| name.trim().strip_prefix(TOKEN_PREFIX));
        token.map_or(Self::None, Self::SessionToken)
    }
}

/// The page that a browser says it acts for.
pub(super) fn origin(headers: &HeaderMap) -> Option<&str> {
    headers.get(ORIGIN).map(|origin| origin.to_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn keys_and_tokens_are_found_where_they_belong() {
        let found = |pairs: &[(HeaderName, &str)], expected: Credentials<'_>| {
            assert!(Credentials::of(&headers(pairs)) == expected, "{pairs:?}");
        };
        found(&[], Credentials::None);
        found(&[(AUTHORIZATION, "Basic eDp5")], Credentials::None);
        found(&[(AUTHORIZATION, "bearer  msao_1_2 ")], Credentials::Key("msao_1_2"));
        let offered = (SEC_WEBSOCKET_PROTOCOL, "msao.v1, msao.token.a.b");
        found(std::slice::from_ref(&offered), Credentials::SessionToken("a.b"));
        found(&[(AUTHORIZATION, "Bearer k"), offered], Credentials::Key("k"));
        found(
            &[(SEC_WEBSOCKET_PROTOCOL, "msao.v1"), (SEC_WEBSOCKET_PROTOCOL, "msao.token.c")],
            Credentials::SessionToken("c"),
        );
        found(&[(SEC_WEBSOCKET_PROTOCOL, "graphql-ws")], Credentials::None);
    }
}
