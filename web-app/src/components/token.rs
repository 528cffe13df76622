//! A token with the mark of what is known about it. The marks differ by the line below a word, not by colour alone, and
//! none changes a word's width: what settles moves nothing.

use leptos::prelude::*;
use msao_protocol::{TokenFate, TokenSource};
use msao_runtime::orchestrator::{AnswerToken, TokenState};

use crate::format;

/// A token, marked by what is known about it, and the draft that it replaced. The space before the first one is not shown.
pub(crate) fn token_view((index, token): (usize, &AnswerToken)) -> impl IntoView + use<> {
    let (state, source, replaced) = match &token.state {
        TokenState::Proposed(source) => ("proposed", *source, None),
        TokenState::Settled { origin, replaced } => (fate_name(origin.fate), origin.source, replaced.clone()),
    };
    // How sure a model was matters only where nobody has checked it.
    let class = match token.probability {
        p if state != "unverified" || p >= 0.9 => "token",
        p if p >= 0.6 => "token unsure",
        _ => "token guess",
    };
    let word = token.text.trim_start();
    let space = if index == 0 { "" } else { &token.text[..token.text.len() - word.len()] };
    let sure = format!("the model was {} sure of this", format::probability(token.probability));
    let title = match (&replaced, state, source) {
        (Some(draft), ..) => format!("Corrected: the draft said “{}”; {sure}", draft.trim()),
        (None, "proposed", TokenSource::PartialContext) => {
            format!("Written by the cloud before all had arrived, not verified yet; {sure}")
        }
        (None, "proposed", _) => format!("Proposed, not verified yet; {sure}"),
        (None, "accepted", _) => format!("A draft that the cloud verified; {sure}"),
        (None, "written", _) => format!("Written by the cloud; {sure}"),
        (None, "corrected", _) => format!("Written by the cloud in place of a draft; {sure}"),
        (None, ..) => format!("T{}", &sure[1..]),
    };
    let replaced = replaced.map(|draft| draft.trim().to_owned()).filter(|draft| !draft.is_empty());
    view! {
        {space.to_owned()}
        {replaced.map(|draft| view! { <del>{draft}</del> })}
        <span class=class title=title data-testid="token" data-state=state data-source=source_name(source)
            data-p=format!("{:.3}", token.probability)>
            {word.to_owned()}
        </span>
    }
}

fn fate_name(fate: TokenFate) -> &'static str {
    match fate {
        TokenFate::Accepted => "accepted",
        TokenFate::Corrected => "corrected",
        TokenFate::Written => "written",
        TokenFate::Unverified => "unverified",
    }
}

fn source_name(source: TokenSource) -> &'static str {
    match source {
        TokenSource::EdgeDraft => "edge_draft",
        TokenSource::PartialContext => "partial_context",
        TokenSource::CoLocatedDraft => "co_located_draft",
        TokenSource::Target => "target",
    }
}
