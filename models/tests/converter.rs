//! A converted checkpoint is the published one quantised at load, bit for bit, in one file or several; and as f32 it is the
//! numbers that the packed ones stand for.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::fs;
use std::path::Path;

use burn::tensor::Device;
use msao_models::{
    Assistant, CheckpointFiles, ConvertError, Converter, ModelError, Prompt, RgbImage, WeightsFormat,
};
use serde_json::Value;
use tempfile::TempDir;

const PACKED: [WeightsFormat; 3] = [WeightsFormat::F16, WeightsFormat::Int8, WeightsFormat::Q4];

fn published() -> CheckpointFiles {
    CheckpointFiles::from_dir(format!("{}/weights/pocket-edge", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// A folder of the checkpoint's files with converted weights.
fn converted(files: &CheckpointFiles, format: WeightsFormat, shard_bytes: u64) -> TempDir {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    let device = Device::flex();
    let converter = Converter::with_shards(files, format, &device, shard_bytes).unwrap();
    let mut told = 0;
    for (index, name) in converter.files().iter().enumerate() {
        let mut bytes = Vec::new();
        converter
            .write(index, &mut bytes, &mut |written| {
                told += written;
                true
            })
            .unwrap();
        write(name, &bytes);
    }
    assert_eq!(told, converter.bytes());
    if let Some(index) = converter.index_json() {
        write("model.safetensors.index.json", index.to_string().as_bytes());
    }
    write("config.json", converter.config_json(&files.config_json).unwrap().to_string().as_bytes());
    write("tokenizer.json", &files.tokenizer_json);
    write("preprocessor_config.json", &files.preprocessor_json);
    folder
}

fn load(files: CheckpointFiles, weights_format: WeightsFormat) -> Assistant {
    Assistant::load(&CheckpointFiles { weights_format, ..files }, &Device::flex()).unwrap()
}

fn open(folder: &Path) -> CheckpointFiles {
    CheckpointFiles::from_dir(folder).unwrap()
}

/// Scores behind a prompt with a picture, and the greedy answer.
fn answer(model: &Assistant) -> (Vec<u32>, Vec<u32>) {
    let side = 96;
    let pixels = (0..side * side * 3).map(|at| (at * 7 % 251) as u8).collect();
    let prompt = Prompt {
        question: "What is on the left?".to_owned(),
        images: vec![RgbImage::from_rgb(side, side, pixels).unwrap()],
        ..Prompt::default()
    };
    let mut generation = pollster::block_on(model.start(&prompt)).unwrap();
    let scores = generation.first_logits().iter().map(|score| score.to_bits()).collect();
    while generation.tokens().len() < 16 && pollster::block_on(generation.next_token()).unwrap().is_some() {}
    (scores, generation.tokens().to_vec())
}

#[test]
fn a_converted_checkpoint_is_the_published_one_quantised_at_load() {
    for format in PACKED {
        let at_load = load(published(), format);
        for shard_bytes in [u64::MAX, 300_000] {
            let folder = converted(&published(), format, shard_bytes);
            assert_eq!(folder.path().join("model.safetensors").exists(), shard_bytes == u64::MAX);
            let as_stored = load(open(folder.path()), WeightsFormat::Stored);
            assert_eq!(answer(&as_stored), answer(&at_load), "{format}");
            assert_eq!(as_stored.num_parameters(), at_load.num_parameters());
        }
    }
}

#[test]
fn packed_weights_answer_as_the_numbers_they_stand_for() {
    for format in PACKED {
        let folder = converted(&published(), format, u64::MAX);
        let packed = answer(&load(open(folder.path()), WeightsFormat::Stored));
        let numbers = answer(&load(open(folder.path()), WeightsFormat::F32));
        assert_eq!(packed.1, numbers.1, "{format}");
        if format == WeightsFormat::F16 {
            assert_eq!(packed.0, numbers.0);
        }
    }
}

#[test]
fn converting_what_is_converted_changes_nothing() {
    for format in PACKED {
        let once = converted(&published(), format, u64::MAX);
        let twice = converted(&open(once.path()), format, u64::MAX);
        for file in ["model.safetensors", "config.json"] {
            let read = |folder: &TempDir| fs::read(folder.path().join(file)).unwrap();
            assert_eq!(read(&once), read(&twice), "{format}, {file}");
        }
    }
}

#[test]
fn q4_takes_a_third_of_f16_and_says_what_it_is() {
    let device = Device::flex();
    let files = published();
    let [f16, _, q4] = PACKED.map(|format| Converter::new(&files, format, &device).unwrap().bytes());
    // Tables, which are int8, are a large part of so small a model.
    assert!(10 * q4 < 4 * f16, "{q4} of {f16}");
    let folder = converted(&files, WeightsFormat::Q4, u64::MAX);
    let config: Value = serde_json::from_slice(&open(folder.path()).config_json).unwrap();
    assert_eq!(config["quantization"], serde_json::json!({"format": "q4", "group_size": 32}));
}

#[test]
fn a_conversion_can_be_cancelled() {
    let (device, files) = (Device::flex(), published());
    let converter = Converter::new(&files, WeightsFormat::Q4, &device).unwrap();
    let error = converter.write(0, &mut Vec::new(), &mut |_| false).unwrap_err();
    assert!(matches!(error, ConvertError::Cancelled), "{error}");
}

#[test]
fn scales_that_are_missing_or_of_another_shape_are_named() {
    let folder = converted(&published(), WeightsFormat::Q4, u64::MAX);
    let path = folder.path().join("model.safetensors");
    let good = fs::read(&path).unwrap();
    let renamed = |from: &str, to: &str| {
        let at = good.windows(from.len()).position(|bytes| bytes == from.as_bytes()).unwrap();
        let mut bad = good.clone();
        bad[at..at + from.len()].copy_from_slice(to.as_bytes());
        fs::write(&path, bad).unwrap();
        Assistant::load(&open(folder.path()), &Device::flex()).unwrap_err()
    };
    let error = renamed("layers.0.mlp.up_proj.weight_scale", "layers.0.mlp.up_proj.weight_scalf");
    assert!(
        matches!(&error, ModelError::MissingTensor { name } if name.ends_with("up_proj.weight_scale")),
        "{error}"
    );
    let error = renamed("\"dtype\":\"U8\"", "\"dtype\":\"I8\"");
    assert!(matches!(error, ModelError::TensorShape { .. }), "{error}");
}
