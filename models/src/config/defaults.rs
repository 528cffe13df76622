//! What a config.json means where it is silent: the defaults of `SmolVLMConfig`, `SmolVLMVisionConfig` and
//! `LlamaConfig` in transformers.

use serde_json::{Value, json};

/// Fills in every field that is missing or null, in place.
pub(super) fn fill_in(file: &mut Value) {
    let text = &file["text_config"];
    // transformers 5 keeps the base of the rotary embedding with its other parameters.
    let rope_theta = text["rope_parameters"]["rope_theta"].as_f64().unwrap_or(10_000.0);
    let num_heads = text["num_attention_heads"].as_u64().unwrap_or(32);
    let mut defaults = json!({
        "image_token_id": 128_257,
        "pad_token_id": 128_002,
        "scale_factor": 2,
        "tie_word_embeddings": false,
        "vision_config": {
            "hidden_size": 1_152, "intermediate_size": 3_072, "num_hidden_layers": 12, "num_attention_heads": 16,
            "patch_size": 32, "image_size": 224, "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6,
            "num_channels": 3,
        },
        "text_config": {
            "hidden_size": 4_096, "intermediate_size": 11_008, "num_hidden_layers": 32, "num_attention_heads": 32,
            "num_key_value_heads": num_heads, "rms_norm_eps": 1e-6, "rope_theta": rope_theta,
            "max_position_embeddings": 2_048, "vocab_size": 32_000, "hidden_act": "silu",
        },
    });
    if !file["audio_config"].is_null() {
        defaults["audio_config"] = json!({"activation_function": "gelu", "projector_act": "swiglu"});
    }
    merge(file, &defaults);
}

fn merge(file: &mut Value, defaults: &Value) {
    let (Some(fields), Some(defaults)) = (file.as_object_mut(), defaults.as_object()) else { return };
    for (key, default) in defaults {
        let field = fields.entry(key.clone()).or_insert(Value::Null);
        if field.is_null() {
            *field = default.clone();
        } else {
            merge(field, default);
        }
    }
}
