//! Times of one step of a checkpoint's decoder and towers on a device: the figures of the README's table.
//!
//! `cargo run --release -p msao-models --example step_times -- models/weights/pocket-cloud cpu`
#![expect(clippy::print_stdout, reason = "the table is what the program is for")]

use std::env;
use std::error::Error;
use std::time::Instant;

use burn::tensor::Tensor;
use msao_models::decoder::Decoder;
use msao_models::device::{self, DeviceKind};
use msao_models::kv_cache::KvCache;
use msao_models::{Assistant, CheckpointFiles};

/// Positions in the cache before the timed step.
const CONTEXT: usize = 256;
const REPEATS: usize = 30;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| "models/weights/pocket-cloud".to_owned());
    let kind: DeviceKind = arguments.next().as_deref().unwrap_or("cpu").parse()?;
    let device = pollster::block_on(device::open(kind))?;
    let assistant = Assistant::load(&CheckpointFiles::from_dir(&folder)?, &device)?;
    let (model, decoder) = (assistant.model(), &assistant.model().decoder);
    println!("{folder} on {kind}: {} parameters, context {CONTEXT}", assistant.num_parameters());

    let mut cache = filled(decoder, 1);
    let decode = report("decode, batch 1", &mut || step(decoder, &mut cache, 1));
    for rows in [2, 4, 8, 16] {
        let verify = report(&format!("verify {rows}"), &mut || step(decoder, &mut cache, rows));
        println!("{:24} {:.2} decode steps", "", verify / decode);
    }
    let mut cache = filled(decoder, 8);
    report("decode, batch 8", &mut || step(decoder, &mut cache, 1));
    report("prefill 256", &mut || prefill(decoder));
    let side = assistant.config().vision_config.image_size;
    report("vision, 1 image", &mut || {
        encode(|| model.encode_images(Tensor::zeros([1, 3, side, side], &device)))
    });
    if let (Some(hearing), Some(audio)) = (&model.audio, &assistant.config().audio_config) {
        let shape = [1, audio.num_mel_bins, audio.num_mel_frames()];
        report("audio, 1 clip", &mut || encode(|| hearing.encode(Tensor::zeros(shape, &device))));
    }
    Ok(())
}

/// Best time of a step in milliseconds, with the median beside it; the first runs only warm up.
fn report(name: &str, timed: &mut dyn FnMut() -> f64) -> f64 {
    for _ in 0..3 {
        timed();
    }
    let mut times: Vec<f64> = (0..REPEATS).map(|_| timed()).collect();
    times.sort_by(f64::total_cmp);
    println!("{name:24} median {:8.3} ms   best {:8.3} ms", times[REPEATS / 2], times[0]);
    times[REPEATS / 2]
}

/// One forward pass of `rows` new positions behind the context, with its read-back.
fn step(decoder: &Decoder, cache: &mut KvCache, rows: usize) -> f64 {
    let held = cache.len();
    let started = Instant::now();
    let ids = vec![vec![9; decoder.shapes().rows(rows)]; cache.batch()];
    let hidden = decoder.forward(decoder.embed(&ids), rows, cache);
    wait(decoder.logits(hidden));
    cache.truncate(held);
    started.elapsed().as_secs_f64() * 1e3
}

/// A cache that holds the context for `batch` sequences.
fn filled(decoder: &Decoder, batch: usize) -> KvCache {
    let mut cache = decoder.new_cache(batch, CONTEXT + 16);
    decoder.forward(decoder.embed(&vec![vec![9; CONTEXT]; batch]), CONTEXT, &mut cache);
    cache
}

fn prefill(decoder: &Decoder) -> f64 {
    let mut cache = decoder.new_cache(1, CONTEXT);
    let started = Instant::now();
    let hidden = decoder.forward(decoder.embed(&[vec![9; CONTEXT]]), CONTEXT, &mut cache);
    wait(decoder.logits(hidden.narrow(1, CONTEXT - 1, 1)));
    started.elapsed().as_secs_f64() * 1e3
}

fn encode(tower: impl FnOnce() -> Tensor<3>) -> f64 {
    let started = Instant::now();
    wait(tower());
    started.elapsed().as_secs_f64() * 1e3
}

/// Reads a result back, which is when it is there.
fn wait(tensor: Tensor<3>) {
    let read = pollster::block_on(tensor.into_data_async());
    assert!(read.is_ok(), "{read:?}");
}
