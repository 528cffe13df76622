//! What preprocessor_config.json says, in the terms of `SmolVLMImageProcessor` and
//! `WhisperFeatureExtractor`; missing fields mean what they mean there.

use serde::Deserialize;

use super::tiles::Tiling;
use super::{MelConfig, Pcm, ResizeFilter, VideoSampling};
use crate::config::AudioConfig;
use crate::error::ModelError;

const FILE: &str = "preprocessor_config.json";
/// Transformers never enlarges a side beyond this.
const MAX_EDGE: u32 = 4_096;

/// How a picture of any shape becomes one square of the vision tower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// Cut the centre square, then scale.
    CenterSquare,
    /// Scale both sides, whatever the proportions.
    Stretch,
    /// As SmolVLM: bring the longer side to a length, then scale to the square.
    LongestEdgeThenStretch {
        /// The longer side after the first step, in pixels.
        longest_edge: u32,
    },
}

#[derive(Debug, Deserialize)]
pub(super) struct PreprocessorFile {
    #[serde(default = "enabled")]
    do_resize: bool,
    #[serde(default = "enabled")]
    do_rescale: bool,
    #[serde(default = "enabled")]
    do_normalize: bool,
    #[serde(default)]
    do_center_crop: bool,
    #[serde(default = "enabled")]
    do_image_splitting: bool,
    size: ImageSize,
    max_image_size: Option<LongestEdge>,
    #[serde(default = "lanczos")]
    resample: u64,
    #[serde(default = "one_byte")]
    rescale_factor: f64,
    #[serde(default = "one_half")]
    image_mean: [f64; 3],
    #[serde(default = "one_half")]
    image_std: [f64; 3],
    audio: Option<AudioSection>,
    video_sampling: Option<VideoSampling>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ImageSize {
    Exact { height: u32, width: u32 },
    Longest(LongestEdge),
}

#[derive(Debug, Deserialize)]
struct LongestEdge {
    longest_edge: u32,
}

#[derive(Debug, Deserialize)]
struct AudioSection {
    sampling_rate: u32,
    n_fft: usize,
    hop_length: usize,
    feature_size: usize,
    chunk_length_s: f64,
}

fn enabled() -> bool {
    true
}
fn lanczos() -> u64 {
    1
}
fn one_byte() -> f64 {
    1.0 / 255.0
}
fn one_half() -> [f64; 3] {
    [0.5; 3]
}

impl PreprocessorFile {
    pub(super) fn from_json(bytes: &[u8]) -> Result<Self, ModelError> {
        serde_json::from_slice(bytes).map_err(|source| ModelError::json(FILE, &source))
    }

    /// The framing that ends at `side` pixels.
    pub(super) fn framing(&self, side: usize) -> Result<Framing, ModelError> {
        require(self.do_resize, || "do_resize must be true: the vision tower takes one size".to_owned())?;
        match (&self.size, &self.max_image_size) {
            (ImageSize::Exact { height, width }, _) => {
                require(*height as usize == side && *width as usize == side, || {
                    format!(
                        "size is {width}x{height}; vision_config.image_size in config.json asks for {side}x{side}"
                    )
                })?;
                Ok(if self.do_center_crop { Framing::CenterSquare } else { Framing::Stretch })
            }
            (ImageSize::Longest(_), None) => {
                Err(invalid("size.longest_edge needs max_image_size.longest_edge beside it".to_owned()))
            }
            (ImageSize::Longest(LongestEdge { longest_edge }), Some(square)) => {
                require(square.longest_edge as usize == side, || {
                    let found = square.longest_edge;
                    format!(
                        "max_image_size.longest_edge is {found}; vision_config.image_size asks for {side}"
                    )
                })?;
                require((1..=MAX_EDGE).contains(longest_edge), || {
                    format!("size.longest_edge is {longest_edge}; it must be 1 to {MAX_EDGE}")
                })?;
                require(!self.do_center_crop, || {
                    "do_center_crop needs size.height and size.width".to_owned()
                })?;
                Ok(Framing::LongestEdgeThenStretch { longest_edge: *longest_edge })
            }
        }
    }

    /// How pictures are shown in tiles of `side` pixels, where they are.
    pub(super) fn tiling(&self, side: usize) -> Option<Tiling> {
        match self.size {
            ImageSize::Longest(LongestEdge { longest_edge }) if self.do_image_splitting => {
                Some(Tiling { longest_edge, tile: side as u32 })
            }
            _ => None,
        }
    }

