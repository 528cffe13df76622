//! Operations counted from the configuration against PyTorch's own counter (`make_sparse_golden.py`), within 1 %.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::path::Path;

use burn::tensor::Device;
use msao_models::{Flops, MasProbe, ModelConfig, ProbeFiles};
use serde_json::Value;

fn file(path: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn assert_close(name: &str, found: u64, golden: &Value) {
    let expected = golden[name].as_u64().unwrap_or_else(|| panic!("no golden `{name}`"));
    assert!(found.abs_diff(expected) * 100 <= expected, "{name}: {found}, PyTorch counts {expected}");
}

#[test]
fn counts_are_those_of_pytorch() {
    let golden: Value = serde_json::from_slice(&file("tests/golden/flops.json")).unwrap();
    let config = ModelConfig::from_json(&file("weights/pocket-cloud/config.json")).unwrap();
    let flops = Flops::of(&config);
    assert_close("image", flops.image(config.num_image_tokens()), &golden);
    assert_close("audio", flops.audio(60), &golden);
    assert_close("decoder_128", flops.decoder(128, 0, 1), &golden);
    let edge = ModelConfig::from_json(&file("weights/pocket-edge/config.json")).unwrap();
    let files = ProbeFiles {
        config_json: file("weights/pocket-edge/mas_probe.json"),
        safetensors: file("weights/pocket-edge/mas_probe.safetensors"),
    };
    let probe = MasProbe::load(&files, &edge, &Device::flex()).unwrap();
    let question_tokens = golden["question_tokens"].as_u64().unwrap() as usize;
    assert_close("probe", probe.flops(question_tokens, 64, 30), &golden);
    // What MAS may cost: one per cent of what edge and cloud do for an answer, all media kept.
    let answer = Flops::of(&edge).answer(80, 4) + flops.image(36) + flops.audio(60) + flops.answer(150, 4);
    assert!(probe.flops(40, 64, 30) * 100 < answer);
}

#[test]
fn what_is_left_out_costs_nothing() {
    let config = ModelConfig::from_json(&file("weights/pocket-cloud/config.json")).unwrap();
    let flops = Flops::of(&config);
    assert!(flops.image(18) * 2 < flops.image(36), "attention costs the square");
    assert_eq!(flops.image(0), 0);
    assert_eq!(
        flops.answer(10, 2),
        flops.decoder(10, 0, 1) + flops.decoder(1, 10, 1) + flops.decoder(1, 11, 1)
    );
}
