//! How long weights take to become int8 and q4, and how far they are off then.
//!
//! `cargo run --release -p msao-kernels --example quantising -- [OUTPUTS] [INPUTS]`

use std::io::Write as _;
use std::time::Instant;

use msao_kernels::{StoredWeight, WeightsFormat, threads};

fn main() -> std::io::Result<()> {
    let mut sizes = std::env::args().skip(1).map_while(|size| size.parse::<usize>().ok());
    let (outputs, inputs) = (sizes.next().unwrap_or(4096), sizes.next().unwrap_or(1536));
    let mut state = 1_u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    // Sums of twelve are near enough to a normal distribution, which is what trained weights look like.
    let weights: Vec<f32> = (0..outputs * inputs).map(|_| (0..12).map(|_| uniform()).sum()).collect();
    let all: f64 = weights.iter().map(|weight| f64::from(*weight).powi(2)).sum();
    let mut out = std::io::stdout();
    for format in [WeightsFormat::Int8, WeightsFormat::Q4] {
        let start = Instant::now();
        let mut stored = StoredWeight::empty(inputs, format);
        stored.push_rows(&weights);
        let seconds = start.elapsed().as_secs_f64();
        let off: f64 = stored.dequantised().iter().zip(&weights).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        let ns = 1e9 * seconds / weights.len() as f64;
        writeln!(
            out,
            "{format:?}: {ns:.2} ns a weight on {} threads, mean square error {:.6} of the weights' own",
            threads(),
            off / all
        )?;
    }
    Ok(())
}
