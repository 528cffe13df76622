//! Cross-origin isolation, which browsers ask for before they share memory between threads.
//!
//! The page is isolated as a whole: all of it comes from here. What other sites embed asks nothing of them: the frame of the
//! package isolates itself, and where a site is isolated, it may be part of that.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");
const EMBEDDER_POLICY: HeaderName = HeaderName::from_static("cross-origin-embedder-policy");
const REQUIRE_CORP: HeaderValue = HeaderValue::from_static("require-corp");
/// Isolates the frame wherever it is shown, with nothing asked of the page around it; browsers that do not know it do
/// without.
const DOCUMENT_ISOLATION_POLICY: HeaderName = HeaderName::from_static("document-isolation-policy");
const ISOLATED: HeaderValue = HeaderValue::from_static("isolate-and-credentialless");

/// Isolates the page.
pub(super) fn isolate_page(headers: &mut HeaderMap) {
    headers.insert(OPENER_POLICY, SAME_ORIGIN);
    headers.insert(EMBEDDER_POLICY, REQUIRE_CORP);
}

/// Isolates the package's frame, and lets its Workers' scripts run in isolated pages: they have to be isolated as what starts
/// them is.
pub(super) fn isolate_package(headers: &mut HeaderMap) {
    headers.insert(DOCUMENT_ISOLATION_POLICY, ISOLATED);
    headers.insert(EMBEDDER_POLICY, REQUIRE_CORP);
}
