//! Random checkpoints of published structure, computed as `reference/published.py` computes them: nothing is stored.

use std::fs;
use std::path::{Path, PathBuf};

use msao_models::{CheckpointFiles, ModelConfig};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Value, json};

/// A folder of the crate, whoever's test this is.
pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models").join(name)
}

pub(crate) fn read_json(path: &Path) -> Value {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap()
}

/// What `reference/make_published_golden.py` found.
pub(crate) fn golden() -> Value {
    read_json(&folder("tests/golden/published.json"))
}

/// A published file, as `reference/published.py` wrote it; nothing where there is none.
pub(crate) fn published(checkpoint: &str, file: &str) -> Value {
    let path = folder("published").join(checkpoint).join(file);
    if path.exists() { read_json(&path) } else { Value::Null }
}

/// The tokenizer of the golden file with every id in use up to the added tokens.
pub(crate) fn tokenizer_json() -> Vec<u8> {
    const BASE_VOCAB: usize = 49_152;
    let mut file = read_json(&folder("tests/golden/published_tokenizer.json"));
    let vocab = file["model"]["vocab"].as_object_mut().unwrap();
    for token in vocab.len()..BASE_VOCAB {
        vocab.insert(format!("<unused_{token}>"), json!(token));
    }
    file.to_string().into_bytes()
}

/// A family's own tokenizer: text alone has no tokens behind the vocabulary.
pub(crate) fn tokenizer_of(family: &str) -> Vec<u8> {
    let mut file: Value = serde_json::from_slice(&tokenizer_json()).unwrap();
    if family == "Llama" {
        file["added_tokens"].as_array_mut().unwrap().retain(|token| token["id"].as_u64() < Some(49_152));
    }
    file.to_string().into_bytes()
}

/// A family's configuration with few and narrow layers, and its preprocessor_config.json.
pub(crate) fn reduced(family: &str) -> (Value, Value) {
    let (published_name, side) = match family {
        "Idefics3" => ("SmolVLM-256M-Instruct", 128),
        "SmolVLM2" => ("SmolVLM2-2.2B-Instruct", 96),
        _ => ("SmolLM2-135M-Instruct", 0),
    };
    let mut config = published(published_name, "config.json");
    let mut preprocessor = published(published_name, "preprocessor_config.json");
    let decoder = if side > 0 { &mut config["text_config"] } else { &mut config };
    let (heads, kv_heads) = if decoder["num_attention_heads"].as_u64() == Some(9) { (3, 1) } else { (4, 4) };
    set(
        decoder,
        &json!({"hidden_size": 16 * heads, "intermediate_size": 96, "num_hidden_layers": 2,
            "num_attention_heads": heads, "num_key_value_heads": kv_heads, "head_dim": 16}),
    );
    if side > 0 {
        let vision = json!({"hidden_size": 72, "intermediate_size": 100, "num_hidden_layers": 2,
            "num_attention_heads": 4, "image_size": side});
        set(&mut config["vision_config"], &vision);
        let sizes = json!({"max_image_size": {"longest_edge": side}, "size": {"longest_edge": 4 * side}});
        set(&mut preprocessor, &sizes);
    }
    (config, preprocessor)
}

fn set(object: &mut Value, fields: &Value) {
    for (key, value) in fields.as_object().unwrap() {
        object[key] = value.clone();
    }
}

/// `count` numbers from -1 up to 1 that depend on the name.
fn uniform(name: &str, count: usize) -> impl Iterator<Item = f32> {
    let seed =
        name.bytes().fold(0x811C_9DC5_u32, |seed, byte| (seed ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (0..count as u32).map(move |index| {
        let mut x = index.wrapping_mul(0x9E37_79B1).wrapping_add(seed);
        for multiplier in [0x85EB_CA6B, 0xC2B2_AE35] {
            x = (x ^ (x >> 16)).wrapping_mul(multiplier);
        }
        x ^= x >> 16;
        (x >> 8) as f32 * 2.0_f32.powi(-23) - 1.0
    })
}

/// The values of a tensor of this name and shape.
pub(crate) fn weight(name: &str, shape: &[usize]) -> Vec<f32> {
    let values = uniform(name, shape.iter().product());
    if let [_] = shape {
        let around = if name.ends_with("bias") { 0.0 } else { 1.0 };
        return values.map(|value| value * 0.125 + around).collect();
    }
    let is_table = name.contains("embed_tokens") || name.contains("position_embedding");
    let fan_in: usize = if is_table { 64 } else { shape[1..].iter().product() };
    let scale = (2.0 / (fan_in as f64).sqrt()) as f32;
    values.map(|value| value * scale).collect()
}

/// A safetensors file of these tensors.
pub(crate) fn safetensors(tensors: &[(String, Vec<usize>)]) -> Vec<u8> {
    let values: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(name, shape)| weight(name, shape).into_iter().flat_map(f32::to_le_bytes).collect())
        .collect();
    let views = tensors.iter().zip(&values).map(|((name, shape), bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

/// The random checkpoint of a family.
pub(crate) fn checkpoint(family: &str) -> CheckpointFiles {
    let (config, preprocessor) = reduced(family);
    let config_json = config.to_string().into_bytes();
    let tensors = ModelConfig::from_json(&config_json).unwrap().tensors();
    let templates = golden()["templates"].clone();
    let template = if preprocessor.is_null() { &templates["smollm2"] } else { &templates["smolvlm"] };
    CheckpointFiles {
        config_json,
        tokenizer_json: tokenizer_of(family),
        preprocessor_json: preprocessor.to_string().into_bytes(),
        safetensors: safetensors(&tensors).into(),
        chat_template: template.as_str().map(str::to_owned),
        ..CheckpointFiles::default()
    }
}
