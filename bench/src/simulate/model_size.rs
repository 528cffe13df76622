//! Sizes of published models, and what a token of them costs in operations and bytes.

/// The decoder of a multimodal model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ModelSize {
    pub(crate) hidden_size: f64,
    pub(crate) layers: f64,
    pub(crate) num_heads: f64,
    pub(crate) num_kv_heads: f64,
    pub(crate) head_dim: f64,
    pub(crate) intermediate_size: f64,
    pub(crate) vocab_size: f64,
    /// Whether the output layer is the embedding.
    pub(crate) tied: bool,
    pub(crate) bytes_per_weight: f64,
    pub(crate) vision: VisionTower,
}

/// The image encoder with its connector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct VisionTower {
    pub(crate) hidden_size: f64,
    pub(crate) layers: f64,
    pub(crate) intermediate_size: f64,
    /// Matrices of a feed-forward block: 2, or 3 where it is gated.
    pub(crate) ffn_matrices: f64,
    /// Layers whose attention sees the whole image, the others seeing windows.
    pub(crate) full_attention_layers: f64,
    /// Patches that become one token.
    pub(crate) patches_per_token: f64,
}

/// `config.json` of Qwen/Qwen2-VL-2B-Instruct.
pub(crate) const QWEN2_VL_2B: ModelSize = ModelSize {
    hidden_size: 1536.0,
    layers: 28.0,
    num_heads: 12.0,
    num_kv_heads: 2.0,
    head_dim: 128.0,
    intermediate_size: 8960.0,
    vocab_size: 151_936.0,
    tied: true,
    bytes_per_weight: 2.0,
    vision: VisionTower {
        hidden_size: 1280.0,
        layers: 32.0,
        intermediate_size: 5120.0,
        ffn_matrices: 2.0,
        full_attention_layers: 32.0,
        patches_per_token: 4.0,
    },
};

/// `config.json` of Qwen/Qwen2.5-VL-7B-Instruct.
pub(crate) const QWEN2_5_VL_7B: ModelSize = ModelSize {
    hidden_size: 3584.0,
    layers: 28.0,
    num_heads: 28.0,
    num_kv_heads: 4.0,
    head_dim: 128.0,
    intermediate_size: 18_944.0,
    vocab_size: 152_064.0,
    tied: false,
    bytes_per_weight: 2.0,
    vision: VisionTower {
        hidden_size: 1280.0,
        layers: 32.0,
        intermediate_size: 3420.0,
        ffn_matrices: 3.0,
        full_attention_layers: 4.0,
        patches_per_token: 4.0,
    },
};

impl ModelSize {
    /// Weights of one decoder layer.
    pub(crate) fn layer_weights(&self) -> f64 {
        let attention = self.hidden_size * self.head_dim * (2.0 * self.num_heads + 2.0 * self.num_kv_heads);
        attention + 3.0 * self.hidden_size * self.intermediate_size
    }

    /// Weights of the output layer.
    pub(crate) fn head_weights(&self) -> f64 {
        self.hidden_size * self.vocab_size
    }

    /// Weights a decode step reads: all layers and the output layer.
    pub(crate) fn step_weights(&self) -> f64 {
        self.layers * self.layer_weights() + self.head_weights()
    }

    /// All weights of the decoder.
    #[cfg(test)]
    fn decoder_weights(&self) -> f64 {
        self.step_weights() + if self.tied { 0.0 } else { self.head_weights() }
    }

    /// Operations of one token that is decoded with `context` tokens before it.
    pub(crate) fn token_flops(&self, context: f64) -> f64 {
        2.0 * self.step_weights() + self.attention_flops(context)
    }

    /// Operations of reading a prompt: all tokens through the layers, one through the output layer.
    pub(crate) fn prompt_flops(&self, tokens: f64) -> f64 {
        tokens * (2.0 * self.layers * self.layer_weights() + self.attention_flops(tokens / 2.0))
            + 2.0 * self.head_weights()
    }

    /// Scores and sums of one token over `context` others, in all layers.
    fn attention_flops(&self, context: f64) -> f64 {
        4.0 * self.layers * self.num_heads * self.head_dim * context
    }

    /// Bytes of keys and values that a token of context holds.
    pub(crate) fn kv_bytes_per_token(&self) -> f64 {
        2.0 * self.layers * self.num_kv_heads * self.head_dim * self.bytes_per_weight
    }
}

impl VisionTower {
    /// Weights of one layer.
    fn layer_weights(&self) -> f64 {
        4.0 * self.hidden_size * self.hidden_size
            + self.ffn_matrices * self.hidden_size * self.intermediate_size
    }

    /// Weights of all layers.
    pub(crate) fn weights(&self) -> f64 {
        self.layers * self.layer_weights()
    }

    /// Operations of encoding an image of so many tokens of the decoder.
    pub(crate) fn flops(&self, tokens: f64) -> f64 {
        let patches = tokens * self.patches_per_token;
        patches * (2.0 * self.weights() + 4.0 * self.full_attention_layers * self.hidden_size * patches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_those_the_model_cards_state() {
        let billions = |weights: f64| (weights / 1e7).round() / 100.0;
        assert_eq!(billions(QWEN2_VL_2B.decoder_weights()), 1.54);
        assert_eq!(billions(QWEN2_5_VL_7B.decoder_weights()), 7.62);
        assert_eq!(billions(QWEN2_VL_2B.vision.weights()), 0.63);
        assert_eq!(billions(QWEN2_5_VL_7B.vision.weights()), 0.63);
    }

    #[test]
    fn a_prompt_costs_its_tokens() {
        let one = QWEN2_5_VL_7B.prompt_flops(1.0) / QWEN2_5_VL_7B.token_flops(0.5);
        assert!((one - 1.0).abs() < 1e-9, "{one}");
        let growth = QWEN2_5_VL_7B.prompt_flops(800.0) / QWEN2_5_VL_7B.prompt_flops(400.0);
        assert!((2.0..2.1).contains(&growth), "{growth}");
    }
}
