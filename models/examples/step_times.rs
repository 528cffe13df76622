//! Times of one step of a checkpoint's decoder and towers on a device: the figures of the README's table.
//!
//! `cargo run --release -p msao-models --example step_times -- models/weights/pocket-cloud cpu --threads 2`
//!
//! `--weights-format stored|f32|f16|int8|q4` says how a CPU keeps the weights, beside the memory plan stands what they take, `--json` prints one object of milliseconds for scripts.
#![expect(clippy::print_stdout, reason = "the table is what the program is for")]

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::time::Instant;

use burn::tensor::Tensor;
use msao_models::decoder::Decoder;
use msao_models::device::{self, DeviceKind};
use msao_models::kv_cache::KvCache;
use msao_models::memory_plan::{MemoryPlan, Use};
use msao_models::{Assistant, CheckpointFiles, WeightsFormat};

/// Positions in the cache before the timed step.
const CONTEXT: usize = 256;
const REPEATS: usize = 50;

struct Options {
    folder: String,
    kind: DeviceKind,
    threads: usize,
    format: WeightsFormat,
    is_json: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    device::set_threads(options.threads);
    let device = pollster::block_on(device::open(options.kind))?;
    let files = CheckpointFiles::from_dir(&options.folder)?;
    let files = CheckpointFiles { weights_format: options.format, ..files };
    let assistant = Assistant::load(&files, &device)?;
    let (model, decoder) = (assistant.model(), &assistant.model().decoder);
    let mut report = Report { is_json: options.is_json, times: BTreeMap::new() };
    report.say(&format!(
        "{} on {}, {} threads (0: all), {}: {} parameters, context {CONTEXT}",
        options.folder,
        options.kind,
        options.threads,
        options.format,
        assistant.num_parameters()
    ));

    let wanted = Use { format: options.format, context: CONTEXT + 16, sequences: 1, inputs_per_pass: 1 };
    report.say(&format!("plan         {}", MemoryPlan::new(assistant.config(), &wanted)));
    if let Some(kilobytes) = resident_kilobytes() {
        report.say(&format!("loaded       {} MB of memory, without mapped files", kilobytes >> 10));
    }

    let mut cache = filled(decoder, 1);
    let decode = report.time("decode_b1", &mut || step(decoder, &mut cache, 1));
    for rows in [2, 4, 8, 16] {
        let verify = report.time(&format!("verify_{rows}"), &mut || step(decoder, &mut cache, rows));
        report.say(&format!("{:12} {:.2} decode steps", "", verify / decode));
    }
    let mut cache = filled(decoder, 8);
    let together = report.time("decode_b8", &mut || step(decoder, &mut cache, 1));
    report.say(&format!("{:12} {:.2} times the tokens/s of batch 1", "", 8.0 * decode / together));
    report.time("prefill_256", &mut || prefill(decoder));
    if let (Some(seeing), Some(vision)) = (&model.vision, &assistant.config().vision_config) {
        let shape = [1, 3, vision.image_size, vision.image_size];
        report.time("vision_1", &mut || encode(|| seeing.encode(Tensor::zeros(shape, &device))));
        let shape = [8, 3, vision.image_size, vision.image_size];
        report.time("vision_8", &mut || encode(|| seeing.encode(Tensor::zeros(shape, &device))));
    }
    if let (Some(hearing), Some(audio)) = (&model.audio, &assistant.config().audio_config) {
        let shape = [1, audio.num_mel_bins, audio.num_mel_frames()];
        report.time("audio_1", &mut || encode(|| hearing.encode(Tensor::zeros(shape, &device))));
    }
    if options.is_json {
        println!("{}", serde_json::to_string(&report.times)?);
    }
    Ok(())
}

fn options() -> Result<Options, Box<dyn Error>> {
    let (mut threads, mut format, mut is_json, mut plain) = (0, WeightsFormat::default(), false, Vec::new());
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} wants a value"));
        match argument.as_str() {
            "--threads" => threads = value()?.parse()?,
            "--weights-format" => format = value()?.parse()?,
            "--json" => is_json = true,
            _ => plain.push(argument),
        }
    }
    let folder = plain.first().cloned().unwrap_or_else(|| "models/weights/pocket-cloud".to_owned());
    let kind = plain.get(1).map_or("cpu", String::as_str).parse()?;
    Ok(Options { folder, kind, threads, format, is_json })
}

struct Report {
    is_json: bool,
    /// Median and best milliseconds by name.
    times: BTreeMap<String, [f64; 2]>,
}

impl Report {
    fn say(&self, line: &str) {
        if !self.is_json {
            println!("{line}");
        }
    }

    /// Median time of a step in milliseconds; the first runs only warm up.
    fn time(&mut self, name: &str, timed: &mut dyn FnMut() -> f64) -> f64 {
        for _ in 0..3 {
            timed();
        }
        let mut times: Vec<f64> = (0..REPEATS).map(|_| timed()).collect();
        times.sort_by(f64::total_cmp);
        let (median, best) = (times[REPEATS / 2], times[0]);
        self.say(&format!("{name:12} median {median:8.3} ms   best {best:8.3} ms"));
        self.times.insert(name.to_owned(), [median, best]);
        median
    }
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

/// Memory of this process that no file stands behind; `None` where the system does not say.
fn resident_kilobytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// Reads a result back, which is when it is there.
fn wait(tensor: Tensor<3>) {
    let read = pollster::block_on(tensor.into_data_async());
    // Bytes of a GPU are waited for only where somebody looks at them.
    let values = read.ok().and_then(|data| data.try_to_vec::<f32>().ok());
    assert!(values.is_some_and(|values| !values.is_empty()), "a step gives numbers");
}
