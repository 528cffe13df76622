//! Which tensors a configuration asks for, so that headers are held against it before a value is read.

use crate::config::{AudioConfig, ModelConfig, TextConfig, VisionConfig};
use crate::quantisation::stored_bytes;
use crate::weights_format::WeightsFormat;

/// The names and shapes of all tensors of a checkpoint, as published.
pub(crate) fn expected_tensors(config: &ModelConfig) -> Vec<(String, Vec<usize>)> {
    let mut tensors = Tensors(Vec::new());
    let text_hidden = config.text_config.hidden_size;
    if let Some(vision) = &config.vision_config {
        tensors.vision("model.vision_model", vision);
        let folded = vision.hidden_size * config.scale_factor.pow(2);
        tensors.add("model.connector.modality_projection.proj.weight", &[text_hidden, folded]);
    }
    if let Some(audio) = &config.audio_config {
        tensors.audio("model.audio_model", audio);
        tensors.audio_projector("model.audio_projector", audio, text_hidden);
    }
    tensors.text(config.text_prefix(), &config.text_config);
    if !config.tie_word_embeddings {
        tensors.add("lm_head.weight", &[config.text_config.vocab_size, text_hidden]);
    }
    tensors.0
}

/// Bytes that the weights take once they are loaded on a CPU, a tied head counted once.
pub(crate) fn weights_bytes(config: &ModelConfig, format: WeightsFormat) -> u64 {
    let tensors = expected_tensors(config);
    tensors.iter().map(|(name, shape)| stored_bytes(name, shape, format)).sum()
}

/// A list of tensors in the making.
pub(crate) struct Tensors(pub(crate) Vec<(String, Vec<usize>)>);

impl Tensors {
    pub(crate) fn add(&mut self, name: &str, shape: &[usize]) {
        self.0.push((name.to_owned(), shape.to_vec()));
    }

    pub(crate) fn dense(&mut self, name: &str, inputs: usize, outputs: usize, has_bias: bool) {
        self.add(&format!("{name}.weight"), &[outputs, inputs]);
        if has_bias {
            self.add(&format!("{name}.bias"), &[outputs]);
        }
    }

    pub(crate) fn layer_norm(&mut self, name: &str, size: usize) {
        self.add(&format!("{name}.weight"), &[size]);
        self.add(&format!("{name}.bias"), &[size]);
    }

    pub(crate) fn attention(&mut self, name: &str, size: usize, has_key_bias: bool) {
        for (part, has_bias) in
            [("q_proj", true), ("k_proj", has_key_bias), ("v_proj", true), ("out_proj", true)]
        {
            self.dense(&format!("{name}.{part}"), size, size, has_bias);
        }
    }

    fn vision(&mut self, name: &str, config: &VisionConfig) {
        let (size, inner, patch) = (config.hidden_size, config.intermediate_size, config.patch_size);
        let embeddings = format!("{name}.embeddings");
        self.add(&format!("{embeddings}.patch_embedding.weight"), &[size, config.num_channels, patch, patch]);
        self.add(&format!("{embeddings}.patch_embedding.bias"), &[size]);
        self.add(&format!("{embeddings}.position_embedding.weight"), &[config.num_patches(), size]);
        for index in 0..config.num_hidden_layers {
            let layer = format!("{name}.encoder.layers.{index}");
            self.layer_norm(&format!("{layer}.layer_norm1"), size);
            self.attention(&format!("{layer}.self_attn"), size, true);
            self.layer_norm(&format!("{layer}.layer_norm2"), size);
            self.dense(&format!("{layer}.mlp.fc1"), size, inner, true);
            self.dense(&format!("{layer}.mlp.fc2"), inner, size, true);
        }
        self.layer_norm(&format!("{name}.post_layernorm"), size);
    }

    pub(crate) fn audio(&mut self, name: &str, config: &AudioConfig) {
        const TAPS: usize = 3;
        let (size, inner) = (config.d_model, config.encoder_ffn_dim);
        for (convolution, inputs) in [("conv1", config.num_mel_bins), ("conv2", size)] {
            self.add(&format!("{name}.{convolution}.weight"), &[size, inputs, TAPS]);
            self.add(&format!("{name}.{convolution}.bias"), &[size]);
        }
        self.add(&format!("{name}.embed_positions.weight"), &[config.max_source_positions, size]);
        for index in 0..config.encoder_layers {
            let layer = format!("{name}.layers.{index}");
            self.layer_norm(&format!("{layer}.self_attn_layer_norm"), size);
            self.attention(&format!("{layer}.self_attn"), size, false);
            self.layer_norm(&format!("{layer}.final_layer_norm"), size);
            self.dense(&format!("{layer}.fc1"), size, inner, true);
            self.dense(&format!("{layer}.fc2"), inner, size, true);
        }
        self.layer_norm(&format!("{name}.layer_norm"), size);
    }

    fn audio_projector(&mut self, name: &str, config: &AudioConfig, text_hidden: usize) {
        let stacked = config.d_model * config.stack_factor;
        self.add(&format!("{name}.ln_pre.weight"), &[stacked]);
        self.dense(&format!("{name}.linear_1"), stacked, 2 * text_hidden, false);
        self.dense(&format!("{name}.linear_2"), text_hidden, text_hidden, false);
        self.add(&format!("{name}.ln_post.weight"), &[text_hidden]);
    }

    fn text(&mut self, name: &str, config: &TextConfig) {
        let (size, inner) = (config.hidden_size, config.intermediate_size);
        let queries = config.num_attention_heads * config.head_dim();
        let keys = config.num_key_value_heads * config.head_dim();
        self.add(&format!("{name}.embed_tokens.weight"), &[config.vocab_size, size]);
        for index in 0..config.num_hidden_layers {
            let layer = format!("{name}.layers.{index}");
            self.add(&format!("{layer}.input_layernorm.weight"), &[size]);
            self.dense(&format!("{layer}.self_attn.q_proj"), size, queries, false);
            self.dense(&format!("{layer}.self_attn.k_proj"), size, keys, false);
            self.dense(&format!("{layer}.self_attn.v_proj"), size, keys, false);
            self.dense(&format!("{layer}.self_attn.o_proj"), queries, size, false);
            self.add(&format!("{layer}.post_attention_layernorm.weight"), &[size]);
            self.dense(&format!("{layer}.mlp.gate_proj"), size, inner, false);
            self.dense(&format!("{layer}.mlp.up_proj"), size, inner, false);
            self.dense(&format!("{layer}.mlp.down_proj"), inner, size, false);
        }
        self.add(&format!("{name}.norm.weight"), &[size]);
    }
}
