//! config.json as published, as transformers writes it, and as it must not be.

use msao_models::ModelConfig;
use serde_json::{Value, json};

fn parse(file: &Value) -> Result<ModelConfig, String> {
    ModelConfig::from_json(file.to_string().as_bytes()).map_err(|error| error.to_string())
}

/// What SmolVLM-256M-Instruct publishes, without the fields that matter to training only; the shapes that it
/// leaves to the defaults are left out here as well.
fn smolvlm_256m() -> Value {
    json!({
        "architectures": ["Idefics3ForConditionalGeneration"], "image_token_id": 49_190, "model_type": "idefics3",
        "pad_token_id": 128_002, "scale_factor": 4, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
        "use_cache": true, "vocab_size": 49_280,
        "text_config": {
            "architectures": ["VLlama3ForCausalLM"], "head_dim": 64, "hidden_size": 576, "intermediate_size": 1_536,
            "is_llama_config": true, "max_position_embeddings": 8_192, "mlp_bias": false, "model_type": "llama",
            "num_attention_heads": 9, "num_hidden_layers": 30, "num_key_value_heads": 3, "pad_token_id": 2,
            "pixel_shuffle_factor": 4, "qk_layer_norms": false, "rms_norm_eps": 1e-5, "rope_interleaved": false,
            "rope_scaling": null, "rope_theta": 100_000, "use_resampler": false, "vocab_size": 49_280,
        },
        "vision_config": {
            "hidden_size": 768, "image_size": 512, "max_image_size": {"longest_edge": 512}, "model_type": "idefics3",
            "num_attention_heads": 12, "patch_size": 16, "size": {"longest_edge": 2_048},
            "tie_word_embeddings": false, "use_base_siglip": true,
        },
    })
}

fn pocket() -> Value {
    json!({
        "architectures": ["SmolVLMForConditionalGeneration"], "image_token_id": 5, "scale_factor": 2,
        "pad_token_id": 0, "tie_word_embeddings": true,
        "vision_config": {"hidden_size": 96, "intermediate_size": 384, "num_hidden_layers": 3,
            "num_attention_heads": 3, "patch_size": 16, "image_size": 128},
        "text_config": {"hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 3,
            "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 32, "rms_norm_eps": 1e-5,
            "max_position_embeddings": 1_024, "vocab_size": 768},
        "audio_token_id": 7,
        "audio_config": {"d_model": 64, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 256,
            "num_mel_bins": 80, "max_source_positions": 240, "stack_factor": 8},
    })
}

#[test]
fn the_published_file_reads_with_transformers_defaults() {
    let config = parse(&smolvlm_256m()).expect("a valid configuration");
    assert!(!config.tie_word_embeddings);
    assert_eq!(config.num_image_tokens(), 64);
    let vision = config.vision_config.as_ref().expect("it sees");
    assert_eq!(
        (vision.intermediate_size, vision.num_hidden_layers, vision.layer_norm_eps),
        (3_072, 12, 1e-6)
    );
    assert_eq!(vision.hidden_act, "gelu_pytorch_tanh");
    let text = &config.text_config;
    assert_eq!((text.head_dim(), text.rope_theta, text.hidden_act.as_str()), (64, 100_000.0, "silu"));
    assert!(config.audio_config.is_none());
}

#[test]
fn what_is_left_out_means_what_it_means_in_transformers() {
    let mut file = pocket();
    let text = file["text_config"].as_object_mut().expect("an object");
    for key in ["num_key_value_heads", "head_dim", "rms_norm_eps"] {
        text.remove(key);
    }
    text.insert("rope_parameters".to_owned(), json!({"rope_theta": 50_000.0, "rope_type": "default"}));
    let config = parse(&file).expect("a valid configuration");
    let text = &config.text_config;
    assert_eq!(
        (text.num_key_value_heads, text.head_dim(), text.rms_norm_eps, text.rope_theta),
        (3, 32, 1e-6, 50_000.0)
    );
    let audio = config.audio_config.expect("it hears");
    assert_eq!((audio.num_audio_tokens(), audio.num_mel_frames()), (30, 480));
    assert_eq!((audio.activation_function.as_str(), audio.projector_act.as_str()), ("gelu", "swiglu"));
}

#[test]
fn every_refusal_names_its_key() {
    let cases = [
        ("/scale_factor", json!(3), "scale_factor"),
        ("/image_token_id", json!(768), "image_token_id"),
        ("/image_token_id", json!(-1), "config.json"),
        ("/audio_token_id", json!(9_999), "audio_token_id"),
        ("/audio_token_id", Value::Null, "audio_config and audio_token_id"),
        ("/vision_config/patch_size", json!(0), "vision_config.patch_size"),
        ("/vision_config/image_size", json!(15), "vision_config.patch_size"),
        ("/vision_config/num_attention_heads", json!(5), "vision_config.num_attention_heads"),
        ("/vision_config", json!([]), "config.json"),
        ("/text_config/num_attention_heads", json!(0), "text_config.num_attention_heads"),
        ("/text_config/num_key_value_heads", json!(2), "text_config.num_key_value_heads"),
        ("/text_config/head_dim", json!(31), "rotary"),
        ("/text_config/vocab_size", json!(u64::MAX), "text_config.vocab_size"),
        ("/text_config/rms_norm_eps", json!(-1.0), "text_config.rms_norm_eps"),
        ("/audio_config/stack_factor", json!(7), "audio_config.stack_factor"),
        ("/audio_config/d_model", json!("64"), "config.json"),
    ];
    for (path, value, key) in cases {
        let mut file = pocket();
        *file.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = value.clone();
        let message = parse(&file).expect_err(path);
        assert!(message.contains(key) && message.contains("config.json"), "{path} = {value}: {message}");
    }
    for (key, value) in [
        ("attention_bias", json!(true)),
        ("rope_scaling", json!({"rope_type": "llama3", "factor": 8.0})),
        ("hidden_act", json!("gelu")),
    ] {
        let mut file = pocket();
        file["text_config"][key] = value;
        let message = parse(&file).expect_err(key);
        assert!(message.contains(key), "{message}");
    }
    let mut headless = pocket();
    headless["text_config"]["head_dim"] = Value::Null;
    headless["text_config"]["num_attention_heads"] = json!(0);
    assert!(parse(&headless).expect_err("no heads").contains("num_attention_heads"));
    assert!(
        parse(&json!({"architectures": ["LlavaForConditionalGeneration"]}))
            .expect_err("Llava")
            .contains("Llava")
    );
    for garbage in [json!(null), json!([]), json!("text"), json!({"architectures": 7})] {
        assert!(parse(&garbage).is_err());
    }
}
