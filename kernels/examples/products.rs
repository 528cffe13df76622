//! Times of products as a decoder has them: `cargo run --release -p msao-kernels --example products -- [threads] [f32|f16|int8|q4]`
#![expect(clippy::print_stdout, reason = "the table is what the program is for")]

use std::time::Instant;

use msao_kernels::{PackedWeight, WeightsFormat, set_threads};

const REPEATS: usize = 40;

fn main() {
    let threads = std::env::args().nth(1).and_then(|threads| threads.parse().ok()).unwrap_or(0);
    let format = match std::env::args().nth(2).as_deref() {
        None | Some("f32") => WeightsFormat::F32,
        Some("f16") => WeightsFormat::F16,
        Some("int8") => WeightsFormat::Int8,
        Some("q4") => WeightsFormat::Q4,
        Some(other) => panic!("`{other}` is no format"),
    };
    // Half a byte, and two bytes for each 32 weights.
    let bytes_per_weight = match format {
        WeightsFormat::F32 => 4.0,
        WeightsFormat::F16 => 2.0,
        WeightsFormat::Int8 => 1.0,
        WeightsFormat::Q4 => 0.5625,
    };
    set_threads(threads);
    println!("{:>6} {:>6} {:>5} {:>10} {:>8} {:>8}", "in", "out", "rows", "best us", "GB/s", "GFLOP/s");
    for (inputs, outputs) in [(384, 384), (384, 1024), (1024, 384), (576, 1536), (576, 49_280)] {
        // Copies, so that each product reads weights that no cache holds, as a decoder does.
        let copies = (64_000_000 / (4 * inputs * outputs)).clamp(2, 64);
        let weight = PackedWeight::new(&vec![0.5; inputs * outputs], inputs, format);
        let weights: Vec<PackedWeight> = (1..copies)
            .map(|_| PackedWeight::new(&vec![0.5; inputs * outputs], inputs, format))
            .chain([weight])
            .collect();
        for rows in [1, 2, 4, 8, 16, 32, 256] {
            let (x, mut out) = (vec![0.25; rows * inputs], vec![0.0; rows * outputs]);
            let mut best = f64::INFINITY;
            for _ in 0..REPEATS.max(2 * copies) / copies {
                let started = Instant::now();
                weights.iter().for_each(|weight| weight.product(&x, &mut out));
                best = best.min(started.elapsed().as_secs_f64() / copies as f64);
            }
            let bytes = bytes_per_weight * (inputs * outputs) as f64;
            let gflop = (2 * inputs * outputs * rows) as f64 / best / 1e9;
            println!(
                "{inputs:6} {outputs:6} {rows:5} {:10.1} {:8.1} {gflop:8.1}",
                1e6 * best,
                bytes / best / 1e9
            );
        }
    }
}
