//! Which files of a repository a checkpoint needs, and whether it suits this engine: by its configuration and the headers of
//! its weights, before the weights themselves are fetched.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use msao_models::speech::WhisperConfig;
use msao_models::{ModelConfig, ModelError, WeightsFormat};
use serde::Deserialize;

use super::error::HubError;
use super::http::answer;
use super::reference::HubReference;

pub(super) const CONFIG: &str = "config.json";
pub(super) const INDEX: &str = "model.safetensors.index.json";
const WHOLE: &str = "model.safetensors";
/// Without these there is no checkpoint.
const REQUIRED: [&str; 2] = [CONFIG, "tokenizer.json"];
/// Either, where the checkpoint sees or hears.
const PREPROCESSOR: [&str; 2] = ["preprocessor_config.json", "processor_config.json"];
/// Taken where they are: templates, what other tools than this one read, our own, and the licence.
const WELCOME: [&str; 18] = [
    "generation_config.json",
    "chat_template.json",
    "chat_template.jinja",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "normalizer.json",
    "mas_probe.json",
    "mas_probe.safetensors",
    "confidence.json",
    "speech_confidence.json",
    "README.md",
    "LICENSE",
    "LICENSE.md",
    "LICENSE.txt",
    "NOTICE",
];
/// A file that is no weights. Tokenizers of large vocabularies have some 30 MB.
pub(super) const MAX_SMALL_BYTES: u64 = 64 << 20;
/// Files that an index may name.
const MAX_SHARDS: usize = 1_000;

/// What is asked for of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Needed {
    /// Files that are no weights; config.json comes first.
    pub(super) small: Vec<String>,
    /// Whether the weights are in several files with an index, which is among the small ones then.
    pub(super) has_shards: bool,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Needed {
    /// Chooses among the names that there are.
    ///
    /// # Errors
    /// [`HubError::NoFile`] naming what is missing.
    pub(super) fn among<'n>(
        reference: &HubReference,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<Self, HubError> {
        let names: BTreeSet<&str> = names.into_iter().collect();
        let no_file = |file: &str| HubError::NoFile { id: reference.id(), file: file.to_owned() };
        if let Some(missing) = REQUIRED.iter().find(|name| !names.contains(*name)) {
            return Err(no_file(missing));
        }
        let has_shards = !names.contains(WHOLE);
        if has_shards && !names.contains(INDEX) {
            return Err(no_file(WHOLE));
        }
        let index = has_shards.then_some(INDEX);
        let small = REQUIRED.into_iter().chain(PREPROCESSOR).chain(WELCOME).chain(index);
        let small = small.filter(|name| names.contains(name)).map(str::to_owned).collect();
        Ok(Self { small, has_shards })
    }

    /// Holds what there is against the configuration.
    ///
    /// # Errors
    /// [`HubError::NoFile`] for a checkpoint that sees or hears and does not say how.
    pub(super) fn check(
        &self,
        reference: &HubReference,
        configuration: &Configuration,
    ) -> Result<(), HubError> {
        let has_preprocessor = self.small.iter().any(|name| PREPROCESSOR.contains(&name.as_str()));
        if configuration.needs_preprocessor && !has_preprocessor {
            return Err(HubError::NoFile { id: reference.id(), file: PREPROCESSOR[0].to_owned() });
        }
        Ok(())
    }

    /// The files of weights; `index` is that of a checkpoint in several files.
    ///
    /// # Errors
    /// [`HubError::Answer`] for an index that is no good or leads elsewhere.
    pub(super) fn weights(&self, index: Option<&[u8]>) -> Result<Vec<String>, HubError> {
        let Some(index) = index else { return Ok(vec![WHOLE.to_owned()]) };
        let Index { weight_map } =
            serde_json::from_slice(index).map_err(|error| answer(INDEX, error.to_string()))?;
        let names: BTreeSet<String> = weight_map.into_values().collect();
        if let Some(name) = names.iter().find(|name| !is_plain_weights(name)) {
            return Err(answer(INDEX, format!("`{name}` is not the name of a file beside it")));
        }
        if names.is_empty() || names.len() > MAX_SHARDS {
            return Err(answer(INDEX, format!("it names {} files", names.len())));
        }
        Ok(names.into_iter().collect())
    }
}

/// Whether a name stays in its folder, on any system.
fn is_plain_weights(name: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    name.ends_with(".safetensors") && !name.starts_with('.') && name.bytes().all(is_known)
}

