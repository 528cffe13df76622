//! The configuration of a model too small to run, for tests that stop before any tensor.

use msao_models::ModelConfig;
use serde_json::json;

/// With or without hearing.
pub(crate) fn config(audio: bool) -> ModelConfig {
    let mut config = json!({
        "architectures": ["SmolVLMForConditionalGeneration"], "image_token_id": 5, "scale_factor": 1,
        "tie_word_embeddings": true,
        "vision_config": {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
            "num_attention_heads": 1, "patch_size": 16, "image_size": 32},
        "text_config": {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
            "num_attention_heads": 1, "num_key_value_heads": 1, "max_position_embeddings": 64, "vocab_size": 480},
    });
    if audio {
        config["audio_token_id"] = json!(7);
        config["audio_config"] = json!({"d_model": 8, "encoder_layers": 1, "encoder_attention_heads": 1,
            "encoder_ffn_dim": 8, "num_mel_bins": 80, "max_source_positions": 50, "stack_factor": 10});
    }
    ModelConfig::from_json(config.to_string().as_bytes()).expect("a valid configuration")
}
