//! What a page is told before it chooses a model.

use std::fs;

use msao_models::memory_plan::{MemoryPlan, Use};
use msao_models::{ModelConfig, ModelError, TextTokenizer, WeightsFormat};
use msao_planner::fitting::FormatNeeds;
use msao_protocol::Vocabulary;
use serde::Serialize;

use super::folder::{MANIFEST, stamps};
use super::manifest::parameters;
use super::speech::SpeechEntry;
use super::{EdgeModel, EdgeModels};
use crate::engine::EngineInfo;
use crate::hub::licence_of;

/// `/weights/index.json`.
#[derive(Debug, Serialize)]
pub(crate) struct Listing {
    /// The first is what a page takes that does not choose.
    models: Vec<Entry>,
    /// What writes recordings down for those that cannot hear.
    #[serde(skip_serializing_if = "Option::is_none")]
    speech: Option<SpeechEntry>,
}

#[derive(Debug, Serialize)]
struct Entry {
    name: String,
    #[serde(flatten)]
    about: Known,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Known {
    Usable(About),
    /// Why it is of no use.
    Unusable {
        problem: String,
    },
}

#[derive(Debug, Serialize)]
struct About {
    parameters: u64,
    /// Bytes of the download.
    bytes: u64,
    licence: Option<String>,
    sees: bool,
    hears: bool,
    /// The class that config.json names first.
    architecture: String,
    vocabulary: Vocabulary,
    /// Whether what it writes can be drafts for the model that answers here.
    drafts: bool,
    /// What it takes in a page's memory as it is stored, and in each smaller format.
    memory: Vec<FormatNeeds>,
}

impl Listing {
    /// Looks into each folder; reads nothing of the weights.
    pub(crate) fn of(models: &EdgeModels, engine: &EngineInfo) -> Self {
        let entry = |model: &EdgeModel| Entry {
            name: model.name.clone(),
            about: about(model, engine)
                .map_or_else(|error| Known::Unusable { problem: error.to_string() }, Known::Usable),
        };
        let speech = models.speech().and_then(|model| SpeechEntry::of(model).ok());
        Self { models: models.iter().map(entry).collect(), speech }
    }
}

fn about(model: &EdgeModel, engine: &EngineInfo) -> Result<About, ModelError> {
    let read = |name: &str| {
        let path = model.folder.join(name);
        fs::read(&path).map_err(|source| ModelError::File { path: path.display().to_string(), source })
    };
    let config = ModelConfig::from_json(&read("config.json")?)?;
    let (tokens, fingerprint) = TextTokenizer::from_json(&read("tokenizer.json")?)?.fingerprint();
    let vocabulary = Vocabulary { tokens, fingerprint };
    let said = read(MANIFEST).ok().and_then(|json| serde_json::from_slice::<serde_json::Value>(&json).ok());
    let licence = said.and_then(|manifest| manifest["licence"].as_str().map(str::to_owned));
    Ok(About {
        parameters: parameters(&config.tensors()),
        bytes: stamps(&model.folder)?.iter().map(|stamp| stamp.bytes).sum(),
        licence: licence.or_else(|| licence_of(&model.folder)),
        sees: config.vision_config.is_some(),
        hears: config.audio_config.is_some(),
        architecture: config.architectures.first().cloned().unwrap_or_default(),
        drafts: vocabulary == engine.model.vocabulary,
        vocabulary,
        memory: memory(&config),
    })
}

fn memory(config: &ModelConfig) -> Vec<FormatNeeds> {
    needs(MemoryPlan::of_formats(config, &Use::in_page(WeightsFormat::Stored)))
}

/// Plans as a page is told of them.
pub(super) fn needs(plans: Vec<MemoryPlan>) -> Vec<FormatNeeds> {
    let needs = |plan: MemoryPlan| {
        Some(FormatNeeds {
            format: plan.format.to_string().parse().ok()?,
            weights_bytes: plan.weights_bytes + plan.tables_bytes,
            kv_bytes: plan.kv_bytes,
            activations_bytes: plan.activations_bytes,
            peak_bytes: plan.peak_bytes(),
            largest_tensor_bytes: plan.largest_tensor_bytes,
        })
    };
    plans.into_iter().filter_map(needs).collect()
}
