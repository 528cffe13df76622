//! Who wrote which token: a strip of letters, with what they mean.

use leptos::prelude::*;
use msao_protocol::{TokenFate, TokenOrigin};

use crate::receipt::authors;

/// The strip; `None` without tokens.
pub(super) fn authors_view(tokens: &[TokenOrigin]) -> Option<impl IntoView + use<>> {
    if tokens.is_empty() {
        return None;
    }
    let strip = tokens.iter().map(|token| {
        let said = format!("by {}, {}", authors::label(token.source), authors::fate(token.fate));
        view! {
            <i class=authors::name(token.source) class:corrected={token.fate == TokenFate::Corrected} title=said>
                {authors::letter(token.source)}
            </i>
        }
    });
    let legend = authors::shares(tokens).into_iter().map(|share| {
        view! {
            <li data-author=authors::name(share.author) data-tokens=share.tokens.to_string()>
                <i class=authors::name(share.author)>{authors::letter(share.author)}</i>
                {format!("{}: {} ({:.0} %)", authors::label(share.author), share.tokens, share.share * 100.0)}
            </li>
        }
    });
    let corrected = tokens.iter().filter(|token| token.fate == TokenFate::Corrected).count();
    Some(view! {
        <section class="receipt-part" data-testid="receipt-authors">
            <h3>"Who wrote which token"</h3>
            <div class="authors" role="img" aria-label=authors::sentence(tokens)>{strip.collect_view()}</div>
            <ul class="authors-legend">
                {legend.collect_view()}
                {(corrected > 0).then(|| view! { <li>{format!("underlined: corrected, {corrected}")}</li> })}
            </ul>
        </section>
    })
}
