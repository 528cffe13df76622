//! What `config.json` says about a checkpoint: the shapes of its towers and its special tokens.
//!
//! Names are those of Hugging Face's `SmolVLMConfig` and `WhisperConfig`; fields that only matter to
//! training are ignored, and fields that are left out mean what they mean there. Everything is validated here,
//! so that the modules may trust it.

mod defaults;
mod validation;

use serde::Deserialize;
use serde_json::Value;

use crate::error::ModelError;

const FILE: &str = "config.json";

/// The one architecture this crate runs, as `config.json` names it; the first SmolVLM was published under its
/// parent's name.
const ARCHITECTURES: [&str; 2] = ["SmolVLMForConditionalGeneration", "Idefics3ForConditionalGeneration"];

/// Shapes of the SigLIP-style vision tower (`vision_config`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct VisionConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Number of transformer layers.
    pub num_hidden_layers: usize,
    /// Number of attention heads; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Side of a square patch in pixels.
    pub patch_size: usize,
    /// Side of the square input image in pixels; a multiple of `patch_size`.
    pub image_size: usize,
    /// Activation of the feed-forward layer; only `gelu_pytorch_tanh` is known.
    pub hidden_act: String,
    /// Epsilon of the layer norms.
    pub layer_norm_eps: f64,
    /// Colour channels of the input image; only 3 is known.
    pub num_channels: usize,
}

/// Shapes of the Llama-style decoder (`text_config`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct TextConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the SwiGLU feed-forward layer.
    pub intermediate_size: usize,
    /// Number of transformer layers.
    pub num_hidden_layers: usize,
    /// Number of query heads.
    pub num_attention_heads: usize,
    /// Number of key and value heads; divides `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Width of one head; `hidden_size / num_attention_heads` where the file leaves it out.
    pub head_dim: Option<usize>,
    /// Epsilon of the RMS norms.
    pub rms_norm_eps: f64,
    /// Base of the rotary position embedding.
    pub rope_theta: f64,
    /// Longest sequence, prompt and answer together, in tokens.
    pub max_position_embeddings: usize,
    /// Number of rows of the embedding table.
    pub vocab_size: usize,
    /// Activation of the feed-forward layer; only `silu` is known.
    pub hidden_act: String,
}

/// Shapes of the Whisper-style audio encoder and its projector (`audio_config`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct AudioConfig {
    /// Width of the residual stream.
    pub d_model: usize,
    /// Number of transformer layers.
    pub encoder_layers: usize,
    /// Number of attention heads; divides `d_model`.
    pub encoder_attention_heads: usize,
    /// Width of the feed-forward layer.
    pub encoder_ffn_dim: usize,
    /// Mel bands of the input spectrogram.
    pub num_mel_bins: usize,
    /// Encoder positions after the stride-2 convolution, i.e. half the mel frames of a full clip.
    pub max_source_positions: usize,
    /// Activation of the encoder; only `gelu` is known.
    pub activation_function: String,
    /// Encoder frames stacked into one audio token; divides `max_source_positions`.
    pub stack_factor: usize,
    /// Activation of the projector; only `swiglu` is known.
    pub projector_act: String,
}

/// A checkpoint's `config.json`, validated.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ModelConfig {
    /// Class names that wrote the file; must name SmolVLM or Idefics3.
    pub architectures: Vec<String>,
    /// Token that stands for one image embedding.
    pub image_token_id: u32,
    /// Token that stands for one audio embedding; absent where the checkpoint cannot hear.
    pub audio_token_id: Option<u32>,
    /// Side of the square of patches folded into one image token.
    pub scale_factor: usize,
    /// Token that pads a batch.
    pub pad_token_id: u32,
    /// Whether the head shares the embedding table; otherwise it is `lm_head.weight`.
    pub tie_word_embeddings: bool,
    /// The vision tower.
    pub vision_config: VisionConfig,
    /// The decoder.
    pub text_config: TextConfig,
    /// The audio tower; absent where the checkpoint cannot hear.
    pub audio_config: Option<AudioConfig>,
}

impl VisionConfig {
    /// Patches along one side of the image.
    pub fn patches_per_side(&self) -> usize {
        self.image_size / self.patch_size
    }

    /// Patches of one image.
    pub fn num_patches(&self) -> usize {
        self.patches_per_side().pow(2)
    }
}

impl TextConfig {
    /// Width of one attention head.
    pub fn head_dim(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads)
    }
}

impl AudioConfig {
    /// Mel frames of one full clip.
    pub fn num_mel_frames(&self) -> usize {
        2 * self.max_source_positions
    }

    /// Audio tokens of one clip.
    pub fn num_audio_tokens(&self) -> usize {
        self.max_source_positions / self.stack_factor
    }
}

impl ModelConfig {
    /// Reads and validates a `config.json`.
    ///
    /// # Errors
    /// [`ModelError::Architecture`] for another architecture, [`ModelError::Config`] for anything missing,
    /// malformed or contradictory.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ModelError> {
        let mut value: Value =
            serde_json::from_slice(bytes).map_err(|source| ModelError::json(FILE, &source))?;
        let names = value["architectures"].as_array().map(Vec::as_slice).unwrap_or_default();
        let found: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
        if !found.iter().any(|name| ARCHITECTURES.contains(name)) {
            return Err(ModelError::Architecture { found: found.join(", ") });
        }
        defaults::fill_in(&mut value);
        validation::check_unsupported(&value)?;
        let config: Self = serde_json::from_value(value).map_err(|source| ModelError::json(FILE, &source))?;
        config.validate()?;
        Ok(config)
    }

    /// Image tokens of one image, after the pixel shuffle.
    pub fn num_image_tokens(&self) -> usize {
        self.vision_config.num_patches() / self.scale_factor.pow(2)
    }
}
