//! The speech model that pages may download: what is told of it, and from which confidence on its words stand.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use msao_models::memory_plan::MemoryPlan;
use msao_models::speech::{WhisperConfig, WhisperTokens};
use msao_models::{ModelError, WeightsFormat};
use msao_planner::fitting::FormatNeeds;
use serde::Serialize;

use super::folder::{SPEECH_CONFIDENCE, stamps};
use super::listing::needs;
use super::manifest::parameters;
use super::{EdgeModel, EdgeModels};
use crate::calibrate_speech::SpeechConfidence;
use crate::hub::licence_of;
use crate::startup::StartupError;

/// Of `/weights/index.json`.
#[derive(Debug, Serialize)]
pub(super) struct SpeechEntry {
    name: String,
    parameters: u64,
    /// Bytes of the download.
    bytes: u64,
    licence: Option<String>,
    /// Languages it knows.
    languages: usize,
    /// Confidence from which its words stand, where it was calibrated.
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<f64>,
    /// What it takes in a page's memory as f32, and in each smaller format.
    memory: Vec<FormatNeeds>,
}

impl EdgeModels {
    /// Lets pages have a speech model as well.
    ///
    /// # Errors
    /// [`StartupError::Checkpoint`] for a folder that is none of Whisper's.
    pub fn with_speech(mut self, speech: Option<(String, PathBuf)>) -> Result<Self, StartupError> {
        if let Some((name, folder)) = speech {
            let model = EdgeModel::new((name, folder));
            SpeechEntry::of(&model)
                .map_err(|source| StartupError::Checkpoint { path: model.folder.clone(), source })?;
            self.speech = Some(Arc::new(model));
        }
        Ok(self)
    }
}

impl SpeechEntry {
    /// Looks into the folder; reads nothing of the weights.
    pub(super) fn of(model: &EdgeModel) -> Result<Self, ModelError> {
        let config = WhisperConfig::from_json(&read(&model.folder, "config.json")?)?;
        let tokens = WhisperTokens::from_json(&read(&model.folder, "generation_config.json")?, &config)?;
        let confidence = fs::read(model.folder.join(SPEECH_CONFIDENCE)).ok();
        let confidence = confidence.and_then(|json| serde_json::from_slice::<SpeechConfidence>(&json).ok());
        Ok(Self {
            name: model.name.clone(),
            parameters: parameters(&config.tensors()),
            bytes: stamps(&model.folder)?.iter().map(|stamp| stamp.bytes).sum(),
            licence: licence_of(&model.folder),
            languages: tokens.languages.len().max(1),
            threshold: confidence.map(|confidence| confidence.threshold),
            memory: needs(MemoryPlan::of_speech_formats(&config, WeightsFormat::Stored)),
        })
    }
}

fn read(folder: &Path, name: &str) -> Result<Vec<u8>, ModelError> {
    let path = folder.join(name);
    fs::read(&path).map_err(|source| ModelError::File { path: path.display().to_string(), source })
}
