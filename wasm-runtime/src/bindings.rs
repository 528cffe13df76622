//! The engine as JavaScript sees it; with `checkpoint_source` the only file that knows both.
//!
//! One module holds one [`Engine`] class. Structured values cross as plain objects, in the form that serde gives
//! them; pixels and samples as typed arrays. Errors are `Error` objects with a `code` from
//! [`EdgeErrorCode`](crate::messages::EdgeErrorCode). A panic is thrown as an error that nobody catches: whoever
//! runs the module must listen for it and start a new one.

use std::cell::RefCell;

use js_sys::{Array, Error, Float32Array, Function, JSON, Object, Promise, Reflect, Uint8Array};
#[cfg(feature = "engine-flex")]
use msao_models::speech::WhisperFiles;
use msao_models::{CheckpointFiles, ModelError, Pcm, Prompt, RgbImage, Splitting, WeightsFormat};
use msao_planner::{EngineTimings, fitting::DeviceLimits};
use msao_protocol::{Clip, Sampling};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};
use wasm_bindgen_futures::JsFuture;

use crate::{
    checkpoint_source::checkpoint,
    engine::EdgeEngine,
    messages::EdgeErrorCode,
    room::{NoRoom, no_room},
    scored::{Scored, TargetGrid},
    steering::{EdgeQuestion, EdgeStep, Steer},
};

#[wasm_bindgen]
extern "C" {
    /// The clock of pages, Workers and Node alike.
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
}

/// How a question is to be answered.
#[derive(Debug, Deserialize)]
struct AskSettings {
    max_new_tokens: usize,
    target: Option<TargetGrid>,
    sampling: Option<Sampling>,
    #[serde(default)]
    clip: Option<Clip>,
    #[serde(default)]
    awaits_target: bool,
    #[serde(default = "yes")]
    wants_scores: bool,
}

/// What a model is held against.
#[derive(Debug, Deserialize)]
struct RoomAsked {
    config: String,
    format: Option<String>,
    device_memory_gib: Option<f64>,
    buffer_bytes: Option<f64>,
}

fn yes() -> bool {
    true
}

/// Runs when the module is instantiated.
#[wasm_bindgen(start)]
fn start() {
    crate::constructors::run();
    std::panic::set_hook(Box::new(|panic| wasm_bindgen::throw_str(&panic.to_string())));
}

/// A loaded checkpoint on one device.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Engine {
    engine: EdgeEngine,
}

#[wasm_bindgen]
impl Engine {
    /// Loads a checkpoint from its files: an object with one property for each, a `Uint8Array`, or for weights also
    /// `{ size, read(start, end) }`, which gives a part as a `Uint8Array`. `kind` is `simd` or `webgpu`, as the module was
    /// built. Without both files of a probe, nothing is scored. `format` is how weights are kept in memory: `f32`, `f16`, `int8`,
    /// `q4`, or nothing for as they are stored.
    ///
    /// # Errors
    /// An `Error` with a `code`.
    pub async fn load(kind: JsValue, files: Object, format: JsValue) -> Result<Engine, JsValue> {
        let weights_format = weights_format(from_js(&format)?)?;
        let (files, probe) = checkpoint(&files).map_err(|e| model_error(&e))?;
        let files = CheckpointFiles { weights_format, ..files };
        let engine = EdgeEngine::load(&files, probe.as_ref(), from_js(&kind)?, performance_now).await;
        Ok(Self { engine: engine.map_err(|e| model_error(&e))? })
    }

    /// What the model's token ids mean: `{ tokens, fingerprint }`.
    ///
    /// # Errors
    /// None that are known of.
    pub fn vocabulary(&self) -> Result<JsValue, JsValue> {
        to_js(&self.engine.vocabulary())
    }

    /// Weights in the model.
    #[wasm_bindgen(getter)]
    pub fn parameters(&self) -> f64 {
        self.engine.num_parameters() as f64
    }

    /// Whether questions are scored.
    #[wasm_bindgen(getter)]
    pub fn has_probe(&self) -> bool {
        self.engine.has_probe()
    }

