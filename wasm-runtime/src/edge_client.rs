//! The page's handle on the engine: starts the Worker, asks it, hears it.
//!
//! The engine runs in a Worker of its own, so that the page never freezes. What it can do is in
//! [`messages`](crate::messages); this file only carries it. A Worker that dies is reported as
//! [`EdgeErrorCode::WorkerCrashed`], each question it had in hand included, and can be started again with
//! [`EdgeClient::respawn`].

use std::{cell::RefCell, rc::Rc};

use js_sys::{Array, Float32Array, JSON, Object, Reflect, Uint8Array};
use msao_planner::fitting::Format;
use msao_protocol::{RequestId, TokenId};
use serde::{Serialize, de::DeserializeOwned};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{Event, MessageEvent, Url, Worker, WorkerOptions, WorkerType};

use crate::{
    RuntimeError,
    messages::{
        EdgeAsk, EdgeErrorCode, EdgeFailure, EnginePreference, PcmSamples, RgbaPixels, WorkerEvent,
        WorkerRequest,
    },
    scored::Scored,
};

/// Where the engine's files are and which engine to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeOptions {
    /// Folder of the package (`worker.js` and its engines), relative to the page or absolute; ends in `/`.
    pub engine_url: String,
    /// Folder of the checkpoint, relative to the page or absolute; ends in `/`.
    pub weights_url: String,
    /// Which engine.
    pub engine: EnginePreference,
    /// How weights are kept in memory; `None` as they are stored.
    pub format: Option<Format>,
}

/// The engine in its Worker. Dropping it ends the Worker.
pub struct EdgeClient {
    options: EdgeOptions,
    shared: Rc<Shared>,
    worker: RunningWorker,
}

struct Shared {
    on_event: RefCell<Box<dyn FnMut(WorkerEvent)>>,
    in_flight: RefCell<Vec<InFlight>>,
}

/// A question whose end has not been heard.
struct InFlight {
    request_id: RequestId,
    /// Whether its end is `Released` and not `Done`.
    awaits_target: bool,
}

impl EdgeClient {
    /// Starts the Worker and lets it load. `on_event` hears everything, beginning with progress; it must not
    /// drop the client.
    ///
    /// # Errors
    /// [`RuntimeError::Worker`] if the browser refuses at once. A script that cannot be fetched is told later,
    /// as [`EdgeErrorCode::WorkerCrashed`].
    pub fn spawn(
        options: EdgeOptions,
        on_event: impl FnMut(WorkerEvent) + 'static,
    ) -> Result<Self, RuntimeError> {
        let shared = Rc::new(Shared {
            on_event: RefCell::new(Box::new(on_event)),
            in_flight: RefCell::new(Vec::new()),
        });
        let worker = RunningWorker::start(&options, &shared)?;
        Ok(Self { options, shared, worker })
    }

    /// Ends the Worker, crashed or not, and starts a new one, with `engine` if that is given. Questions in
    /// flight fail with [`EdgeErrorCode::WorkerCrashed`].
    ///
    /// # Errors
    /// As [`Self::spawn`]; the client is then without a Worker until this succeeds.
    pub fn respawn(&mut self, engine: Option<EnginePreference>) -> Result<(), RuntimeError> {
        self.worker.worker.terminate();
        self.shared.fail_all("the engine was started again; ask again");
        self.options.engine = engine.unwrap_or(self.options.engine);
        self.worker = RunningWorker::start(&self.options, &self.shared)?;
        Ok(())
    }

    /// Asks a question. It ends in exactly one of [`WorkerEvent::Done`] and [`WorkerEvent::Error`] with its id; where it
    /// awaits its target, in exactly one of [`WorkerEvent::Released`], which follows `Done`, and `Error`.
    ///
    /// # Errors
    /// [`RuntimeError::Post`] if the Worker takes no messages.
    pub fn ask(&self, ask: EdgeAsk) -> Result<(), RuntimeError> {
        let message = to_js(&WorkerRequest::Ask(ask.header()))?;
        let transfer = Array::new();
        let images: Array = ask.images.iter().map(|image| image_to_js(image, &transfer)).collect();
        let audio = ask.audio.as_ref().map_or(JsValue::NULL, |audio| audio_to_js(audio, &transfer));
        set(&message, "images", &images);
        set(&message, "audio", &audio);
        self.worker.worker.post_message_with_transfer(&message, &transfer).map_err(|error| post(&error))?;
        let EdgeAsk { request_id, awaits_target, .. } = ask;
        self.shared.in_flight.borrow_mut().push(InFlight { request_id, awaits_target });
        Ok(())
    }

