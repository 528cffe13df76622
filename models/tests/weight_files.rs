//! Folders as they are published: one file or shards with an index, mapped; and what is wrong with a folder is said before
//! its weights are read.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

mod published_checkpoint;

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::Device;
use msao_models::{
    Assistant, CheckpointFiles, ModelConfig, ModelError, Prompt, ReadAt, WeightFiles, WeightsFormat,
};
use published_checkpoint::{checkpoint, reduced, safetensors, tokenizer_of};
use serde_json::{Value, json};
use tempfile::TempDir;

const INDEX: &str = "model.safetensors.index.json";
const SHARDS: [&str; 2] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];

/// A folder without weights.
fn folder(family: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    let (config, preprocessor) = reduced(family);
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    fs::write(folder.path().join("tokenizer.json"), tokenizer_of(family)).unwrap();
    if !preprocessor.is_null() {
        fs::write(folder.path().join("preprocessor_config.json"), preprocessor.to_string()).unwrap();
    }
    let template = published_checkpoint::published("SmolLM2-135M-Instruct", "tokenizer_config.json");
    if preprocessor.is_null() {
        fs::write(folder.path().join("tokenizer_config.json"), template.to_string()).unwrap();
    }
    folder
}

/// A folder with its weights in two files.
fn sharded(family: &str) -> TempDir {
    let folder = folder(family);
    let config = ModelConfig::from_json(reduced(family).0.to_string().as_bytes()).unwrap();
    let tensors = config.tensors();
    let (first, second) = tensors.split_at(tensors.len() / 2);
    let mut map = serde_json::Map::new();
    for (name, tensors) in SHARDS.into_iter().zip([first, second]) {
        fs::write(folder.path().join(name), safetensors(tensors)).unwrap();
        map.extend(tensors.iter().map(|(tensor, _)| (tensor.clone(), json!(name))));
    }
    write_index(folder.path(), &json!({"metadata": {"total_size": 1}, "weight_map": map}));
    folder
}

fn write_index(folder: &Path, index: &Value) {
    fs::write(folder.join(INDEX), index.to_string()).unwrap();
}

fn index(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join(INDEX)).unwrap()).unwrap()
}

fn load(folder: &Path) -> Result<Assistant, ModelError> {
    Assistant::load(&CheckpointFiles::from_dir(folder)?, &Device::flex())
}

fn first_scores(assistant: &Assistant) -> Vec<f32> {
    let prompt = Prompt { question: "How many?".to_owned(), ..Prompt::default() };
    pollster::block_on(assistant.start(&prompt)).unwrap().first_logits().to_vec()
}

#[test]
fn shards_are_the_one_file_in_pieces() {
    for family in ["Idefics3", "Llama"] {
        let whole = Assistant::load(&checkpoint(family), &Device::flex()).unwrap();
        let folder = sharded(family);
        let pieces = load(folder.path()).unwrap();
        assert_eq!(first_scores(&pieces), first_scores(&whole), "{family}");
        assert_eq!(pieces.num_parameters(), whole.num_parameters());
        // A folder with the one file too takes that.
        fs::remove_file(folder.path().join(SHARDS[0])).unwrap();
        let config = ModelConfig::from_json(reduced(family).0.to_string().as_bytes()).unwrap();
        fs::write(folder.path().join("model.safetensors"), safetensors(&config.tensors())).unwrap();
        load(folder.path()).unwrap();
    }
}

#[test]
fn a_shard_that_is_missing_cut_or_another_is_named() {
    let folder = sharded("Llama");
    let (path, second) = (folder.path(), folder.path().join(SHARDS[1]));
    let bytes = fs::read(&second).unwrap();
    for length in [0, 7, 100, bytes.len() - 1] {
        fs::write(&second, &bytes[..length]).unwrap();
        let error = load(path).unwrap_err();
        assert!(matches!(&error, ModelError::Weights { file, .. } if file == SHARDS[1]), "{length}: {error}");
        assert!(error.to_string().contains("fetch the file again"));
    }
    fs::copy(path.join(SHARDS[0]), &second).unwrap();
    let error = load(path).unwrap_err();
    assert!(error.to_string().contains("which the index says it has"), "{error}");
    fs::remove_file(&second).unwrap();
    let error = load(path).unwrap_err();
    assert!(matches!(&error, ModelError::File { path, .. } if path.contains(SHARDS[1])), "{error}");
}

#[test]
fn a_preprocessor_may_stand_within_the_processor_s_file() {
    let folder = sharded("Idefics3");
    let (own, other) =
        (folder.path().join("preprocessor_config.json"), folder.path().join("processor_config.json"));
    let file: Value = serde_json::from_slice(&fs::read(&own).unwrap()).unwrap();
    fs::remove_file(&own).unwrap();
    let error = CheckpointFiles::from_dir(folder.path()).unwrap_err();
    assert!(error.to_string().contains("preprocessor_config.json"), "{error}");
    fs::write(&other, json!({"image_seq_len": 4, "image_processor": file}).to_string()).unwrap();
    load(folder.path()).unwrap();
}