/// What a configuration asks of the files beside it.
#[derive(Debug)]
pub(super) struct Configuration {
    pub(super) needs_preprocessor: bool,
    /// Names and shapes of all tensors.
    pub(super) tensors: Vec<(String, Vec<usize>)>,
    /// What answers; a speech model is none.
    model: Option<ModelConfig>,
}

/// What a checkpoint is wanted for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Purpose {
    /// To answer questions.
    #[default]
    Answers,
    /// To write recordings down.
    Speech,
    /// Either.
    Any,
}

/// What the weights may take of the memory once they are loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimit {
    /// Bytes that they may take.
    pub bytes: u64,
    /// How they are kept.
    pub format: WeightsFormat,
}

impl Configuration {
    /// # Errors
    /// As [`ModelConfig::from_json`] or [`WhisperConfig::from_json`].
    pub(super) fn read(config_json: &[u8], purpose: Purpose) -> Result<Self, ModelError> {
        let speech = || {
            let tensors = WhisperConfig::from_json(config_json)?.tensors();
            Ok(Self { needs_preprocessor: true, tensors, model: None })
        };
        let answers = || {
            let model = ModelConfig::from_json(config_json)?;
            let needs_preprocessor = !model.is_text_only();
            Ok(Self { needs_preprocessor, tensors: model.tensors(), model: Some(model) })
        };
        match purpose {
            Purpose::Answers => answers(),
            Purpose::Speech => speech(),
            // Of what is neither, the first says what it could be.
            Purpose::Any => answers().or_else(|refused| speech().map_err(|_no_speech| refused)),
        }
    }

    /// # Errors
    /// [`ModelError::TooLarge`]
    pub(super) fn check_memory(&self, limit: MemoryLimit) -> Result<(), ModelError> {
        let checked = |model: &ModelConfig| model.check_memory(limit.format, Some(limit.bytes)).map(drop);
        self.model.as_ref().map_or(Ok(()), checked)
    }
}

/// Names of a checkpoint's files in its folder, where it is whole.
pub(super) fn whole(reference: &HubReference, folder: &Path) -> Option<Vec<String>> {
    // Links to contents that are gone do not count.
    let entries = fs::read_dir(folder).ok()?.flatten().filter(|entry| entry.path().is_file());
    let names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let needed = Needed::among(reference, names.iter().map(String::as_str)).ok()?;
    needed.check(reference, &Configuration::read(&small(folder, CONFIG)?, Purpose::Any).ok()?).ok()?;
    let index = if needed.has_shards { Some(small(folder, INDEX)?) } else { None };
    let weights = needed.weights(index.as_deref()).ok()?;
    let is_here = weights.iter().all(|name| names.contains(name));
    is_here.then(|| needed.small.into_iter().chain(weights).collect())
}

/// A file that is no weights.
pub(super) fn small(folder: &Path, name: &str) -> Option<Vec<u8>> {
    let path = folder.join(name);
    let is_small = fs::metadata(&path).is_ok_and(|file| file.len() <= MAX_SMALL_BYTES);
    is_small.then(|| fs::read(path).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference() -> HubReference {
        "hub:a/b".parse().unwrap()
    }

    #[test]
    fn only_what_a_checkpoint_needs_is_chosen() {
        let names =
            ["onnx/model.onnx", "tokenizer.json", "config.json", "model.safetensors", "../x", INDEX, "a.bin"];
        let needed = Needed::among(&reference(), names).unwrap();
        assert_eq!(needed.small, ["config.json", "tokenizer.json"]);
        assert_eq!(needed.weights(None).unwrap(), ["model.safetensors"]);
        for missing in ["config.json", "tokenizer.json", "model.safetensors"] {
            let rest = names.into_iter().filter(|name| *name != missing && *name != INDEX);
            let error = Needed::among(&reference(), rest).unwrap_err().to_string();
            assert!(error.contains(missing), "{error}");
        }
    }

    #[test]
    fn an_index_names_files_beside_it_only() {
        let needed = Needed::among(&reference(), ["config.json", "tokenizer.json", INDEX]).unwrap();
        assert_eq!(needed.small, ["config.json", "tokenizer.json", INDEX]);
        let weights =
            |name: &str| needed.weights(Some(format!(r#"{{"weight_map": {{"a": "{name}"}}}}"#).as_bytes()));
        assert_eq!(weights("model-00001-of-00002.safetensors").unwrap().len(), 1);
        for name in ["../a.safetensors", "/a.safetensors", "a/b.safetensors", "a.bin", ".a.safetensors", ""] {
            assert!(weights(name).is_err(), "{name}");
        }
        assert!(needed.weights(Some(br#"{"weight_map": {}}"#)).is_err());
    }
}