    /// Runs every shape once.
    ///
    /// # Errors
    /// An `Error` with a `code`.
    pub async fn warm_up(&self) -> Result<(), JsValue> {
        self.engine.warm_up().await.map_err(|e| model_error(&e))
    }

    /// Answers a question. `images` is an array of `{ width, height, pixels }` (RGBA), `audio` is `null` or
    /// `{ sample_rate_hz, samples }` (32-bit floats), `settings` is `{ max_new_tokens, target, sampling, clip,
    /// awaits_target, wants_scores }` with a [`TargetGrid`], a [`Sampling`] and a [`Clip`], or `null`. With a probe, and unless `wants_scores` is `false`, `on_scored(scored)` hears a [`Scored`] with its
    /// pixels and samples as `ArrayBuffer`s and returns a promise of whether to go on; `on_step(step)` hears each
    /// [`EdgeStep`] and returns a promise of `true` to go on, `false` to stop, or a [`Correction`](crate::steering::Correction). Resolves to
    /// `{ text, finish_reason, revision, receipt }`.
    ///
    /// # Errors
    /// An `Error` with a `code`.
    pub async fn ask(
        &self,
        question: String,
        images: Array,
        audio: JsValue,
        settings: JsValue,
        on_scored: Function,
        on_step: Function,
    ) -> Result<JsValue, JsValue> {
        let mut prompt = prompt(question, &images, &audio)?;
        let settings: AskSettings = from_js(&settings)?;
        if settings.target.is_some_and(|target| target.has_tiles()) {
            // The device's model reads the tiles that are sent.
            prompt.splitting = Splitting::AsPublished;
        }
        let AskSettings { max_new_tokens, target, sampling, clip, awaits_target, wants_scores } = settings;
        prompt.clip = clip.and_then(|clip| self.engine.clip(&clip));
        let (prompt, target) = (&prompt, target.as_ref());
        let question = EdgeQuestion { prompt, target, max_new_tokens, sampling, awaits_target, wants_scores };
        let thrown = RefCell::new(None);
        let steer_by = |answer: Result<JsValue, JsValue>| {
            answer.and_then(|answer| steer(&answer)).unwrap_or_else(|error| {
                thrown.replace(Some(error));
                Steer::Stop
            })
        };
        let tell_scores =
            async |scored: Scored| steer_by(call(&on_scored, scored_to_js(&scored)).await) != Steer::Stop;
        let tell_step = async |step: EdgeStep<'_>| steer_by(call(&on_step, to_js(&step)).await);
        let answer = self.engine.ask(&question, tell_scores, tell_step).await;
        match thrown.take() {
            Some(error) => Err(error),
            None => to_js(&answer.map_err(|e| model_error(&e))?),
        }
    }

    /// Times the engine on a fixed prompt: `{ prefill_ms, decode_step_ms }`.
    ///
    /// # Errors
    /// An `Error` with a `code`.
    pub async fn measure(&self) -> Result<JsValue, JsValue> {
        to_js(&self.engine.measure().await.map_err(|e| model_error(&e))?)
    }

    /// Milliseconds of one decoder pass over `rows` positions.
    ///
    /// # Errors
    /// An `Error` with a `code`.
    pub async fn time_rows(&self, rows: u32) -> Result<f64, JsValue> {
        self.engine.time_rows(rows as usize).await.map_err(|e| model_error(&e))
    }

    /// Scores of the answer's first token, to compare engines; takes question and media as [`Self::ask`] does.
    ///
    /// # Errors
    /// An `Error` with a `code`.
    pub async fn first_token_logits(
        &self,
        question: String,
        images: Array,
        audio: JsValue,
    ) -> Result<Float32Array, JsValue> {
        let prompt = prompt(question, &images, &audio)?;
        let logits = self.engine.first_token_logits(&prompt).await.map_err(|e| model_error(&e))?;
        Ok(Float32Array::from(&logits[..]))
    }
}

