//! What the files of a Whisper checkpoint say: sizes (`config.json`), tokens and rules (`generation_config.json`), and the
//! spectrogram (`preprocessor_config.json`). Names are those of Hugging Face's `WhisperConfig`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::config::AudioConfig;
use crate::error::ModelError;
use crate::expected::Tensors;
use crate::preprocess::MelConfig;
use crate::quantisation::stored_bytes;
use crate::weights_format::WeightsFormat;

const CONFIG: &str = "config.json";
const GENERATION: &str = "generation_config.json";
const PREPROCESSOR: &str = "preprocessor_config.json";
/// Far above the largest published checkpoint, and far below what a machine could not allocate.
const MAX_SIZE: usize = 1 << 20;
const MAX_LAYERS: usize = 256;

/// Shapes of encoder and decoder.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct WhisperConfig {
    /// Width of the residual stream of both.
    pub d_model: usize,
    /// Layers of the encoder.
    pub encoder_layers: usize,
    /// Attention heads of the encoder; divides `d_model`.
    pub encoder_attention_heads: usize,
    /// Width of the encoder's feed-forward layer.
    pub encoder_ffn_dim: usize,
    /// Layers of the decoder.
    pub decoder_layers: usize,
    /// Attention heads of the decoder; divides `d_model`.
    pub decoder_attention_heads: usize,
    /// Width of the decoder's feed-forward layer.
    pub decoder_ffn_dim: usize,
    /// Mel bands: 80, or 128 from large-v3 on.
    pub num_mel_bins: usize,
    /// Positions of a window of sound, each of two mel frames.
    pub max_source_positions: usize,
    /// Most tokens about a window, prompt included.
    pub max_target_positions: usize,
    /// Rows of the embedding table.
    pub vocab_size: usize,
}

/// Tokens with a meaning, and which tokens may not be written.
#[derive(Debug, Clone, PartialEq)]
pub struct WhisperTokens {
    /// Begins every transcript.
    pub start: u32,
    /// Ends it; all tokens of text are below.
    pub end: u32,
    /// Says that no times are wanted; the one after it is the time 0.00, the one before it means that nobody speaks.
    pub no_timestamps: u32,
    /// Stands before an earlier text or a prompt, where the checkpoint has it.
    pub start_of_previous: Option<u32>,
    /// Languages by their code; none where the checkpoint knows English only.
    pub languages: BTreeMap<String, u32>,
    /// Writes in the language spoken; with the languages only.
    pub transcribe: Option<u32>,
    /// Writes in English whatever is spoken; with the languages only.
    pub translate: Option<u32>,
    /// Never written.
    pub suppressed: Vec<u32>,
    /// Never written first.
    pub suppressed_first: Vec<u32>,
    /// Latest position of the first time, each of 20 ms.
    pub max_initial_timestamp: u32,
}

