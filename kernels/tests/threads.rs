//! How many threads are used is set once for a process, so it has a test program of its own.
#![cfg(not(target_family = "wasm"))]

use msao_kernels::{PackedWeight, WeightsFormat, set_threads, threads};

#[test]
fn as_many_threads_as_set_and_each_product_is_whole() {
    set_threads(3);
    assert_eq!(threads(), 3);

    let (inputs, outputs, rows) = (64, 4_099, 7);
    let weight: Vec<f32> = (0..outputs).flat_map(|output| vec![output as f32; inputs]).collect();
    let weight = PackedWeight::new(&weight, inputs, WeightsFormat::F32);
    let x: Vec<f32> = (1..=rows).flat_map(|row| vec![row as f32; inputs]).collect();
    for _ in 0..200 {
        let mut out = vec![f32::NAN; rows * outputs];
        weight.product(&x, &mut out);
        for (index, value) in out.into_iter().enumerate() {
            // All of it whole numbers below 2^24, so sums are exact in any order.
            assert_eq!(value, (inputs * (index / outputs + 1) * (index % outputs)) as f32);
        }
    }

    set_threads(1);
    assert_eq!(threads(), 3, "what has begun stays");
}