/// Refuses a model that does not fit before its weights are fetched. `asked` is `{ config, format, device_memory_gib, buffer_bytes }`: the
/// text of its `config.json`, the format of [`Engine::load`], what the browser tells of the machine, and the largest buffer of the
/// GPU that is to be used; all but the first may be missing.
///
/// # Errors
/// An `Error` with the code `too_large`, and in `fits_as` the format that would fit, if one does; with another code for what is no
/// usable configuration.
#[wasm_bindgen]
pub fn check_room(asked: JsValue) -> Result<(), JsValue> {
    let RoomAsked { config, format, device_memory_gib, buffer_bytes } = from_js(&asked)?;
    let limits = DeviceLimits::of_tab(device_memory_gib, buffer_bytes.map(|bytes| bytes as u64));
    let found = no_room(config.as_bytes(), weights_format(format)?, &limits).map_err(|e| model_error(&e))?;
    let Some(NoRoom { message, fits_as }) = found else { return Ok(()) };
    let error = error(EdgeErrorCode::TooLarge, &message);
    Reflect::set(&error, &"fits_as".into(), &to_js(&fits_as)?)?;
    Err(error)
}

/// A format by its name; none is that of the files.
fn weights_format(name: Option<String>) -> Result<WeightsFormat, JsValue> {
    name.map_or(Ok(WeightsFormat::Stored), |name| name.parse().map_err(|e| model_error(&e)))
}

/// A speech model on the processor, for models that cannot hear.
#[cfg(feature = "engine-flex")]
#[wasm_bindgen]
#[derive(Debug)]
pub struct Ears {
    ears: crate::ears::Ears,
}

#[cfg(feature = "engine-flex")]
#[wasm_bindgen]
impl Ears {
    /// Loads a Whisper checkpoint from its files, given as those of [`Engine::load`] are, with a `format` as there.
    ///
    /// # Errors
    /// An `Error` with a `code`.
    pub fn load(name: &str, files: &Object, format: JsValue) -> Result<Ears, JsValue> {
        let weights_format = weights_format(from_js(&format)?)?;
        let files = crate::checkpoint_source::speech(files).map_err(|e| model_error(&e))?;
        let files = WhisperFiles { weights_format, ..files };
        Ok(Self { ears: crate::ears::Ears::load(name, &files).map_err(|e| model_error(&e))? })
    }

    /// Weights in the model.
    #[wasm_bindgen(getter)]
    pub fn parameters(&self) -> f64 {
        self.ears.num_parameters() as f64
    }

    /// Writes down what is said in `{ sample_rate_hz, samples }`. `on_progress(seconds)` hears how much of it is done, and returns a
    /// promise of whether to go on. Resolves to `{ text, speech }`, or to `null` where it was not to go on.
    ///
    /// # Errors
    /// An `Error` with a `code`.
    pub async fn write_down(&self, audio: JsValue, on_progress: Function) -> Result<JsValue, JsValue> {
        let recording = pcm(&audio)?;
        recording.require_audible().map_err(|e| model_error(&e.into()))?;
        // Whoever throws does not want to know more.
        let go_on = async |seconds: f64| {
            call(&on_progress, Ok(seconds.into())).await.is_ok_and(|answer| answer.is_truthy())
        };
        to_js(&self.ears.write_down(&recording, go_on).await.map_err(|e| model_error(&e))?)
    }
}

/// Which engine to use, from the timings of both; `webgpu` may be `null`. Returns `simd` or `webgpu`.
///
/// # Errors
/// An `Error` if the timings are not what [`Engine::measure`] gives.
#[wasm_bindgen]
pub fn choose_engine(simd: JsValue, webgpu: JsValue) -> Result<JsValue, JsValue> {
    let (simd, webgpu): (EngineTimings, Option<EngineTimings>) = (from_js(&simd)?, from_js(&webgpu)?);
    to_js(&msao_planner::choose_engine(simd, webgpu))
}

/// Calls back and waits for the promise that comes of it.
async fn call(callback: &Function, argument: Result<JsValue, JsValue>) -> Result<JsValue, JsValue> {
    let answer = callback.call1(&JsValue::NULL, &argument?)?;
    JsFuture::from(Promise::resolve(&answer)).await
}