impl WhisperConfig {
    /// Reads and validates a `config.json`.
    ///
    /// # Errors
    /// [`ModelError::Config`] for a file that is malformed, contradicts itself, or is of another architecture.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ModelError> {
        let file: Value =
            serde_json::from_slice(bytes).map_err(|source| ModelError::json(CONFIG, &source))?;
        let kind = file["model_type"].as_str().unwrap_or("none");
        require(CONFIG, kind == "whisper", || {
            format!(
                "model_type is `{kind}`; speech takes a checkpoint of `whisper`, such as openai/whisper-tiny"
            )
        })?;
        for (key, only) in [
            ("activation_function", Value::from("gelu")),
            ("scale_embedding", false.into()),
            ("tie_word_embeddings", true.into()),
        ] {
            let is_known = file[key].is_null() || file[key] == only;
            require(CONFIG, is_known, || format!("{key} is {}; only {only} is supported", file[key]))?;
        }
        let config: Self =
            serde_json::from_value(file).map_err(|source| ModelError::json(CONFIG, &source))?;
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), ModelError> {
        for (key, value, most) in [
            ("d_model", self.d_model, MAX_SIZE),
            ("encoder_layers", self.encoder_layers, MAX_LAYERS),
            ("encoder_attention_heads", self.encoder_attention_heads, MAX_SIZE),
            ("encoder_ffn_dim", self.encoder_ffn_dim, MAX_SIZE),
            ("decoder_layers", self.decoder_layers, MAX_LAYERS),
            ("decoder_attention_heads", self.decoder_attention_heads, MAX_SIZE),
            ("decoder_ffn_dim", self.decoder_ffn_dim, MAX_SIZE),
            ("num_mel_bins", self.num_mel_bins, MAX_SIZE),
            ("max_source_positions", self.max_source_positions, MAX_SIZE),
            ("max_target_positions", self.max_target_positions, MAX_SIZE),
            ("vocab_size", self.vocab_size, MAX_SIZE),
        ] {
            require(CONFIG, (1..=most).contains(&value), || {
                format!("{key} is {value}; it must be 1 to {most}")
            })?;
        }
        for heads in [self.encoder_attention_heads, self.decoder_attention_heads] {
            require(CONFIG, self.d_model.is_multiple_of(heads), || {
                format!("d_model {} is not a multiple of {heads} heads", self.d_model)
            })?;
        }
        // The shortest prompt and a token; a window has more positions than may be written about it.
        let targets = self.max_target_positions;
        require(CONFIG, (8..=self.max_source_positions).contains(&targets), || {
            format!("max_target_positions is {targets}; it must be 8 to max_source_positions")
        })
    }

    /// The encoder's sizes as those of an audio tower, whose projector there is none of.
    pub(crate) fn tower(&self) -> AudioConfig {
        AudioConfig {
            d_model: self.d_model,
            encoder_layers: self.encoder_layers,
            encoder_attention_heads: self.encoder_attention_heads,
            encoder_ffn_dim: self.encoder_ffn_dim,
            num_mel_bins: self.num_mel_bins,
            max_source_positions: self.max_source_positions,
            activation_function: "gelu".to_owned(),
            stack_factor: 1,
            projector_act: "swiglu".to_owned(),
        }
    }

    /// The names and shapes of all tensors of such a checkpoint, as published; the head is the embedding table.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let mut tensors = Tensors(Vec::new());
        tensors.audio("model.encoder", &self.tower());
        let (size, inner) = (self.d_model, self.decoder_ffn_dim);
        tensors.add("model.decoder.embed_tokens.weight", &[self.vocab_size, size]);
        tensors.add("model.decoder.embed_positions.weight", &[self.max_target_positions, size]);
        for index in 0..self.decoder_layers {
            let layer = format!("model.decoder.layers.{index}");
            for attention in ["self_attn", "encoder_attn"] {
                tensors.attention(&format!("{layer}.{attention}"), size, false);
                tensors.layer_norm(&format!("{layer}.{attention}_layer_norm"), size);
            }
            tensors.layer_norm(&format!("{layer}.final_layer_norm"), size);
            tensors.dense(&format!("{layer}.fc1"), size, inner, true);
            tensors.dense(&format!("{layer}.fc2"), inner, size, true);
        }
        tensors.layer_norm("model.decoder.layer_norm", size);
        tensors.0
    }

    /// Bytes that the weights take once they are loaded.
    pub fn weights_bytes(&self, format: WeightsFormat) -> u64 {
        self.tensors().iter().map(|(name, shape)| stored_bytes(name, shape, format)).sum()
    }
}

#[derive(Deserialize)]
struct GenerationFile {
    decoder_start_token_id: u32,
    eos_token_id: u32,
    no_timestamps_token_id: u32,
    prev_sot_token_id: Option<u32>,
    #[serde(default)]
    lang_to_id: BTreeMap<String, u32>,
    #[serde(default)]
    task_to_id: BTreeMap<String, u32>,
    #[serde(default)]
    suppress_tokens: Option<Vec<u32>>,
    #[serde(default)]
    begin_suppress_tokens: Option<Vec<u32>>,
    #[serde(default = "one_second")]
    max_initial_timestamp_index: u32,
}

fn one_second() -> u32 {
    50
}

