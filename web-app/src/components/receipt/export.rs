//! Receipts as files: JSON, and one as a picture.

use leptos::{prelude::*, task::spawn_local};
use msao_protocol::RequestId;

use crate::{
    components::icon::{Icon, IconView},
    media::save::{png_of_svg, save},
    receipt::{TurnReceipt, draw::poster::poster},
    state::use_page,
};

/// Saves these receipts: as JSON, and as a picture where it is one.
#[component]
pub(crate) fn SaveReceipts(receipts: Vec<(RequestId, TurnReceipt)>) -> impl IntoView {
    let page = use_page();
    let refused = move || page.notices.error("The browser did not make the file. Another one may.");
    let receipts = StoredValue::new(receipts);
    let name = |extension: &str| {
        receipts.with_value(|receipts| match &receipts[..] {
            [(request_id, _)] => format!("msao-receipt-{request_id}.{extension}"),
            _ => format!("msao-receipts.{extension}"),
        })
    };
    let (json_name, png_name) = (name("json"), name("png"));
    let save_json = move |_| {
        let file = receipts.with_value(|receipts| page.receipt_file(receipts).to_json());
        let saved = file.ok().map(|json| save(&json_name, json.as_bytes(), "application/json"));
        if !matches!(saved, Some(Ok(()))) {
            refused();
        }
    };
    let save_picture = move |_| {
        let drawn = receipts.with_value(|receipts| receipts.first().map(|(_, receipt)| poster(receipt)));
        let Some((svg, width, height)) = drawn else { return };
        let png_name = png_name.clone();
        spawn_local(async move {
            let png = png_of_svg(&svg, width, height).await;
            if png.and_then(|png| save(&png_name, &png, "image/png")).is_err() {
                refused();
            }
        });
    };
    let is_one = receipts.with_value(Vec::len) == 1;
    view! {
        <div class="save">
            <button type="button" class="secondary" data-testid="save-json" on:click=save_json>
                <IconView icon=Icon::Down /> "Save as JSON"
            </button>
            {is_one.then(|| view! {
                <button type="button" class="secondary" data-testid="save-picture" on:click=save_picture>
                    <IconView icon=Icon::Down /> "Save as picture"
                </button>
            })}
            <span class="hint">"Without your words, pictures and sound. Nothing is sent."</span>
        </div>
    }
}
