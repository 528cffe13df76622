//! Whether a model fits this tab: by its `config.json` alone, before its weights are fetched.

use msao_models::memory_plan::{Excess, Limits, MemoryPlan, Use};
use msao_models::{ModelConfig, ModelError, WeightsFormat};
use msao_planner::fitting::{DeviceLimits, Format};

/// A model that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoRoom {
    /// What is wrong, and the remedy.
    pub message: String,
    /// The largest of the smaller formats that fits.
    pub fits_as: Option<Format>,
}

/// Holds a model's plan against what there is; `None` if it fits.
///
/// # Errors
/// As [`ModelConfig::from_json`], and for a checkpoint that somebody else quantised.
pub fn no_room(
    config_json: &[u8],
    format: WeightsFormat,
    limits: &DeviceLimits,
) -> Result<Option<NoRoom>, ModelError> {
    let config = ModelConfig::from_json(config_json)?;
    format.for_checkpoint(&config)?;
    let plans = MemoryPlan::of_formats(&config, &Use::in_page(format));
    let limits =
        Limits { total_bytes: limits.total_bytes, buffer_bytes: limits.buffer_bytes, binding_bytes: None };
    let excess = plans.first().and_then(|asked| Some((asked, asked.excess(&limits)?)));
    let Some((asked, excess)) = excess else { return Ok(None) };
    let what = match excess {
        Excess::Total { needed_bytes, limit_bytes } => format!(
            "the model takes {} MB of memory as {}, and this tab has {}",
            needed_bytes >> 20,
            asked.format,
            limit_bytes >> 20
        ),
        Excess::Tensor { needed_bytes, limit_bytes } => format!(
            "the model's largest tensor takes {} MB as {}, and this GPU allows {}",
            needed_bytes >> 20,
            asked.format,
            limit_bytes >> 20
        ),
    };
    let fitting = plans.iter().find(|plan| plan.excess(&limits).is_none());
    let help = fitting.map_or_else(String::new, |plan| {
        format!("choose the format {}, which takes {} MB, ", plan.format, plan.peak_bytes() >> 20)
    });
    let or = if help.is_empty() { "" } else { "or " };
    Ok(Some(NoRoom {
        message: format!("{what}; {help}{or}choose a smaller model, or ask the server alone"),
        fits_as: fitting.and_then(|plan| plan.format.to_string().parse().ok()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sizes of SmolVLM-500M's decoder, whose table has 49,280 rows of 960.
    fn config() -> Vec<u8> {
        br#"{"architectures": ["LlamaForCausalLM"], "hidden_size": 960, "intermediate_size": 2560, "num_hidden_layers": 32,
            "num_attention_heads": 15, "num_key_value_heads": 5, "vocab_size": 49280, "max_position_embeddings": 8192,
            "tie_word_embeddings": true, "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 100000.0}"#
            .to_vec()
    }

    fn refused(format: WeightsFormat, limits: DeviceLimits) -> Option<NoRoom> {
        no_room(&config(), format, &limits).unwrap()
    }

    #[test]
    fn what_no_tab_holds_is_refused_with_the_format_that_fits() {
        assert_eq!(refused(WeightsFormat::Stored, DeviceLimits::of_tab(Some(8.0), None)), None);
        let small = DeviceLimits::of_tab(Some(3.0), None);
        let f32 = refused(WeightsFormat::Stored, small).expect("1.4 GB and a table once more");
        assert_eq!(f32.fits_as, Some(Format::F16));
        assert!(f32.message.contains("the format f16"), "{}", f32.message);
        assert_eq!(refused(WeightsFormat::F16, small), None);
        let tiny = refused(WeightsFormat::Q4, DeviceLimits::of_tab(Some(0.25), None)).unwrap();
        assert_eq!(tiny.fits_as, None);
        assert!(tiny.message.contains("smaller model"), "{}", tiny.message);
    }

    #[test]
    fn a_weak_gpu_s_buffers_bound_the_largest_layer_and_a_table_is_split() {
        let gpu = |bytes| DeviceLimits::of_tab(None, Some(bytes));
        assert_eq!(refused(WeightsFormat::F32, gpu(128 << 20)), None, "a table of 180 MB");
        let found = refused(WeightsFormat::F32, gpu(8 << 20)).expect("a layer of 9.8 MB is no buffer there");
        assert_eq!(found.fits_as, Some(Format::F16), "{}", found.message);
        assert!(found.message.contains("this GPU allows 8"), "{}", found.message);
    }

    #[test]
    fn what_is_no_model_is_an_error() {
        assert!(no_room(b"{}", WeightsFormat::Q4, &DeviceLimits::of_tab(None, None)).is_err());
    }
}
