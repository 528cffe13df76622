//! Who a route is for. What is not named here is for nobody without a key.

use actix_web::http::Method;

use super::key::Scope;
use crate::assets::{LISTING_ROUTE, PAGE_ROUTE, WEIGHTS_ROUTE};

/// Routes that tell whether the server runs, and nothing that is worth hiding.
const HEALTH_ROUTES: [&str; 2] = ["/healthz", "/readyz"];

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    Everyone,
    Holders(Scope),
}

impl Audience {
    /// By the pattern of the route that takes the request, and its path as the router reads it: decoded.
    pub(super) fn of(
        route: Option<&str>,
        method: &Method,
        path: &str,
        public_checkpoints: &[String],
    ) -> Self {
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        let is_api = path == "/v1" || path.starts_with("/v1/");
        match route {
            Some(route) if is_read && HEALTH_ROUTES.contains(&route) => return Self::Everyone,
            Some(PAGE_ROUTE) if is_read && !is_api => return Self::Everyone,
            Some(LISTING_ROUTE) if is_read => return Self::Everyone,
            Some(WEIGHTS_ROUTE) if is_read && is_below_one_of(path, public_checkpoints) => {
                return Self::Everyone;
            }
            _ => {}
        }
        Self::Holders(match path {
            "/v1/session" => Scope::Session,
            "/v1/session-tokens" => Scope::Tokens,
            _ if is_api => Scope::Api,
            _ => Scope::Operate,
        })
    }
}

fn is_below_one_of(path: &str, checkpoints: &[String]) -> bool {
    let checkpoint = path.strip_prefix("/weights/").and_then(|rest| rest.split('/').next());
    checkpoint.is_some_and(|checkpoint| checkpoints.iter().any(|public| public == checkpoint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_named_needs_a_key() {
        use Audience::{Everyone, Holders};
        let public = ["edge".to_owned()];
        let of = |route, method: &Method, path| Audience::of(route, method, path, &public);
        let (get, post) = (&Method::GET, &Method::POST);
        assert_eq!(of(Some("/healthz"), get, "/healthz"), Everyone);
        assert_eq!(of(Some(PAGE_ROUTE), get, "/engine/worker.js"), Everyone);
        assert_eq!(of(Some(WEIGHTS_ROUTE), &Method::HEAD, "/weights/edge/config.json"), Everyone);
        assert_eq!(of(Some(WEIGHTS_ROUTE), get, "/weights/cloud/config.json"), Holders(Scope::Operate));
        assert_eq!(of(Some(WEIGHTS_ROUTE), get, "/weights/"), Holders(Scope::Operate));
        assert_eq!(of(Some("/healthz"), post, "/healthz"), Holders(Scope::Operate));
        assert_eq!(of(Some(PAGE_ROUTE), post, "/"), Holders(Scope::Operate));
        assert_eq!(of(Some("/metrics"), get, "/metrics"), Holders(Scope::Operate));
        assert_eq!(of(None, get, "/anything"), Holders(Scope::Operate));
        assert_eq!(of(Some("/v1/session"), get, "/v1/session"), Holders(Scope::Session));
        assert_eq!(of(Some("/v1/session-tokens"), post, "/v1/session-tokens"), Holders(Scope::Tokens));
        assert_eq!(of(Some("/v1/models"), get, "/v1/models"), Holders(Scope::Api));
        // The page takes every path that nobody else has; below /v1/ that is not for everyone.
        assert_eq!(of(Some(PAGE_ROUTE), get, "/v1/new"), Holders(Scope::Api));
    }
}
