//! Probes that have never seen some question families, to say how MAS does on families it was not trained on.
//!
//! Eight probes, each trained as the shipped one but for the families it lacks (models/training/train_probe.py). A question is
//! scored by the one that lacks its family.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use msao_models::{Assistant, MasProbe, ProbeFiles, Prompt};
use pollster::block_on;

use super::outcome::LeftOut;

/// A probe and the families it has never seen.
pub(crate) struct Folds(Vec<(Vec<String>, MasProbe)>);

impl Folds {
    /// Reads `families.json` and the probes beside it.
    ///
    /// # Errors
    /// If a file is missing or not a probe of this edge model.
    pub(crate) fn load(folder: &Path, edge: &Assistant) -> Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let families: Vec<Vec<String>> = serde_json::from_slice(&read("families.json")?)?;
        let config_json = read("mas_probe.json")?;
        let probe = |(fold, families): (usize, Vec<String>)| {
            let safetensors = read(&format!("fold_{fold}.safetensors"))?;
            let files = ProbeFiles { config_json: config_json.clone(), safetensors };
            Ok((families, MasProbe::load(&files, edge.config(), edge.device())?))
        };
        Ok(Self(families.into_iter().enumerate().map(probe).collect::<Result<_>>()?))
    }

    /// What the probe that has never seen `family` says; `None` if all have.
    ///
    /// # Errors
    /// If the edge model fails.
    pub(crate) fn score(&self, edge: &Assistant, prompt: &Prompt, family: &str) -> Result<Option<LeftOut>> {
        let fold = self.0.iter().find(|(families, _)| families.iter().any(|one| one == family));
        let Some((_, probe)) = fold else { return Ok(None) };
        let scores = block_on(edge.score(&edge.look(prompt, probe)?, probe))?;
        let (vision, audio) = (scores.vision_relevance.map(f64::from), scores.audio_relevance.map(f64::from));
        Ok(Some(LeftOut { vision, audio }))
    }
}
