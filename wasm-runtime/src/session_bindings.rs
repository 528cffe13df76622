//! The whole method as JavaScript sees it: the driver and its session with the cloud in one class, for the package's Worker.
//!
//! The engine is not in here: whoever holds both carries its events to [`Assistant::edge_event`] and what is posted to
//! it. Structured values cross as plain objects, in the form that serde gives them; pixels, samples and files as typed
//! arrays. A panic is thrown as an error that nobody catches, and ends the Worker.

use std::{cell::RefCell, rc::Rc};

use js_sys::{Array, Error, Float32Array, Function, JSON, Object, Promise, Reflect, Uint8Array};
use msao_planner::confidence::JudgedPair;
use msao_protocol::{Clip, Media, MediaKind, Sampling, Turn};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};
use wasm_bindgen_futures::JsFuture;

use crate::{
    cloud_client::{CloudClient, TokenSource},
    driver::{Action, Driver, Question, Tiles},
    edge_client,
    messages::WorkerRequest,
    wav_encode,
};

/// Told to the server, for its log.
const CLIENT: &str = concat!("msao-module/", env!("CARGO_PKG_VERSION"));

#[wasm_bindgen]
extern "C" {
    /// The clock of pages and Workers alike.
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
}

/// A question without its media.
#[derive(Debug, Deserialize)]
struct Asked {
    question: String,
    /// Earlier turns, in words.
    #[serde(default)]
    history: Vec<Turn>,
    max_new_tokens: u32,
    sampling: Option<Sampling>,
    #[serde(default)]
    prune_tiles: Option<bool>,
    #[serde(default)]
    clip: Option<Clip>,
    #[serde(default)]
    only_plan: bool,
}

/// Runs when the module is instantiated.
#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|panic| wasm_bindgen::throw_str(&panic.to_string())));
}

/// Questions under way, and the session with the cloud that they share.
#[wasm_bindgen]
pub struct Assistant {
    shared: Rc<Shared>,
}

struct Shared {
    driver: RefCell<Driver>,
    cloud: RefCell<Option<CloudClient>>,
    /// `(message)` for the engine's Worker.
    post: Function,
    /// `(request_id, [{ kind, width, height, pixels }])`: kept squares to be encoded.
    encode: Function,
    /// `(told)`, as in `driver::Told`.
    tell: Function,
}

#[wasm_bindgen]
impl Assistant {
    /// Neither model is there yet. `settings` are `driver::Settings`; `seed` is a random number. `post(message)` hands a
    /// request to the engine's Worker, its media still missing; `encode(request_id, tiles)` leads to [`Self::encoded`];
    /// `tell(told)` hears what becomes of questions.
    ///
    /// # Errors
    /// An `Error` if the settings are none.
    #[wasm_bindgen(constructor)]
    pub fn new(
        settings: JsValue,
        seed: u64,
        post: Function,
        encode: Function,
        tell: Function,
    ) -> Result<Assistant, JsValue> {
        let driver = RefCell::new(Driver::new(from_js(&settings)?, seed));
        Ok(Self { shared: Rc::new(Shared { driver, cloud: RefCell::new(None), post, encode, tell }) })
    }

    /// Asks under other terms from now on; a lock holds at once.
    ///
    /// # Errors
    /// An `Error` if the settings are none.
    pub fn set(&self, settings: JsValue) -> Result<(), JsValue> {
        self.shared.driver.borrow_mut().set(from_js(&settings)?);
        Ok(())
    }

    /// Takes the judged answers that are shipped with a checkpoint (`confidence.json`).
    ///
    /// # Errors
    /// An `Error` if they are none.
    pub fn learn(&self, judged: JsValue) -> Result<(), JsValue> {
        let judged: JudgedPair = from_js(&judged)?;
        self.shared.driver.borrow_mut().learn(judged);
        Ok(())
    }

