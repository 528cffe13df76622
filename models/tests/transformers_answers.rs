//! The Rust model writes what `transformers` writes with the shipped weights: see `transformers_check.py`.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::path::Path;

use burn::tensor::Device;
use msao_models::{Assistant, CheckpointFiles, Prompt, RgbImage};
use serde_json::Value;

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn image(path: &Path) -> RgbImage {
    let pixels = image::open(path).unwrap().into_rgb8();
    RgbImage::from_rgb(pixels.width(), pixels.height(), pixels.into_raw()).unwrap()
}

fn holds_to_transformers(checkpoint: &str) {
    let models = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = CheckpointFiles::from_dir(models.join("weights").join(checkpoint)).unwrap();
    let assistant = Assistant::load(&files, &Device::flex()).unwrap();
    let gallery = models.join("eval/gallery");
    let index = read_json(&gallery.join("gallery.json"));
    let golden = read_json(&models.join("tests/golden/transformers_answers.json"));
    let golden = golden[checkpoint].as_array().unwrap();
    assert!(golden.len() >= 20);
    for expected in golden {
        let sample = index["samples"]
            .as_array()
            .unwrap()
            .iter()
            .find(|sample| sample["id"] == expected["id"])
            .unwrap();
        let names = sample["images"].as_array().unwrap().iter();
        let prompt = Prompt {
            question: sample["question"].as_str().unwrap().to_owned(),
            images: names.map(|name| image(&gallery.join(name.as_str().unwrap()))).collect(),
            ..Prompt::default()
        };
        let mut generation = pollster::block_on(assistant.start(&prompt)).unwrap();
        while pollster::block_on(generation.next_token()).unwrap().is_some() {}
        let tokens: Vec<u64> = generation.tokens().iter().map(|&token| token.into()).collect();
        let expected_tokens: Vec<u64> =
            expected["tokens"].as_array().unwrap().iter().map(|token| token.as_u64().unwrap()).collect();
        assert_eq!(tokens, expected_tokens, "{checkpoint}, {}: {}", expected["id"], expected["text"]);
    }
}

#[test]
fn the_edge_checkpoint_answers_as_in_transformers() {
    holds_to_transformers("pocket-edge");
}

#[test]
fn the_cloud_checkpoint_answers_as_in_transformers() {
    holds_to_transformers("pocket-cloud");
}
