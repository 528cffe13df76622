//! Tests of the plan at the published sizes.

use serde_json::json;

use super::*;

/// The sizes of SmolVLM-256M and, scaled, of its larger siblings.
fn model(hidden: usize, layers: usize, vision_hidden: usize) -> ModelConfig {
    let config = json!({
        "architectures": ["Idefics3ForConditionalGeneration"], "image_token_id": 49_190, "scale_factor": 4,
        "tie_word_embeddings": true,
        "vision_config": {
            "hidden_size": vision_hidden, "intermediate_size": 4 * vision_hidden, "num_hidden_layers": 12,
            "num_attention_heads": 12, "patch_size": 16, "image_size": 512,
        },
        "text_config": {
            "hidden_size": hidden, "intermediate_size": hidden * 8 / 3, "num_hidden_layers": layers,
            "num_attention_heads": hidden / 64, "num_key_value_heads": hidden / 192,
            "max_position_embeddings": 8_192, "vocab_size": 49_280,
        },
    });
    ModelConfig::from_json(config.to_string().as_bytes()).unwrap()
}

fn wanted(format: WeightsFormat) -> Use {
    Use { format, context: 8_192, sequences: 1, inputs_per_pass: 1 }
}

fn total(total_bytes: u64) -> Limits {
    Limits { total_bytes, buffer_bytes: None, binding_bytes: None }
}

#[test]
fn smaller_formats_take_less_of_the_same_model() {
    let config = model(576, 30, 768);
    let plans = WeightsFormat::ALL.map(|format| MemoryPlan::new(&config, &wanted(format)));
    assert!(plans.windows(2).all(|pair| pair[0].peak_bytes() > pair[1].peak_bytes()));
    // 106 million weights of 4.5 bits, 86 million of the tower; a table of 28 million bytes.
    let [f32, .., q4] = plans;
    assert_eq!(q4.tables_bytes, 49_280 * (576 + 4));
    assert!(f32.weights_bytes > 6 * q4.weights_bytes, "{f32}\n{q4}");
    assert_eq!(f32.kv_bytes, q4.kv_bytes);
    assert_eq!(f32.kv_bytes, 8_192 * 30 * 2 * 3 * 64 * 4);
}

#[test]
fn the_first_thing_that_fits_is_offered() {
    let (large, small) = (model(1_920, 32, 1_152), model(576, 30, 768));
    let remedy = |config: &ModelConfig, format, megabytes: u64| {
        MemoryPlan::remedy(config, &wanted(format), &total(megabytes << 20), &[("small", &small)])
    };
    let peak = |config: &ModelConfig, format| MemoryPlan::new(config, &wanted(format)).peak_bytes() >> 20;
    let int8 = peak(&small, WeightsFormat::Int8) + 1;
    assert_eq!(remedy(&small, WeightsFormat::F32, int8), Remedy::Format(WeightsFormat::Int8));
    let q4 = peak(&large, WeightsFormat::Q4);
    assert_eq!(remedy(&large, WeightsFormat::Stored, q4 + 1), Remedy::Format(WeightsFormat::Q4));
    let Remedy::Context(WeightsFormat::Q4, context) = remedy(&large, WeightsFormat::F16, q4 - 100) else {
        panic!("a shorter context fits");
    };
    assert!(context < 8_192);
    assert_eq!(
        remedy(&large, WeightsFormat::F32, peak(&small, WeightsFormat::Q4) + 1),
        Remedy::Model("small".to_owned(), WeightsFormat::Q4)
    );
    assert_eq!(remedy(&large, WeightsFormat::F32, 60), Remedy::Nothing);
}

#[test]
fn a_layer_beyond_a_weak_adapter_s_binding_is_said_to_be_the_matter_and_a_table_is_split() {
    let config = model(2_112, 24, 1_152);
    let plan = MemoryPlan::new(&config, &wanted(WeightsFormat::F16));
    assert!(plan.tables_bytes > plan.largest_tensor_bytes);
    let binding =
        |bytes| Limits { total_bytes: u64::MAX, buffer_bytes: Some(256 << 20), binding_bytes: Some(bytes) };
    assert_eq!(plan.excess(&binding(plan.largest_tensor_bytes)), None);
    let limits = binding(plan.largest_tensor_bytes - 1);
    let excess = plan.excess(&limits);
    assert!(
        matches!(excess, Some(Excess::Tensor { limit_bytes, .. }) if Some(limit_bytes) == limits.binding_bytes)
    );
    assert_eq!(MemoryPlan::new(&config, &wanted(WeightsFormat::Q4)).excess(&limits), None);
}

#[test]
fn formats_are_planned_from_the_stored_one_down() {
    let config = model(576, 30, 768);
    let formats = |config: &ModelConfig| -> Vec<WeightsFormat> {
        let plans = MemoryPlan::of_formats(config, &Use::in_page(WeightsFormat::Stored));
        plans.iter().map(|plan| plan.format).collect()
    };
    assert_eq!(formats(&config), WeightsFormat::ALL);
    let quantization = Some(crate::QuantizationConfig { format: "int8".to_owned(), group_size: None });
    assert_eq!(formats(&ModelConfig { quantization, ..config }), [WeightsFormat::Int8, WeightsFormat::Q4]);
}
