//! What an answer took, below it: closed until somebody wants to know; then to be looked at, with all numbers in words.

mod export;

use std::sync::Arc;

use leptos::prelude::*;
use msao_protocol::RequestId;

pub(crate) use export::SaveReceipts;

use super::network::RequestFrames;
use crate::{
    policy,
    receipt::{
        TurnReceipt,
        markup::{self, GivenMedia},
    },
    state::Asked,
};

/// The receipt of a turn.
#[component]
pub(crate) fn ReceiptView(receipt: TurnReceipt, asked: Arc<Asked>, request_id: RequestId) -> impl IntoView {
    let pictures: Vec<_> = asked.pictures.iter().map(|picture| picture.url.as_str()).collect();
    let samples = asked.sound.as_ref().map(|sound| &sound.samples[..]);
    let drawn = markup::receipt(&receipt, GivenMedia { pictures: &pictures, samples });
    let (strategy, headline) = (policy::strategy_name(receipt.plan.strategy), receipt.headline());
    view! {
        <details class="receipt" data-testid="receipt" data-strategy=strategy>
            <summary><strong>"Receipt"</strong> " " <span>{headline}</span></summary>
            <div inner_html=drawn></div>
            <section class="receipt-part">
                <h3>"Network" <span>"what crossed it for this question"</span></h3>
                <RequestFrames request_id=request_id />
            </section>
            <section class="receipt-part">
                <SaveReceipts receipts=vec![(request_id, receipt)] />
            </section>
        </details>
    }
}
