//! The same checkpoint on the CPU and on a GPU through Vulkan: towers within 1e-3, the decoder's fused kernels within
//! 1e-4, alone, packed and forked, and the same greedy text.
//!
//! Needs the feature `vulkan` and `MSAO_VULKAN=1`, which says that there is a real GPU: software drivers do not get
//! through (Mesa 22.3's lavapipe crashes while compiling kernels, SwiftShader fails).
#![cfg(feature = "vulkan")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may fail loudly and says what it skips"
)]

mod comparison;
mod support;

use burn::tensor::{Device, Tensor};
use comparison::{assert_close, values};
use msao_models::decoder::Segment;
use msao_models::device::{self, DeviceKind};
use msao_models::kv_cache::KvCache;
use msao_models::{Assistant, CheckpointFiles, Prompt, RgbImage, WeightsFormat};
use support::{Golden, greedy, run};

const TOLERANCE: f32 = 1e-3;
const DECODER_TOLERANCE: f32 = 1e-4;
/// Of the greatest score.
const FORMAT_TOLERANCE: f32 = 1e-3;

#[test]
fn vulkan_equals_the_cpu() {
    if std::env::var("MSAO_VULKAN").as_deref() != Ok("1") {
        eprintln!("SKIPPED: set MSAO_VULKAN=1 on a machine with a GPU");
        return;
    }
    let gpu = pollster::block_on(device::open(DeviceKind::Vulkan)).unwrap();
    let (cpu, gpu) = (Golden::load(&Device::flex()), Golden::load(&gpu));
    let towers = |golden: &Golden| -> [Tensor<3>; 2] {
        let hearing = golden.model.audio.as_ref().unwrap();
        [
            golden.model.vision.as_ref().unwrap().encode(golden.tensor("pixels")),
            hearing.encode(golden.tensor("mel")),
        ]
    };
    for (name, (cpu, gpu)) in ["images", "audio"].into_iter().zip(towers(&cpu).into_iter().zip(towers(&gpu)))
    {
        assert_close(name, gpu, &values(cpu), TOLERANCE);
    }
    let logits = |golden: &Golden| {
        let mut cache = golden.model.decoder.new_cache(1, 192);
        let prompt = run(&golden.model.decoder, golden.prompt_embeddings(), &mut cache);
        let drafts = golden.model.decoder.embed(&[vec![40, 41, 42, 43, 44]]);
        [prompt, run(&golden.model.decoder, drafts, &mut cache)]
    };
    for (name, (cpu, gpu)) in
        ["prefill", "verify"].into_iter().zip(logits(&cpu).into_iter().zip(logits(&gpu)))
    {
        assert_close(name, gpu, &values(cpu), DECODER_TOLERANCE);
    }
    let (cpu_rounds, gpu_rounds) = (packed_and_forked(&cpu), packed_and_forked(&gpu));
    for (round, (cpu, gpu)) in cpu_rounds.into_iter().zip(gpu_rounds).enumerate() {
        assert_close(&format!("round {round}"), gpu, &values(cpu), DECODER_TOLERANCE);
    }
    let text = |golden: &Golden| greedy(&golden.model.decoder, golden.prompt_embeddings(), 64);
    assert_eq!(text(&gpu), text(&cpu));
}

/// Each format's own numbers, whatever they were rounded from.
#[test]
fn formats_equal_the_cpu() {
    if std::env::var("MSAO_VULKAN").as_deref() != Ok("1") {
        eprintln!("SKIPPED: set MSAO_VULKAN=1 on a machine with a GPU");
        return;
    }
    let gpu = pollster::block_on(device::open(DeviceKind::Vulkan)).unwrap();
    let pixels = (0..320 * 240 * 3).map(|at| (at * 31 % 251) as u8).collect();
    let prompt = Prompt {
        question: "What colour is the small circle?".to_owned(),
        images: vec![RgbImage::from_rgb(320, 240, pixels).unwrap()],
        ..Prompt::default()
    };
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/weights/pocket-edge");
    for weights_format in WeightsFormat::ALL {
        let answer = |device: &Device| {
            let files = CheckpointFiles { weights_format, ..CheckpointFiles::from_dir(folder).unwrap() };
            let assistant = Assistant::load(&files, device).unwrap();
            let mut generation = pollster::block_on(assistant.start(&prompt)).unwrap();
            let scores = generation.first_logits().to_vec();
            while generation.tokens().len() < 16
                && pollster::block_on(generation.next_token()).unwrap().is_some()
            {}
            (scores, generation.tokens().to_vec())
        };
        let ((expected, expected_tokens), (found, tokens)) = (answer(&Device::flex()), answer(&gpu));
        let largest = expected.iter().fold(0.0_f32, |most, score| most.max(score.abs()));
        let apart = expected.iter().zip(&found).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
        eprintln!("{weights_format}: scores are {} of the largest apart", apart / largest);
        assert!(apart <= FORMAT_TOLERANCE * largest, "{weights_format}: {apart} of {largest}");
        assert_eq!(tokens, expected_tokens, "{weights_format}");
    }
}

/// Scores of two sequences that share passes, each round with other numbers of rows, roll-backs and a fork in between.
fn packed_and_forked(golden: &Golden) -> Vec<Tensor<3>> {
    let decoder = &golden.model.decoder;
    let mut caches = [decoder.new_cache(1, 64), decoder.new_cache(1, 192)];
    let pass = |caches: &mut [KvCache; 2], counts: [usize; 2]| {
        let rows = counts.map(|count| decoder.shapes().rows(count));
        let ids = |rows: usize| (0..rows).map(move |at| (at * 37 + rows) as u32 % 128);
        let [first, second] = caches;
        let mut segments = [
            Segment { cache: first, rows: rows[0], count: counts[0] },
            Segment { cache: second, rows: rows[1], count: counts[1] },
        ];
        decoder.score(rows.into_iter().flat_map(ids).collect(), &mut segments)
    };
    let mut rounds = vec![pass(&mut caches, [4, 16]), pass(&mut caches, [1, 1])];
    let mut fork = caches.clone();
    rounds.push(pass(&mut fork, [2, 8]));
    // What the fork wrote is not seen here.
    rounds.push(pass(&mut caches, [1, 2]));
    caches[1].truncate(9);
    rounds.push(pass(&mut caches, [8, 1]));
    rounds.push(pass(&mut fork, [1, 16]));
    // A prompt runs in tiles, what shares its pass does not.
    rounds.push(pass(&mut fork, [40, 3]));
    rounds.push(pass(&mut fork, [2, 70]));
    rounds
}
