//! A recording as both models hear it: 16 kHz, one channel, at most the window.

use std::sync::Arc;

use js_sys::Uint8Array;
use msao_protocol::{Media, MediaKind};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AudioBuffer, OfflineAudioContext};

use super::ObjectUrl;
use crate::input::{pcm, refusal::Refusal};

/// Bars of a drawn waveform.
const WAVEFORM_BARS: usize = 56;

/// A recording, decoded for this device and encoded for the wire.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sound {
    /// Samples in -1..=1 at [`pcm::SAMPLE_RATE_HZ`].
    pub(crate) samples: Arc<Vec<f32>>,
    /// The same as a WAV file.
    pub(crate) encoded: Arc<Media>,
    /// Address of that file for `<audio>`.
    pub(crate) url: Arc<ObjectUrl>,
    /// Heights of a waveform's bars in 0..=1.
    pub(crate) waveform: Arc<Vec<f32>>,
}

impl Sound {
    /// Takes samples at 16 kHz; one longer than the `heard_samples` that are listened to is cut to its loudest window, which the second value says.
    ///
    /// # Errors
    /// [`Refusal::AudioTooLong`] past `limit_s`, [`Refusal::AudioSilent`].
    pub(crate) fn from_samples(
        name: &str,
        samples: &[f32],
        limit_s: f64,
        heard_samples: usize,
    ) -> Result<(Self, Option<String>), Refusal> {
        let actual_s = samples.len() as f64 / f64::from(pcm::SAMPLE_RATE_HZ);
        if actual_s > limit_s {
            return Err(Refusal::AudioTooLong { name: name.to_owned(), actual_s, limit_s });
        }
        let kept = pcm::loudest_window(samples, heard_samples);
        let notice = pcm::trim_notice(name, samples.len(), &kept);
        let samples = &samples[kept];
        if pcm::is_silent(samples) {
            return Err(Refusal::AudioSilent { name: name.to_owned() });
        }
        let bytes = pcm::wav(samples);
        let url = ObjectUrl::new(&bytes, "audio/wav")
            .map_err(|_| Refusal::DamagedAudio { name: name.to_owned() })?;
        let sound = Self {
            samples: Arc::new(samples.to_vec()),
            encoded: Arc::new(Media { kind: MediaKind::Wav, bytes }),
            url: Arc::new(url),
            waveform: Arc::new(pcm::peaks(samples, WAVEFORM_BARS)),
        };
        Ok((sound, notice))
    }

    /// Seconds it lasts.
    pub(crate) fn seconds(&self) -> f64 {
        self.samples.len() as f64 / f64::from(pcm::SAMPLE_RATE_HZ)
    }
}

/// Decodes a sound file to one channel at 16 kHz; the browser resamples.
///
/// # Errors
/// What the browser throws when it cannot decode the file.
pub(crate) async fn decode(bytes: &[u8]) -> Result<Vec<f32>, JsValue> {
    let context = offline_context(1)?;
    let decoded = JsFuture::from(context.decode_audio_data(&Uint8Array::from(bytes).buffer())?).await?;
    let buffer: AudioBuffer = decoded.dyn_into()?;
    let channels: Result<Vec<_>, _> =
        (0..buffer.number_of_channels()).map(|channel| buffer.get_channel_data(channel)).collect();
    Ok(pcm::mix_down(&channels?))
}

/// Resamples one channel from `rate_hz` to 16 kHz.
///
/// # Errors
/// What the browser throws.
pub(crate) async fn resample(samples: &mut [f32], rate_hz: f32) -> Result<Vec<f32>, JsValue> {
    let length = (samples.len() as f64 * f64::from(pcm::SAMPLE_RATE_HZ) / f64::from(rate_hz)) as u32;
    if length == 0 {
        return Ok(Vec::new());
    }
    let context = offline_context(length)?;
    let buffer = context.create_buffer(1, samples.len() as u32, rate_hz)?;
    buffer.copy_to_channel(samples, 0)?;
    let source = context.create_buffer_source()?;
    source.set_buffer(Some(&buffer));
    source.connect_with_audio_node(&context.destination())?;
    source.start()?;
    let rendered: AudioBuffer = JsFuture::from(context.start_rendering()?).await?.dyn_into()?;
    rendered.get_channel_data(0)
}

fn offline_context(length: u32) -> Result<OfflineAudioContext, JsValue> {
    OfflineAudioContext::new_with_number_of_channels_and_length_and_sample_rate(
        1,
        length,
        pcm::SAMPLE_RATE_HZ as f32,
    )
}
