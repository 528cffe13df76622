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
    /// Folder of the checkpoint folders that the page downloads from.
    pub(crate) served: PathBuf,
    /// Of these, the ones it may.
    pub(crate) checkpoints: Vec<String>,
}

fn is_checkpoint(folder: &Path) -> bool {
    folder.join("config.json").is_file()
}

impl CheckpointPlaces {
    /// Looks where `--weights` leads.
    ///
    /// # Errors
    /// [`StartupError::NoCheckpoint`] for a folder that is not there.
    pub(crate) fn find(config: &ServerConfig) -> Result<Self, StartupError> {
        let has_upstream = config.upstream.is_used();
        if is_checkpoint(&config.weights) && !has_upstream {
            return Ok(Self::of_one(config));
        }
        let answers_here = (!has_upstream).then_some(&config.model);
        let checkpoints: Vec<String> =
            answers_here.into_iter().chain([&config.edge_model]).cloned().collect();
        if let Some(missing) =
            checkpoints.iter().map(|name| config.weights.join(name)).find(|folder| !is_checkpoint(folder))
        {
            return Err(StartupError::NoCheckpoint(missing));
        }
        let (served, name) = (config.weights.clone(), config.model.clone());
        Ok(Self { target: served.join(&name), name, served, checkpoints })
    }

    /// `--weights` is the model's own folder; the page's is beside it or among the shipped ones.
    fn of_one(config: &ServerConfig) -> Self {
        let target = config.weights.clone();
        let whole = target.canonicalize().unwrap_or_else(|_| target.clone());
        let name =
            whole.file_name().map_or_else(|| config.model.clone(), |name| name.to_string_lossy().into());
        let beside = whole.parent().map(Path::to_path_buf);
        let served = beside.into_iter().chain([PathBuf::from(SHIPPED)]);
        let served = served.into_iter().find(|folder| is_checkpoint(&folder.join(&config.edge_model)));
        if served.is_none() {
            tracing::warn!(
                edge_model = config.edge_model,
                "the page finds no model to download: it asks this server alone"
            );
        }
        let checkpoints = served.iter().map(|_| config.edge_model.clone()).collect();
        Self { target, name, served: served.unwrap_or_default(), checkpoints }
    }
}
