//! From raw pictures and recordings to what the towers take, the same on both sides of the wire.
//!
//! [`Preprocessor`] does what a checkpoint's preprocessor_config.json says, as transformers does it; the
//! other modules are its steps. Nothing here knows a tensor library, a device or a browser.

mod audio;
mod config;
#[cfg(feature = "media-decode")]
pub mod decode;
mod error;
mod fft;
mod image;
#[cfg(feature = "media-decode")]
mod image_file;
mod mel;
mod parts;
mod resample;
mod resize;
mod wav;

pub use audio::{AudioLevel, Pcm};
pub use error::MediaError;
pub use image::RgbImage;
pub use mel::{MelConfig, MelSpectrogram};
pub use parts::{SquareGrid, cut_windows, put_back_windows};
pub use resample::Resampler;
pub use resize::{ResizeFilter, resize};
pub use wav::{AudioBudget, read_wav};

use crate::config::ModelConfig;
use crate::error::ModelError;
use config::{Framing, PreprocessorFile};

/// Prepares pictures and recordings for one checkpoint.
#[derive(Debug, Clone)]
pub struct Preprocessor {
    image: ImagePreprocessor,
    audio: Option<AudioPreprocessor>,
}

#[derive(Debug, Clone)]
struct ImagePreprocessor {
    /// Side of the square that the vision tower takes, in pixels.
    size: u32,
    framing: Framing,
    filter: ResizeFilter,
    /// The normalised value of each byte, per channel.
    normalized: [[f32; 256]; 3],
}

#[derive(Debug, Clone)]
struct AudioPreprocessor {
    sample_rate_hz: u32,
    chunk_samples: usize,
    mel: MelSpectrogram,
}

impl Preprocessor {
    /// Reads a preprocessor_config.json and holds it against the model's own configuration.
    ///
    /// Image splitting is ignored: this engine shows a model the whole picture only, which is what
    /// transformers does under `do_image_splitting=False`.
    ///
    /// # Errors
    /// [`ModelError::Config`] when the file is malformed, asks for a step that is not known here, or does not
    /// produce what the towers take.
    pub fn from_json(bytes: &[u8], config: &ModelConfig) -> Result<Self, ModelError> {
        let file = PreprocessorFile::from_json(bytes)?;
        let framing = file.framing(config.vision_config.image_size)?;
        let image = ImagePreprocessor {
            size: config.vision_config.image_size as u32,
            framing,
            filter: file.filter()?,
            normalized: file.normalization_tables()?,
        };
        let audio = match &config.audio_config {
            None => None,
            Some(expected) => {
                let audio = file.audio(expected)?;
                Some(AudioPreprocessor {
                    sample_rate_hz: audio.sample_rate_hz,
                    chunk_samples: expected.num_mel_frames() * audio.hop_length,
                    mel: MelSpectrogram::new(audio),
                })
            }
        };
        Ok(Self { image, audio })
    }

    /// Sampling rate in Hz and number of samples of one recording, padding included; `None` where the checkpoint
    /// cannot hear.
    pub fn audio_chunk(&self) -> Option<(u32, usize)> {
        self.audio.as_ref().map(|audio| (audio.sample_rate_hz, audio.chunk_samples))
    }

    /// The vision tower's input for one picture.
    ///
    /// # Shapes
    /// `[3, S, S]` row-major, `S` being `vision_config.image_size`.
    pub fn image(&self, image: &RgbImage) -> Vec<f32> {
        let ImagePreprocessor { size, framing, filter, normalized } = &self.image;
        let square = match framing {
            Framing::CenterSquare if image.width() == image.height() => resize(image, *size, *size, *filter),
            Framing::CenterSquare => resize(&image.center_square(), *size, *size, *filter),
            Framing::Stretch => resize(image, *size, *size, *filter),
            Framing::LongestEdgeThenStretch { longest_edge } => {
                let (width, height) = config::fit_longest_edge(image.width(), image.height(), *longest_edge);
                resize(&resize(image, width, height, *filter), *size, *size, *filter)
            }
        };
        let pixels = square.pixels().as_chunks::<3>().0;
        let mut values = Vec::with_capacity(3 * pixels.len());
        for (channel, normalized) in normalized.iter().enumerate() {
            values.extend(pixels.iter().map(|pixel| normalized[usize::from(pixel[channel])]));
        }
        values
    }

    /// The audio tower's input for one recording: resampled, padded with silence or cut to the chunk.
    ///
    /// # Shapes
    /// `[num_mel_bins, 2 * max_source_positions]` row-major.
    ///
    /// # Errors
    /// [`ModelError::Prompt`] when the checkpoint cannot hear.
    pub fn audio(&self, recording: &Pcm) -> Result<Vec<f32>, ModelError> {
        let audio = self.audio.as_ref().ok_or_else(|| ModelError::Prompt {
            reason: "this checkpoint has no audio tower; leave the recording out".to_owned(),
        })?;
        let resampler = Resampler::new(recording.sample_rate_hz(), audio.sample_rate_hz);
        let mut samples = resampler.resample(recording.samples(), audio.chunk_samples);
        samples.resize(audio.chunk_samples, 0.0);
        Ok(audio.mel.log_mel(&samples))
    }
}