    /// Says that from position `start` of an answer on `tokens` stand: the edge keeps its own before them and writes on
    /// behind them, under `revision`, which must be higher than before. An unknown id is ignored.
    ///
    /// # Errors
    /// [`RuntimeError::Post`] if the Worker takes no messages. A correction that cannot be ends the request with
    /// [`EdgeErrorCode::InvalidInput`].
    pub fn correct(
        &self,
        request_id: RequestId,
        revision: u32,
        start: u32,
        tokens: Vec<TokenId>,
    ) -> Result<(), RuntimeError> {
        self.worker.post(&WorkerRequest::Correct { request_id, revision, start, tokens })
    }

    /// Says that nothing will be corrected any more: a request that awaits its target ends with
    /// [`WorkerEvent::Released`] once its answer is written. An unknown id is ignored.
    ///
    /// # Errors
    /// [`RuntimeError::Post`] if the Worker takes no messages.
    pub fn release(&self, request_id: RequestId) -> Result<(), RuntimeError> {
        self.worker.post(&WorkerRequest::Release { request_id })
    }

    /// Stops an answer: one that is not done ends with [`Cancelled`](msao_protocol::FinishReason::Cancelled), and one that
    /// awaits its target is released. An unknown id is ignored.
    ///
    /// # Errors
    /// [`RuntimeError::Post`] if the Worker takes no messages.
    pub fn cancel(&self, request_id: RequestId) -> Result<(), RuntimeError> {
        self.worker.post(&WorkerRequest::Cancel { request_id })
    }

    /// Times the engine in use; answered by [`WorkerEvent::Measured`].
    ///
    /// # Errors
    /// [`RuntimeError::Post`] if the Worker takes no messages.
    pub fn measure(&self) -> Result<(), RuntimeError> {
        self.worker.post(&WorkerRequest::Measure)
    }
}

impl Drop for EdgeClient {
    fn drop(&mut self) {
        self.worker.worker.terminate();
    }
}

impl Shared {
    fn event(&self, event: WorkerEvent) {
        match &event {
            WorkerEvent::Done(done) => {
                self.keep(|asked| asked.request_id != done.request_id || asked.awaits_target);
            }
            WorkerEvent::Released { request_id, .. }
            | WorkerEvent::Error(EdgeFailure { request_id: Some(request_id), .. }) => {
                self.keep(|asked| asked.request_id != *request_id);
            }
            _ => (),
        }
        (self.on_event.borrow_mut())(event);
    }

    fn keep(&self, is_kept: impl FnMut(&InFlight) -> bool) {
        self.in_flight.borrow_mut().retain(is_kept);
    }

    fn fail_all(&self, message: &str) {
        let in_flight = std::mem::take(&mut *self.in_flight.borrow_mut());
        for InFlight { request_id, .. } in in_flight {
            self.event(crashed(Some(request_id), message));
        }
    }
}

/// A Worker with its listeners, which live as long as it does.
struct RunningWorker {
    worker: Worker,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_error: Closure<dyn FnMut(Event)>,
}

impl RunningWorker {
    fn start(options: &EdgeOptions, shared: &Rc<Shared>) -> Result<Self, RuntimeError> {
        let settings = WorkerOptions::new();
        settings.set_type(WorkerType::Module);
        settings.set_name("msao-edge");
        let worker = Worker::new_with_options(&format!("{}worker.js", options.engine_url), &settings)
            .map_err(|error| RuntimeError::Worker { reason: describe(&error) })?;

        let listener = Rc::clone(shared);
        let on_message =
            Closure::<dyn FnMut(MessageEvent)>::new(move |message: MessageEvent| {
                match from_js(&message.data()) {
                    Ok(event) => listener.event(event),
                    Err(reason) => listener.event(crashed(None, &reason)),
                }
            });
        worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));

        let listener = Rc::clone(shared);
        let on_error = Closure::<dyn FnMut(Event)>::new(move |error: Event| {
            // An event without a message means that the script itself could not be fetched.
            let reason = get(&error, "message").as_string();
            let reason = reason.unwrap_or_else(|| "its script could not be loaded".to_owned());
            let message = format!("the edge engine stopped: {reason}; it can be started again");
            listener.fail_all(&message);
            listener.event(crashed(None, &message));
        });
        worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));

        let running = Self { worker, _on_message: on_message, _on_error: on_error };
        running.post(&WorkerRequest::Load {
            engine: options.engine,
            weights_url: absolute_url(&options.weights_url)?,
            format: options.format,
        })?;
        Ok(running)
    }

    fn post(&self, request: &WorkerRequest) -> Result<(), RuntimeError> {
        self.worker.post_message(&to_js(request)?).map_err(|error| post(&error))
    }
}

