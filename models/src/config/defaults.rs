//! What a config.json means where it is silent: the defaults of `SmolVLMConfig`, `SmolVLMVisionConfig` and
//! `LlamaConfig` in transformers.

use serde_json::{Value, json};

/// A decoder's own file as the file of a checkpoint that has nothing else.
pub(super) fn text_only(mut file: Value) -> Value {
    json!({
        "architectures": file["architectures"].take(),
        "tie_word_embeddings": file["tie_word_embeddings"].clone(),
        "quantization": file["quantization"].take(),
        "text_config": file,
    })
}

/// Fills in what the vision tower's part leaves out, in place.
pub(super) fn fill_in_vision(file: &mut Value) {
    // Without a decoder's part transformers makes one, with another epsilon than a decoder's own.
    if file["text_config"].is_null() {
        merge(file, &json!({"text_config": {"rms_norm_eps": 1e-5}}));
    }
    let defaults = json!({
        "image_token_id": 128_257,
        "vision_config": {
            "hidden_size": 1_152, "intermediate_size": 3_072, "num_hidden_layers": 12, "num_attention_heads": 16,
            "patch_size": 32, "image_size": 224, "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6,
            "num_channels": 3,
        },
    });
    merge(file, &defaults);
}

/// Fills in every other field that is missing or null, in place.
pub(super) fn fill_in(file: &mut Value) {
    let text = &file["text_config"];
    // transformers 5 keeps the base of the rotary embedding with its other parameters.
    let rope_theta = text["rope_parameters"]["rope_theta"].as_f64().unwrap_or(10_000.0);
    let num_heads = text["num_attention_heads"].as_u64().unwrap_or(32);
    let eos = [&file["eos_token_id"], &text["eos_token_id"]].into_iter().find(|eos| !eos.is_null());
    let mut defaults = json!({
        "eos_token_ids": match eos {
            Some(several @ Value::Array(_)) => several.clone(),
            Some(one) => json!([one]),
            None => json!([2]),
        },
        "scale_factor": 2,
        "tie_word_embeddings": false,
        "text_config": {
            "hidden_size": 4_096, "intermediate_size": 11_008, "num_hidden_layers": 32, "num_attention_heads": 32,
            "num_key_value_heads": num_heads, "rms_norm_eps": 1e-6, "rope_theta": rope_theta,
            "max_position_embeddings": 2_048, "vocab_size": 32_000, "hidden_act": "silu",
            "bos_token_id": 1,
        },
    });
    if !file["audio_config"].is_null() {
        defaults["audio_config"] = json!({"activation_function": "gelu", "projector_act": "swiglu"});
    }
    merge(file, &defaults);
    file["pad_token_id"] = pad_token(file);
}

/// Published files of SmolVLM name a token beyond their vocabulary and the real one with the decoder. What pads is never
/// looked at, so any token will do where both are beyond it.
fn pad_token(file: &Value) -> Value {
    let text = &file["text_config"];
    let is_usable = |token: &&Value| token.as_u64() < text["vocab_size"].as_u64() && token.is_u64();
    let named = [&file["pad_token_id"], &text["pad_token_id"]];
    named.into_iter().find(is_usable).cloned().unwrap_or_else(|| json!(0))
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
