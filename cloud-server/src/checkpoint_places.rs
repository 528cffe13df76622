//! Where the checkpoints are: a folder of checkpoint folders, as shipped, or one published checkpoint's own folder.

use std::path::{Path, PathBuf};

use crate::config::ServerConfig;
use crate::startup::StartupError;

/// Where the shipped checkpoints are unless told otherwise: what the page downloads beside a published one.
const SHIPPED: &str = "models/weights";

/// Where the model that answers here is, and what the page may download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CheckpointPlaces {
    /// Folder of the model that answers here.
    pub(crate) target: PathBuf,
    /// Its name, as told to clients.
    pub(crate) name: String,
    /// Name and folder of each checkpoint that the page may download, its default first.
    pub(crate) edge_models: Vec<(String, PathBuf)>,
    /// Name and folder of the speech model that it may download.
    pub(crate) edge_speech: Option<(String, PathBuf)>,
}

fn is_checkpoint(folder: &Path) -> bool {
    folder.join("config.json").is_file()
}

/// A folder's own name: as it was called, not that of what a link leads to.
fn name_of(folder: &Path) -> Option<String> {
    let whole = folder.file_name().is_none().then(|| folder.canonicalize().ok()).flatten();
    let named = whole.as_deref().unwrap_or(folder);
    named.file_name().map(|name| name.to_string_lossy().into())
}

impl CheckpointPlaces {
    /// Looks where `--weights` and `--edge-model` lead.
    ///
    /// # Errors
    /// [`StartupError::NoCheckpoint`] for a folder that is not there, [`StartupError::SameName`] for two of one name.
    pub(crate) fn find(config: &ServerConfig) -> Result<Self, StartupError> {
        let has_upstream = config.upstream.is_used();
        let is_one = is_checkpoint(&config.weights) && !has_upstream;
        let (target, name) = if is_one {
            (config.weights.clone(), name_of(&config.weights).unwrap_or_else(|| config.model.clone()))
        } else {
            (config.weights.join(&config.model), config.model.clone())
        };
        if !has_upstream && !is_checkpoint(&target) {
            return Err(StartupError::NoCheckpoint(target));
        }
        let mut edge_models: Vec<(String, PathBuf)> = Vec::new();
        for wanted in &config.edge_models {
            let Some((name, folder)) = edge_model(config, wanted, is_one) else {
                // Only what somebody asked for has to be there.
                if is_one && config.edge_models == [DEFAULT_EDGE_MODEL] {
                    tracing::warn!("the page finds no model to download: it asks this server alone");
                    continue;
                }
                return Err(StartupError::NoCheckpoint(config.weights.join(wanted)));
            };
            if edge_models.iter().any(|(other, _)| *other == name) {
                return Err(StartupError::SameName(name));
            }
            edge_models.push((name, folder));
        }
        let edge_speech = match &config.edge_speech {
            Some(folder) if !is_checkpoint(folder) => {
                return Err(StartupError::NoCheckpoint(folder.clone()));
            }
            Some(folder) => name_of(folder).map(|name| (name, folder.clone())),
            None => None,
        };
        if let Some((name, _)) = &edge_speech
            && edge_models.iter().any(|(other, _)| other == name)
        {
            return Err(StartupError::SameName(name.clone()));
        }
        Ok(Self { target, name, edge_models, edge_speech })
    }
}

/// What the page downloads unless told otherwise.
pub(crate) const DEFAULT_EDGE_MODEL: &str = "pocket-edge";

/// A name among the checkpoints, beside the one that answers or among the shipped ones; or a folder.
fn edge_model(config: &ServerConfig, wanted: &str, is_one: bool) -> Option<(String, PathBuf)> {
    let whole = || config.weights.canonicalize().unwrap_or_else(|_| config.weights.clone());
    let places = if is_one {
        let beside = whole().parent().map(Path::to_path_buf);
        beside.into_iter().chain([PathBuf::from(SHIPPED)]).collect()
    } else {
        vec![config.weights.clone(), PathBuf::from(SHIPPED)]
    };
    let is_name = !wanted.contains(['/', '\\']);
    let named =
        places.into_iter().map(|place| place.join(wanted)).find(|folder| is_name && is_checkpoint(folder));
    if let Some(folder) = named {
        return Some((wanted.to_owned(), folder));
    }
    let folder = PathBuf::from(wanted);
    let name = name_of(&folder).filter(|_| is_checkpoint(&folder))?;
    Some((name, folder))
}