    /// How often frames of a video are looked at, where the checkpoint has learned to.
    pub(super) fn video_sampling(&self) -> Result<Option<VideoSampling>, ModelError> {
        let Some(sampling) = self.video_sampling else { return Ok(None) };
        let is_usable = sampling.fps.is_finite() && sampling.fps > 0.0;
        require(is_usable && (1..=1_024).contains(&sampling.max_frames), || {
            "video_sampling.fps must be above zero and max_frames 1 to 1024".to_owned()
        })?;
        Ok(Some(sampling))
    }

    pub(super) fn filter(&self) -> Result<ResizeFilter, ModelError> {
        ResizeFilter::from_pil_number(self.resample).ok_or_else(|| {
            invalid(format!("resample is {}; use 1 (Lanczos), 2 (bilinear) or 3 (bicubic)", self.resample))
        })
    }

    /// The normalised value of each byte, per channel: 768 numbers instead of arithmetic per pixel.
    pub(super) fn normalization_tables(&self) -> Result<[[f32; 256]; 3], ModelError> {
        let scale = if self.do_rescale { self.rescale_factor } else { 1.0 };
        let (mean, std) =
            if self.do_normalize { (self.image_mean, self.image_std) } else { ([0.0; 3], [1.0; 3]) };
        let usable = scale.is_finite() && mean.iter().chain(&std).all(|value| value.is_finite());
        require(usable && std.iter().all(|value| *value > 0.0), || {
            "rescale_factor and image_mean must be finite, image_std above zero".to_owned()
        })?;
        Ok(std::array::from_fn(|channel| {
            std::array::from_fn(|byte| ((byte as f64 * scale - mean[channel]) / std[channel]) as f32)
        }))
    }

    /// The spectrogram that the audio tower expects.
    pub(super) fn audio(&self, expected: &AudioConfig) -> Result<MelConfig, ModelError> {
        let audio = self.audio.as_ref().ok_or_else(|| {
            invalid("config.json has an audio_config, but there is no `audio` section here".to_owned())
        })?;
        let (min_hz, max_hz) = (Pcm::MIN_RATE_HZ, Pcm::MAX_RATE_HZ);
        require((min_hz..=max_hz).contains(&audio.sampling_rate), || {
            format!("audio.sampling_rate is {}; it must be {min_hz} to {max_hz}", audio.sampling_rate)
        })?;
        require((2..=2_048).contains(&audio.n_fft) && audio.n_fft.is_multiple_of(2), || {
            format!("audio.n_fft is {}; it must be even, 2 to 2048", audio.n_fft)
        })?;
        require((1..=audio.n_fft).contains(&audio.hop_length), || {
            format!("audio.hop_length is {}; it must be 1 to n_fft", audio.hop_length)
        })?;
        require(audio.feature_size == expected.num_mel_bins, || {
            let (found, bins) = (audio.feature_size, expected.num_mel_bins);
            format!("audio.feature_size is {found}; audio_config.num_mel_bins in config.json asks for {bins}")
        })?;
        // Rounded, since 4.8 s has no exact binary form.
        let chunk_samples = (audio.chunk_length_s * f64::from(audio.sampling_rate)).round();
        let frames = expected.num_mel_frames();
        require(chunk_samples == (frames * audio.hop_length) as f64, || {
            let seconds = audio.chunk_length_s;
            format!(
                "audio.chunk_length_s is {seconds}; audio_config.max_source_positions asks for {frames} frames"
            )
        })?;
        require(chunk_samples > (audio.n_fft / 2) as f64, || {
            "audio.chunk_length_s is shorter than a frame".to_owned()
        })?;
        Ok(MelConfig {
            sample_rate_hz: audio.sampling_rate,
            n_fft: audio.n_fft,
            hop_length: audio.hop_length,
            num_mel_bins: audio.feature_size,
        })
    }
}

/// The size with the longer side at `longest_edge` that transformers computes: the other side truncated,
/// made even, and at least 1.
pub(super) fn fit_longest_edge(width: u32, height: u32, longest_edge: u32) -> (u32, u32) {
    let aspect_ratio = f64::from(width) / f64::from(height);
    let even = |side: f64| (side as u32).next_multiple_of(2).max(1);
    let (width, height) = if width >= height {
        (longest_edge, even(f64::from(longest_edge) / aspect_ratio))
    } else {
        (even(f64::from(longest_edge) * aspect_ratio), longest_edge)
    };
    (width, height)
}

fn invalid(reason: String) -> ModelError {
    ModelError::Config { file: FILE, reason }
}

fn require(holds: bool, reason: impl FnOnce() -> String) -> Result<(), ModelError> {
    if holds { Ok(()) } else { Err(invalid(reason())) }
}
