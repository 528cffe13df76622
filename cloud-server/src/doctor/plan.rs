//! What the model will take in memory by its configuration, and what would fit if that is too much.

use std::fs;

use msao_models::memory_plan::{Limits, MemoryPlan, Use};
use msao_models::{DeviceKind, ModelConfig};

use super::{Finding, Verdict, available_memory_bytes};
use crate::checkpoint_places::CheckpointPlaces;
use crate::config::ServerConfig;

/// The plan of the model that answers here; `None` where it answers elsewhere, or cannot be found, which is told elsewhere.
pub(super) fn of_model(config: &ServerConfig) -> Option<Finding> {
    let places = CheckpointPlaces::find(config).ok().filter(|_| !config.upstream.is_used())?;
    let model = ModelConfig::from_json(&fs::read(places.target.join("config.json")).ok()?).ok()?;
    let wanted = Use {
        format: config.weights_format,
        context: model.text_config.max_position_embeddings,
        sequences: config.max_batch.into(),
        inputs_per_pass: 1,
    };
    let total_bytes = available_memory_bytes().filter(|_| config.device == DeviceKind::Cpu);
    Some(finding(&model, &wanted, total_bytes))
}

fn finding(model: &ModelConfig, wanted: &Use, total_bytes: Option<u64>) -> Finding {
    let plan = MemoryPlan::new(model, wanted);
    let limits =
        total_bytes.map(|total_bytes| Limits { total_bytes, buffer_bytes: None, binding_bytes: None });
    let Some((limits, excess)) = limits.and_then(|limits| Some((limits, plan.excess(&limits)?))) else {
        return Finding::new("plan", Verdict::Good, plan.to_string());
    };
    // Keys and values of every sequence at its longest are rarely held; the budget of them bounds what is.
    let one = Use { sequences: 1, ..*wanted };
    let verdict = match MemoryPlan::new(model, &one).excess(&limits) {
        Some(_) => Verdict::Bad,
        None => Verdict::Doubtful,
    };
    let remedy = MemoryPlan::remedy(model, wanted, &limits, &[]);
    let says = format!(
        "{plan}; {excess} ({} sequences): {remedy} (--weights-format, --max-batch)",
        wanted.sequences
    );
    Finding::new("plan", verdict, says)
}

#[cfg(test)]
mod tests {
    use msao_models::WeightsFormat;

    use super::*;

    #[test]
    fn what_does_not_fit_is_told_with_what_would() {
        let config = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/weights/pocket-cloud/config.json");
        let model = ModelConfig::from_json(&fs::read(config).unwrap()).unwrap();
        let context = model.text_config.max_position_embeddings;
        let wanted = Use { format: WeightsFormat::F32, context, sequences: 1, inputs_per_pass: 1 };
        let peak = MemoryPlan::new(&model, &wanted).peak_bytes();
        assert_eq!(finding(&model, &wanted, Some(peak)).verdict, Verdict::Good);
        let tight = finding(&model, &wanted, Some(peak - 1));
        assert_eq!(tight.verdict, Verdict::Bad);
        assert!(tight.says.contains("as f16 it fits"), "{tight}");
        let eight = finding(&model, &Use { sequences: 8, ..wanted }, Some(peak));
        assert_eq!(eight.verdict, Verdict::Doubtful, "{eight}");
        assert_eq!(finding(&model, &wanted, None).verdict, Verdict::Good);
    }
}
