//! A checkpoint folder, told apart from others by hashes of what is in it.

use std::{
    fmt,
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Weights within a folder; large ones are in several files, `model-00001-of-00002.safetensors` and so on.
const WEIGHTS: (&str, &str) = ("model", ".safetensors");
/// What else decides how it answers.
const SETTINGS: [&str; 3] = ["config.json", "preprocessor_config.json", TOKENIZER];
const TOKENIZER: &str = "tokenizer.json";
/// Digits of a hash where it only tells models apart.
const SHORT: usize = 12;

/// A checkpoint as Hugging Face lays it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Checkpoint {
    /// Where it is: this machine's business, and so in no journal.
    #[serde(skip)]
    pub(crate) folder: PathBuf,
    /// Its folder's name.
    pub(crate) name: String,
    /// SHA-256 of its weights, in lower-case hexadecimal.
    pub(crate) sha256: String,
    /// SHA-256 of its tokenizer.
    pub(super) tokenizer_sha256: String,
    /// SHA-256 of all its settings.
    settings_sha256: String,
}

impl Checkpoint {
    /// Reads and hashes the folder's files.
    ///
    /// # Errors
    /// If a file that every checkpoint has is missing, or the folder's name is no text.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let no_checkpoint = || {
            format!(
                "{} is no checkpoint folder; give one with config.json, tokenizer.json, preprocessor_config.json and \
                 model.safetensors",
                folder.display()
            )
        };
        let folder = fs::canonicalize(folder).with_context(no_checkpoint)?;
        let name = folder.file_name().and_then(|name| name.to_str());
        let name = name.context("a checkpoint folder's name must be UTF-8; rename it")?.to_owned();
        ensure!(folder.to_str().is_some(), "the path of {name} must be UTF-8; move it");
        let mut weights = weights(&folder).with_context(no_checkpoint)?;
        ensure!(!weights.is_empty(), no_checkpoint());
        weights.sort();
        let settings = SETTINGS.map(|file| folder.join(file));
        Ok(Self {
            name,
            sha256: hash(&weights).with_context(no_checkpoint)?,
            tokenizer_sha256: hash(&[folder.join(TOKENIZER)]).with_context(no_checkpoint)?,
            settings_sha256: hash(&settings).with_context(no_checkpoint)?,
            folder,
        })
    }

    /// Its folder, for a command line.
    pub(crate) fn folder_text(&self) -> String {
        self.folder.display().to_string()
    }

    /// The folder that it is in.
    pub(super) fn parent_text(&self) -> String {
        self.folder.parent().unwrap_or(&self.folder).display().to_string()
    }
}

/// Name and hashes: `pocket-cloud@c107780e7fb4.1f0a3c5d7e9b`.
impl fmt::Display for Checkpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (weights, settings) = (&self.sha256[..SHORT], &self.settings_sha256[..SHORT]);
        write!(formatter, "{}@{weights}.{settings}", self.name)
    }
}

fn weights(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(WEIGHTS.0) && name.ends_with(WEIGHTS.1) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Of all bytes of some files, one after the other.
fn hash(files: &[PathBuf]) -> Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    for file in files {
        let mut open = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        loop {
            let read = open.read(&mut buffer).with_context(|| format!("cannot read {}", file.display()))?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
