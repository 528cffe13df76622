//! A loaded Whisper checkpoint: a window of sound to frames, and frames to tokens.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};

use super::config::{WhisperConfig, WhisperTokens, spectrogram};
use crate::audio::AudioTower;
use crate::checkpoint::Weights;
use crate::device::{self, Device, Heard, SpeechDecoder};
use crate::error::ModelError;
use crate::preprocess::{MelSpectrogram, Pcm};
use crate::text::TextTokenizer;
use crate::weight_files::WeightFiles;
use crate::weights_format::WeightsFormat;

/// The files of a Whisper checkpoint, as bytes.
#[derive(Debug, Clone, Default)]
pub struct WhisperFiles {
    /// `config.json`
    pub config_json: Vec<u8>,
    /// `generation_config.json`
    pub generation_json: Vec<u8>,
    /// `preprocessor_config.json`
    pub preprocessor_json: Vec<u8>,
    /// `tokenizer.json`
    pub tokenizer_json: Vec<u8>,
    /// `model.safetensors`, or the files of its index.
    pub safetensors: WeightFiles,
    /// How the dense layers keep the weights; f32 unless told otherwise.
    pub weights_format: WeightsFormat,
    /// Bytes that the loaded weights may take; no bound unless told otherwise.
    pub memory_limit_bytes: Option<u64>,
}

impl WhisperFiles {
    /// Reads the small files of a folder and opens its weights.
    ///
    /// # Errors
    /// [`ModelError::File`] naming the file that could not be read; as [`WhisperConfig::from_json`] for a checkpoint of
    /// another kind.
    pub fn from_dir(folder: impl AsRef<Path>) -> Result<Self, ModelError> {
        let folder = folder.as_ref();
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read(&path).map_err(|source| ModelError::File { path: path.display().to_string(), source })
        };
        let config_json = read("config.json")?;
        WhisperConfig::from_json(&config_json)?;
        Ok(Self {
            config_json,
            generation_json: read("generation_config.json")?,
            preprocessor_json: read("preprocessor_config.json")?,
            tokenizer_json: read("tokenizer.json")?,
            safetensors: WeightFiles::from_dir(folder)?,
            ..Self::default()
        })
    }

    /// Takes small files by name, and opened weights.
    ///
    /// # Errors
    /// [`ModelError::File`] naming the file that is missing.
    pub fn from_files(
        files: &BTreeMap<String, Vec<u8>>,
        safetensors: WeightFiles,
    ) -> Result<Self, ModelError> {
        let take = |name: &str| {
            let source = || io::ErrorKind::NotFound.into();
            files
                .get(name)
                .cloned()
                .ok_or_else(|| ModelError::File { path: name.to_owned(), source: source() })
        };
        Ok(Self {
            config_json: take("config.json")?,
            generation_json: take("generation_config.json")?,
            preprocessor_json: take("preprocessor_config.json")?,
            tokenizer_json: take("tokenizer.json")?,
            safetensors,
            ..Self::default()
        })
    }
}

/// A loaded checkpoint. Cloning shares it.
#[derive(Clone)]
pub struct Whisper {
    pub(super) parts: Arc<Parts>,
}

pub(super) struct Parts {
    pub(super) config: WhisperConfig,
    pub(super) tokens: WhisperTokens,
    pub(super) tokenizer: TextTokenizer,
    pub(super) mel: MelSpectrogram,
    pub(super) decoder: SpeechDecoder,
    encoder: AudioTower,
    device: Device,
    parameters: usize,
}

impl fmt::Debug for Whisper {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Whisper").field("config", &self.parts.config).finish_non_exhaustive()
    }
}

