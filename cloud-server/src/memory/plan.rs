//! What everything that the server loads takes together: the model that answers, its draft model, the speech model, keys and
//! values, and a pass. Models for the page are served as files and take nothing here; what lies on a GPU is not counted.

use std::fmt;
use std::fs;
use std::path::Path;

use msao_models::memory_plan::{MemoryPlan, Use};
use msao_models::speech::WhisperConfig;
use msao_models::{DeviceKind, ModelConfig, WeightsFormat};

use super::available_bytes;
use crate::checkpoint_places::CheckpointPlaces;
use crate::config::ServerConfig;
use crate::startup::draft_model;

/// A server that cannot hold one question of so many tokens is of no use.
const LEAST_CONTEXT: usize = 1024;
/// Of what is available, the part that should stay free.
const SPARE: u64 = 10;

/// What is to be loaded.
#[derive(Debug, Clone, Default)]
struct Parts {
    /// The model that answers here, on the CPU.
    target: Option<ModelConfig>,
    draft: Option<ModelConfig>,
    speech: Option<WhisperConfig>,
}

/// What a server takes, and what there is.
#[derive(Debug, Clone)]
pub(crate) struct ServerPlan {
    parts: Parts,
    format: WeightsFormat,
    kv_budget_bytes: u64,
    available_bytes: Option<u64>,
}

/// What to think of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It fits, or nobody can tell.
    Fits,
    /// It runs, but under load there may be too little; and what helps.
    Tight(String),
    /// Not even one question fits; and what helps.
    TooLarge(String),
}

/// What there is to load, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Needs {
    target: u64,
    draft: u64,
    speech: u64,
    pass: u64,
    /// What one question of [`LEAST_CONTEXT`] tokens takes, all weights included.
    least: u64,
    /// What the longest ones take with all keys and values that may be kept.
    most: u64,
}

impl Parts {
    fn needs(&self, format: WeightsFormat, kv_budget_bytes: u64) -> Needs {
        let plan = |model: &ModelConfig, context: usize| {
            MemoryPlan::new(model, &Use { format, context, sequences: 1, inputs_per_pass: 1 })
        };
        let longest = |model: &ModelConfig| plan(model, model.text_config.max_position_embeddings);
        let weights = |plan: &MemoryPlan| plan.weights_bytes + plan.tables_bytes;
        let draft = self.draft.as_ref().map_or(0, |model| weights(&longest(model)));
        let speech = self.speech.as_ref().map_or(0, |model| {
            model.weights_bytes(if format == WeightsFormat::Stored { WeightsFormat::F32 } else { format })
        });
        let beside = draft + speech;
        let Some(target) = &self.target else {
            return Needs { draft, speech, least: beside, most: beside, ..Needs::default() };
        };
        let whole = longest(target);
        Needs {
            target: weights(&whole),
            draft,
            speech,
            pass: whole.activations_bytes,
            least: plan(target, LEAST_CONTEXT).peak_bytes() + beside,
            most: MemoryPlan { kv_bytes: kv_budget_bytes, ..whole }.peak_bytes() + beside,
        }
    }

    /// What the weights as stored are.
    fn format(&self, format: WeightsFormat) -> WeightsFormat {
        let stored = self.target.as_ref().and_then(|model| format.for_checkpoint(model).ok());
        stored.unwrap_or(if format == WeightsFormat::Stored { WeightsFormat::F32 } else { format })
    }
}

impl ServerPlan {
    /// Reads the configurations of what is to be loaded; `None` where one cannot be read, which is told when it is loaded.
    pub(crate) fn of(config: &ServerConfig, places: &CheckpointPlaces) -> Option<Self> {
        let json = |folder: &Path| fs::read(folder.join("config.json")).ok();
        let model = |folder: &Path| ModelConfig::from_json(&json(folder)?).ok();
        // With an upstream nothing else is loaded; on a GPU weights pass through, tensor by tensor.
        let is_here = !config.upstream.is_used() && config.device == DeviceKind::Cpu;
        let target = if is_here { Some(model(&places.target)?) } else { None };
        let draft = match draft_model(config, &places.name).ok()?.filter(|_| is_here) {
            Some(folder) => Some(model(&folder)?),
            None => None,
        };
        let speech = match &config.speech {
            Some(folder) => Some(WhisperConfig::from_json(&json(folder)?).ok()?),
            None => None,
        };
        Some(Self {
            parts: Parts { target, draft, speech },
            format: config.weights_format,
            kv_budget_bytes: u64::from(config.kv_budget_mb) << 20,
            available_bytes: available_bytes(),
        })
    }

    fn needs(&self) -> Needs {
        self.parts.needs(self.format, self.kv_budget_bytes)
    }

