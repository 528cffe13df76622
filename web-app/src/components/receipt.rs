//! What an answer took, below it: closed until somebody wants to know.

use leptos::prelude::*;
use msao_protocol::{Modality, ModalityPlanReceipt};

use super::icon::{Icon, IconView};
use crate::{
    format, policy,
    receipt::{self, Line, TurnReceipt},
    state::Asked,
};

/// The receipt of a turn.
#[component]
pub(crate) fn ReceiptView(receipt: TurnReceipt, asked: std::sync::Arc<Asked>) -> impl IntoView {
    view! {
        <details class="receipt" data-testid="receipt" data-strategy=policy::strategy_name(receipt.plan.strategy)>
            <summary><strong>"Receipt"</strong> " " <span>{receipt.headline()}</span></summary>
            {receipt.plan.modalities.iter().map(|one| modality_view(&receipt, one, &asked)).collect_view()}
            <dl class="lines" data-testid="receipt-plan">{receipt.plan_lines().into_iter().map(line_view).collect_view()}</dl>
        </details>
    }
}

fn modality_view(receipt: &TurnReceipt, one: &ModalityPlanReceipt, asked: &Asked) -> impl IntoView + use<> {
    let (name, testid) = match one.modality {
        Modality::Text => ("Words", "receipt-text"),
        Modality::Vision => (receipt::modality(one.modality, asked.pictures.len()), "receipt-vision"),
        Modality::Audio => ("Sound", "receipt-audio"),
    };
    let preview = (one.modality == Modality::Vision).then(|| sent_view(one, asked));
    view! {
        <section class="modality" data-testid=testid data-action=receipt::action_name(one.action)>
            {preview}
            <div class="modality-text">
                <h4>{name} <span>{receipt::action(one)}</span>
                    {one.locked.then(|| view! { <IconView icon=Icon::Locked /> })}</h4>
                <dl class="figures">
                    <div class="figure">
                        <dt>"Sent"</dt>
                        <dd data-testid=format!("{testid}-sent") data-bytes=one.sent_bytes.to_string()>
                            {format::bytes(one.sent_bytes)}
                        </dd>
                    </div>
                    <div class="figure">
                        <dt>"Cloud only"</dt>
                        <dd data-testid=format!("{testid}-whole") data-bytes=one.cloud_only_bytes.to_string()>
                            {format::bytes(one.cloud_only_bytes)}
                        </dd>
                    </div>
                    {receipt.modality_lines(one).into_iter().map(|(label, value)| view! {
                        <div class="figure"><dt>{label}</dt><dd>{value}</dd></div>
                    }).collect_view()}
                </dl>
            </div>
        </section>
    }
}

/// The pictures, dark where nothing left the device.
fn sent_view(one: &ModalityPlanReceipt, asked: &Asked) -> impl IntoView + use<> {
    let squares = receipt::sent_squares(one, asked.pictures.len());
    let frames = asked.pictures.iter().enumerate().map(|(frame, picture)| {
        let (side, sent) = match &squares {
            Some((side, frames)) => (*side, frames.get(frame).cloned().unwrap_or_default()),
            None => (1, vec![one.action.leaves_device()]),
        };
        view! {
            <div class="sent-frame">
                <img src=picture.url.as_str().to_owned() alt="" />
                <div class="squares" style:grid-template-columns=format!("repeat({side}, 1fr)")
                    style:grid-template-rows=format!("repeat({side}, 1fr)")>
                    {sent.into_iter().map(|sent| view! { <i class:kept=sent></i> }).collect_view()}
                </div>
            </div>
        }
    });
    let alt = match &squares {
        Some((_, frames)) => {
            let all = frames.concat();
            format!("{} of {} squares left this device", all.iter().filter(|sent| **sent).count(), all.len())
        }
        None => receipt::action(one).to_owned(),
    };
    view! {
        <div class="sent-frames" class:clip=asked.pictures.len() != 1 role="img" aria-label=alt.clone() title=alt
            data-testid="receipt-kept">
            {frames.collect_view()}
        </div>
    }
}

fn line_view((label, value): Line) -> impl IntoView {
    view! { <div class="line"><dt>{label}</dt><dd>{value}</dd></div> }
}