impl Whisper {
    /// Loads a checkpoint on the CPU; headers are held against the configuration before a value is read.
    ///
    /// # Errors
    /// [`ModelError::Device`] where no CPU backend is compiled in, else one that names the file and what is wrong with it.
    pub fn load(files: &WhisperFiles) -> Result<Self, ModelError> {
        let device = device::open_cpu()?;
        let config = WhisperConfig::from_json(&files.config_json)?;
        let tokens = WhisperTokens::from_json(&files.generation_json, &config)?;
        let mel = spectrogram(&files.preprocessor_json, &config)?;
        let format = match files.weights_format {
            WeightsFormat::Stored => WeightsFormat::F32,
            format => format,
        };
        let needed_bytes = config.weights_bytes(format);
        if let Some(limit_bytes) = files.memory_limit_bytes.filter(|limit| needed_bytes > *limit) {
            let fits_as = format.smaller_where(|format| config.weights_bytes(format) <= limit_bytes);
            return Err(ModelError::TooLarge { needed_bytes, limit_bytes, format, fits_as });
        }
        let tokenizer = TextTokenizer::from_json(&files.tokenizer_json)?;
        let texts = tokens.end as usize;
        if tokenizer.vocab_size() < texts || tokenizer.vocab_size() > config.vocab_size {
            let reason = format!(
                "it has {} tokens; {texts} to {} belong to the other files",
                tokenizer.vocab_size(),
                config.vocab_size
            );
            return Err(ModelError::Tokenizer { reason });
        }
        let weights = Weights::parse(&files.safetensors, &device)?.kept_as(format);
        weights.check_tensors(config.tensors())?;
        let encoder = AudioTower::load(&weights.scope("model.encoder"), &config.tower())?;
        let decoder = SpeechDecoder::load(&weights.scope("model.decoder"), &config)?;
        let parameters = weights.num_parameters();
        let mel = MelSpectrogram::new(mel);
        let parts = Parts { config, tokens, tokenizer, mel, decoder, encoder, device, parameters };
        Ok(Self { parts: Arc::new(parts) })
    }

    /// Shapes.
    pub fn config(&self) -> &WhisperConfig {
        &self.parts.config
    }

    /// Tokens with a meaning.
    pub fn tokens(&self) -> &WhisperTokens {
        &self.parts.tokens
    }

    /// Text to tokens and back.
    pub fn tokenizer(&self) -> &TextTokenizer {
        &self.parts.tokenizer
    }

    /// Number of values of all tensors.
    pub fn num_parameters(&self) -> usize {
        self.parts.parameters
    }

    /// Whether it knows languages beside English.
    pub fn is_multilingual(&self) -> bool {
        !self.parts.tokens.languages.is_empty()
    }

    /// Length of a window in seconds.
    pub fn window_s(&self) -> f64 {
        self.parts.config.max_source_positions as f64 / 50.0
    }

    /// What the encoder makes of a window.
    ///
    /// # Shapes
    /// - mel: `[num_mel_bins, 2 * max_source_positions]`; output: `[max_source_positions, d_model]`
    ///
    /// # Errors
    /// [`ModelError::ReadBack`] if the result cannot be read.
    pub fn encode(&self, mel: Vec<f32>) -> Result<Vec<f32>, ModelError> {
        let config = &self.parts.config;
        let shape = [1, config.num_mel_bins, 2 * config.max_source_positions];
        let mel = Tensor::<3>::from_data(TensorData::new(mel, shape), &self.parts.device);
        let data = self.parts.encoder.forward(mel).into_data();
        data.try_into_vec().map_err(|error| ModelError::ReadBack { reason: format!("{error:?}") })
    }

    /// What the encoder makes of a recording's first window; shapes as of [`Self::encode`].
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn hear_start(&self, recording: &Pcm) -> Result<Vec<f32>, ModelError> {
        let (mel, _) = self.spectrogram(recording);
        self.encode(self.window(&mel, 0))
    }

    /// Scores of what follows each of some tokens about a window, before any rule.
    ///
    /// # Shapes
    /// - frames: as [`Self::encode`] gives them; output: `[tokens, vocab_size]`
    ///
    /// # Panics
    /// For more tokens than `max_target_positions`, or one outside the vocabulary.
    pub fn scores(&self, frames: &[f32], tokens: &[u32]) -> Vec<f32> {
        let decoder = &self.parts.decoder;
        let heard = decoder.hear(frames);
        let hidden = decoder.forward(tokens, &heard, &mut decoder.begin(tokens.len()));
        decoder.scores(&hidden)
    }

    /// A window of a longer spectrogram, with silence of the spectrogram's kind behind its end.
    pub(super) fn window(&self, mel: &[f32], from: usize) -> Vec<f32> {
        let bins = self.parts.config.num_mel_bins;
        let size = 2 * self.parts.config.max_source_positions;
        let frames = mel.len() / bins;
        let count = size.min(frames - from);
        let mut window = vec![0.0; bins * size];
        for (to, row) in window.chunks_exact_mut(size).zip(mel.chunks_exact(frames)) {
            to[..count].copy_from_slice(&row[from..from + count]);
        }
        window
    }

    /// What the decoder needs of a window.
    pub(super) fn hear(&self, mel: &[f32], from: usize) -> Result<Heard, ModelError> {
        let frames = self.encode(self.window(mel, from))?;
        Ok(self.parts.decoder.hear(&frames))
    }
}
