//! The microphone: raw samples, without the browser's processing for telephony.

use std::{cell::RefCell, rc::Rc};

use js_sys::Float32Array;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    AudioContext, AudioWorkletNode, MediaStream, MediaStreamConstraints, MessageEvent, MessagePort,
};

use super::{Exception, media_devices, sound, stop_tracks};
use crate::input::pcm;

/// Echo cancellers and gain controls distort what the models were trained to hear.
const CONSTRAINTS: &str =
    r#"{"echoCancellation":false,"noiseSuppression":false,"autoGainControl":false,"channelCount":1}"#;

/// Where the worklet's code lies, relative to the page.
const WORKLET: &str = "recorder.js";

/// What the meter shows while recording.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Meter {
    /// Level in 0..=1.
    pub(crate) level: f32,
    /// Seconds recorded.
    pub(crate) seconds: f64,
}

/// An open microphone. Dropping it closes the device.
pub(crate) struct Recorder {
    stream: MediaStream,
    context: AudioContext,
    samples: Rc<RefCell<Vec<f32>>>,
    /// Where the audio thread posts its chunks.
    port: MessagePort,
    _on_chunk: Closure<dyn FnMut(MessageEvent)>,
}

impl Recorder {
    /// Opens the microphone and records; `on_chunk` hears the meter about fifty times a second.
    ///
    /// # Errors
    /// The browser's exception.
    pub(crate) async fn start(on_chunk: impl Fn(Meter) + 'static) -> Result<Self, Exception> {
        let stream = open().await?;
        match Self::record(&stream, on_chunk).await {
            Ok(recorder) => Ok(recorder),
            Err(thrown) => {
                stop_tracks(&stream);
                Err(thrown.into())
            }
        }
    }

    async fn record(stream: &MediaStream, on_chunk: impl Fn(Meter) + 'static) -> Result<Self, JsValue> {
        let context = AudioContext::new()?;
        JsFuture::from(context.audio_worklet()?.add_module(WORKLET)?).await?;
        JsFuture::from(context.resume()?).await?;
        let rate_hz = f64::from(context.sample_rate());
        let samples = Rc::new(RefCell::new(Vec::new()));
        let on_message = {
            let samples = samples.clone();
            Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
                let chunk = event.data().unchecked_into::<Float32Array>().to_vec();
                let level = pcm::meter_level(&chunk);
                let length = {
                    let mut samples = samples.borrow_mut();
                    samples.extend(chunk);
                    samples.len()
                };
                on_chunk(Meter { level, seconds: length as f64 / rate_hz });
            })
        };
        let node = AudioWorkletNode::new(&context, "recorder")?;
        let port = node.port()?;
        port.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        context.create_media_stream_source(stream)?.connect_with_audio_node(&node)?;
        Ok(Self { stream: stream.clone(), context, samples, port, _on_chunk: on_message })
    }

    /// Closes the microphone and gives what it heard, at 16 kHz.
    ///
    /// # Errors
    /// The browser's exception.
    pub(crate) async fn finish(self) -> Result<Vec<f32>, Exception> {
        let rate_hz = self.context.sample_rate();
        let mut samples = self.samples.take();
        drop(self);
        Ok(sound::resample(&mut samples, rate_hz).await?)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // A chunk may be on its way, and the closure that would hear it ends with this.
        self.port.set_onmessage(None);
        stop_tracks(&self.stream);
        // Closing a closed context is the only way this fails.
        let _ = self.context.close();
    }
}

async fn open() -> Result<MediaStream, JsValue> {
    let constraints = MediaStreamConstraints::new();
    constraints.set_audio(&js_sys::JSON::parse(CONSTRAINTS)?);
    let opened = media_devices()?.get_user_media_with_constraints(&constraints)?;
    JsFuture::from(opened).await?.dyn_into()
}
