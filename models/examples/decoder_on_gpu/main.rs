//! A decoder on a GPU held against the CPU, and its times: the figures of the README's section on GPUs.
//!
//! `cargo run --release -p msao-models --features vulkan --example decoder_on_gpu -- FOLDER [vulkan|webgpu|cpu]`
//!
//! FOLDER is a checkpoint; `random_checkpoints.py` beside this file makes two of random weights, `transformers_eager.py`
//! takes the times of the same sizes in PyTorch.
#![expect(clippy::print_stdout, reason = "the figures are what the program is for")]

use std::env;
use std::error::Error;
use std::fs;
use std::time::Instant;

use msao_models::ModelConfig;
use msao_models::decoder::{Decoder, Segment};
use msao_models::device::{self, DeviceKind};
use msao_models::kv_cache::KvCache;
use msao_models::model::MultimodalModel;
use pollster::block_on;

/// Positions in the cache before a timed step.
const CONTEXT: usize = 256;
const PROMPT: usize = 100;
const NEW_TOKENS: usize = 64;
const REPEATS: usize = 50;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let mut arguments = env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| "models/weights/pocket-cloud".to_owned());
    let kind: DeviceKind = arguments.next().as_deref().unwrap_or("vulkan").parse()?;
    let config = ModelConfig::from_json(&fs::read(format!("{folder}/config.json"))?)?;
    let weights = fs::read(format!("{folder}/model.safetensors"))?;
    let vocab_size = config.text_config.vocab_size as u32;
    let prompt: Vec<u32> = (0..PROMPT as u32).map(|at| (at * 37 + 11) % vocab_size).collect();

    let device = block_on(device::open(kind))?;
    let model = MultimodalModel::from_bytes(&config, &weights, &device)?;
    let started = Instant::now();
    greedy(&model.decoder, &prompt, 1)?;
    println!("{folder} on {kind}: first token after {:.0} ms, cold", milliseconds(started));
    for rows in [1, 2, 4, 8] {
        let started = Instant::now();
        score(&model.decoder, &mut [model.decoder.new_cache(1, 64)], rows)?;
        println!("  first pass of {rows} rows {:9.0} ms", milliseconds(started));
    }
    if kind != DeviceKind::Cpu {
        let cpu = MultimodalModel::from_bytes(&config, &weights, &block_on(device::open(DeviceKind::Cpu))?)?;
        let (expected, found) =
            (greedy(&cpu.decoder, &prompt, NEW_TOKENS)?, greedy(&model.decoder, &prompt, NEW_TOKENS)?);
        println!(
            "  {NEW_TOKENS} greedy tokens equal the CPU's: {}; relative error of the last scores {:.1e}",
            expected.0 == found.0,
            relative_error(&found.1, &expected.1)
        );
    }
    for rows in [1, 2, 4, 8, 16] {
        report(&format!("{rows} rows of one sequence"), &model.decoder, 1, rows)?;
    }
    report("1 row of eight sequences", &model.decoder, 8, 1)?;
    let mut times = Vec::new();
    for _ in 0..REPEATS {
        let started = Instant::now();
        let mut cache = model.decoder.new_cache(1, CONTEXT);
        let hidden = model.decoder.forward(model.decoder.embed(&[vec![9; CONTEXT]]), CONTEXT, &mut cache);
        block_on(model.decoder.logits(hidden.narrow(1, CONTEXT - 1, 1)).into_data_async())?;
        times.push(milliseconds(started));
    }
    print("prefill 256", times);
    Ok(())
}

/// Times steps of `rows` new positions of each of so many sequences behind the context.
fn report(name: &str, decoder: &Decoder, sequences: usize, rows: usize) -> Outcome<()> {
    let mut caches: Vec<KvCache> = (0..sequences).map(|_| decoder.new_cache(1, CONTEXT + 32)).collect();
    score(decoder, &mut caches, CONTEXT)?;
    let mut times = Vec::new();
    for _ in 0..REPEATS {
        let started = Instant::now();
        score(decoder, &mut caches, rows)?;
        times.push(milliseconds(started));
        caches.iter_mut().for_each(|cache| cache.truncate(CONTEXT));
    }
    print(name, times);
    Ok(())
}

/// Runs `count` positions of each sequence and reads their scores back.
fn score(decoder: &Decoder, caches: &mut [KvCache], count: usize) -> Outcome<Vec<f32>> {
    let rows = decoder.shapes().rows(count);
    let ids = vec![9; rows * caches.len()];
    let mut segments: Vec<Segment<'_>> =
        caches.iter_mut().map(|cache| Segment { cache, rows, count }).collect();
    Ok(block_on(decoder.score(ids, &mut segments).into_data_async())?.try_into_vec()?)
}

/// Greedy tokens after a prompt, and the scores of the last one.
fn greedy(decoder: &Decoder, prompt: &[u32], count: usize) -> Outcome<(Vec<u32>, Vec<f32>)> {
    let mut cache = decoder.new_cache(1, prompt.len() + count);
    let (mut tokens, mut ids, mut last) = (Vec::new(), prompt.to_vec(), Vec::new());
    while tokens.len() < count {
        let held = ids.len();
        let rows = decoder.shapes().rows(held).min(cache.capacity() - cache.len());
        ids.resize(rows, 0);
        let mut segments = [Segment { cache: &mut cache, rows, count: held }];
        let scores: Vec<f32> =
            block_on(decoder.score(ids, &mut segments).into_data_async())?.try_into_vec()?;
        let vocab_size = scores.len() / rows;
        last = scores[(held - 1) * vocab_size..held * vocab_size].to_vec();
        let best = (0..vocab_size).fold(0, |best, token| if last[token] > last[best] { token } else { best });
        tokens.push(best as u32);
        ids = vec![best as u32];
    }
    Ok((tokens, last))
}

fn relative_error(found: &[f32], expected: &[f32]) -> f32 {
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    found.iter().zip(expected).fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs())) / largest
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// The first tenth only warms up.
fn print(name: &str, mut times: Vec<f64>) {
    times.drain(..REPEATS / 10);
    times.sort_by(f64::total_cmp);
    println!("  {name:26} median {:7.3} ms, best {:7.3} ms", times[times.len() / 2], times[0]);
}
