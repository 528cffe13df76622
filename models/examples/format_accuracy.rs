//! What a format of weights costs in accuracy: how far the scores of each answer's tokens are from those of f32, over the
//! gallery's questions with their pictures and sounds.
//!
//! `cargo run --release -p msao-models --example format_accuracy -- models/weights/pocket-cloud [f16 int8 q4 | FOLDER ...]`
//!
//! A folder instead of a format is compared as it is stored: a converted checkpoint, or one that another method rounded. Each
//! row: mean and 99th percentile of the divergence KL(f32 || format) in nats over all tokens of the f32 answers, the share of
//! tokens with the same first choice, and the answers that are the same to the last token.
#![expect(clippy::print_stdout, reason = "the table is what the program is for")]

use std::env;
use std::error::Error;
use std::path::Path;

use msao_models::preprocess::{AudioBudget, read_wav};
use msao_models::{
    Assistant, CheckpointFiles, DeviceKind, Generation, ModelConfig, Prompt, RgbImage, WeightsFormat, device,
};
use serde_json::Value;

type Fallible<T> = Result<T, Box<dyn Error>>;

/// Tokens of an answer that are compared.
const MOST_TOKENS: usize = 32;

fn main() -> Fallible<()> {
    let mut arguments = env::args().skip(1);
    let folder = arguments.next().ok_or("name a checkpoint's folder")?;
    let mut compared: Vec<String> = arguments.collect();
    if compared.is_empty() {
        compared = ["f16", "int8", "q4"].map(str::to_owned).to_vec();
    }
    let truth = load(&folder, WeightsFormat::F32)?;
    let prompts = prompts(truth.config())?;
    let answers = prompts.iter().map(|prompt| answer(&truth, prompt)).collect::<Fallible<Vec<_>>>()?;
    println!("{:8} {:>9} {:>9} {:>7} {:>8}", "format", "mean KL", "p99 KL", "top 1", "answers");
    for name in compared {
        let other = match name.parse() {
            Ok(format) => load(&folder, format)?,
            Err(_) => load(&name, WeightsFormat::Stored)?,
        };
        let (mut divergences, mut agree, mut same) = (Vec::new(), 0, 0);
        for (prompt, (tokens, truth)) in prompts.iter().zip(&answers) {
            let start = pollster::block_on(other.start(prompt))?;
            for (truth, other) in truth.iter().zip(&rows(&start, tokens)?) {
                divergences.push(divergence(truth, other));
                agree += usize::from(first(truth) == first(other));
            }
            same += usize::from(greedy(start)? == *tokens);
        }
        divergences.sort_by(f64::total_cmp);
        let places = divergences.len();
        println!(
            "{:8} {:9.2e} {:9.2e} {:6.2}% {same:4}/{}",
            Path::new(&name).file_name().map_or(name.clone(), |name| name.to_string_lossy().into_owned()),
            divergences.iter().sum::<f64>() / places as f64,
            divergences[(places * 99 / 100).min(places - 1)],
            100.0 * agree as f64 / places as f64,
            prompts.len()
        );
    }
    Ok(())
}

fn load(folder: &str, weights_format: WeightsFormat) -> Fallible<Assistant> {
    let files = CheckpointFiles { weights_format, ..CheckpointFiles::from_dir(folder)? };
    let device = pollster::block_on(device::open(DeviceKind::Cpu))?;
    Ok(Assistant::load(&files, &device)?)
}

/// The gallery's questions, with what of their media the model takes.
fn prompts(config: &ModelConfig) -> Fallible<Vec<Prompt>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("eval/gallery");
    let index: Value = serde_json::from_slice(&std::fs::read(folder.join("gallery.json"))?)?;
    let name = |value: &Value| value.as_str().map(str::to_owned).ok_or("the gallery names no file");
    let mut prompts = Vec::new();
    for sample in index["samples"].as_array().ok_or("the gallery has no samples")? {
        let mut prompt = Prompt { question: name(&sample["question"])?, ..Prompt::default() };
        for image in
            sample["images"].as_array().filter(|_| config.vision_config.is_some()).into_iter().flatten()
        {
            let pixels = image::open(folder.join(name(image)?))?.into_rgb8();
            prompt.images.push(RgbImage::from_rgb(pixels.width(), pixels.height(), pixels.into_raw())?);
        }
        if config.audio_config.is_some() {
            let bytes = std::fs::read(folder.join(name(&sample["audio"])?))?;
            prompt.audio = Some(read_wav(&bytes, &AudioBudget::default())?);
        }
        prompts.push(prompt);
    }
    Ok(prompts)
}

/// The greedy answer, and the scores behind the prompt and each of its tokens.
fn answer(model: &Assistant, prompt: &Prompt) -> Fallible<(Vec<u32>, Vec<Vec<f32>>)> {
    let start = pollster::block_on(model.start(prompt))?;
    let tokens = greedy(start.clone())?;
    let rows = rows(&start, &tokens)?;
    Ok((tokens, rows))
}

fn greedy(mut generation: Generation) -> Fallible<Vec<u32>> {
    while generation.tokens().len() < MOST_TOKENS && pollster::block_on(generation.next_token())?.is_some() {}
    Ok(generation.tokens().to_vec())
}

fn rows(generation: &Generation, tokens: &[u32]) -> Fallible<Vec<Vec<f32>>> {
    let scores = pollster::block_on(generation.clone().score(tokens))?;
    Ok(scores.rows().map(<[f32]>::to_vec).collect())
}

fn first(scores: &[f32]) -> Option<usize> {
    (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b]))
}

/// `KL(truth || other)` in nats, in logarithms, so that no probability is too small.
fn divergence(truth: &[f32], other: &[f32]) -> f64 {
    let logarithms = |scores: &[f32]| -> Vec<f64> {
        let most = f64::from(scores.iter().copied().fold(f32::MIN, f32::max));
        let sum: f64 = scores.iter().map(|score| (f64::from(*score) - most).exp()).sum();
        scores.iter().map(|score| f64::from(*score) - most - sum.ln()).collect()
    };
    logarithms(truth).iter().zip(logarithms(other)).map(|(p, q)| p.exp() * (p - q)).sum()
}