fn crashed(request_id: Option<RequestId>, message: &str) -> WorkerEvent {
    WorkerEvent::Error(EdgeFailure {
        request_id,
        code: EdgeErrorCode::WorkerCrashed,
        message: message.to_owned(),
        fits_as: None,
    })
}

/// Resolves against the page, because the Worker would resolve against its own address.
pub(crate) fn absolute_url(url: &str) -> Result<String, RuntimeError> {
    let page = web_sys::window().and_then(|window| window.location().href().ok());
    let page = page.ok_or(RuntimeError::Address { reason: "there is no page".to_owned() })?;
    let url =
        Url::new_with_base(url, &page).map_err(|error| RuntimeError::Address { reason: describe(&error) })?;
    Ok(url.href())
}

fn image_to_js(image: &RgbaPixels, transfer: &Array) -> JsValue {
    let pixels = Uint8Array::from(&image.pixels[..]).buffer();
    transfer.push(&pixels);
    let object = Object::new();
    set(&object, "width", &image.width.into());
    set(&object, "height", &image.height.into());
    set(&object, "pixels", &pixels);
    object.into()
}

pub(crate) fn audio_to_js(audio: &PcmSamples, transfer: &Array) -> JsValue {
    let samples = Float32Array::from(&audio.samples[..]).buffer();
    transfer.push(&samples);
    let object = Object::new();
    set(&object, "sample_rate_hz", &audio.sample_rate_hz.into());
    set(&object, "samples", &samples);
    object.into()
}

pub(crate) fn set(target: &JsValue, name: &str, value: &JsValue) {
    Reflect::set(target, &name.into(), value).expect("a fresh plain object takes any property");
}

pub(crate) fn to_js(request: &impl Serialize) -> Result<JsValue, RuntimeError> {
    let json =
        serde_json::to_string(request).map_err(|error| RuntimeError::Post { reason: error.to_string() })?;
    JSON::parse(&json).map_err(|error| post(&error))
}

/// An event as the Worker writes it.
///
/// # Errors
/// For what is none, in words for people.
pub(crate) fn from_js(value: &JsValue) -> Result<WorkerEvent, String> {
    let mut event = read(value)?;
    if let WorkerEvent::Scored { scored, .. } = &mut event {
        take_buffers(scored, value);
    }
    Ok(event)
}

/// A message of a Worker, without what JSON leaves out.
///
/// # Errors
/// As [`from_js`].
pub(crate) fn read<T: DeserializeOwned>(value: &JsValue) -> Result<T, String> {
    let json = JSON::stringify(value).map_err(|error| describe(&error))?;
    serde_json::from_str(&String::from(json))
        .map_err(|error| format!("page and edge engine are of different versions ({error}); reload the page"))
}

/// Takes over the pixels and samples that JSON leaves out.
fn take_buffers(scored: &mut Scored, event: &JsValue) {
    let object = get(event, "scored");
    let images = Array::from(&get(&object, "images"));
    for (pruned, image) in scored.images.iter_mut().zip(images.iter()) {
        pruned.tiles.pixels = Uint8Array::new(&get(&get(&image, "tiles"), "pixels")).to_vec();
        if let Some(split) = &mut pruned.split {
            let whole = get(&get(&image, "split"), "whole");
            split.whole.pixels = Uint8Array::new(&get(&whole, "pixels")).to_vec();
        }
    }
    if let Some(audio) = &mut scored.audio {
        let windows = get(&get(&object, "audio"), "windows");
        audio.windows.samples = Float32Array::new(&get(&windows, "samples")).to_vec();
    }
}

pub(crate) fn get(object: &JsValue, name: &str) -> JsValue {
    Reflect::get(object, &name.into()).unwrap_or_default()
}

pub(crate) fn post(error: &JsValue) -> RuntimeError {
    RuntimeError::Post { reason: describe(error) }
}

pub(crate) fn describe(error: &JsValue) -> String {
    error
        .dyn_ref::<js_sys::Error>()
        .map_or_else(|| format!("{error:?}"), |error| String::from(error.message()))
}
