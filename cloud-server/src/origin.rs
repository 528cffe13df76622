//! Which web pages may use the server.
//!
//! Browsers let any page open a WebSocket to any server and send its `Origin` along; nothing but this check
//! keeps a foreign page from using a server that only its visitor can reach. Programs send no `Origin`.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header::{HOST, ORIGIN};

/// The origins that may open sessions, besides the server's own page.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    allowed: Vec<String>,
}

impl Origins {
    /// Allows more origins, each as a browser writes it: `https://example.org`.
    pub fn new(allowed: Vec<String>) -> Self {
        Self { allowed: allowed.into_iter().map(|origin| origin.trim_end_matches('/').to_owned()).collect() }
    }

    /// The origins that were allowed by name.
    pub(crate) fn allowed(&self) -> &[String] {
        &self.allowed
    }

    /// Whether pages of this origin were allowed by name.
    pub(crate) fn allows(&self, origin: &str) -> bool {
        self.allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
    }

    /// Whether pages of this origin may use the server that this request came to.
    pub(crate) fn knows(&self, origin: &str, request: &HttpRequest) -> bool {
        self.permits(origin, host(request))
    }

    /// Whether a request was sent to this machine by a name of its own, or by that of an allowed origin.
    ///
    /// Any name can be made to resolve to 127.0.0.1, and then a foreign page is the server's own in a browser's eyes (DNS
    /// rebinding); its `Host` gives it away. Programs in process send none.
    pub(crate) fn is_host_of_this_machine(&self, request: &HttpRequest) -> bool {
        let Some(authority) = request.headers().get(HOST) else { return true };
        let Ok(authority) = authority.to_str() else { return false };
        let is_allowed = |origin: &String| {
            origin.split_once("://").is_some_and(|(_scheme, allowed)| allowed.eq_ignore_ascii_case(authority))
        };
        is_loopback(authority) || self.allowed.iter().any(is_allowed)
    }

    /// Fails with the origin if it may not.
    pub(crate) fn check(&self, request: &HttpRequest) -> Result<(), String> {
        let Some(origin) = request.headers().get(ORIGIN) else { return Ok(()) };
        match origin.to_str() {
            Ok(origin) if self.permits(origin, host(request)) => Ok(()),
            _ => Err(String::from_utf8_lossy(origin.as_bytes()).into_owned()),
        }
    }

    fn permits(&self, origin: &str, host: Option<&str>) -> bool {
        // The scheme is not compared: behind a proxy that ends TLS, the server cannot know its own.
        let authority = origin.split_once("://").map(|(_scheme, authority)| authority);
        let own_page =
            authority.is_some_and(|authority| host.is_some_and(|host| authority.eq_ignore_ascii_case(host)));
        own_page || self.allows(origin)
    }
}

fn host(request: &HttpRequest) -> Option<&str> {
    request.headers().get(HOST).and_then(|host| host.to_str().ok())
}

/// Whether `localhost:8080`, `127.0.0.1` or `[::1]:80` and the like.
fn is_loopback(authority: &str) -> bool {
    let name = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or_default(),
        None => authority.rsplit_once(':').map_or(authority, |(name, _port)| name),
    };
    let is_loopback_address = name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let name = name.to_ascii_lowercase();
    is_loopback_address || name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_and_allowed_pages_pass() {
        let origins = Origins::new(vec!["https://example.org/".into()]);
        let host = Some("127.0.0.1:8080");
        assert!(origins.permits("http://127.0.0.1:8080", host));
        assert!(origins.permits("https://Example.org", host));
        for foreign in ["http://127.0.0.1:8081", "https://evil.test", "null", "127.0.0.1:8080", ""] {
            assert!(!origins.permits(foreign, host), "{foreign}");
        }
        assert!(!origins.permits("http://127.0.0.1:8080", None));
    }

    #[test]
    fn names_of_this_machine_are_told_from_others() {
        for own in [
            "localhost",
            "LOCALHOST:8080",
            "app.localhost:1",
            "127.0.0.1:8080",
            "127.9.9.9",
            "[::1]:8080",
            "[::1]",
        ] {
            assert!(is_loopback(own), "{own}");
        }
        for foreign in [
            "evil.test",
            "evil.test:8080",
            "localhost.evil.test",
            "127.0.0.1.evil.test",
            "10.0.0.1:80",
            "[::2]",
            "",
        ] {
            assert!(!is_loopback(foreign), "{foreign}");
        }
    }
}
