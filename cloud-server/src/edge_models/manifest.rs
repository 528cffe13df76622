//! What a page is told before it downloads: the form of the shipped `MANIFEST.json`, with hashes of pieces.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use msao_models::speech::WhisperConfig;
use msao_models::{ModelConfig, ModelError};
use serde::Serialize;
use tokio::sync::watch;

use super::EdgeModel;
use super::folder::{Stamp, stamps};
use super::hashing::{Hashes, PIECE_BYTES, hashes};
use crate::hub::licence_of;

/// How long a request waits for hashes; then whoever asked is told to come back.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why there is no manifest.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ManifestError {
    /// Its hashes are being computed.
    #[error("hashes of this checkpoint are being computed; ask again in a second")]
    Pending,
    /// The folder cannot be served.
    #[error("{0}")]
    Unusable(Arc<str>),
}

#[derive(Serialize)]
struct Manifest<'a> {
    name: &'a str,
    licence: Option<String>,
    parameters: u64,
    piece_bytes: u64,
    files: BTreeMap<&'a str, File>,
}

#[derive(Serialize)]
struct File {
    bytes: u64,
    #[serde(flatten)]
    hashes: Hashes,
}

type Made = Option<Result<Arc<str>, ManifestError>>;

/// The manifest of a folder's present files, once it is made.
#[derive(Debug, Default)]
pub(super) struct Making(Mutex<Option<(Vec<Stamp>, watch::Receiver<Made>)>>);

impl Making {
    /// Begins to hash the folder's files, unless these very files are hashed or being hashed.
    ///
    /// # Errors
    /// For a folder that lacks a file.
    pub(super) fn begin(&self, model: &EdgeModel) -> Result<watch::Receiver<Made>, ManifestError> {
        let unusable = |error: ModelError| ManifestError::Unusable(error.to_string().into());
        let present = stamps(&model.folder).map_err(unusable)?;
        let mut making = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, made)) = &*making
            && *of == present
        {
            return Ok(made.clone());
        }
        let (sender, made) = watch::channel(None);
        let (name, folder, files) = (model.name.clone(), model.folder.clone(), present.clone());
        let hash = move || {
            let json = make(&name, &folder, &files).map_err(unusable);
            if let Err(error) = &json {
                tracing::warn!(checkpoint = name, %error, "a model for the page cannot be downloaded");
            }
            // Nobody may listen, and whoever asks next finds it.
            sender.send_replace(Some(json));
        };
        let spawned = std::thread::Builder::new().name("hashes".to_owned()).spawn(hash);
        spawned.map_err(|error| ManifestError::Unusable(error.to_string().into()))?;
        *making = Some((present, made.clone()));
        Ok(made)
    }

    /// The JSON; waits for it for a while.
    pub(super) async fn json(&self, model: &EdgeModel) -> Result<Arc<str>, ManifestError> {
        let mut made = self.begin(model)?;
        match tokio::time::timeout(PATIENCE, made.wait_for(Option::is_some)).await {
            Ok(Ok(done)) => done.clone().unwrap_or(Err(ManifestError::Pending)),
            Ok(Err(_gone)) => Err(ManifestError::Unusable("its files could not be hashed".into())),
            Err(_elapsed) => Err(ManifestError::Pending),
        }
    }
}

fn make(name: &str, folder: &std::path::Path, stamps: &[Stamp]) -> Result<Arc<str>, ModelError> {
    let file_error = |name: &str, source: io::Error| {
        let path = folder.join(name).display().to_string();
        ModelError::File { path, source }
    };
    let config_json =
        fs::read(folder.join("config.json")).map_err(|source| file_error("config.json", source))?;
    let parameters = parameters(&tensors(&config_json)?);
    let files = stamps.iter().map(|stamp| {
        let hashes = hashes(folder, stamp).map_err(|source| file_error(&stamp.name, source))?;
        Ok((stamp.name.as_str(), File { bytes: stamp.bytes, hashes }))
    });
    let files = files.collect::<Result<_, ModelError>>()?;
    let licence = licence_of(folder);
    let manifest = Manifest { name, licence, parameters, piece_bytes: PIECE_BYTES, files };
    let json =
        serde_json::to_string(&manifest).map_err(|source| file_error("MANIFEST.json", source.into()))?;
    Ok(json.into())
}

/// Names and shapes of a checkpoint's tensors, whether it answers or writes recordings down.
fn tensors(config_json: &[u8]) -> Result<Vec<(String, Vec<usize>)>, ModelError> {
    // Of what is neither, the first says what it could be.
    ModelConfig::from_json(config_json).map(|config| config.tensors()).or_else(|refused| {
        WhisperConfig::from_json(config_json).map(|config| config.tensors()).map_err(|_no_speech| refused)
    })
}

/// Weights of a model, a tied head counted once.
pub(super) fn parameters(tensors: &[(String, Vec<usize>)]) -> u64 {
    let of = |(_, shape): &(String, Vec<usize>)| shape.iter().map(|&size| size as u64).product::<u64>();
    tensors.iter().map(of).sum()
}
