//! The page beyond this visit: the service worker that opens it without a network, newer versions, and the browser's offer
//! to install it.

use std::time::Duration;

use js_sys::{Function, Object, Reflect};
use leptos::{ev, prelude::*, task::spawn_local};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{Event, MessageEvent, ServiceWorkerContainer, ServiceWorkerRegistration};

use super::{PageState, storage::settled};
use crate::{ladder::Step, status::EdgeStatus};

/// The worker's script, relative to the page; the page's build writes it.
const WORKER: &str = "sw.js";
/// A page whose engine still loads after so long need not wait for it.
const LATEST: Duration = Duration::from_secs(60);

/// The browser's offer to install the page, while there is one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InstallOffer {
    event: StoredValue<Option<Event>, LocalStorage>,
    /// Whether there is one.
    pub(crate) is_there: RwSignal<bool>,
}

impl InstallOffer {
    pub(super) fn new() -> Self {
        Self { event: StoredValue::new_local(None), is_there: RwSignal::new(false) }
    }

    fn take(self) -> Option<Event> {
        self.is_there.set(false);
        self.event.try_update_value(Option::take).flatten()
    }

    /// Has the browser ask the visitor.
    pub(crate) fn accept(self) {
        let prompt = self.take().and_then(|event| {
            let prompt = Reflect::get(&event, &"prompt".into()).ok()?.dyn_into::<Function>().ok()?;
            Some((event, prompt))
        });
        if let Some((event, prompt)) = prompt {
            // Refused only where the offer was taken before.
            let _ = prompt.call0(&event);
        }
    }
}

impl PageState {
    /// Registers the service worker once the model is there, so that it delays no first answer, and hears of newer versions.
    pub(super) fn prepare_next_visit(self) {
        self.hear_install_offers();
        let Some(container) = container().filter(|_| is_top_level()) else { return };
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |message: MessageEvent| {
            let entry =
                Reflect::get(&message.data(), &"entry".into()).ok().and_then(|entry| entry.as_string());
            if entry.zip(own_entry()).is_some_and(|(served, own)| !own.ends_with(&served)) {
                self.happened.tell(Step::NewVersion);
            }
        });
        container.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        // The page hears as long as it lives.
        on_message.forget();

        let is_late = RwSignal::new(false);
        Effect::new(move |was_due: Option<bool>| {
            let was_due = was_due.unwrap_or_default();
            let is_loading = self.edge.with(|status| matches!(status, EdgeStatus::Loading(_)));
            let is_due = was_due || is_late.get() || !is_loading;
            if is_due && !was_due {
                spawn_local(self.register());
            }
            is_due
        });
        set_timeout(move || is_late.set(true), LATEST);
    }

    /// Whether the server has a newer page; asked when it comes back, since that is when it has.
    pub(super) fn look_for_a_new_version(self) {
        spawn_local(async {
            if let Some(registration) = registration().await {
                settled(registration.update()).await;
            }
        });
    }

    /// Another engine is in use. No visit keeps the module of one that it does not use.
    pub(super) fn keep_engine(self) {
        spawn_local(async move {
            if let Some(registration) = registration().await {
                self.tell_engine(&registration);
            }
        });
    }

    fn tell_engine(self, registration: &ServiceWorkerRegistration) {
        let folder = self.edge.with_untracked(|status| match status {
            EdgeStatus::Ready(ready) => Some(format!("engine/{}/", ready.module())),
            _ => None,
        });
        if let Some(folder) = folder {
            tell(registration, "keep", &folder);
        }
    }

    async fn register(self) {
        let Some(container) = container() else { return };
        // Without a worker in the build, or where the browser refuses one, the page works as long as the server does.
        if settled(Ok(container.register(WORKER))).await.is_none() {
            return;
        }
        if let Some(ready) = settled(container.ready()).await {
            tell(ready.unchecked_ref(), "which", "");
            self.tell_engine(ready.unchecked_ref());
        }
    }

    fn hear_install_offers(self) {
        let offer = self.install;
        let hear = window_event_listener(ev::Custom::<Event>::new("beforeinstallprompt"), move |event| {
            // The browser's own banner stays away; the storage dialog has a button.
            event.prevent_default();
            offer.event.set_value(Some(event));
            offer.is_there.set(true);
        });
        let forget = window_event_listener(ev::Custom::<Event>::new("appinstalled"), move |_| {
            offer.take();
        });
        on_cleanup(move || {
            hear.remove();
            forget.remove();
        });
    }
}

/// Gives the service worker up.
pub(super) async fn unregister() {
    if let Some(registration) = registration().await {
        // It serves this page until that is closed, and must keep nothing more.
        tell(&registration, "forget", "");
        settled(registration.unregister()).await;
    }
}

/// Says something to the worker; `js/service_worker.js` lists what it understands.
fn tell(registration: &ServiceWorkerRegistration, name: &str, value: &str) {
    let message = Object::new();
    let is_written = Reflect::set(&message, &name.into(), &value.into());
    if let Some(worker) = registration.active()
        && is_written.is_ok()
    {
        // Refused only by a worker that is gone.
        let _ = worker.post_message(&message);
    }
}

async fn registration() -> Option<ServiceWorkerRegistration> {
    settled(Ok(container()?.get_registration())).await?.dyn_into().ok()
}

/// `None` on pages without https, whatever the types say.
fn container() -> Option<ServiceWorkerContainer> {
    let container = Reflect::get(&window().navigator(), &"serviceWorker".into()).ok()?;
    container.dyn_into().ok()
}

/// Inside another site's page nobody comes back to an address of ours.
fn is_top_level() -> bool {
    let window: JsValue = window().into();
    Reflect::get(&window, &"top".into()).is_ok_and(|top| top == window)
}

/// The address of the script that this page runs, as its head names it.
fn own_entry() -> Option<String> {
    let link = document().query_selector("link[rel=modulepreload]").ok()??;
    link.get_attribute("href")
}
