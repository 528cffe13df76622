//! A question with its media, the answer that settles in place, what the device wrote by itself, and what may be done
//! next.
//!
//! Nothing stands below an answer that is being written, and the turn has the height of the window from the start: what
//! comes moves nothing.

use std::time::Duration;

use leptos::{html, prelude::*};
use msao_protocol::ShadowCheck;
use msao_runtime::orchestrator::question_with;
use web_sys::{ScrollBehavior, ScrollIntoViewOptions, ScrollLogicalPosition};

use super::{
    answer::AnswerView,
    icon::{Icon, IconView},
    player::SoundPlayer,
    receipt::ReceiptView,
};
use crate::{
    film,
    heard::HeardHere,
    media::clipboard,
    standing::Standing,
    state::{Asked, Side, Turn, use_page},
    verdict::Verdict,
};

/// A turn of the conversation.
#[component]
pub(crate) fn TurnView(turn: Turn) -> impl IntoView {
    let page = use_page();
    let article: NodeRef<html::Article> = NodeRef::new();
    let id = turn.id;
    let turn = StoredValue::new(turn);
    let is_pending = Memo::new(move |_| turn.with_value(Turn::is_pending));
    let leader = Memo::new(move |_| turn.with_value(Turn::leader));
    // When it begins; what comes then has its place already.
    Effect::new(move |_| {
        if let Some(article) = article.get().filter(|_| is_pending.get()) {
            let options = ScrollIntoViewOptions::new();
            options.set_block(ScrollLogicalPosition::Start);
            options.set_behavior(ScrollBehavior::Auto);
            article.scroll_into_view_with_scroll_into_view_options(&options);
        }
    });
    let verdict = move || turn.with_value(Turn::verdict);
    let standing = move || turn.with_value(|turn| turn.standing.get());
    let best = move || turn.with_value(Turn::best_text);
    let state = move || if is_pending.get() { "pending" } else { "done" };
    let asked = turn.with_value(|turn| turn.asked.clone());
    let again = asked.clone();
    let shown = asked.clone();
    let corrected = asked.clone();
    let receipt = move || turn.with_value(|turn| turn.receipt.get()).filter(|_| !is_pending.get());
    view! {
        <article node_ref=article class="turn" data-testid="turn" data-state=state
            aria-busy=move || is_pending.get().to_string()>
            <Question asked=asked />
            {move || turn.with_value(|turn| turn.listening.get()).map(|listening| view! {
                <p class="listening" data-testid="listening">
                    <IconView icon=Icon::Microphone /> <span>{listening.words()}</span>
                </p>
            })}
            {move || turn.with_value(|turn| turn.heard.get()).map(|heard| view! { <HeardView heard=heard asked=corrected.clone() /> })}
            <div class="reply">
                <AnswerView side=Side::Cloud answer=turn.with_value(|turn| turn.answer(Side::Cloud))
                    leads=Signal::derive(move || leader.get() == Side::Cloud) turn_id=id />
                <AnswerView side=Side::Edge answer=turn.with_value(|turn| turn.answer(Side::Edge))
                    leads=Signal::derive(move || leader.get() == Side::Edge) turn_id=id />
            </div>
            <div class="turn-foot" class:hidden=is_pending>
                {move || verdict().map(|verdict| view! { <VerdictView verdict=verdict /> })}
                {move || standing().map(|standing| view! { <StandingView standing=standing /> })}
                <div class="actions">
                    {move || best().map(|text| view! { <CopyButton text=text /> })}
                    <button type="button" class="quiet" data-testid="edit" on:click=move |_| {
                        page.draft.restore(&again);
                        page.focus_prompt();
                    }>
                        <IconView icon=Icon::Pencil /> "Edit"
                    </button>
                    <button type="button" class="quiet" data-testid="retry" prop:disabled=move || page.is_busy()
                        on:click=move |_| turn.with_value(|turn| page.retry(turn))>
                        <IconView icon=Icon::Retry /> "Ask again"
                    </button>
                </div>
            </div>
            {move || receipt().map(|receipt| view! {
                <ReceiptView receipt=receipt asked=shown.clone() request_id=turn.with_value(|turn| turn.request_id.get()) />
            })}
        </article>
    }
}

