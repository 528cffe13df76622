//! Which web pages may open a session.
//!
//! Browsers let any page open a WebSocket to any server and send its `Origin` along; nothing but this check
//! keeps a foreign page from using a server that only its visitor can reach. Programs send no `Origin`.

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

    /// Fails with the origin if it may not.
    pub(crate) fn check(&self, request: &HttpRequest) -> Result<(), String> {
        let Some(origin) = request.headers().get(ORIGIN) else { return Ok(()) };
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        match origin.to_str() {
            Ok(origin) if self.permits(origin, host) => Ok(()),
            _ => Err(String::from_utf8_lossy(origin.as_bytes()).into_owned()),
        }
    }

    fn permits(&self, origin: &str, host: Option<&str>) -> bool {
        // The scheme is not compared: behind a proxy that ends TLS, the server cannot know its own.
        let authority = origin.split_once("://").map(|(_scheme, authority)| authority);
        let own_page =
            authority.is_some_and(|authority| host.is_some_and(|host| authority.eq_ignore_ascii_case(host)));
        own_page || self.allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
    }
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
}
