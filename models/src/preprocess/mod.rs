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
mod tiles;
mod video;
mod wav;

pub use audio::{AudioLevel, Pcm};
pub use error::MediaError;
pub use image::RgbImage;
pub use mel::{MelConfig, MelSpectrogram};
pub use parts::{SquareGrid, cut_windows, put_back_windows};
pub use resample::Resampler;
pub use resize::{ResizeFilter, resize};
pub use tiles::{ImageLayout, Tiling};
pub use video::{Clip, VideoSampling};
pub use wav::{AudioBudget, read_wav};

use msao_kernels::share_rows;

use crate::config::ModelConfig;
use crate::error::ModelError;
use config::{Framing, PreprocessorFile};

/// Prepares pictures and recordings for one checkpoint.
#[derive(Debug, Clone)]
pub struct Preprocessor {
    image: Option<ImagePreprocessor>,
    audio: Option<AudioPreprocessor>,
}

#[derive(Debug, Clone)]
struct ImagePreprocessor {
    /// Side of the square that the vision tower takes, in pixels.
    size: u32,
    framing: Framing,
    tiling: Option<Tiling>,
    video: Option<VideoSampling>,
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
    /// Reads a preprocessor_config.json and holds it against the model's own configuration; for text alone there is none.
    ///
    /// # Errors
    /// [`ModelError::Config`] when the file is malformed, asks for a step that is not known here, or does not
    /// produce what the towers take.
    pub fn from_json(bytes: &[u8], config: &ModelConfig) -> Result<Self, ModelError> {
        if config.is_text_only() {
            return Ok(Self { image: None, audio: None });
        }
        let file = PreprocessorFile::from_json(bytes)?;
        let image = match &config.vision_config {
            None => None,
            Some(vision) => Some(ImagePreprocessor {
                size: vision.image_size as u32,
                framing: file.framing(vision.image_size)?,
                tiling: file.tiling(vision.image_size),
                video: file.video_sampling()?,
                filter: file.filter()?,
                normalized: file.normalization_tables()?,
            }),
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

    /// How a picture of this size is shown to a model: in tiles beside the whole, where the checkpoint has it so.
    pub fn layout(&self, width: u32, height: u32) -> ImageLayout {
        let tiling = self.image.as_ref().and_then(|image| image.tiling);
        tiling.map_or(ImageLayout::WHOLE, |tiling| tiling.layout(width, height))
    }

    /// Most tiles along a side of any picture; 0 where none is split.
    pub(crate) fn max_tiles_per_side(&self) -> u32 {
        self.image.as_ref().and_then(|image| image.tiling).map_or(0, Tiling::max_per_side)
    }

    /// How often frames of a video are looked at; `None` where the checkpoint says nothing of videos.
    pub fn video_sampling(&self) -> Option<VideoSampling> {
        self.image.as_ref().and_then(|image| image.video)
    }

    /// The vision tower's input for one picture that is not split.
    ///
    /// # Shapes
    /// `[3, S, S]` row-major, `S` being `vision_config.image_size`.
    ///
    /// # Panics
    /// Where the checkpoint cannot see.
    pub fn image(&self, image: &RgbImage) -> Vec<f32> {
        let preprocessor = self.image.as_ref().expect("a checkpoint that sees");
        let ImagePreprocessor { size, framing, filter, .. } = preprocessor;
        let square = match framing {
            Framing::CenterSquare if image.width() == image.height() => resize(image, *size, *size, *filter),
            Framing::CenterSquare => resize(&image.center_square(), *size, *size, *filter),
            Framing::Stretch => resize(image, *size, *size, *filter),
            Framing::LongestEdgeThenStretch { longest_edge } => {
                let (width, height) = config::fit_longest_edge(image.width(), image.height(), *longest_edge);
                resize(&resize(image, width, height, *filter), *size, *size, *filter)
            }
        };
        preprocessor.normalize(&square)
    }

    /// The vision tower's inputs for one picture as of [`Self::layout`]: its tiles row by row, then the whole.
    ///
    /// # Shapes
    /// `[3, S, S]` row-major each, `S` being `vision_config.image_size`.
    ///
    /// # Panics
    /// Where the checkpoint cannot see.
    pub fn inputs(&self, image: &RgbImage) -> Vec<Vec<f32>> {
        let preprocessor = self.image.as_ref().expect("a checkpoint that sees");
        match preprocessor.tiling {
            None => vec![self.image(image)],
            Some(tiling) => {
                let squares = tiling.split(image, preprocessor.filter);
                let mut inputs = vec![Vec::new(); squares.len()];
                let values = 3 * preprocessor.size as usize * preprocessor.size as usize;
                share_rows(&mut inputs, 1, values, &|first, inputs| {
                    for (input, square) in inputs.iter_mut().zip(&squares[first..]) {
                        *input = preprocessor.normalize(square);
                    }
                });
                inputs
            }
        }
    }

    /// As [`Self::inputs`] where another picture shows the whole: a square of the tower's side, as [`Tiling::whole`] makes it.
    ///
    /// # Shapes and panics
    /// As [`Self::inputs`]; the square has `S` pixels a side.
    pub fn inputs_beside(&self, image: &RgbImage, whole: &RgbImage) -> Vec<Vec<f32>> {
        let preprocessor = self.image.as_ref().expect("a checkpoint that sees");
        let mut inputs = self.inputs(image);
        let last = inputs.len() - 1;
        inputs[last] = preprocessor.normalize(whole);
        inputs
    }

    /// How pictures are split; `None` where they are not.
    pub fn tiling(&self) -> Option<Tiling> {
        self.image.as_ref().and_then(|image| image.tiling)
    }

    /// Of [`Self::inputs`] the last one alone: the whole picture in one square.
    ///
    /// # Shapes
    /// `[3, S, S]` row-major, `S` being `vision_config.image_size`.
    ///
    /// # Panics
    /// Where the checkpoint cannot see.
    pub fn whole(&self, image: &RgbImage) -> Vec<f32> {
        let preprocessor = self.image.as_ref().expect("a checkpoint that sees");
        match preprocessor.tiling {
            None => self.image(image),
            Some(tiling) => preprocessor.normalize(&tiling.whole(image, preprocessor.filter)),
        }
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

impl ImagePreprocessor {
    /// `[3, S, S]` of a square of S pixels.
    fn normalize(&self, square: &RgbImage) -> Vec<f32> {
        let pixels = square.pixels().as_chunks::<3>().0;
        let mut values = Vec::with_capacity(3 * pixels.len());
        for (channel, table) in self.normalized.iter().enumerate() {
            values.extend(pixels.iter().map(|pixel| table[usize::from(pixel[channel])]));
        }
        values
    }
}
