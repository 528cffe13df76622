//! One side's answer: its tokens as they come, how sure the model was of each, and what it took.

use leptos::prelude::*;
use msao_protocol::{FinishReason, TokenFate, TokenSource};
use msao_runtime::orchestrator::{AnswerToken, TokenState};

use super::icon::{Icon, IconView};
use crate::{
    answer::{Answer, Phase},
    format,
    state::Side,
};

/// A column.
#[component]
pub(crate) fn AnswerColumn(side: Side, answer: RwSignal<Answer>) -> impl IntoView {
    let (name, class, testid, icon) = match side {
        Side::Edge => ("On this device", "answer edge", "edge-answer", Icon::Device),
        Side::Cloud => ("Cloud, verified", "answer cloud", "cloud-answer", Icon::Cloud),
    };
    let state = move || answer.with(|answer| phase_name(&answer.phase));
    let has_tokens = move || answer.with(|answer| !answer.tokens.is_empty());
    let note = move || answer.with(note);
    view! {
        <div class=class role="group" aria-label=name data-testid=testid data-state=state>
            <h3><IconView icon=icon /> {name}</h3>
            <p class="text" class:hidden=move || !has_tokens() data-testid=format!("{testid}-text")>
                {move || answer.with(|answer| answer.tokens.iter().enumerate().map(token_view).collect_view())}
                <Show when=move || answer.with(|answer| answer.phase == Phase::Writing)>
                    <span class="caret" aria-hidden="true"></span>
                </Show>
            </p>
            <Show when=move || answer.with(|answer| answer.phase == Phase::Waiting)>
                <p class="text waiting"><span class="dots" aria-hidden="true"><i></i><i></i><i></i></span>
                    <span class="sr-only">"Waiting for the first word"</span></p>
            </Show>
            {move || note().map(|(is_error, text)| view! {
                <p class="note" class:error=is_error data-testid=format!("{testid}-note")>
                    <Show when=move || is_error><IconView icon=Icon::Warning /></Show>
                    {text}
                </p>
            })}
            <Show when=move || side == Side::Cloud && has_tokens()>
                <p class="legend" data-testid="legend">
                    <span data-state="proposed">"proposed"</span> <span data-state="accepted">"verified"</span>
                    <span data-state="corrected">"corrected"</span>
                </p>
            </Show>
            <dl class="figures" class:hidden=move || matches!(state(), "not-asked")>
                <Figure label="First token" testid=format!("{testid}-first-token")
                    value=move || answer.with(|answer| answer.first_token_ms.map(format::duration_ms)) />
                <Figure label="Total" testid=format!("{testid}-total")
                    value=move || answer.with(|answer| answer.total_ms.map(format::duration_ms)) />
                <Figure label="Tokens/s" testid=format!("{testid}-speed")
                    value=move || answer.with(|answer| answer.tokens_per_s.map(format::tokens_per_s)) />
                <Figure label="Sent" testid=format!("{testid}-sent")
                    value=move || answer.with(|answer| settled(answer).then(|| format::bytes(answer.sent_bytes))) />
                <Figure label="Received" testid=format!("{testid}-received")
                    value=move || answer.with(|answer| settled(answer).then(|| format::bytes(answer.received_bytes))) />
            </dl>
        </div>
    }
}

#[component]
fn Figure(label: &'static str, testid: String, #[prop(into)] value: Signal<Option<String>>) -> impl IntoView {
    view! {
        <div class="figure">
            <dt>{label}</dt>
            <dd data-testid=testid>{move || value.get().unwrap_or_else(|| "–".to_owned())}</dd>
        </div>
    }
}

fn settled(answer: &Answer) -> bool {
    !answer.is_pending()
}

fn phase_name(phase: &Phase) -> &'static str {
    match phase {
        Phase::NotAsked(_) => "not-asked",
        Phase::Waiting => "waiting",
        Phase::Writing => "writing",
        Phase::Overtaken => "corrected",
        Phase::Unverified => "unverified",
        Phase::Finished(FinishReason::Cancelled) => "stopped",
        Phase::Finished(_) => "done",
        Phase::Failed(_) => "failed",
    }
}

/// What is to be said beside the text, and whether it is an error.
fn note(answer: &Answer) -> Option<(bool, String)> {
    match &answer.phase {
        Phase::NotAsked(reason) => Some((false, reason.clone())),
        Phase::Failed(message) => Some((true, message.clone())),
        Phase::Overtaken => Some((false, "Corrected by the cloud while writing.".to_owned())),
        Phase::Unverified => Some((
            false,
            "The cloud was lost before it was done: this device wrote the rest, unverified.".to_owned(),
        )),
        Phase::Finished(FinishReason::Cancelled) => Some((false, "Stopped.".to_owned())),
        Phase::Finished(FinishReason::Length) => {
            Some((false, "Cut at the longest answer allowed.".to_owned()))
        }
        Phase::Finished(_) if answer.text().is_empty() => {
            Some((false, "The model gave no words.".to_owned()))
        }
        Phase::Waiting | Phase::Writing | Phase::Finished(_) => None,
    }
}

/// A token, marked by what is known about it, and the draft that it replaced. The space before the first one is not shown.
fn token_view((index, token): (usize, &AnswerToken)) -> impl IntoView + use<> {
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
    let title = match (&replaced, state) {
        (Some(draft), _) => format!("Corrected: the draft said “{}”; {sure}", draft.trim()),
        (None, "proposed") => format!("Proposed, not verified yet; {sure}"),
        (None, "accepted") => format!("A draft that the cloud verified; {sure}"),
        (None, "written") => format!("Written by the cloud; {sure}"),
        (None, "corrected") => format!("Written by the cloud in place of a draft; {sure}"),
        (None, _) => format!("T{}", &sure[1..]),
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
