//! Which configurations the modules can run.

use serde_json::Value;

use super::{AudioConfig, FILE, ModelConfig, VisionConfig};
use crate::error::ModelError;

/// Refuses options of the file that change the network in ways that are not built here.
pub(super) fn check_unsupported(file: &Value) -> Result<(), ModelError> {
    let text = &file["text_config"];
    for key in ["attention_bias", "mlp_bias", "qk_layer_norms", "use_resampler", "rope_interleaved"] {
        require(text[key] != true, &format!("text_config.{key} is true; only false is supported"))?;
    }
    for key in ["rope_scaling", "rope_parameters"] {
        let rope = &text[key];
        let kind = rope["rope_type"].as_str().or(rope["type"].as_str()).unwrap_or("default");
        known(&format!("text_config.{key}.rope_type"), kind, "default")?;
    }
    Ok(())
}

impl ModelConfig {
    /// Refuses what the modules could not run, naming the key.
    pub(super) fn validate(&self) -> Result<(), ModelError> {
        let text = &self.text_config;
        positive(&[
            ("scale_factor", self.scale_factor),
            ("text_config.hidden_size", text.hidden_size),
            ("text_config.intermediate_size", text.intermediate_size),
            ("text_config.num_attention_heads", text.num_attention_heads),
            ("text_config.num_key_value_heads", text.num_key_value_heads),
            ("text_config.max_position_embeddings", text.max_position_embeddings),
            ("text_config.vocab_size", text.vocab_size),
        ])?;
        if text.head_dim.is_none() {
            divides(("text_config.num_attention_heads", text.num_attention_heads), text.hidden_size)?;
        }
        positive(&[("text_config.head_dim", text.head_dim())])?;
        finite(&[
            ("text_config.rms_norm_eps", text.rms_norm_eps),
            ("text_config.rope_theta", text.rope_theta),
        ])?;
        known("text_config.hidden_act", &text.hidden_act, "silu")?;
        divides(("text_config.num_key_value_heads", text.num_key_value_heads), text.num_attention_heads)?;
        divides(("2 (rotary halves)", 2), text.head_dim())?;
        match (&self.vision_config, self.image_token_id) {
            (None, None) => {}
            (Some(vision), Some(token)) => {
                require((token as usize) < text.vocab_size, "image_token_id is outside the vocabulary")?;
                vision.validate()?;
                divides(("scale_factor", self.scale_factor), vision.patches_per_side())?;
            }
            _ => return Err(invalid("vision_config and image_token_id must come together".to_owned())),
        }
        match (&self.audio_config, self.audio_token_id) {
            (None, None) => Ok(()),
            (Some(audio), Some(token)) => {
                require((token as usize) < text.vocab_size, "audio_token_id is outside the vocabulary")?;
                audio.validate()
            }
            _ => Err(invalid("audio_config and audio_token_id must come together".to_owned())),
        }
    }
}

impl VisionConfig {
    fn validate(&self) -> Result<(), ModelError> {
        positive(&[
            ("vision_config.hidden_size", self.hidden_size),
            ("vision_config.intermediate_size", self.intermediate_size),
            ("vision_config.num_attention_heads", self.num_attention_heads),
            ("vision_config.patch_size", self.patch_size),
            ("vision_config.image_size", self.image_size),
        ])?;
        finite(&[("vision_config.layer_norm_eps", self.layer_norm_eps)])?;
        known("vision_config.hidden_act", &self.hidden_act, "gelu_pytorch_tanh")?;
        require(self.num_channels == 3, "vision_config.num_channels must be 3")?;
        divides(("vision_config.num_attention_heads", self.num_attention_heads), self.hidden_size)?;
        require(self.patches_per_side() > 0, "vision_config.patch_size is larger than image_size")
    }
}

impl AudioConfig {
    fn validate(&self) -> Result<(), ModelError> {
        positive(&[
            ("audio_config.d_model", self.d_model),
            ("audio_config.encoder_attention_heads", self.encoder_attention_heads),
            ("audio_config.encoder_ffn_dim", self.encoder_ffn_dim),
            ("audio_config.num_mel_bins", self.num_mel_bins),
            ("audio_config.max_source_positions", self.max_source_positions),
            ("audio_config.stack_factor", self.stack_factor),
        ])?;
        known("audio_config.activation_function", &self.activation_function, "gelu")?;
        known("audio_config.projector_act", &self.projector_act, "swiglu")?;
        divides(("audio_config.encoder_attention_heads", self.encoder_attention_heads), self.d_model)?;
        divides(("audio_config.stack_factor", self.stack_factor), self.max_source_positions)
    }
}

fn invalid(reason: String) -> ModelError {
    ModelError::Config { file: FILE, reason }
}

fn require(holds: bool, reason: &str) -> Result<(), ModelError> {
    if holds { Ok(()) } else { Err(invalid(reason.to_owned())) }
}

/// Every size is at least one and small enough that products of a few of them cannot overflow.
fn positive(fields: &[(&str, usize)]) -> Result<(), ModelError> {
    const LARGEST: usize = 1 << 22;
    match fields.iter().find(|(_, value)| !(1..=LARGEST).contains(value)) {
        None => Ok(()),
        Some((name, value)) => Err(invalid(format!("{name} is {value}; it must be 1 to {LARGEST}"))),
    }
}

fn finite(fields: &[(&str, f64)]) -> Result<(), ModelError> {
    match fields.iter().find(|(_, value)| !(value.is_finite() && *value > 0.0)) {
        None => Ok(()),
        Some((name, value)) => Err(invalid(format!("{name} is {value}; it must be above zero"))),
    }
}

fn divides((name, divisor): (&str, usize), value: usize) -> Result<(), ModelError> {
    if value.is_multiple_of(divisor) {
        Ok(())
    } else {
        Err(invalid(format!("{name} = {divisor} must divide {value}")))
    }
}

fn known(name: &str, found: &str, only: &str) -> Result<(), ModelError> {
    if found == only {
        Ok(())
    } else {
        Err(invalid(format!("{name} is `{found}`; only `{only}` is supported")))
    }
}
