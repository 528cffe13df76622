//! What `config.json` says about a checkpoint: the shapes of its towers and its special tokens.
//!
//! Names are those of Hugging Face's `SmolVLMConfig`, `LlamaConfig` and `WhisperConfig`; fields that only matter to
//! training are ignored, and fields that are left out mean what they mean there. Everything is validated here,
//! so that the modules may trust it. A `LlamaForCausalLM` is read as the decoder of a checkpoint without towers.

mod defaults;
mod validation;

use serde::Deserialize;
use serde_json::Value;

use crate::error::ModelError;
use crate::expected::{expected_tensors, weights_bytes};
use crate::quantisation::QuantizationConfig;
use crate::weights_format::WeightsFormat;

const FILE: &str = "config.json";

/// Checkpoints with towers, as `config.json` names them; the first SmolVLM was published under its parent's name.
const MULTIMODAL: [&str; 2] = ["SmolVLMForConditionalGeneration", "Idefics3ForConditionalGeneration"];
/// Checkpoints of text alone, whose whole file is what is `text_config` elsewhere.
const TEXT_ONLY: &str = "LlamaForCausalLM";

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
    /// Side of the square input image in pixels; what is left of it beside whole patches is not looked at.
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
    /// Token that begins a text, where a chat template asks for it.
    pub bos_token_id: Option<u32>,
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
    /// Class names that wrote the file; must name SmolVLM, Idefics3 or Llama.
    pub architectures: Vec<String>,
    /// Token that stands for one image embedding; absent where the checkpoint cannot see.
    pub image_token_id: Option<u32>,
    /// Token that stands for one audio embedding; absent where the checkpoint cannot hear.
    pub audio_token_id: Option<u32>,
    /// Side of the square of patches folded into one image token.
    pub scale_factor: usize,
    /// Token that pads a batch, within the vocabulary.
    pub pad_token_id: u32,
    /// Tokens that end a text, where no turn of a conversation ends otherwise.
    pub eos_token_ids: Vec<u32>,
    /// Whether the head shares the embedding table; otherwise it is `lm_head.weight`.
    pub tie_word_embeddings: bool,
    /// The vision tower; absent where the checkpoint cannot see.
    pub vision_config: Option<VisionConfig>,
    /// The decoder.
    pub text_config: TextConfig,
    /// The audio tower; absent where the checkpoint cannot hear.
    pub audio_config: Option<AudioConfig>,
    /// What a converted checkpoint's weights were converted to; absent where they are as published.
    pub quantization: Option<QuantizationConfig>,
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
        if found.contains(&TEXT_ONLY) {
            value = defaults::text_only(value);
        } else if !found.iter().any(|name| MULTIMODAL.contains(name)) {
            return Err(ModelError::Architecture { found: found.join(", ") });
        } else {
            defaults::fill_in_vision(&mut value);
        }
        defaults::fill_in(&mut value);
        validation::check_unsupported(&value)?;
        let config: Self = serde_json::from_value(value).map_err(|source| ModelError::json(FILE, &source))?;
        config.validate()?;
        Ok(config)
    }

    /// Whether there is nothing but a decoder.
    pub fn is_text_only(&self) -> bool {
        self.vision_config.is_none() && self.audio_config.is_none()
    }

    /// The names and shapes of all tensors of such a checkpoint, as published.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        expected_tensors(self)
    }

    /// Bytes that the weights of such a checkpoint take once they are loaded on a CPU.
    pub fn loaded_bytes(&self, format: WeightsFormat) -> u64 {
        weights_bytes(self, format)
    }

    /// The format that the weights of such a checkpoint would be kept in.
    ///
    /// # Errors
    /// [`ModelError::TooLarge`] where they would not fit the memory that they may take.
    pub fn check_memory(
        &self,
        format: WeightsFormat,
        limit_bytes: Option<u64>,
    ) -> Result<WeightsFormat, ModelError> {
        let format = format.for_checkpoint(self)?;
        let needed_bytes = weights_bytes(self, format);
        match limit_bytes {
            Some(limit_bytes) if needed_bytes > limit_bytes => {
                let fits_as = format.smaller_where(|format| weights_bytes(self, format) <= limit_bytes);
                Err(ModelError::TooLarge { needed_bytes, limit_bytes, format, fits_as })
            }
            _ => Ok(format),
        }
    }

    /// Where the decoder's tensors are in a checkpoint.
    pub(crate) fn text_prefix(&self) -> &'static str {
        if self.is_text_only() { "model" } else { "model.text_model" }
    }

    /// Side in pixels of what the vision tower looks at, and image tokens along it; `None` where the checkpoint cannot see.
    pub fn image_grid(&self) -> Option<(u32, u32)> {
        let of = |vision: &VisionConfig| {
            let patches = vision.patches_per_side();
            ((patches * vision.patch_size) as u32, (patches / self.scale_factor) as u32)
        };
        self.vision_config.as_ref().map(of)
    }

    /// Image tokens of one input of the vision tower, after the pixel shuffle; 0 where the checkpoint cannot see.
    pub fn num_image_tokens(&self) -> usize {
        self.vision_config.as_ref().map_or(0, |vision| vision.num_patches() / self.scale_factor.pow(2))
    }
}