    /// Whether it fits.
    pub(crate) fn outcome(&self) -> Outcome {
        let Some(available) = self.available_bytes else { return Outcome::Fits };
        let needs = self.needs();
        if needs.least > available {
            return Outcome::TooLarge(format!("{self}; {}", self.remedy(available)));
        }
        let comfortable = available - available / SPARE;
        if needs.most <= comfortable {
            return Outcome::Fits;
        }
        let without_kv = needs.most - self.kv_budget_bytes.min(needs.most);
        let room_mb = comfortable.saturating_sub(without_kv) >> 20;
        let help = if room_mb > 0 && self.parts.target.is_some() {
            format!(
                "--kv-budget-mb {room_mb} leaves a tenth free, or --weights-format makes the weights smaller"
            )
        } else {
            self.remedy(comfortable)
        };
        Outcome::Tight(format!("{self}; under load it may be too little: {help}"))
    }

    /// What would fit so many bytes.
    fn remedy(&self, bytes: u64) -> String {
        let fits = |parts: &Parts, format| parts.needs(format, self.kv_budget_bytes).least <= bytes;
        let mut smaller =
            std::iter::successors(self.parts.format(self.format).smaller(), |format| format.smaller());
        if let Some(format) = smaller.find(|format| fits(&self.parts, *format)) {
            return format!("--weights-format {format} fits (or `msao-server convert`)");
        }
        let without = [
            (" --speech", Parts { speech: None, ..self.parts.clone() }),
            (" a draft model (--draft-model none)", Parts { draft: None, ..self.parts.clone() }),
        ];
        for (what, parts) in without {
            if fits(&parts, WeightsFormat::Q4) {
                return format!("--weights-format q4 fits without{what}");
            }
        }
        "choose a smaller checkpoint, or a machine or container with more memory".to_owned()
    }
}

impl fmt::Display for ServerPlan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let needs = self.needs();
        let mb = |bytes: u64| bytes.div_ceil(1 << 20);
        if self.parts.target.is_some() {
            let format = self.parts.format(self.format);
            write!(formatter, "weights {} MB as {format}", mb(needs.target))?;
            if needs.draft > 0 {
                write!(formatter, ", a draft model {} MB", mb(needs.draft))?;
            }
            write!(formatter, ", keys and values up to {} MB", mb(self.kv_budget_bytes))?;
            write!(formatter, ", a pass up to {} MB, ", mb(needs.pass))?;
        }
        if needs.speech > 0 {
            write!(formatter, "a speech model {} MB, ", mb(needs.speech))?;
        }
        write!(formatter, "{} to {} MB in all", mb(needs.least), mb(needs.most))?;
        match self.available_bytes {
            Some(available) => write!(formatter, " of {} MB available", available >> 20),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(available_bytes: Option<u64>) -> ServerPlan {
        let model = |name: &str| {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/weights/");
            ModelConfig::from_json(&fs::read(format!("{folder}{name}/config.json")).unwrap()).unwrap()
        };
        let parts =
            Parts { target: Some(model("pocket-cloud")), draft: Some(model("pocket-edge")), speech: None };
        ServerPlan { parts, format: WeightsFormat::Stored, kv_budget_bytes: 64 << 20, available_bytes }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_would() {
        let needs = plan(None).needs();
        assert_eq!(plan(None).outcome(), Outcome::Fits, "nothing is known of the machine");
        assert_eq!(plan(Some(2 * needs.most)).outcome(), Outcome::Fits);
        let Outcome::TooLarge(says) = plan(Some(needs.least - 1)).outcome() else {
            panic!("it is too large")
        };
        assert!(says.contains("--weights-format f16 fits"), "{says}");
        let Outcome::TooLarge(says) = plan(Some(1 << 20)).outcome() else { panic!("it is too large") };
        assert!(says.contains("smaller checkpoint"), "{says}");
    }

    #[test]
    fn keys_and_values_that_would_fill_the_rest_are_warned_of() {
        let needs = plan(None).needs();
        assert!(needs.most > needs.least + (32 << 20), "the budget counts: {needs:?}");
        let Outcome::Tight(says) = plan(Some(needs.most)).outcome() else { panic!("it is tight") };
        let room = says.split("--kv-budget-mb ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
        let kv_budget_bytes = room.parse::<u64>().unwrap() << 20;
        let smaller = ServerPlan { kv_budget_bytes, ..plan(Some(needs.most)) };
        assert_eq!(smaller.outcome(), Outcome::Fits, "{says}");
    }

    #[test]
    fn all_that_is_loaded_counts() {
        let whole = plan(None).needs();
        let alone = ServerPlan { parts: Parts { draft: None, ..plan(None).parts }, ..plan(None) }.needs();
        assert_eq!(whole.least - alone.least, whole.draft);
        assert!(whole.draft > 4 << 20, "a million weights of four bytes");
        let q4 = ServerPlan { format: WeightsFormat::Q4, ..plan(None) }.needs();
        assert!(q4.target * 3 < whole.target);
        let elsewhere = ServerPlan { parts: Parts::default(), ..plan(Some(1)) };
        assert_eq!(elsewhere.outcome(), Outcome::Fits, "what answers elsewhere takes nothing here");
    }
}