    /// Opens a session at `url`, and goes on trying. `token()` yields a token for each attempt, or nothing, or a promise
    /// of them.
    pub fn connect(&self, url: String, token: Function) {
        let source: TokenSource = Box::new(move || Box::pin(next_token(token.clone())));
        let weak = Rc::downgrade(&self.shared);
        let client = CloudClient::connect_as(CLIENT, url, source, move |event| {
            if let Some(shared) = weak.upgrade() {
                let actions = shared.driver.borrow_mut().cloud_event(event, performance_now());
                shared.perform(actions);
            }
        });
        self.shared.cloud.replace(Some(client));
    }

    /// Ends the session with the cloud; what waited for it is told to have failed by the device alone or not at all.
    pub fn disconnect(&self) {
        self.shared.cloud.take();
    }

    /// The engine's Worker tells something.
    ///
    /// # Errors
    /// An `Error` if it is not what an engine tells.
    pub fn edge_event(&self, event: JsValue) -> Result<(), JsValue> {
        let event = edge_client::from_js(&event).map_err(|reason| JsValue::from(Error::new(&reason)))?;
        let actions = self.shared.driver.borrow_mut().edge_event(event, performance_now());
        self.shared.perform(actions);
        Ok(())
    }

    /// Asks; returns the question's id before anything is told of it. `asked` is `{ question, history, max_new_tokens,
    /// sampling, prune_tiles, clip, only_plan }`, `images` an array of `{ kind, bytes }` with `kind` such as `Png`, `samples` a recording of
    /// 16 kHz or nothing. `on_id(request_id)` hears the id before anything else happens.
    ///
    /// # Errors
    /// A `Failure` object if nobody can answer.
    pub fn ask(
        &self,
        asked: JsValue,
        images: Array,
        samples: Option<Float32Array>,
        on_id: Function,
    ) -> Result<(), JsValue> {
        let Asked { question, history, max_new_tokens, sampling, prune_tiles, clip, only_plan } =
            from_js(&asked)?;
        let audio = samples.map(|samples| {
            let bytes = wav_encode::encode_wav(&samples.to_vec(), wav_encode::SAMPLE_RATE_HZ);
            Media { kind: MediaKind::Wav, bytes }
        });
        let images = images.iter().map(|image| media(&image)).collect::<Result<_, _>>()?;
        let question = Question {
            text: question,
            history,
            images,
            clip,
            audio,
            max_new_tokens,
            sampling,
            prune_tiles,
            only_plan,
        };
        let asked = self.shared.driver.borrow_mut().ask(question, performance_now());
        match asked {
            Ok((request_id, actions)) => {
                on_id.call1(&JsValue::NULL, &request_id.into())?;
                self.shared.perform(actions);
                Ok(())
            }
            Err(failure) => Err(to_js(&failure)?),
        }
    }

    /// The kept squares are encoded: an array of `Uint8Array`, or `null` if the browser could not.
    pub fn encoded(&self, request_id: u32, files: Option<Array>) {
        let files = files.map(|files| files.iter().map(|file| Uint8Array::new(&file).to_vec()).collect());
        let actions = self.shared.driver.borrow_mut().encoded(request_id, files, performance_now());
        self.shared.perform(actions);
    }

    /// Stops a question: nothing more is told of it.
    pub fn cancel(&self, request_id: u32) {
        let actions = self.shared.driver.borrow_mut().cancel(request_id);
        self.shared.perform(actions);
    }

    /// A recording of 16 kHz as a WAV file, as the wire carries it.
    pub fn wav(&self, samples: &Float32Array) -> Vec<u8> {
        wav_encode::encode_wav(&samples.to_vec(), wav_encode::SAMPLE_RATE_HZ)
    }

    /// Bytes that crossed the network so far, `{ sent_bytes, received_bytes }`.
    ///
    /// # Errors
    /// None that can be met.
    pub fn traffic(&self) -> Result<JsValue, JsValue> {
        let traffic = self.shared.cloud.borrow().as_ref().map(CloudClient::traffic).unwrap_or_default();
        let object = Object::new();
        Reflect::set(&object, &"sent_bytes".into(), &(traffic.sent_bytes as f64).into())?;
        Reflect::set(&object, &"received_bytes".into(), &(traffic.received_bytes as f64).into())?;
        Ok(object.into())
    }
}

