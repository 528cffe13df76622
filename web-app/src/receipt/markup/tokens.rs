//! Who wrote which token: a strip of letters, with what they mean.

use std::fmt::Write;

use msao_protocol::{TokenFate, TokenOrigin};

use super::add;
use crate::receipt::authors;

/// The strip; empty without tokens.
pub(super) fn authors(tokens: &[TokenOrigin]) -> String {
    if tokens.is_empty() {
        return String::new();
    }
    let mut html = format!(
        r#"<section class="receipt-part" data-testid="receipt-authors"><h3>Who wrote which token</h3><div class="authors" role="img" aria-label="{}">"#,
        authors::sentence(tokens)
    );
    for token in tokens {
        let corrected = if token.fate == TokenFate::Corrected { " corrected" } else { "" };
        add!(
            html,
            r#"<i class="{}{corrected}" title="by {}, {}">{}</i>"#,
            authors::name(token.source),
            authors::label(token.source),
            authors::fate(token.fate),
            authors::letter(token.source)
        );
    }
    html += r#"</div><ul class="authors-legend">"#;
    for share in authors::shares(tokens) {
        let (name, letter) = (authors::name(share.author), authors::letter(share.author));
        add!(
            html,
            r#"<li data-author="{name}" data-tokens="{}"><i class="{name}">{letter}</i>{}: {} ({:.0} %)</li>"#,
            share.tokens,
            authors::label(share.author),
            share.tokens,
            share.share * 100.0
        );
    }
    let corrected = tokens.iter().filter(|token| token.fate == TokenFate::Corrected).count();
    if corrected > 0 {
        add!(html, "<li>underlined: corrected, {corrected}</li>");
    }
    html + "</ul></section>"
}
