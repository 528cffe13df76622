//! Floating-point operations of a checkpoint's parts, counted from its configuration.
//!
//! The convention is that of PyTorch's `FlopCounterMode`, which `tests/flops.rs` holds this to: a multiplication and an
//! addition are two operations; dense layers, convolutions and both products of attention count, everything between
//! them does not. Attention counts all pairs of new and held positions, masked or not.

use crate::config::ModelConfig;

/// Counts for one checkpoint.
#[derive(Debug, Clone, Copy)]
pub struct Flops<'a>(&'a ModelConfig);

impl<'a> Flops<'a> {
    /// Counts from this configuration.
    pub fn of(config: &'a ModelConfig) -> Self {
        Self(config)
    }

    /// Vision tower and connector over one image of which `kept_tokens` image tokens are looked at.
    pub fn image(&self, kept_tokens: usize) -> u64 {
        let Some(vision) = &self.0.vision_config else { return 0 };
        let scale = self.0.scale_factor;
        let patches = kept_tokens * scale * scale;
        let embedding = dense(patches, vision.num_channels * vision.patch_size.pow(2), vision.hidden_size);
        let layer = encoder_layer(patches, vision.hidden_size, vision.intermediate_size);
        let connector =
            dense(kept_tokens, vision.hidden_size * scale * scale, self.0.text_config.hidden_size);
        embedding + layer * vision.num_hidden_layers as u64 + connector
    }

    /// The first `layers` layers of the vision tower over one image.
    pub fn early_image(&self, layers: usize) -> u64 {
        let Some(vision) = &self.0.vision_config else { return 0 };
        let (patches, hidden) = (vision.num_patches(), vision.hidden_size);
        dense(patches, vision.num_channels * vision.patch_size.pow(2), hidden)
            + encoder_layer(patches, hidden, vision.intermediate_size) * layers as u64
    }

    /// Audio tower and projector over a recording of which `kept_tokens` audio tokens are looked at; the
    /// convolutions see all of it.
    pub fn audio(&self, kept_tokens: usize) -> u64 {
        const TAPS: usize = 3;
        let Some(audio) = &self.0.audio_config else { return 0 };
        let (size, text) = (audio.d_model, self.0.text_config.hidden_size);
        let positions = kept_tokens * audio.stack_factor;
        let convolutions = dense(audio.num_mel_frames(), audio.num_mel_bins * TAPS, size)
            + dense(audio.max_source_positions, size * TAPS, size);
        let layer = encoder_layer(positions, size, audio.encoder_ffn_dim);
        let projector =
            dense(kept_tokens, size * audio.stack_factor, 2 * text) + dense(kept_tokens, text, text);
        convolutions + layer * audio.encoder_layers as u64 + projector
    }

    /// A decoder pass over `new` positions behind `held` ones, of which the last `scored` are scored.
    pub fn decoder(&self, new: usize, held: usize, scored: usize) -> u64 {
        self.layers(self.0.text_config.num_hidden_layers, new, held) + self.head(scored)
    }

    /// As [`Self::decoder`], so many of its layers alone.
    pub fn layers(&self, layers: usize, new: usize, held: usize) -> u64 {
        let text = &self.0.text_config;
        let (hidden, inner) = (text.hidden_size, text.intermediate_size);
        let queries = text.num_attention_heads * text.head_dim();
        let keys = text.num_key_value_heads * text.head_dim();
        let layer = dense(new, hidden, queries)
            + 2 * dense(new, hidden, keys)
            + dense(new, queries, hidden)
            + attention(new, new + held, queries)
            + 2 * dense(new, hidden, inner)
            + dense(new, inner, hidden);
        layer * layers as u64
    }

    /// Scores of the vocabulary at so many positions.
    pub fn head(&self, scored: usize) -> u64 {
        dense(scored, self.0.text_config.hidden_size, self.0.text_config.vocab_size)
    }

    /// Prefill of a prompt and greedy decoding of an answer, one token a pass.
    pub fn answer(&self, prompt_tokens: usize, completion_tokens: usize) -> u64 {
        let steps = (0..completion_tokens).map(|written| self.decoder(1, prompt_tokens + written, 1));
        self.decoder(prompt_tokens, 0, 1) + steps.sum::<u64>()
    }
}

/// `[rows, inputs] x [inputs, outputs]`
fn dense(rows: usize, inputs: usize, outputs: usize) -> u64 {
    2 * rows as u64 * inputs as u64 * outputs as u64
}

/// `q k^T` and the weighted sum of values, over all heads together `width` wide.
fn attention(queries: usize, keys: usize, width: usize) -> u64 {
    2 * dense(queries, width, keys)
}

fn encoder_layer(positions: usize, size: usize, inner: usize) -> u64 {
    4 * dense(positions, size, size)
        + attention(positions, positions, size)
        + 2 * dense(positions, size, inner)
}