#[test]
fn an_index_leads_nowhere_else() {
    let folder = sharded("Llama");
    let good = index(folder.path());
    for name in ["../model.safetensors", "/etc/passwd", "sub/model.safetensors", "model.bin", ""] {
        let mut bad = good.clone();
        bad["weight_map"]["model.norm.weight"] = json!(name);
        write_index(folder.path(), &bad);
        let error = load(folder.path()).unwrap_err();
        assert!(matches!(error, ModelError::Config { file: INDEX, .. }), "{name}: {error}");
    }
    for bad in [json!({}), json!({"weight_map": {}}), json!({"weight_map": [1]}), json!(null)] {
        write_index(folder.path(), &bad);
        assert!(matches!(load(folder.path()), Err(ModelError::Config { file: INDEX, .. })), "{bad}");
    }
}

#[test]
fn headers_are_held_against_the_configuration_first() {
    let folder = folder("Llama");
    let config = ModelConfig::from_json(reduced("Llama").0.to_string().as_bytes()).unwrap();
    let path = folder.path().join("model.safetensors");
    // The last tensor that would be read is missing, or has another shape.
    let mut tensors = config.tensors();
    let (name, _) = tensors.pop().unwrap();
    fs::write(&path, safetensors(&tensors)).unwrap();
    let error = load(folder.path()).unwrap_err();
    assert!(matches!(&error, ModelError::MissingTensor { name: missing } if *missing == name), "{error}");
    tensors.push((name, vec![5]));
    fs::write(&path, safetensors(&tensors)).unwrap();
    assert!(matches!(load(folder.path()), Err(ModelError::TensorShape { .. })));
}

#[test]
fn another_architecture_is_refused_before_its_weights_are_looked_for() {
    let folder = TempDir::new().unwrap();
    let config = json!({"architectures": ["Qwen2ForCausalLM"], "hidden_size": 8});
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let error = load(folder.path()).unwrap_err();
    assert!(matches!(error, ModelError::Architecture { .. }), "{error}");
    assert!(error.to_string().contains("LlamaForCausalLM"), "{error}");
}

#[test]
fn weights_beyond_the_memory_are_refused_with_what_they_take() {
    let files = checkpoint("Llama");
    let within = |weights_format, megabytes: u64| {
        let memory_limit_bytes = Some(megabytes << 20);
        Assistant::load(
            &CheckpointFiles { weights_format, memory_limit_bytes, ..files.clone() },
            &Device::flex(),
        )
    };
    // A table of 49,152 rows of 48, which is the head too: 9 MB as f32.
    let error = within(WeightsFormat::F32, 8).unwrap_err();
    assert!(matches!(error, ModelError::TooLarge { .. }), "{error}");
    assert!(error.to_string().contains("as f16, which fits"), "{error}");
    let error = within(WeightsFormat::F32, 1).unwrap_err();
    assert!(error.to_string().contains("choose a smaller checkpoint"), "{error}");
    assert!(within(WeightsFormat::F32, 11).is_ok());
    assert!(within(WeightsFormat::Int8, 8).is_ok());
}

/// A file that is elsewhere, and what was asked of it.
#[derive(Debug)]
struct Elsewhere {
    bytes: Vec<u8>,
    most_read: Arc<AtomicUsize>,
    released: Arc<AtomicUsize>,
}

impl ReadAt for Elsewhere {
    fn len_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        assert_eq!(self.released.load(Ordering::Relaxed), 0, "a file that was let go is read again");
        self.most_read.fetch_max(into.len(), Ordering::Relaxed);
        into.copy_from_slice(&self.bytes[offset as usize..][..into.len()]);
        Ok(())
    }

    fn release(&self) {
        self.released.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn files_elsewhere_are_read_tensor_by_tensor_and_let_go() {
    let whole = Assistant::load(&checkpoint("Llama"), &Device::flex()).unwrap();
    let folder = sharded("Llama");
    let most_read = Arc::new(AtomicUsize::new(0));
    let released: [Arc<AtomicUsize>; 2] = Default::default();
    let source = |(name, released): (&str, &Arc<AtomicUsize>)| {
        let bytes = fs::read(folder.path().join(name)).unwrap();
        let (most_read, released) = (most_read.clone(), released.clone());
        let file: Box<dyn ReadAt> = Box::new(Elsewhere { bytes, most_read, released });
        (name.to_owned(), file)
    };
    let sources = SHARDS.into_iter().zip(&released).map(source);
    let files = CheckpointFiles { safetensors: WeightFiles::from_sources(sources), ..checkpoint("Llama") };
    let pieces = Assistant::load(&files, &Device::flex()).unwrap();
    assert_eq!(first_scores(&pieces), first_scores(&whole));
    assert!(released.iter().all(|released| released.load(Ordering::Relaxed) == 1), "{released:?}");
    // The table is the largest tensor.
    let config = pieces.config().text_config.clone();
    assert!(most_read.load(Ordering::Relaxed) <= config.vocab_size * config.hidden_size * size_of::<f32>());
}
