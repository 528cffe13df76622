//! The shipped checkpoints: they load, answer the gallery, and verification never changes an answer.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may fail loudly and says what it skips"
)]

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use msao_models::preprocess::{AudioBudget, read_wav};
use msao_models::{Assistant, CheckpointFiles, Generation, Prompt, RgbImage};
use serde_json::Value;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The checkpoint, or `None` with a loud word where the weights are not there.
fn assistant(name: &str) -> Option<Assistant> {
    let folder = folder("weights").join(name);
    if !folder.join("model.safetensors").exists() {
        eprintln!("SKIPPED: no weights in {}; models/training/README.md makes them", folder.display());
        return None;
    }
    Some(Assistant::load(&CheckpointFiles::from_dir(folder).unwrap(), &Device::flex()).unwrap())
}

fn answer(assistant: &Assistant, prompt: &Prompt) -> String {
    let mut generation = pollster::block_on(assistant.start(prompt)).unwrap();
    let mut text = String::new();
    while let Some(token) = pollster::block_on(generation.next_token()).unwrap() {
        assert!((0.0..=1.0).contains(&token.probability));
        text += &token.text;
    }
    text
}

fn gallery() -> Vec<(String, Prompt, String)> {
    let folder = folder("eval/gallery");
    let Ok(index) = std::fs::read(folder.join("gallery.json")) else {
        eprintln!("SKIPPED: no gallery in {}", folder.display());
        return Vec::new();
    };
    let index: Value = serde_json::from_slice(&index).unwrap();
    let sample = |sample: &Value| {
        let text = |key: &str| sample[key].as_str().unwrap().to_owned();
        let images = sample["images"].as_array().unwrap().iter();
        let images = images.map(|name| {
            let pixels = image::open(folder.join(name.as_str().unwrap())).unwrap().into_rgb8();
            RgbImage::from_rgb(pixels.width(), pixels.height(), pixels.into_raw()).unwrap()
        });
        let audio = sample["audio"].as_str().map(|name| {
            let bytes = std::fs::read(folder.join(name)).unwrap();
            read_wav(&bytes, &AudioBudget::default()).unwrap()
        });
        let prompt =
            Prompt { question: text("question"), images: images.collect(), audio, ..Prompt::default() };
        (text("id"), prompt, text("answer"))
    };
    index["samples"].as_array().unwrap().iter().map(sample).collect()
}

/// Share of the gallery that a checkpoint answers exactly.
fn gallery_accuracy(name: &str) -> Option<f64> {
    let assistant = assistant(name)?;
    let gallery = gallery();
    let mut right = 0;
    for (id, prompt, expected) in &gallery {
        let found = answer(&assistant, prompt);
        if found.trim() == expected {
            right += 1;
        } else {
            eprintln!("{name} {id}: `{}` instead of `{expected}`", found.trim());
        }
    }
    (!gallery.is_empty()).then(|| f64::from(right) / gallery.len() as f64)
}

#[test]
fn the_cloud_model_answers_the_gallery() {
    if let Some(accuracy) = gallery_accuracy("pocket-cloud") {
        assert!(accuracy >= 0.9, "right: {accuracy:.2}");
    }
}

#[test]
fn the_edge_model_answers_most_of_the_gallery() {
    if let Some(accuracy) = gallery_accuracy("pocket-edge") {
        assert!(accuracy >= 0.5, "right: {accuracy:.2}");
    }
}

/// A generation over a drawn picture, which makes a checkpoint write several tokens.
fn generation(assistant: &Assistant) -> Generation {
    let pixels = (0..64 * 64 * 3).map(|index| (index * 7 % 251) as u8).collect();
    let image = RgbImage::from_rgb(64, 64, pixels).unwrap();
    let question = "Describe the picture in detail.".to_owned();
    let prompt = Prompt { question, images: vec![image], ..Prompt::default() };
    pollster::block_on(assistant.start(&prompt)).unwrap().with_max_new_tokens(24)
}

fn finish(generation: &mut Generation) -> Vec<u32> {
    while pollster::block_on(generation.next_token()).unwrap().is_some() {}
    generation.tokens().to_vec()
}

#[test]
fn verification_never_changes_the_answer() {
    let Some(assistant) = assistant("pocket-edge") else { return };
    let expected = finish(&mut generation(&assistant));
    assert!(expected.len() > 3, "{expected:?}");
    // Drafts that are right, wrong at one place, or all wrong; in runs of several lengths.
    for run in [1, 2, 4, 8, 30] {
        for wrong_at in [None, Some(0), Some(1), Some(3)] {
            let mut generation = generation(&assistant);
            while !generation.is_finished() {
                let done = generation.tokens().len();
                let mut drafts: Vec<u32> = expected.iter().copied().skip(done).take(run).collect();
                if let Some(draft) = wrong_at.and_then(|at| drafts.get_mut(at)) {
                    *draft = (*draft + 1) % 300;
                }
                let outcome = pollster::block_on(generation.verify(&drafts)).unwrap();
                let first_wrong = wrong_at.filter(|&at| at < drafts.len()).unwrap_or(drafts.len());
                assert_eq!(outcome.accepted, first_wrong.min(drafts.len()));
                assert_eq!(outcome.accepted_tokens.len(), outcome.accepted);
            }
            assert_eq!(generation.tokens(), expected);
        }
    }
}

#[test]
fn rolling_back_and_adopting_continue_as_if_nothing_had_been() {
    let Some(assistant) = assistant("pocket-edge") else { return };
    let mut generation = generation(&assistant);
    let expected = finish(&mut generation);
    for count in (0..=expected.len()).rev() {
        generation.roll_back(count);
        assert_eq!(finish(&mut generation), expected);
    }
    generation.roll_back(0);
    generation.adopt(&expected[..2]).unwrap();
    assert_eq!(finish(&mut generation), expected);
    assert!(generation.adopt(&[u32::MAX]).is_err());
}

#[test]
fn a_question_that_is_too_long_is_refused() {
    let Some(assistant) = assistant("pocket-edge") else { return };
    let image = RgbImage::from_rgb(8, 8, vec![0; 8 * 8 * 3]).unwrap();
    let prompt = Prompt { question: "what".into(), images: vec![image; 64], ..Prompt::default() };
    let error = assistant.encode(&prompt).unwrap_err();
    assert!(error.to_string().contains("tokens"), "{error}");
}