impl Shared {
    /// Does what is to be done, with no borrow of the driver held: whoever is told may ask at once.
    fn perform(&self, actions: Vec<Action>) {
        for action in actions {
            // Whoever takes no messages any more has ended by itself; a draft that the server does not wait for is void.
            match action {
                Action::AskEdge(header) => self.post(&WorkerRequest::Ask(header)),
                Action::TellEdge(request) => self.post(&request),
                Action::Encode(request_id, tiles) => {
                    let tiles: Array = tiles.iter().map(tiles_to_js).collect();
                    let _ = self.encode.call2(&JsValue::NULL, &request_id.into(), &tiles);
                }
                Action::AskCloud(ask) => {
                    let request_id = ask.request_id;
                    let Some(outcome) = self.with_cloud(|cloud| cloud.ask(*ask)) else { continue };
                    let follow = self.driver.borrow_mut().handed_over(request_id, outcome, performance_now());
                    self.perform(follow);
                }
                Action::Draft(draft) => {
                    self.with_cloud(|cloud| cloud.draft(draft));
                }
                Action::Steer(request_id, speculation) => {
                    self.with_cloud(|cloud| cloud.steer(request_id, speculation));
                }
                Action::CancelCloud(request_id) => {
                    self.with_cloud(|cloud| cloud.cancel(request_id));
                }
                Action::Tell(told) => {
                    if let Ok(told) = to_js(&told) {
                        let _ = self.tell.call1(&JsValue::NULL, &told);
                    }
                }
            }
        }
    }

    fn post(&self, request: &WorkerRequest) {
        if let Ok(message) = edge_client::to_js(request) {
            let _ = self.post.call1(&JsValue::NULL, &message);
        }
    }

    fn with_cloud<T>(&self, work: impl FnOnce(&CloudClient) -> T) -> Option<T> {
        self.cloud.borrow().as_ref().map(work)
    }
}

async fn next_token(token: Function) -> Result<Option<String>, String> {
    let yielded = token.call0(&JsValue::NULL).map(|token| Promise::resolve(&token));
    match async { JsFuture::from(yielded?).await }.await {
        Ok(token) => Ok(token.as_string()),
        Err(error) => {
            let message = error.dyn_ref::<Error>().map(|error| String::from(error.message()));
            Err(format!("no token could be had: {}", message.unwrap_or_else(|| format!("{error:?}"))))
        }
    }
}

fn media(image: &JsValue) -> Result<Media, JsValue> {
    let kind = from_js(&Reflect::get(image, &"kind".into())?)?;
    Ok(Media { kind, bytes: Uint8Array::new(&Reflect::get(image, &"bytes".into())?).to_vec() })
}

fn tiles_to_js(tiles: &Tiles) -> JsValue {
    let Tiles { kind, pixels } = tiles;
    let object = Object::new();
    let fields: [(&str, JsValue); 4] = [
        ("kind", to_js(kind).unwrap_or_default()),
        ("width", pixels.width.into()),
        ("height", pixels.height.into()),
        ("pixels", Uint8Array::from(&pixels.pixels[..]).into()),
    ];
    for (name, value) in fields {
        // A fresh plain object takes any property.
        let _ = Reflect::set(&object, &name.into(), &value);
    }
    object.into()
}

fn to_js<T: Serialize>(value: &T) -> Result<JsValue, JsValue> {
    JSON::parse(&serde_json::to_string(value).map_err(|error| Error::new(&error.to_string()))?)
}

fn from_js<T: DeserializeOwned>(value: &JsValue) -> Result<T, JsValue> {
    let json = JSON::stringify(value)?.as_string().unwrap_or_else(|| "null".to_owned());
    serde_json::from_str(&json).map_err(|error| Error::new(&error.to_string()).into())
}
