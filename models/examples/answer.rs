//! What a checkpoint's folder answers to a question about pictures, and how long it takes, as one JSON object: for comparing with
//! another implementation.
//!
//! `cargo run --release -p msao-models --features media-decode,chat-template --example answer -- FOLDER TOKENS QUESTION [PICTURE...]`
//! writes exactly `TOKENS` tokens unless the answer ends before; pictures are PNG, JPEG or WebP files.
//!
//! `--device cpu|vulkan`, `--weights-format f32|f16|int8`, `--threads N` (0: all) say on what; `--rounds N` asks so often, after once
//! unmeasured where it is more than one.
#![expect(clippy::print_stdout, reason = "that is its purpose")]

use std::error::Error;
use std::time::Instant;

use msao_models::preprocess::RgbImage;
use msao_models::{Assistant, CheckpointFiles, DeviceKind, Prompt, WeightsFormat, device};
use serde_json::{Value, json};

struct Options {
    kind: DeviceKind,
    format: WeightsFormat,
    threads: usize,
    rounds: usize,
    /// Folder, number of tokens, question, pictures.
    rest: Vec<String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    let [folder, count, question, pictures @ ..] = &options.rest[..] else {
        return Err("give FOLDER TOKENS QUESTION [PICTURE...]".into());
    };
    let count: usize = count.parse()?;
    let read = |path: &String| -> Result<RgbImage, Box<dyn Error>> {
        let image = image::open(path)?.into_rgb8();
        Ok(RgbImage::from_rgb(image.width(), image.height(), image.into_raw())?)
    };
    let images = pictures.iter().map(read).collect::<Result<_, _>>()?;
    let prompt = Prompt { question: question.clone(), images, ..Prompt::default() };

    device::set_threads(options.threads);
    let device = pollster::block_on(device::open(options.kind))?;
    let start = Instant::now();
    let files = CheckpointFiles { weights_format: options.format, ..CheckpointFiles::from_dir(folder)? };
    let assistant = Assistant::load(&files, &device)?;
    drop(files);
    let load_s = start.elapsed().as_secs_f64();
    let loaded_bytes = memory_bytes("VmRSS");
    if options.rounds > 1 {
        ask(&assistant, &prompt, count)?;
    }
    let rounds =
        (0..options.rounds).map(|_| ask(&assistant, &prompt, count)).collect::<Result<Vec<_>, _>>()?;
    let layout = assistant.layout(&prompt)?;
    let last = rounds.last().ok_or("ask at least once")?;
    let report = json!({
        "ids": layout.ids,
        "inputs": layout.image_inputs.iter().map(Vec::len).collect::<Vec<_>>(),
        "scores": last.scores,
        "tokens": last.tokens,
        "load_s": load_s,
        "memory_bytes": {"loaded": loaded_bytes, "peak": memory_bytes("VmHWM")},
        "rounds": rounds.iter().map(|round| &round.seconds).collect::<Vec<_>>(),
    });
    println!("{report}");
    Ok(())
}

struct Round {
    scores: Vec<f32>,
    tokens: Vec<u32>,
    seconds: Value,
}

/// One answer, with the seconds that each part of it took.
fn ask(assistant: &Assistant, prompt: &Prompt, count: usize) -> Result<Round, Box<dyn Error>> {
    let start = Instant::now();
    let encoded = assistant.encode(prompt)?;
    let encode_s = start.elapsed().as_secs_f64();
    let mut generation = pollster::block_on(assistant.prefill(&encoded))?;
    // On a GPU the towers' work is done only when something is read.
    let first_token_s = start.elapsed().as_secs_f64();
    let scores = generation.first_logits().to_vec();
    let start = Instant::now();
    while generation.tokens().len() < count && pollster::block_on(generation.next_token())?.is_some() {}
    let decode_s = start.elapsed().as_secs_f64();
    let tokens = generation.tokens().to_vec();
    let seconds = json!({"encode": encode_s, "first_token": first_token_s, "decode": decode_s});
    Ok(Round { scores, tokens, seconds })
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        kind: DeviceKind::Cpu,
        format: WeightsFormat::F32,
        threads: 0,
        rounds: 1,
        rest: Vec::new(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} wants a value"));
        match argument.as_str() {
            "--device" => options.kind = value()?.parse()?,
            "--weights-format" => options.format = value()?.parse()?,
            "--threads" => options.threads = value()?.parse()?,
            "--rounds" => options.rounds = value()?.parse()?,
            _ => options.rest.push(argument),
        }
    }
    Ok(options)
}

/// What Linux says of this process's memory; 0 elsewhere. Files that are mapped count as far as they were read.
fn memory_bytes(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).map_or(0, |kib| kib << 10)
}
