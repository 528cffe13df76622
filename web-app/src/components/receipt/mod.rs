//! What an answer took, below it: closed until somebody wants to know; then to be looked at, with all numbers in words.

mod authors;
mod export;
mod gauge;
mod maps;
mod strip;
mod waterfall;
mod work;

use std::sync::Arc;

use leptos::prelude::*;
use msao_protocol::{Modality, ModalityPlanReceipt, RequestId};

pub(crate) use export::SaveReceipts;

use super::{
    icon::{Icon, IconView},
    network::RequestFrames,
};
use crate::{
    format, policy,
    receipt::{
        TurnReceipt,
        words::{self, Line},
    },
    state::Asked,
};

/// The receipt of a turn.
#[component]
pub(crate) fn ReceiptView(receipt: TurnReceipt, asked: Arc<Asked>, request_id: RequestId) -> impl IntoView {
    view! {
        <details class="receipt" data-testid="receipt" data-strategy=policy::strategy_name(receipt.plan.strategy)>
            <summary><strong>"Receipt"</strong> " " <span>{receipt.headline()}</span></summary>
            {receipt.plan.modalities.iter().map(|one| modality_view(&receipt, one, &asked)).collect_view()}
            {waterfall::waterfall_view(&receipt)}
            {authors::authors_view(&receipt.plan.tokens)}
            {work::work_view(&receipt)}
            <section class="receipt-part">
                <dl class="lines" data-testid="receipt-plan">
                    {receipt.plan_lines().into_iter().map(line_view).collect_view()}
                </dl>
            </section>
            <section class="receipt-part">
                <h3>"Network" <span>"what crossed it for this question"</span></h3>
                <RequestFrames request_id=request_id />
            </section>
            <section class="receipt-part">
                <SaveReceipts receipts=vec![(request_id, receipt.clone())] />
            </section>
        </details>
    }
}

fn modality_view(receipt: &TurnReceipt, one: &ModalityPlanReceipt, asked: &Asked) -> impl IntoView + use<> {
    let (name, testid) = match one.modality {
        Modality::Text => ("Words", "receipt-text"),
        Modality::Vision => (words::modality(one.modality, asked.pictures.len()), "receipt-vision"),
        Modality::Audio => ("Sound", "receipt-audio"),
    };
    let pictures =
        (one.modality == Modality::Vision).then(|| maps::maps_view(one, asked, &receipt.patch_probabilities));
    let sound = asked.sound.as_ref().filter(|_| one.modality == Modality::Audio);
    let strip = sound.and_then(|sound| strip::strip_view(one, &sound.samples, receipt.whole_tokens[1]));
    let most = one.sent_bytes.max(one.cloud_only_bytes).max(1) as f64;
    let bar = move |bytes: u64| format!("{:.2}%", bytes as f64 / most * 100.0);
    view! {
        <section class="modality receipt-part" data-testid=testid data-action=words::action_name(one.action)>
            <h3>{name} <span>{words::action(one)}</span>
                {one.locked.then(|| view! { <IconView icon=Icon::Locked /> })}</h3>
            <div class="looked-at">
                {gauge::gauge_view(one, testid)}
                {pictures}
                {strip}
                <dl class="bytes">
                    <div class="bytes-row">
                        <dt>"Sent"</dt>
                        <dd class="measured" data-testid=format!("{testid}-sent") data-bytes=one.sent_bytes.to_string()>
                            <span><i class="bytes-bar sent" style:width=bar(one.sent_bytes)></i></span>
                            {format::bytes(one.sent_bytes)}
                        </dd>
                    </div>
                    <div class="bytes-row">
                        <dt>"Cloud only"</dt>
                        <dd class="measured" data-testid=format!("{testid}-whole") data-bytes=one.cloud_only_bytes.to_string()>
                            <span><i class="bytes-bar whole" style:width=bar(one.cloud_only_bytes)></i></span>
                            {format::bytes(one.cloud_only_bytes)}
                        </dd>
                    </div>
                    {receipt.modality_lines(one).into_iter().map(|(label, value)| view! {
                        <div class="bytes-row"><dt>{label}</dt><dd>{value}</dd></div>
                    }).collect_view()}
                </dl>
            </div>
        </section>
    }
}

fn line_view((label, value): Line) -> impl IntoView {
    view! { <div class="line"><dt>{label}</dt><dd>{value}</dd></div> }
}
