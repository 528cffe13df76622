//! What this page keeps on this device, and the button that removes it.

use leptos::{prelude::*, task::spawn_local};
use msao_runtime::messages::Kept;

use super::dialog::Dialog;
use crate::{format, state::use_page};

/// The dialog.
#[component]
pub(crate) fn StorageDialog(open: RwSignal<bool>) -> impl IntoView {
    view! {
        <Dialog open=open title="On this device" testid="storage-dialog">
            <StorageView />
        </Dialog>
    }
}

#[component]
fn StorageView() -> impl IntoView {
    let page = use_page();
    let storage = page.storage;
    storage.outcome.set("");
    spawn_local(storage.refresh());
    let model = move || match storage.model.get() {
        None => "The model is not loaded.".to_owned(),
        Some((Kept::Disk, bytes)) => {
            format!("{}, on the disk. The next visit loads it from there.", format::bytes(bytes))
        }
        Some((Kept::NoRoom, bytes)) => {
            format!("{}, in memory only: there is no room on the disk.", format::bytes(bytes))
        }
        Some((Kept::NoStore, bytes)) => {
            format!("{}, in memory only: this browser keeps nothing here.", format::bytes(bytes))
        }
    };
    let used = move || match storage.usage.get() {
        None => "…".to_owned(),
        Some(usage) => match (usage.used_bytes, usage.quota_bytes) {
            (Some(used), Some(quota)) => {
                format!("{} of at most {}", format::bytes(used), format::bytes(quota))
            }
            _ => "This browser does not say.".to_owned(),
        },
    };
    let is_persistent = move || storage.usage.get().is_some_and(|usage| usage.is_persistent);
    view! {
        <div class="storage" data-testid="storage">
            <p>
                "This page keeps its own files, the model and which engine was faster, so that it opens and answers without a network. Questions, pictures, recordings and answers are never kept."
            </p>
            <dl>
                <dt>"Model"</dt>
                <dd data-testid="storage-model">{model}</dd>
                <dt>"In use, all in all"</dt>
                <dd data-testid="storage-used"
                    data-bytes=move || storage.usage.get().and_then(|usage| usage.used_bytes)>{used}</dd>
                <dt>"When space is short"</dt>
                <dd data-testid="storage-persistence">
                    {move || if is_persistent() { "It stays." } else { "The browser may remove it." }}
                </dd>
            </dl>
            <div class="storage-actions">
                <Show when=move || !is_persistent()>
                    <button type="button" class="secondary" data-testid="storage-persist"
                        on:click=move |_| spawn_local(storage.persist())>"Keep it also then"</button>
                </Show>
                <Show when=move || page.install.is_there.get()>
                    <button type="button" class="secondary" data-testid="install" on:click=move |_| page.install.accept()>
                        "Install as an app"
                    </button>
                </Show>
                <button type="button" class="secondary danger" data-testid="storage-clear"
                    disabled=move || storage.clearing.get() on:click=move |_| page.clear_storage()>
                    "Remove everything from this device"
                </button>
            </div>
            <p role="status" data-testid="storage-outcome">{move || storage.outcome.get()}</p>
        </div>
    }
}