impl WhisperTokens {
    /// Reads a `generation_config.json` and holds it against the vocabulary.
    ///
    /// # Errors
    /// [`ModelError::Config`] for a file that is malformed or does not belong to the vocabulary.
    pub fn from_json(bytes: &[u8], config: &WhisperConfig) -> Result<Self, ModelError> {
        let file: GenerationFile =
            serde_json::from_slice(bytes).map_err(|source| ModelError::json(GENERATION, &source))?;
        let bare = |name: &str| name.trim_start_matches("<|").trim_end_matches("|>").to_owned();
        let languages: BTreeMap<String, u32> =
            file.lang_to_id.iter().map(|(name, id)| (bare(name), *id)).collect();
        let task = |name: &str| file.task_to_id.get(name).copied().filter(|_| !languages.is_empty());
        let tokens = Self {
            start: file.decoder_start_token_id,
            end: file.eos_token_id,
            no_timestamps: file.no_timestamps_token_id,
            start_of_previous: file.prev_sot_token_id,
            transcribe: task("transcribe"),
            translate: task("translate"),
            languages,
            suppressed: file.suppress_tokens.unwrap_or_default(),
            suppressed_first: file.begin_suppress_tokens.unwrap_or_default(),
            max_initial_timestamp: file.max_initial_timestamp_index,
        };
        let named = [tokens.start, tokens.end, tokens.no_timestamps];
        let optional = [tokens.start_of_previous, tokens.transcribe, tokens.translate].into_iter().flatten();
        let lists = tokens.languages.values().chain(&tokens.suppressed).chain(&tokens.suppressed_first);
        let largest = named.into_iter().chain(optional).chain(lists.copied()).max().unwrap_or(0);
        require(GENERATION, (largest as usize) < config.vocab_size, || {
            format!("it names the token {largest}, outside the vocabulary of {}", config.vocab_size)
        })?;
        let times = config.vocab_size.saturating_sub(tokens.first_time() as usize);
        require(
            GENERATION,
            times > config.max_source_positions && tokens.end < tokens.no_timestamps,
            || format!("{times} tokens of time follow no_timestamps_token_id; a window has more positions"),
        )?;
        Ok(tokens)
    }

    /// The token of the time 0.00; those after it are 20 ms apart each.
    pub fn first_time(&self) -> u32 {
        self.no_timestamps + 1
    }

    /// The token whose probability, in the place of the first one, says that nobody speaks.
    pub(crate) fn no_speech(&self) -> u32 {
        self.no_timestamps - 1
    }
}

#[derive(Deserialize)]
struct PreprocessorFile {
    feature_size: usize,
    sampling_rate: u32,
    hop_length: usize,
    n_fft: usize,
    chunk_length: usize,
}

/// Reads a `preprocessor_config.json` and holds it against the encoder.
pub(crate) fn spectrogram(bytes: &[u8], config: &WhisperConfig) -> Result<MelConfig, ModelError> {
    let file: PreprocessorFile =
        serde_json::from_slice(bytes).map_err(|source| ModelError::json(PREPROCESSOR, &source))?;
    let expected = (config.num_mel_bins, 16_000, 160, 400);
    let found = (file.feature_size, file.sampling_rate, file.hop_length, file.n_fft);
    require(PREPROCESSOR, found == expected, || {
        format!(
            "feature_size, sampling_rate, hop_length and n_fft are {found:?}; config.json and Whisper ask for {expected:?}"
        )
    })?;
    let positions = file.chunk_length.saturating_mul(16_000) / 320;
    require(PREPROCESSOR, positions == config.max_source_positions, || {
        format!(
            "chunk_length is {} s; config.json asks for {} positions",
            file.chunk_length, config.max_source_positions
        )
    })?;
    Ok(MelConfig { sample_rate_hz: 16_000, n_fft: 400, hop_length: 160, num_mel_bins: config.num_mel_bins })
}

fn require(file: &'static str, holds: bool, reason: impl FnOnce() -> String) -> Result<(), ModelError> {
    if holds { Ok(()) } else { Err(ModelError::Config { file, reason: reason() }) }
}
