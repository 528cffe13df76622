//! Floating-point operations: spent here, spent in the cloud, and spared there.

use leptos::prelude::*;

use crate::{format, receipt::TurnReceipt};

/// A bar for each; `None` where no work was counted.
pub(super) fn work_view(receipt: &TurnReceipt) -> Option<impl IntoView + use<>> {
    let (edge, cloud) = (receipt.plan.edge_flops, receipt.plan.cloud_flops);
    let spared = receipt.spared_flops();
    let most = edge.max(cloud).max(spared.and_then(|flops| u64::try_from(flops).ok()).unwrap_or(0));
    if most == 0 {
        return None;
    }
    let bar = move |flops: u64| format!("{:.2}%", flops as f64 / most as f64 * 100.0);
    let row = move |label: &'static str, class: &'static str, flops: i64| {
        view! {
            <div class="bytes-row">
                <dt>{label}</dt>
                <dd class="measured">
                    <span><i class=format!("bytes-bar {class}") style:width=bar(u64::try_from(flops).unwrap_or(0))></i></span>
                    {format::signed_operations(flops)}
                </dd>
            </div>
        }
    };
    let signed = |flops: u64| i64::try_from(flops).unwrap_or(i64::MAX);
    Some(view! {
        <section class="receipt-part" data-testid="receipt-work" data-spared=spared.map(|flops| flops.to_string())>
            <h3>"Work" <span>"floating-point operations; saved is an estimate, and a low one"</span></h3>
            <dl class="bytes wide">
                {row("This device", "device", signed(edge))}
                {row("Cloud", "sent", signed(cloud))}
                {spared.map(|flops| row("Saved there", "whole", flops))}
            </dl>
        </section>
    })
}
