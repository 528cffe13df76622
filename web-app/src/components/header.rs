//! What this is, and whether each side can answer.

use std::time::Duration;

use leptos::prelude::*;

use super::{
    icon::{Icon, IconView},
    misfit::Misfit,
};
use crate::{
    state::{now_ms, use_page},
    status::{CloudStatus, EdgeStatus},
};

/// The head of the page.
#[component]
pub(crate) fn PageHeader() -> impl IntoView {
    view! {
        <header class="page-header">
            <div class="brand">
                <h1>"MSAO"</h1>
                <p>"Ask about what you show and say. A small model in this page answers at once; a larger one in the cloud confirms."</p>
            </div>
            <div class="chips">
                <EdgeChip />
                <CloudChip />
            </div>
        </header>
    }
}

#[component]
fn EdgeChip() -> impl IntoView {
    let page = use_page();
    let state = move || {
        page.edge.with(|status| match status {
            EdgeStatus::Off => "off",
            EdgeStatus::Loading(_) => "loading",
            EdgeStatus::Ready(_) => "ready",
            EdgeStatus::Failed(_) => "failed",
        })
    };
    let is_loading = move || page.edge.with(|status| matches!(status, EdgeStatus::Loading(_)));
    let may_load = move || page.edge.with(|status| matches!(status, EdgeStatus::Off | EdgeStatus::Failed(_)));
    view! {
        <div class="chip edge" data-testid="edge-status" data-state=state>
            <IconView icon=Icon::Device />
            <div class="chip-text">
                <div class="chip-line">
                    <span class="chip-name">"On this device"</span>
                    <span class="chip-state" data-testid="edge-headline">
                        {move || page.edge.with(EdgeStatus::headline)}
                    </span>
                </div>
                <div class="chip-detail" data-testid="edge-detail">{move || page.edge.with(EdgeStatus::detail)}</div>
                <Misfit />
                <Show when=is_loading>
                    <progress max="1" aria-label="Download of the model" data-testid="edge-progress"
                        value=move || page.edge.with(EdgeStatus::fraction).map(|fraction| format!("{fraction:.3}")) />
                </Show>
            </div>
            <Show when=is_loading>
                <button type="button" class="quiet" data-testid="edge-cancel" on:click=move |_| page.stop_edge()>
                    "Cancel"
                </button>
            </Show>
            <Show when=may_load>
                <button type="button" class="quiet" data-testid="edge-load" on:click=move |_| page.load_edge()>
                    "Load"
                </button>
            </Show>
        </div>
    }
}

#[component]
fn CloudChip() -> impl IntoView {
    let page = use_page();
    let clock = RwSignal::new(now_ms());
    // Only a countdown needs the time.
    let ticking = set_interval_with_handle(
        move || {
            if page.cloud.with_untracked(|status| matches!(status, CloudStatus::Away { .. })) {
                clock.set(now_ms());
            }
        },
        Duration::from_millis(500),
    );
    if let Ok(ticking) = ticking {
        on_cleanup(move || ticking.clear());
    }
    let state = move || {
        page.cloud.with(|status| match status {
            CloudStatus::Connecting => "loading",
            CloudStatus::Connected(_) => "ready",
            CloudStatus::Offline => "off",
            CloudStatus::Away { .. } => "failed",
        })
    };
    view! {
        <div class="chip cloud" data-testid="cloud-status" data-state=state>
            <IconView icon=Icon::Cloud />
            <div class="chip-text">
                <div class="chip-line">
                    <span class="chip-name">"Cloud"</span>
                    <span class="chip-state" data-testid="cloud-headline">
                        {move || page.cloud.with(|status| status.headline(clock.get()))}
                    </span>
                </div>
                <div class="chip-detail" data-testid="cloud-detail">{move || page.cloud.with(CloudStatus::detail)}</div>
            </div>
        </div>
    }
}
