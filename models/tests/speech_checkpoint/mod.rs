//! Random Whisper checkpoints of published structure, computed as `reference/speech.py` computes them: nothing is stored.

use msao_models::Pcm;
use msao_models::speech::{WhisperConfig, WhisperFiles};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

use crate::published_checkpoint::{folder, published, read_json, weight};

/// Seconds of a window of theirs.
pub(crate) const WINDOW_S: f64 = 4.0;
pub(crate) const FAMILIES: [&str; 3] = ["multilingual", "english", "large"];

/// Sound of integers, 16 kHz: every half second sounds otherwise.
pub(crate) fn recording(seconds: f64) -> Pcm {
    let sample = |n: u64| {
        let part = n / 8_000;
        let wave = (n * (part * part % 23 + 2) * 7 % 1_601) as i64 - 800;
        (wave * (part % 5 + 1) as i64) as f32 / 8_000.0
    };
    let count = (seconds * 16_000.0) as u64;
    Pcm::from_mono(16_000, (0..count).map(sample).collect()).expect("sound")
}

/// The files of a family.
pub(crate) fn files(family: &str) -> WhisperFiles {
    let [config_json, generation_json, preprocessor_json, tokenizer_json, safetensors] = contents(family);
    let safetensors = safetensors.into();
    WhisperFiles {
        config_json,
        generation_json,
        preprocessor_json,
        tokenizer_json,
        safetensors,
        ..WhisperFiles::default()
    }
}

/// The names of [`contents`].
pub(crate) const NAMES: [&str; 5] = [
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "model.safetensors",
];

/// What the files of a family hold.
pub(crate) fn contents(family: &str) -> [Vec<u8>; 5] {
    let name = match family {
        "multilingual" => "whisper-tiny",
        "english" => "whisper-tiny.en",
        _ => "whisper-large-v3-turbo",
    };
    let generation = published(name, "generation_config.json");
    let mut config = published(name, "config.json");
    let mut preprocessor = published(name, "preprocessor_config.json");
    let positions = (50.0 * WINDOW_S) as u64;
    let vocabulary = generation["no_timestamps_token_id"].as_u64().expect("an id") + 2 + positions;
    for (key, value) in [
        ("d_model", 32),
        ("decoder_attention_heads", 2),
        ("decoder_ffn_dim", 64),
        ("decoder_layers", 2),
        ("encoder_attention_heads", 2),
        ("encoder_ffn_dim", 64),
        ("encoder_layers", 2),
        ("max_source_positions", positions),
        ("max_target_positions", 64),
        ("vocab_size", vocabulary),
    ] {
        config[key] = value.into();
    }
    preprocessor["chunk_length"] = (WINDOW_S as u64).into();
    let end = config["eos_token_id"].as_u64().expect("an id") as usize;
    let config_json = config.to_string().into_bytes();
    let tensors = WhisperConfig::from_json(&config_json).expect("a configuration").tensors();
    [
        config_json,
        generation.to_string().into_bytes(),
        preprocessor.to_string().into_bytes(),
        tokenizer(&generation, end),
        safetensors(&tensors, end),
    ]
}

/// A vocabulary of the published size with few words, and the tokens with a meaning behind it.
fn tokenizer(generation: &Value, end: usize) -> Vec<u8> {
    let mut file = read_json(&folder("tests/golden/published_tokenizer.json"));
    let vocab = file["model"]["vocab"].as_object_mut().expect("a vocabulary");
    for token in vocab.len()..end {
        vocab.insert(format!("<unused_{token}>"), json!(token));
    }
    let special = |content: &str, id: &Value| json!({"id": id, "content": content, "special": true});
    let languages = generation["lang_to_id"].as_object().into_iter().flatten();
    let mut added = vec![special("<|endoftext|>", &generation["eos_token_id"])];
    added.push(special("<|startoftranscript|>", &generation["decoder_start_token_id"]));
    added.extend(languages.map(|(name, id)| special(name, id)));
    added.push(special("<|notimestamps|>", &generation["no_timestamps_token_id"]));
    file["added_tokens"] = added.into();
    file.to_string().into_bytes()
}

fn safetensors(tensors: &[(String, Vec<usize>)], end: usize) -> Vec<u8> {
    let values = |(name, shape): &(String, Vec<usize>)| -> Vec<u8> {
        let mut values = weight(name, shape);
        if name.contains("embed_tokens") {
            values.iter_mut().for_each(|value| *value *= 2.25);
            values[end * shape[1]..(end + 1) * shape[1]].iter_mut().for_each(|value| *value *= 2.5);
        } else if name.contains("decoder.embed_positions") {
            values.iter_mut().for_each(|value| *value *= 6.0);
        }
        values.into_iter().flat_map(f32::to_le_bytes).collect()
    };
    let bytes: Vec<Vec<u8>> = tensors.iter().map(values).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape), bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).expect("a tensor"))
    });
    safetensors::serialize(views, None).expect("a file")
}
