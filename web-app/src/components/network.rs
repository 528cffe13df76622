//! What crossed the network: of one question, and of the whole visit, live.

use leptos::prelude::*;
use msao_protocol::RequestId;

use super::{
    dialog::Dialog,
    icon::{Icon, IconView},
};
use crate::{
    network::Crossed,
    receipt::markup,
    state::{Turn, use_page},
};

/// What crossed for one question: a sentence, and each message in a table.
#[component]
pub(crate) fn RequestFrames(request_id: RequestId) -> impl IntoView {
    let page = use_page();
    let frames = Memo::new(move |_| page.frames_of(request_id));
    let crossed = move || frames.with(|frames| Crossed::of(frames));
    view! {
        <div class="crossed" data-testid="request-network" data-sent-bytes=move || crossed().sent_bytes.to_string()
            data-received-bytes=move || crossed().received_bytes.to_string()>
            <p>{move || crossed().sentence()}</p>
            <div inner_html=move || frames.with(|frames| markup::frames::table(frames))></div>
        </div>
    }
}

/// A button that opens the panel, and the panel.
#[component]
pub(crate) fn NetworkButton() -> impl IntoView {
    let open = RwSignal::new(false);
    view! {
        <button type="button" class="quiet" data-testid="open-network" on:click=move |_| open.set(true)>
            <IconView icon=Icon::Up /> "What was sent"
        </button>
        <Dialog open=open title="What was sent" testid="network-panel"><Panel /></Dialog>
    }
}

#[component]
fn Panel() -> impl IntoView {
    let page = use_page();
    let crossed = Memo::new(move |_| page.network.with(|log| Crossed::of(log.frames())));
    let forgotten = move || page.network.with(|log| log.forgotten());
    let upkeep = Memo::new(move |_| {
        page.network
            .with(|log| log.frames().filter(|frame| frame.request_id.is_none()).copied().collect::<Vec<_>>())
    });
    let newest_first = move || page.turns.with(|turns| turns.iter().rev().cloned().collect::<Vec<_>>());
    view! {
        <div class="network" data-testid="network" data-sent-bytes=move || crossed.get().sent_bytes.to_string()
            data-received-bytes=move || crossed.get().received_bytes.to_string()>
            <p class="network-sum" role="status" data-testid="network-sum">
                {move || crossed.get().sentence()}
                {move || (forgotten() > 0).then(|| format!(" The first {} are not listed any more.", forgotten()))}
                {move || page.offline.get().then_some(" You work offline: nothing can be sent.")}
            </p>
            <ul class="network-turns">
                <For each=newest_first key=|turn| turn.id let:turn><li><TurnFrames turn=turn /></li></For>
                <li>
                    <h3>"Upkeep"</h3>
                    <p>{move || upkeep.with(|frames| Crossed::of(frames)).sentence()}</p>
                    <div inner_html=move || upkeep.with(|frames| markup::frames::table(frames))></div>
                </li>
            </ul>
            <p class="hint">
                "These are the messages between this page and its server, kinds and sizes only. What the page, its models and its "
                "samples take to download is not listed: it tells nothing about you."
            </p>
        </div>
    }
}

#[component]
fn TurnFrames(turn: Turn) -> impl IntoView {
    let request_id = turn.request_id;
    let words = if turn.asked.question.is_empty() {
        "asked in the recording".to_owned()
    } else {
        turn.asked.question.clone()
    };
    view! {
        <h3>{format!("Question {}: {words}", turn.id)}</h3>
        {move || view! { <RequestFrames request_id=request_id.get() /> }}
    }
}
