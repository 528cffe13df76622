//! What other sites may load: the package that they embed, and the weights it downloads.
//!
//! These are public files that say nothing of whoever asks, so pages of all origins may read them. `frame.html` holds the
//! package's Worker for pages that took it from this server; only pages of allowed origins may show it, since within it
//! sessions are opened under this server's own origin.

use std::path::Path;

use actix_web::HttpResponse;
use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_SECURITY_POLICY, CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue,
};

use super::isolation::isolate_package;
use crate::origin::Origins;

/// Folder of the package within the page.
const FOLDER: &str = "engine";
/// What holds its Worker for pages of other origins.
const FRAME: &str = "engine/frame.html";

/// Says who may load a file of the page, if that is another than usual.
pub(super) fn label(response: &mut HttpResponse, relative: &Path, origins: &Origins) {
    if !relative.starts_with(FOLDER) {
        return;
    }
    open_to_all(response);
    let headers = response.headers_mut();
    isolate_package(headers);
    if relative == Path::new(FRAME)
        && let Ok(policy) = HeaderValue::from_str(&frame_policy(origins.allowed()))
    {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
}

/// Lets pages of all origins read a response.
pub(super) fn open_to_all(response: &mut HttpResponse) {
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
}

fn frame_policy(allowed: &[String]) -> String {
    // An origin with a `;` or a space in it would be another directive; browsers know none.
    let is_plain = |origin: &&String| !origin.contains([';', ',', ' ', '\'']);
    let ancestors: String = allowed.iter().filter(is_plain).map(|origin| format!(" {origin}")).collect();
    format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'self'{ancestors}; object-src 'none'"
    )
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderName;

    use super::*;

    #[test]
    fn the_frame_is_shown_by_allowed_pages_only() {
        let policy = frame_policy(&["https://shop.example".into(), "https://x.test; script-src *".into()]);
        assert!(policy.contains("frame-ancestors 'self' https://shop.example;"), "{policy}");
        assert!(!policy.contains("script-src *"), "{policy}");
    }

    #[test]
    fn only_the_package_is_for_all_origins() {
        let origins = Origins::new(vec!["https://shop.example".into()]);
        let headers = |path: &str| {
            let mut response = HttpResponse::Ok().finish();
            label(&mut response, Path::new(path), &origins);
            let has = |name: HeaderName| response.headers().contains_key(name);
            (has(ACCESS_CONTROL_ALLOW_ORIGIN), has(CONTENT_SECURITY_POLICY))
        };
        assert_eq!(headers("index.html"), (false, false));
        assert_eq!(headers("engineer.html"), (false, false));
        assert_eq!(headers("engine/index.js"), (true, false));
        assert_eq!(headers("engine/frame.html"), (true, true));
    }
}
