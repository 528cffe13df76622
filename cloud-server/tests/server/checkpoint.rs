//! A checkpoint small enough that a hundred tests load it: every part of the architecture, random weights.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::{Map, json};

/// `models`' own test tokenizer: 479 tokens, capitals and digits one by one.
const TOKENIZER: &[u8] = include_bytes!("../../../models/tests/golden/preprocess_tokenizer_signs.json");
/// Names and shapes below one scope.
type Entries<'a> = &'a [(&'a str, &'a [usize])];

const VOCAB: usize = 480;
const HIDDEN: usize = 32;
const WIDE: usize = 64;
/// Encoder positions of 4.8 s.
const POSITIONS: usize = 240;
const MELS: usize = 20;
const STACK: usize = 24;

/// The folder `tiny`, written once for all tests of this process.
pub(crate) fn checkpoint() -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let write = || {
        let folder = std::env::temp_dir().join(format!("msao-server-checkpoint-{}/tiny", std::process::id()));
        write_checkpoint(&folder);
        folder
    };
    FOLDER.get_or_init(write).clone()
}

fn write_checkpoint(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let config = json!({
        "architectures": ["SmolVLMForConditionalGeneration"],
        "image_token_id": 5, "audio_token_id": 7, "pad_token_id": 0,
        "scale_factor": 2, "tie_word_embeddings": true,
        "vision_config": {"hidden_size": HIDDEN, "intermediate_size": WIDE, "num_hidden_layers": 1,
            "num_attention_heads": 2, "patch_size": 16, "image_size": 64},
        "text_config": {"hidden_size": HIDDEN, "intermediate_size": WIDE, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
            "max_position_embeddings": 512, "vocab_size": VOCAB},
        "audio_config": {"d_model": HIDDEN, "encoder_layers": 1, "encoder_attention_heads": 2,
            "encoder_ffn_dim": WIDE, "num_mel_bins": MELS, "max_source_positions": POSITIONS,
            "activation_function": "gelu", "stack_factor": STACK, "projector_act": "swiglu"},
    });
    let preprocessor = json!({
        "size": {"height": 64, "width": 64}, "resample": 1, "do_center_crop": true,
        "rescale_factor": 1.0 / 255.0, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
        "audio": {"feature_extractor_type": "WhisperFeatureExtractor", "sampling_rate": 16_000, "n_fft": 400,
            "hop_length": 160, "feature_size": MELS, "chunk_length_s": 4.8},
    });
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    fs::write(folder.join("preprocessor_config.json"), preprocessor.to_string()).unwrap();
    fs::write(folder.join("tokenizer.json"), TOKENIZER).unwrap();
    fs::write(folder.join("model.safetensors"), safetensors(&tensors())).unwrap();
}

/// Names and shapes as the published checkpoints have them.
fn tensors() -> Vec<(String, Vec<usize>)> {
    let mut tensors = Vec::new();
    let mut add = |scope: &str, entries: Entries<'_>| {
        for (name, shape) in entries {
            tensors.push((format!("model.{scope}.{name}"), shape.to_vec()));
        }
    };
    let linear = |add: &mut dyn FnMut(&str, Entries<'_>), scope: &str, rows: usize, columns: usize| {
        add(scope, &[("weight", &[rows, columns]), ("bias", &[rows])]);
    };
    add(
        "vision_model.embeddings",
        &[
            ("patch_embedding.weight", &[HIDDEN, 3, 16, 16]),
            ("patch_embedding.bias", &[HIDDEN]),
            ("position_embedding.weight", &[16, HIDDEN]),
        ],
    );
    let vision = "vision_model.encoder.layers.0";
    for norm in
        ["vision_model.post_layernorm", &format!("{vision}.layer_norm1"), &format!("{vision}.layer_norm2")]
    {
        add(norm, &[("weight", &[HIDDEN]), ("bias", &[HIDDEN])]);
    }
    for projection in ["q_proj", "k_proj", "v_proj", "out_proj"] {
        linear(&mut add, &format!("{vision}.self_attn.{projection}"), HIDDEN, HIDDEN);
    }
    linear(&mut add, &format!("{vision}.mlp.fc1"), WIDE, HIDDEN);
    linear(&mut add, &format!("{vision}.mlp.fc2"), HIDDEN, WIDE);
    add("connector.modality_projection.proj", &[("weight", &[HIDDEN, 4 * HIDDEN])]);

    add(
        "audio_model",
        &[
            ("conv1.weight", &[HIDDEN, MELS, 3]),
            ("conv1.bias", &[HIDDEN]),
            ("conv2.weight", &[HIDDEN, HIDDEN, 3]),
            ("conv2.bias", &[HIDDEN]),
            ("embed_positions.weight", &[POSITIONS, HIDDEN]),
        ],
    );
    let audio = "audio_model.layers.0";
    for norm in [
        "audio_model.layer_norm",
        &format!("{audio}.self_attn_layer_norm"),
        &format!("{audio}.final_layer_norm"),
    ] {
        add(norm, &[("weight", &[HIDDEN]), ("bias", &[HIDDEN])]);
    }
    for projection in ["q_proj", "v_proj", "out_proj"] {
        linear(&mut add, &format!("{audio}.self_attn.{projection}"), HIDDEN, HIDDEN);
    }
    add(&format!("{audio}.self_attn.k_proj"), &[("weight", &[HIDDEN, HIDDEN])]);
    linear(&mut add, &format!("{audio}.fc1"), WIDE, HIDDEN);
    linear(&mut add, &format!("{audio}.fc2"), HIDDEN, WIDE);
    add(
        "audio_projector",
        &[
            ("ln_pre.weight", &[STACK * HIDDEN]),
            ("linear_1.weight", &[2 * HIDDEN, STACK * HIDDEN]),
            ("linear_2.weight", &[HIDDEN, HIDDEN]),
            ("ln_post.weight", &[HIDDEN]),
        ],
    );

    add("text_model", &[("embed_tokens.weight", &[VOCAB, HIDDEN]), ("norm.weight", &[HIDDEN])]);
    for layer in 0..2 {
        add(
            &format!("text_model.layers.{layer}"),
            &[
                ("input_layernorm.weight", &[HIDDEN]),
                ("post_attention_layernorm.weight", &[HIDDEN]),
                ("self_attn.q_proj.weight", &[HIDDEN, HIDDEN]),
                ("self_attn.k_proj.weight", &[16, HIDDEN]),
                ("self_attn.v_proj.weight", &[16, HIDDEN]),
                ("self_attn.o_proj.weight", &[HIDDEN, HIDDEN]),
                ("mlp.gate_proj.weight", &[WIDE, HIDDEN]),
                ("mlp.up_proj.weight", &[WIDE, HIDDEN]),
                ("mlp.down_proj.weight", &[HIDDEN, WIDE]),
            ],
        );
    }
    tensors
}

/// The safetensors format: the header's length, the header as JSON, the values.
fn safetensors(tensors: &[(String, Vec<usize>)]) -> Vec<u8> {
    let (mut header, mut values) = (Map::new(), Vec::new());
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    for (name, shape) in tensors {
        let begin = values.len();
        for _ in 0..shape.iter().product::<usize>() {
            // xorshift; uniform in -0.5..0.5, which keeps a random decoder from settling on one token.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let value = (state >> 40) as f32 / (1_u32 << 24) as f32 - 0.5;
            values.extend(value.to_le_bytes());
        }
        header.insert(
            name.clone(),
            json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, values.len()]}),
        );
    }
    let header = serde_json::Value::Object(header).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(values);
    bytes
}