#[component]
fn Question(asked: std::sync::Arc<Asked>) -> impl IntoView {
    let words = if asked.question.is_empty() {
        "(asked in the recording)".to_owned()
    } else {
        asked.question.clone()
    };
    view! {
        <div class="question">
            {(!asked.pictures.is_empty()).then(|| view! {
                <div class="thumbs" class:clip=asked.pictures.len() != 1>
                    {film::shown(asked.pictures.len()).into_iter().map(|index| view! {
                        <img src=asked.pictures[index].url.as_str().to_owned() alt="The picture asked about" />
                    }).collect_view()}
                </div>
            })}
            <div class="asked">
                <h2 data-testid="question-text">{words}</h2>
                {asked.goes_on.is_some().then(|| view! {
                    <p class="hint" data-testid="went-on">"Goes on from the last answer"</p>
                })}
                {asked.sound.clone().map(|sound| view! { <SoundPlayer sound=sound /> })}
            </div>
        </div>
    }
}

/// What this device heard, to be read and put right.
#[component]
fn HeardView(heard: HeardHere, asked: std::sync::Arc<Asked>) -> impl IntoView {
    let page = use_page();
    let words = question_with(&asked.question, &heard.text);
    let edit = move |_| {
        let typed = Asked { question: words.clone(), sound: None, ..(*asked).clone() };
        page.draft.restore(&typed);
        page.focus_prompt();
    };
    view! {
        <div class="heard" data-testid="heard" data-language=heard.speech.language.clone()>
            <p>"Heard: " <q data-testid="heard-text">{heard.text.clone()}</q></p>
            <p class="hint">{heard.remark()}</p>
            <button type="button" class="quiet" data-testid="heard-edit" on:click=edit>
                <IconView icon=Icon::Pencil /> "Correct what was heard"
            </button>
        </div>
    }
}

#[component]
fn VerdictView(verdict: Verdict) -> impl IntoView {
    let (class, icon) = match verdict {
        Verdict::Confirmed => ("verdict confirmed", Icon::Check),
        Verdict::Corrected => ("verdict corrected", Icon::Pencil),
    };
    view! {
        <p class=class data-testid="verdict" data-verdict=verdict.label().to_lowercase()>
            <IconView icon=icon />
            <span class="words"><strong>{verdict.label()}</strong> " " <span>{verdict.explanation()}</span></span>
        </p>
    }
}

/// That the device's answer stands, and what checking it has found.
#[component]
fn StandingView(standing: Standing) -> impl IntoView {
    let is_differing = standing.check == Some(ShadowCheck::Differed);
    let (class, icon) =
        if is_differing { ("verdict corrected", Icon::Warning) } else { ("verdict confirmed", Icon::Device) };
    view! {
        <p class=class data-testid="stood" data-check=standing.check_name()>
            <IconView icon=icon />
            <span class="words"><strong>{standing.headline()}</strong> " " <span>{standing.explanation()}</span></span>
        </p>
    }
}

#[component]
fn CopyButton(text: String) -> impl IntoView {
    let page = use_page();
    let copied = RwSignal::new(false);
    let copy = move |_| {
        let text = text.clone();
        leptos::task::spawn_local(async move {
            if clipboard::write(&text).await {
                copied.set(true);
                set_timeout(
                    move || {
                        copied.try_set(false);
                    },
                    Duration::from_secs(2),
                );
            } else {
                page.notices
                    .error("The browser did not allow copying. Select the answer and copy it by hand.");
            }
        });
    };
    view! {
        <button type="button" class="quiet" data-testid="copy" on:click=copy>
            {move || view! { <IconView icon=if copied.get() { Icon::Check } else { Icon::Copy } /> }}
            {move || if copied.get() { "Copied" } else { "Copy" }}
        </button>
    }
}
