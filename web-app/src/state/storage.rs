//! What the page keeps on this device: how much, whether for good, and how it is given up.

use gloo_timers::future::TimeoutFuture;
use js_sys::Promise;
use leptos::{prelude::*, task::spawn_local};
use msao_runtime::messages::Kept;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    CacheStorage, FileSystemDirectoryHandle, FileSystemRemoveOptions, StorageEstimate, StorageManager,
};

use super::{PageState, visits};

/// The folder of checkpoints in the origin's private files; the engine's package makes it (`store.js`).
const WEIGHTS_FOLDER: &str = "msao-weights";
/// What the names of our caches begin with.
const CACHE_PREFIX: &str = "msao-";
/// A Worker that was ended lets go of its files a little later: so often and so far apart that is tried.
const CLEAR_ATTEMPTS: u32 = 10;
const CLEAR_PAUSE_MS: u32 = 200;

/// What the browser says about this origin's storage.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Usage {
    /// Bytes in use, of everything that this origin keeps.
    pub(crate) used_bytes: Option<u64>,
    /// Bytes there may be.
    pub(crate) quota_bytes: Option<u64>,
    /// The browser keeps them even when space is short.
    pub(crate) is_persistent: bool,
}

/// What is known of storage.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Storage {
    /// What the browser says; `None` before it was asked.
    pub(crate) usage: RwSignal<Option<Usage>>,
    /// Where the model lies, and its bytes; `None` while there is none.
    pub(crate) model: RwSignal<Option<(Kept, u64)>>,
    /// Everything is being removed.
    pub(crate) clearing: RwSignal<bool>,
    /// What has come of that, for people; empty before.
    pub(crate) outcome: RwSignal<&'static str>,
    was_persistence_asked: StoredValue<bool>,
}

impl Storage {
    pub(super) fn new() -> Self {
        Self {
            usage: RwSignal::new(None),
            model: RwSignal::new(None),
            clearing: RwSignal::new(false),
            outcome: RwSignal::new(""),
            was_persistence_asked: StoredValue::new(false),
        }
    }

    /// Asks the browser how much is kept.
    pub(crate) async fn refresh(self) {
        let Some(manager) = manager() else { return self.usage.set(Some(Usage::default())) };
        let estimate = settled(manager.estimate()).await.map(JsCast::unchecked_into::<StorageEstimate>);
        let bytes = |value: Option<f64>| value.map(|value| value.max(0.0) as u64);
        let is_persistent = settled(manager.persisted()).await.is_some_and(|value| value.is_truthy());
        self.usage.set(Some(Usage {
            used_bytes: bytes(estimate.as_ref().and_then(StorageEstimate::get_usage)),
            quota_bytes: bytes(estimate.as_ref().and_then(StorageEstimate::get_quota)),
            is_persistent,
        }));
    }

    /// Asks the browser to keep everything even when space is short. Some browsers ask the visitor.
    pub(crate) async fn persist(self) {
        if let Some(manager) = manager() {
            settled(manager.persist()).await;
        }
        self.refresh().await;
    }
}

impl PageState {
    /// The right time to ask for lasting storage: the visitor has had an answer of a model that lies on the disk. Once.
    pub(super) fn ask_for_persistence(self) {
        let is_kept = self.storage.model.with_untracked(|model| matches!(model, Some((Kept::Disk, _))));
        if is_kept && !self.storage.was_persistence_asked.get_value() {
            self.storage.was_persistence_asked.set_value(true);
            spawn_local(self.storage.persist());
        }
    }

    /// Removes everything that this page keeps here: model, measurements, page files and the worker that serves them. What
    /// is loaded goes on working.
    pub(crate) fn clear_storage(self) {
        if self.storage.clearing.get_untracked() {
            return;
        }
        self.storage.clearing.set(true);
        spawn_local(async move {
            let is_downloading = !self.edge.with_untracked(|status| status.is_ready());
            if is_downloading {
                // It would keep on what is being removed.
                self.stop_edge();
            }
            visits::unregister().await;
            let is_clear = remove_weights().await & remove_caches().await;
            if is_clear {
                self.storage.model.set(None);
            }
            self.storage.outcome.set(if is_clear {
                "Everything is removed. What is loaded works until this page is closed."
            } else {
                "Not everything could be removed: another tab may be using it. Close it and try again."
            });
            self.storage.clearing.set(false);
            self.storage.refresh().await;
        });
    }
}

fn manager() -> Option<StorageManager> {
    // Pages without https have none, whatever the types say.
    let navigator = window().navigator();
    let manager = js_sys::Reflect::get(&navigator, &"storage".into()).ok()?;
    manager.dyn_into().ok()
}

/// What a promise comes to; `None` if it is refused.
pub(super) async fn settled(promise: Result<Promise, JsValue>) -> Option<JsValue> {
    JsFuture::from(promise.ok()?).await.ok()
}

async fn remove_weights() -> bool {
    let Some(manager) = manager() else { return true };
    let Some(root) = settled(Ok(manager.get_directory())).await else { return true };
    let root: FileSystemDirectoryHandle = root.unchecked_into();
    if settled(Ok(root.get_directory_handle(WEIGHTS_FOLDER))).await.is_none() {
        return true;
    }
    let options = FileSystemRemoveOptions::new();
    options.set_recursive(true);
    for _ in 0..CLEAR_ATTEMPTS {
        if settled(Ok(root.remove_entry_with_options(WEIGHTS_FOLDER, &options))).await.is_some() {
            return true;
        }
        TimeoutFuture::new(CLEAR_PAUSE_MS).await;
    }
    false
}

async fn remove_caches() -> bool {
    let Ok(caches) = js_sys::Reflect::get(&window(), &"caches".into()) else { return true };
    let Ok(caches) = caches.dyn_into::<CacheStorage>() else { return true };
    let Some(names) = settled(Ok(caches.keys())).await else { return false };
    let names = js_sys::Array::from(&names).to_vec();
    let mut is_clear = true;
    for name in
        names.into_iter().filter_map(|name| name.as_string()).filter(|name| name.starts_with(CACHE_PREFIX))
    {
        is_clear &= settled(Ok(caches.delete(&name))).await.is_some();
    }
    is_clear
}
