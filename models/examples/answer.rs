//! What a checkpoint's folder answers to a question about pictures, as one JSON object: for comparing with another implementation.
//!
//! `cargo run --release -p msao-models --features media-decode,chat-template --example answer -- FOLDER TOKENS QUESTION [PICTURE...]`
//! writes exactly `TOKENS` tokens unless the answer ends before; pictures are PNG, JPEG or WebP files.
#![expect(clippy::print_stdout, reason = "that is its purpose")]

use std::error::Error;
use std::time::Instant;

use msao_models::preprocess::RgbImage;
use msao_models::{Assistant, CheckpointFiles, DeviceKind, Prompt, device};
use serde_json::json;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("give FOLDER TOKENS QUESTION [PICTURE...]");
    let (folder, count, question) = (next()?, next()?.parse::<usize>()?, next()?);
    let read = |path: String| -> Result<RgbImage, Box<dyn Error>> {
        let image = image::open(path)?.into_rgb8();
        Ok(RgbImage::from_rgb(image.width(), image.height(), image.into_raw())?)
    };
    let images = arguments.map(read).collect::<Result<_, _>>()?;
    let prompt = Prompt { question, images, ..Prompt::default() };

    let device = pollster::block_on(device::open(DeviceKind::Cpu))?;
    let start = Instant::now();
    let assistant = Assistant::load(&CheckpointFiles::from_dir(folder)?, &device)?;
    let load_s = start.elapsed().as_secs_f64();
    let layout = assistant.layout(&prompt)?;
    let start = Instant::now();
    let encoded = assistant.encode(&prompt)?;
    let encode_s = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let mut generation = pollster::block_on(assistant.prefill(&encoded))?;
    let prefill_s = start.elapsed().as_secs_f64();
    let scores = generation.first_logits().to_vec();
    let start = Instant::now();
    while generation.tokens().len() < count && pollster::block_on(generation.next_token())?.is_some() {}
    let report = json!({
        "ids": layout.ids,
        "inputs": layout.image_inputs.iter().map(Vec::len).collect::<Vec<_>>(),
        "scores": scores,
        "tokens": generation.tokens(),
        "seconds": {"load": load_s, "encode": encode_s, "prefill": prefill_s, "decode": start.elapsed().as_secs_f64()},
    });
    println!("{report}");
    Ok(())
}
