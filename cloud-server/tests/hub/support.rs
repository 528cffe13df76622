//! A small checkpoint to publish, a cache to fetch it to, and a hub that is in no hurry to give up but waits for nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use msao_models::ModelConfig;
use msao_server::hub::{
    Event, Fetched, HubError, HubReference, HubSettings, Patience, Summary, Token, Wanted, fetch,
};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::json;
use tempfile::TempDir;
use url::Url;

use crate::hub_server::{HubServer, ID};

pub(crate) const CARD: &str = "---\nlicense: apache-2.0\n---\n# Tiny\n";

/// The files of a text-only checkpoint, in one file of weights.
pub(crate) fn repository() -> BTreeMap<String, Vec<u8>> {
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "attention_bias": false, "bos_token_id": 1, "eos_token_id": 2,
        "hidden_act": "silu", "hidden_size": 32, "intermediate_size": 96, "max_position_embeddings": 256,
        "mlp_bias": false, "model_type": "llama", "num_attention_heads": 4, "num_hidden_layers": 2,
        "num_key_value_heads": 2, "pad_token_id": 2, "rms_norm_eps": 1e-5, "rope_scaling": null,
        "rope_theta": 10000, "tie_word_embeddings": true, "vocab_size": 2048,
    });
    let config = config.to_string().into_bytes();
    let weights = weights(&ModelConfig::from_json(&config).unwrap().tensors());
    let text = |text: &str| text.as_bytes().to_vec();
    let files = [
        ("config.json", config),
        ("tokenizer.json", text("{\"version\": \"1.0\"}")),
        ("README.md", text(CARD)),
        ("model.safetensors", weights),
        ("pytorch_model.bin", text("never asked for")),
        ("../escape.json", text("never asked for")),
    ];
    files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect()
}

/// The same with the weights in two files and an index.
pub(crate) fn sharded() -> BTreeMap<String, Vec<u8>> {
    let mut files = repository();
    files.remove("model.safetensors");
    let tensors = ModelConfig::from_json(&files["config.json"]).unwrap().tensors();
    let (first, second) = tensors.split_at(tensors.len() / 2);
    let mut map = BTreeMap::new();
    for (index, part) in [first, second].into_iter().enumerate() {
        let name = format!("model-0000{}-of-00002.safetensors", index + 1);
        map.extend(part.iter().map(|(tensor, _)| (tensor.clone(), name.clone())));
        files.insert(name, weights(part));
    }
    let index = json!({"metadata": {}, "weight_map": map});
    files.insert("model.safetensors.index.json".to_owned(), index.to_string().into_bytes());
    files
}

/// A file of these tensors, whose bytes are no two alike for long.
pub(crate) fn weights(tensors: &[(String, Vec<usize>)]) -> Vec<u8> {
    let values: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, shape)| {
            let count = shape.iter().product::<usize>() as u32;
            (0..count)
                .flat_map(|index| (index.wrapping_mul(2_654_435_761) as f32 * 1e-10).to_le_bytes())
                .collect()
        })
        .collect();
    let views = tensors.iter().zip(&values).map(|((name, shape), bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

pub(crate) struct Client {
    pub(crate) cache: TempDir,
    pub(crate) settings: HubSettings,
    pub(crate) reference: HubReference,
    /// What was told before something moved, and how many bytes were told to be here at last.
    pub(crate) planned: Vec<Summary>,
    pub(crate) done_bytes: u64,
}

impl Client {
    pub(crate) fn new(hub: &HubServer) -> Self {
        let cache = TempDir::new().unwrap();
        let settings = HubSettings {
            endpoint: Url::parse(&format!("{}/", hub.address)).unwrap(),
            cache: cache.path().to_owned(),
            is_offline: false,
            token: None,
            patience: Patience {
                attempts: 3,
                first_pause: Duration::from_millis(1),
                silence: Duration::from_secs(60),
                longest_pause: Duration::from_secs(2),
            },
        };
        let reference = format!("hub:{ID}").parse().unwrap();
        Self { cache, settings, reference, planned: Vec::new(), done_bytes: 0 }
    }

    pub(crate) fn with_token(mut self, token: &str) -> Self {
        self.settings.token = Token::new(token);
        self
    }

    pub(crate) async fn fetch(&mut self) -> Result<Fetched, HubError> {
        self.fetch_wanting(Wanted::default()).await
    }

    pub(crate) async fn fetch_wanting(&mut self, wanted: Wanted) -> Result<Fetched, HubError> {
        let (planned, done_bytes) = (&mut self.planned, &mut self.done_bytes);
        let mut tell = |event: &Event<'_>| match event {
            Event::Planned(summary) => planned.push((*summary).clone()),
            Event::Moved(progress) => {
                assert!(progress.done_bytes <= progress.total_bytes || progress.total_bytes == 0);
                *done_bytes = progress.done_bytes;
            }
            _ => {}
        };
        fetch(&self.settings, &self.reference, wanted, &mut tell).await
    }

    /// The message of the refusal.
    pub(crate) async fn refusal(&mut self) -> String {
        let error = self.fetch().await.expect_err("it was to be refused");
        error.to_string()
    }

    /// Files of the cache, of which contents are none that begin so.
    pub(crate) fn parts(&self) -> Vec<std::path::PathBuf> {
        let blobs = self.cache.path().join("models--someone--tiny-llama/blobs");
        let entries = fs::read_dir(blobs).into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(|path| path.extension().is_some_and(|ending| ending == "incomplete")).collect()
    }
}

/// Whether a folder has the files of the repository that a checkpoint needs, and nothing else.
pub(crate) fn holds(folder: &Path, files: &BTreeMap<String, Vec<u8>>) {
    let mut found: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    let is_needed = |name: &&String| !name.ends_with(".bin") && !name.contains("..");
    let expected: Vec<&String> = files.keys().filter(is_needed).collect();
    assert_eq!(found.iter().collect::<Vec<_>>(), expected);
    for name in found {
        assert!(fs::read(folder.join(&name)).unwrap() == files[&name], "{name} differs");
    }
}
