//! A checkpoint that is cut short, of another kind or put together wrongly is refused with a message that names
//! what is wrong; nothing panics.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use burn::tensor::Device;
use msao_models::model::MultimodalModel;
use msao_models::{CheckpointFiles, ModelConfig, ModelError};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Value, json};

/// A file that `models/tests/reference/make_golden.py` made.
fn read(name: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn config_with(edit: impl FnOnce(&mut Value)) -> Result<ModelConfig, ModelError> {
    let mut config: Value = serde_json::from_slice(&read("tiny_config.json")).unwrap();
    edit(&mut config);
    ModelConfig::from_json(config.to_string().as_bytes())
}

fn load(config: &ModelConfig, weights: &[u8]) -> Result<MultimodalModel, ModelError> {
    MultimodalModel::from_bytes(config, weights, &Device::flex())
}

/// The tiny weights with one tensor left out or replaced.
fn weights_with(name: &str, replacement: Option<TensorView<'_>>) -> Vec<u8> {
    let bytes = read("tiny_model.safetensors");
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut entries: Vec<_> = tensors.iter().filter(|(found, _)| *found != name).collect();
    entries.extend(replacement.map(|view| (name, view)));
    safetensors::serialize(entries, None).unwrap()
}

const HEAD: &str = "model.text_model.norm.weight";

#[test]
fn every_cut_of_the_weights_is_refused() {
    let config = config_with(|_| {}).unwrap();
    let weights = read("tiny_model.safetensors");
    for length in [0, 4, 8, 9, 500, weights.len() / 2, weights.len() - 1] {
        let error = load(&config, &weights[..length]).unwrap_err();
        assert!(matches!(error, ModelError::Weights { .. }), "{length}: {error}");
        assert!(error.to_string().contains("MANIFEST.json"));
    }
    let mut endless = weights;
    endless[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(load(&config, &endless), Err(ModelError::Weights { .. })));
}

#[test]
fn a_missing_tensor_is_named() {
    let error = load(&config_with(|_| {}).unwrap(), &weights_with(HEAD, None)).unwrap_err();
    assert!(matches!(&error, ModelError::MissingTensor { name } if name == HEAD), "{error}");
}

#[test]
fn a_tensor_of_another_shape_is_named_with_both_shapes() {
    let data = vec![0; 4 * 7];
    let weights = weights_with(HEAD, Some(TensorView::new(Dtype::F32, vec![7], &data).unwrap()));
    let error = load(&config_with(|_| {}).unwrap(), &weights).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, ModelError::TensorShape { .. }));
    assert!(message.contains(HEAD) && message.contains("[7]") && message.contains("[48]"), "{message}");
}

#[test]
fn a_tensor_of_another_type_is_named() {
    let data = vec![0; 48];
    let weights = weights_with(HEAD, Some(TensorView::new(Dtype::I8, vec![48], &data).unwrap()));
    let error = load(&config_with(|_| {}).unwrap(), &weights).unwrap_err();
    assert!(matches!(&error, ModelError::TensorType { name, .. } if name == HEAD), "{error}");
}

#[test]
fn half_precision_is_read() {
    let config = config_with(|_| {}).unwrap();
    let ones = [0x00, 0x3c].repeat(48);
    for (dtype, data) in [(Dtype::F16, ones), (Dtype::BF16, [0x80, 0x3f].repeat(48))] {
        let weights = weights_with(HEAD, Some(TensorView::new(dtype, vec![48], &data).unwrap()));
        load(&config, &weights).unwrap();
    }
}

#[test]
fn another_architecture_is_refused_by_name() {
    let error =
        config_with(|config| config["architectures"] = json!(["LlavaForConditionalGeneration"])).unwrap_err();
    assert!(matches!(&error, ModelError::Architecture { found } if found == "LlavaForConditionalGeneration"));
    let error = config_with(|config| config["architectures"] = json!(null)).unwrap_err();
    assert!(matches!(error, ModelError::Architecture { .. }));
}

type Edit = fn(&mut Value);

#[test]
fn contradictions_in_the_configuration_are_refused() {
    let edits: [(&str, Edit); 11] = [
        ("expected usize", |config| config["text_config"]["hidden_size"] = json!("wide")),
        ("num_key_value_heads", |config| config["text_config"]["num_key_value_heads"] = json!(3)),
        ("num_attention_heads", |config| config["vision_config"]["num_attention_heads"] = json!(0)),
        ("patch_size", |config| config["vision_config"]["patch_size"] = json!(700)),
        ("scale_factor", |config| config["scale_factor"] = json!(5)),
        ("vocab_size", |config| config["text_config"]["vocab_size"] = json!(1_u64 << 40)),
        ("hidden_act", |config| config["text_config"]["hidden_act"] = json!("relu")),
        ("image_token_id", |config| config["image_token_id"] = json!(4000)),
        ("audio_token_id", |config| config["audio_token_id"] = json!(null)),
        ("stack_factor", |config| config["audio_config"]["stack_factor"] = json!(7)),
        ("-1", |config| config["audio_config"]["d_model"] = json!(-1)),
    ];
    for (word, edit) in edits {
        let error = config_with(edit).unwrap_err();
        assert!(matches!(error, ModelError::Config { file: "config.json", .. }), "{word}: {error}");
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
    assert!(matches!(ModelConfig::from_json(b"{"), Err(ModelError::Config { .. })));
}

#[test]
fn a_head_of_its_own_is_read_and_asked_for() {
    let bytes = read("tiny_model.safetensors");
    let tied = ModelConfig::from_json(&read("tiny_config.json")).unwrap();
    let untied = config_with(|config| config["tie_word_embeddings"] = json!(false)).unwrap();
    let device = Device::flex();
    let missing = MultimodalModel::from_bytes(&untied, &bytes, &device).unwrap_err();
    assert!(matches!(&missing, ModelError::MissingTensor { name } if name == "lm_head.weight"), "{missing}");

    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let embeddings = tensors.tensor("model.text_model.embed_tokens.weight").unwrap();
    // Twice the embeddings: scores double.
    let values = embeddings.data().as_chunks().0.iter().map(|bytes| 2.0 * f32::from_le_bytes(*bytes));
    let head: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
    let head = TensorView::new(Dtype::F32, embeddings.shape().to_vec(), &head).unwrap();
    let all = tensors.iter().chain([("lm_head.weight", head)]);
    let with_head = safetensors::serialize(all, None).unwrap();
    let scores = |config, bytes| {
        let decoder = MultimodalModel::from_bytes(config, bytes, &device).unwrap().decoder;
        let mut cache = decoder.new_cache(1, 4);
        let hidden = decoder.forward(decoder.embed(&[vec![3, 9, 27]]), 3, &mut cache);
        decoder.logits(hidden).into_data().try_into_vec::<f32>().unwrap()
    };
    let (tied, untied) = (scores(&tied, &bytes), scores(&untied, &with_head));
    assert!(tied.iter().zip(&untied).all(|(tied, untied)| (2.0 * tied - untied).abs() < 1e-5));
}

#[test]
fn a_missing_file_is_named() {
    let error = CheckpointFiles::from_dir("no/such/folder").unwrap_err();
    assert!(error.to_string().contains("config.json"), "{error}");
}