/// What a promise of a callback came to.
fn steer(answer: &JsValue) -> Result<Steer, JsValue> {
    Ok(match answer {
        answer if answer.is_object() => Steer::Correct(from_js(answer)?),
        answer if answer.is_truthy() => Steer::GoOn,
        _ => Steer::Stop,
    })
}

/// The scores with the buffers that JSON leaves out.
fn scored_to_js(scored: &Scored) -> Result<JsValue, JsValue> {
    let object = to_js(scored)?;
    let images = Array::from(&field(&object, "images")?);
    for (image, pruned) in images.iter().zip(&scored.images) {
        let pixels = Uint8Array::from(&pruned.tiles.pixels[..]).buffer();
        Reflect::set(&field(&image, "tiles")?, &"pixels".into(), &pixels)?;
        if let Some(split) = &pruned.split {
            let pixels = Uint8Array::from(&split.whole.pixels[..]).buffer();
            Reflect::set(&field(&field(&image, "split")?, "whole")?, &"pixels".into(), &pixels)?;
        }
    }
    if let Some(audio) = &scored.audio {
        let samples = Float32Array::from(&audio.windows.samples[..]).buffer();
        let windows = field(&field(&object, "audio")?, "windows")?;
        Reflect::set(&windows, &"samples".into(), &samples)?;
    }
    Ok(object)
}

fn prompt(question: String, images: &Array, audio: &JsValue) -> Result<Prompt, JsValue> {
    let images = images.iter().map(|image| rgb_image(&image)).collect::<Result<_, _>>()?;
    let audio = if audio.is_null() || audio.is_undefined() { None } else { Some(pcm(audio)?) };
    // Pages hand over squares of 256 pixels, in which tiles would find nothing that the whole does not show.
    Ok(Prompt { question, images, audio, splitting: Splitting::Never, ..Prompt::default() })
}

fn rgb_image(image: &JsValue) -> Result<RgbImage, JsValue> {
    let pixels = Uint8Array::new(&field(image, "pixels")?).to_vec();
    RgbImage::from_rgba(number(image, "width")?, number(image, "height")?, &pixels)
        .map_err(|e| model_error(&e.into()))
}

fn pcm(audio: &JsValue) -> Result<Pcm, JsValue> {
    let samples = Float32Array::new(&field(audio, "samples")?).to_vec();
    Pcm::from_mono(number(audio, "sample_rate_hz")?, samples).map_err(|e| model_error(&e.into()))
}

fn field(object: &JsValue, name: &str) -> Result<JsValue, JsValue> {
    let value = Reflect::get(object, &name.into())?;
    if value.is_object() || value.as_f64().is_some() {
        Ok(value)
    } else {
        Err(error(EdgeErrorCode::InvalidInput, &format!("`{name}` is missing")))
    }
}

fn number(object: &JsValue, name: &str) -> Result<u32, JsValue> {
    let value = field(object, name)?.as_f64().filter(|value| (0.0..=f64::from(u32::MAX)).contains(value));
    value.map(|value| value as u32).ok_or_else(|| {
        error(EdgeErrorCode::InvalidInput, &format!("`{name}` must be a number that is not negative"))
    })
}

fn to_js<T: Serialize>(value: &T) -> Result<JsValue, JsValue> {
    JSON::parse(&serde_json::to_string(value).map_err(|e| invalid(&e))?)
}

fn from_js<T: DeserializeOwned>(value: &JsValue) -> Result<T, JsValue> {
    let json = JSON::stringify(value)?.as_string().unwrap_or_else(|| "null".to_owned());
    serde_json::from_str(&json).map_err(|e| invalid(&e))
}

fn invalid(cause: &serde_json::Error) -> JsValue {
    error(EdgeErrorCode::InvalidInput, &cause.to_string())
}

fn model_error(cause: &ModelError) -> JsValue {
    error(EdgeErrorCode::of(cause), &cause.to_string())
}

fn error(code: EdgeErrorCode, message: &str) -> JsValue {
    let error = Error::new(message);
    let code = to_js(&code).unwrap_or(JsValue::NULL);
    // Setting a property of a fresh object cannot fail.
    let _ = Reflect::set(&error, &"code".into(), &code);
    error.unchecked_into()
}
