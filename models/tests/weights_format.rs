//! Weights kept in fewer bytes: f16 changes no bit of a checkpoint stored as such, int8 hardly an answer, q4 few; and in every
//! format a pass over many tokens gives the bits of passes over one.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may fail loudly and says what it found"
)]

use std::path::Path;

use msao_models::preprocess::{AudioBudget, read_wav};
use msao_models::{
    Assistant, CheckpointFiles, Device, DeviceKind, Generation, Prompt, RgbImage, WeightsFormat, device,
};
use serde_json::Value;

fn assistant(weights_format: WeightsFormat) -> Assistant {
    let path = format!("{}/weights/pocket-cloud", env!("CARGO_MANIFEST_DIR"));
    let files = CheckpointFiles { weights_format, ..CheckpointFiles::from_dir(path).unwrap() };
    let device: Device = pollster::block_on(device::open(DeviceKind::Cpu)).unwrap();
    Assistant::load(&files, &device).unwrap()
}

/// The gallery's questions.
fn prompts() -> Vec<Prompt> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("eval/gallery");
    let index: Value = serde_json::from_slice(&std::fs::read(folder.join("gallery.json")).unwrap()).unwrap();
    let picture = |name: &Value| {
        let pixels = image::open(folder.join(name.as_str().unwrap())).unwrap().into_rgb8();
        RgbImage::from_rgb(pixels.width(), pixels.height(), pixels.into_raw()).unwrap()
    };
    let sound = |name: &Value| {
        let bytes = std::fs::read(folder.join(name.as_str().unwrap())).unwrap();
        read_wav(&bytes, &AudioBudget::default()).unwrap()
    };
    let prompt = |sample: &Value| Prompt {
        question: sample["question"].as_str().unwrap().to_owned(),
        images: sample["images"].as_array().unwrap().iter().map(picture).collect(),
        audio: Some(sound(&sample["audio"])),
        ..Prompt::default()
    };
    index["samples"].as_array().unwrap().iter().map(prompt).collect()
}

fn start(model: &Assistant, prompt: &Prompt) -> Generation {
    pollster::block_on(model.start(prompt)).unwrap()
}

fn tokens(mut generation: Generation) -> Vec<u32> {
    while pollster::block_on(generation.next_token()).unwrap().is_some() {}
    generation.tokens().to_vec()
}

/// Scores behind the prompt and behind each of the tokens that follow, in one pass.
fn rows(generation: &Generation, tokens: &[u32]) -> Vec<Vec<f32>> {
    let scores = pollster::block_on(generation.clone().score(tokens)).unwrap();
    scores.rows().map(<[f32]>::to_vec).collect()
}

fn bits(rows: &[Vec<f32>]) -> Vec<u32> {
    rows.iter().flatten().map(|score| score.to_bits()).collect()
}

fn probabilities(scores: &[f32]) -> Vec<f64> {
    let most = scores.iter().copied().fold(f32::MIN, f32::max);
    let powers: Vec<f64> = scores.iter().map(|score| f64::from(score - most).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

/// How far a distribution is from the true one, in nats.
fn divergence(truth: &[f32], other: &[f32]) -> f64 {
    let rows = probabilities(truth).into_iter().zip(probabilities(other));
    rows.filter(|(p, _)| *p > 0.0).map(|(p, q)| p * (p / q.max(f64::MIN_POSITIVE)).ln()).sum()
}

#[test]
fn f16_gives_the_bits_of_f32_from_a_checkpoint_stored_as_such() {
    let [wide, narrow] = [WeightsFormat::F32, WeightsFormat::F16].map(assistant);
    for prompt in &prompts()[..3] {
        let [wide, narrow] = [start(&wide, prompt), start(&narrow, prompt)];
        assert_eq!(bits(&[wide.first_logits().to_vec()]), bits(&[narrow.first_logits().to_vec()]));
        let tokens = tokens(wide.clone());
        assert_eq!(bits(&rows(&wide, &tokens)), bits(&rows(&narrow, &tokens)));
    }
}

/// Answers that stay the same of how many, and the mean divergence of a token's scores in nats.
fn compared(format: WeightsFormat) -> (usize, usize, f64) {
    let [truth, rounded] = [WeightsFormat::F32, format].map(assistant);
    let (mut same, mut places, mut far, mut farthest) = (0, 0, 0.0, 0.0_f64);
    let prompts = prompts();
    for prompt in &prompts {
        let [truth, rounded] = [start(&truth, prompt), start(&rounded, prompt)];
        let answer = tokens(truth.clone());
        same += usize::from(answer == tokens(rounded.clone()));
        for (truth, rounded) in rows(&truth, &answer).iter().zip(rows(&rounded, &answer)) {
            let divergence = divergence(truth, &rounded);
            far += divergence;
            farthest = farthest.max(divergence);
            places += 1;
        }
    }
    let mean = far / f64::from(places);
    println!(
        "{format}: {same} of {} answers, KL {mean:.2e} nats a token, {farthest:.2e} at most",
        prompts.len()
    );
    assert!(mean > 0.0, "rounding changes something");
    (same, prompts.len(), mean)
}

#[test]
fn int8_keeps_the_answers_and_nearly_the_distribution() {
    let (same, answers, mean) = compared(WeightsFormat::Int8);
    assert!(mean < 1e-4 && 20 * same >= 19 * answers, "{same} of {answers}, {mean}");
}

#[test]
fn q4_keeps_most_answers() {
    let (same, answers, mean) = compared(WeightsFormat::Q4);
    assert!(mean < 1e-1 && 10 * same >= 8 * answers, "{same} of {answers}, {mean}");
}

#[test]
fn a_pass_over_many_tokens_gives_the_bits_of_passes_over_one() {
    for format in WeightsFormat::ALL {
        let model = assistant(format);
        let generation = start(&model, &prompts()[0]);
        let drafts: Vec<u32> = (40..52).collect();
        let together = rows(&generation, &drafts);
        let mut apart = generation.clone();
        for (draft, together) in drafts.iter().zip(&together) {
            let one = rows(&apart, &[]);
            assert_eq!(bits(&one), bits(std::slice::from_ref(together)), "{format}, before {draft}");
            apart.adopt(&[*draft]).unwrap();
        }
    }
}
