//! Which files of a folder belong to a checkpoint; nothing else of it can be asked for.

use std::fs;
use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

use msao_models::ModelError;
use serde::{Deserialize, Serialize};

/// What announces sizes and hashes of the others.
pub(crate) const MANIFEST: &str = "MANIFEST.json";
/// What `msao-server calibrate-speech` writes.
pub(crate) const SPEECH_CONFIDENCE: &str = "speech_confidence.json";

/// What an engine may read besides weights.
const SMALL_FILES: [&str; 12] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "chat_template.json",
    "chat_template.jinja",
    "mas_probe.json",
    "mas_probe.safetensors",
    "confidence.json",
    SPEECH_CONFIDENCE,
];
const WHOLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Whether a name can be a file of a checkpoint: the small ones, the weights, and what weights in several files are named.
pub(crate) fn is_servable(name: &str) -> bool {
    SMALL_FILES.contains(&name) || [MANIFEST, INDEX, WHOLE].contains(&name) || is_shard(name)
}

/// `model-00001-of-00002.safetensors`, whatever the numbers.
fn is_shard(name: &str) -> bool {
    let numbers = name.strip_prefix("model-").and_then(|rest| rest.strip_suffix(".safetensors"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers
        .and_then(|rest| rest.split_once("-of-"))
        .is_some_and(|(one, all)| is_number(one) && is_number(all))
}

/// A file of a checkpoint, as far as the file system tells versions of it apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    pub(super) name: String,
    pub(super) bytes: u64,
    /// When it was written, in nanoseconds since 1970.
    pub(super) modified_ns: u128,
}

/// The files that a page needs of a folder, small ones first.
///
/// # Errors
/// [`ModelError`] naming the file that is missing, or shards that are no plain names.
pub(super) fn stamps(folder: &Path) -> Result<Vec<Stamp>, ModelError> {
    let mut found = Vec::new();
    for name in SMALL_FILES {
        found.extend(stamp(folder, name)?);
    }
    for required in ["config.json", "tokenizer.json"] {
        if !found.iter().any(|stamp| stamp.name == required) {
            return Err(missing(folder, required));
        }
    }
    if let Some(whole) = stamp(folder, WHOLE)? {
        found.push(whole);
        return Ok(found);
    }
    let index = stamp(folder, INDEX)?.ok_or_else(|| missing(folder, WHOLE))?;
    found.push(index);
    for name in msao_models::shards_of(folder)? {
        if !is_shard(&name) {
            let reason = format!(
                "it names `{name}`; pages are given model-NUMBER-of-NUMBER.safetensors only, rename it"
            );
            return Err(ModelError::Config { file: INDEX, reason });
        }
        found.push(stamp(folder, &name)?.ok_or_else(|| missing(folder, &name))?);
    }
    Ok(found)
}

fn stamp(folder: &Path, name: &str) -> Result<Option<Stamp>, ModelError> {
    let path = folder.join(name);
    match fs::metadata(&path) {
        Ok(file) if file.is_file() => {
            let modified = file.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let modified_ns = modified.unwrap_or_default().as_nanos();
            Ok(Some(Stamp { name: name.to_owned(), bytes: file.len(), modified_ns }))
        }
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(ModelError::File { path: path.display().to_string(), source })
        }
        _ => Ok(None),
    }
}

fn missing(folder: &Path, name: &str) -> ModelError {
    let path = folder.join(name).display().to_string();
    ModelError::File { path, source: io::ErrorKind::NotFound.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_checkpoints_are_served() {
        for name in ["MANIFEST.json", "chat_template.jinja", INDEX, "model-00001-of-00002.safetensors"] {
            assert!(is_servable(name), "{name}");
        }
        for name in [
            "README.md",
            "model-a-of-b.safetensors",
            "model-1.safetensors",
            "model-..-of-1.safetensors",
            "optimizer.pt",
            "../config.json",
            "",
            "model-1-of-2-of-3.safetensors",
        ] {
            assert!(!is_servable(name), "{name}");
        }
    }
}
