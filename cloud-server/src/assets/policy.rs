//! The Content Security Policy: what the page may load and run.
//!
//! Everything comes from this origin. WebAssembly needs `wasm-unsafe-eval`, which allows no other eval. Inline
//! scripts run by the hash of their text only; the page's build writes one, which starts its module.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

/// The policy for a page with these inline scripts.
pub(crate) fn content_security_policy(inline_scripts: &[&str]) -> String {
    let hashes: String = inline_scripts
        .iter()
        .map(|script| format!(" 'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(script))))
        .collect();
    // `connect-src 'self'` covers the WebSocket of the same host and port. Styles may be inline: elements get
    // widths and positions at run time, and no styles come from outside.
    format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'{hashes}; worker-src 'self'; \
         connect-src 'self' blob:; img-src 'self' blob: data:; media-src 'self' blob:; \
         style-src 'self' 'unsafe-inline'; font-src 'self'; manifest-src 'self'; \
         base-uri 'self'; form-action 'none'; frame-ancestors 'self'; object-src 'none'"
    )
}

/// The text of each script element without a `src`, exactly as it stands, since the hash is of exactly that.
pub(super) fn inline_scripts(html: &str) -> Vec<&str> {
    let lower = html.to_ascii_lowercase();
    let mut scripts = Vec::new();
    let mut position = 0;
    while let Some(tag) = lower[position..].find("<script").map(|offset| position + offset) {
        let Some(text) = lower[tag..].find('>').map(|offset| tag + offset + 1) else { break };
        let Some(end) = lower[text..].find("</script").map(|offset| text + offset) else { break };
        let has_source =
            lower[tag..text].split_ascii_whitespace().any(|attribute| attribute.starts_with("src="));
        if !has_source && text < end {
            scripts.push(&html[text..end]);
        }
        position = end;
    }
    scripts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_scripts_are_allowed_by_hash() {
        let html = "<SCRIPT type=\"module\">\nalert(1);</SCRIPT><script src=\"/a.js\"></script><script>b()</script>\
                    <p>text</p><script>unclosed";
        let scripts = inline_scripts(html);
        assert_eq!(scripts, ["\nalert(1);", "b()"]);
        let policy = content_security_policy(&["alert('Hello, world.');"]);
        // The example of the CSP specification.
        assert!(policy.contains("'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='"), "{policy}");
        assert!(!policy.contains('\n'));
    }
}
