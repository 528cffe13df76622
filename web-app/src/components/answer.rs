//! One side's answer: its tokens as they settle, how sure the model was of each, and what it took.
//!
//! Of the two sides one leads and is read; the other is behind a button below it.

use leptos::prelude::*;
use msao_protocol::FinishReason;
use msao_runtime::orchestrator::AnswerToken;

use super::{
    icon::{Icon, IconView},
    token::token_view,
};
use crate::{
    answer::{Answer, Phase},
    format,
    state::Side,
};

/// An answer; `leads` where it is the one to read.
#[component]
pub(crate) fn AnswerView(
    side: Side,
    answer: RwSignal<Answer>,
    #[prop(into)] leads: Signal<bool>,
    turn_id: u32,
) -> impl IntoView {
    let (name, class, testid, icon) = match side {
        Side::Edge => ("On this device", "answer edge", "edge-answer", Icon::Device),
        Side::Cloud => ("Cloud, verified", "answer cloud", "cloud-answer", Icon::Cloud),
    };
    let is_cloud = side == Side::Cloud;
    let is_open = RwSignal::new(false);
    let state = move || answer.with(|answer| phase_name(&answer.phase));
    let has_tokens = Memo::new(move |_| answer.with(|answer| !answer.tokens.is_empty()));
    let is_shown = move || leads.get() || is_open.get();
    let note = move || answer.with(note);
    let body_id = format!("{testid}-{turn_id}");
    let controls = body_id.clone();
    view! {
        <div class=class class:leads=leads role="group" aria-label=name data-testid=testid data-state=state
            data-leads=move || leads.get().to_string()>
            <Show when=move || leads.get()>
                <div class="answer-head">
                    <h3><IconView icon=icon /> {move || answer.with(|answer| answer.headline(is_cloud))}</h3>
                    {is_cloud.then(|| view! { <Legend /> })}
                </div>
            </Show>
            <button type="button" class="quiet disclosure" data-testid=format!("{testid}-toggle")
                class:hidden=move || leads.get() || !has_tokens.get() aria-controls=controls.clone()
                aria-expanded=move || is_open.get().to_string() on:click=move |_| is_open.update(|open| *open = !*open)>
                <IconView icon=icon /> {if is_cloud { "What the cloud had written" } else { "What this device wrote by itself" }}
            </button>
            <div class="answer-body" id=body_id.clone() class:hidden=move || !is_shown()>
                <p class="text" class:hidden=move || !has_tokens.get() data-testid=format!("{testid}-text")>
                    <For each=move || answer.with(parts) key=part_key let:part>
                        {match part {
                            (index, Some(token)) => token_view((index, &token)).into_any(),
                            (_, None) => view! { <span class="caret" aria-hidden="true"></span> }.into_any(),
                        }}
                    </For>
                </p>
                <Show when=move || answer.with(|answer| answer.phase == Phase::Waiting)>
                    <p class="text waiting" aria-hidden="true">
                        <span class="dots"><i></i><i></i><i></i></span>
                    </p>
                </Show>
            </div>
            {move || note().map(|(is_error, text)| view! {
                <p class="note" class:error=is_error data-testid=format!("{testid}-note")>
                    <Show when=move || is_error><IconView icon=Icon::Warning /></Show>
                    {text}
                </p>
            })}
            <dl class="figures" class:hidden=move || !is_shown() || answer.with(|answer| !is_over(answer))>
                <Figure label="First token" testid=format!("{testid}-first-token")
                    value=move || answer.with(|answer| answer.first_token_ms.map(format::duration_ms)) />
                <Figure label="Total" testid=format!("{testid}-total")
                    value=move || answer.with(|answer| answer.total_ms.map(format::duration_ms)) />
                <Figure label="Tokens/s" testid=format!("{testid}-speed")
                    value=move || answer.with(|answer| answer.tokens_per_s.map(format::tokens_per_s)) />
                <Figure label="Sent" testid=format!("{testid}-sent")
                    value=move || answer.with(|answer| is_over(answer).then(|| format::bytes(answer.sent_bytes))) />
                <Figure label="Received" testid=format!("{testid}-received")
                    value=move || answer.with(|answer| is_over(answer).then(|| format::bytes(answer.received_bytes))) />
            </dl>
        </div>
    }
}

/// What the marks of tokens mean; each differs by its line, not by colour alone.
#[component]
fn Legend() -> impl IntoView {
    view! {
        <p class="legend" data-testid="legend">
            <span class="sr-only">"Marks: "</span>
            <span data-state="proposed" data-source="edge_draft">"proposed here"</span> " "
            <span data-state="proposed" data-source="partial_context">"before all had arrived"</span> " "
            <span data-state="accepted">"verified"</span> " "
            <span data-state="corrected">"corrected"</span>
        </p>
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

/// The tokens by position, and while it is being written the caret, as `None`.
fn parts(answer: &Answer) -> Vec<(usize, Option<AnswerToken>)> {
    let caret = (answer.phase == Phase::Writing).then_some(None);
    answer.tokens.iter().cloned().map(Some).chain(caret).enumerate().collect()
}

/// Whatever changes is made anew in its place: of a word that stays, nothing moves.
fn part_key((index, token): &(usize, Option<AnswerToken>)) -> String {
    match token {
        Some(AnswerToken { text, state, .. }) => format!("{index} {text} {state:?}"),
        None => format!("{index} caret"),
    }
}

/// Nothing more is to come of an answer that was asked for.
fn is_over(answer: &Answer) -> bool {
    !answer.is_pending() && !matches!(answer.phase, Phase::NotAsked(_))
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
        Phase::Overtaken => Some((false, "The cloud corrected this device while it was writing.".to_owned())),
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
