//! Every set of vectors that this processor has, since the kernel itself only ever uses the widest.

use half::f16;
use macerator::{Arch, WithSimd};
use proptest::prelude::*;

use super::*;
use crate::element::Nibbles;

/// A product by tiles, rows one behind the other.
struct Product<'a, E> {
    x: &'a [f32],
    inputs: usize,
    lines: &'a [Line<E>],
    scales: &'a [f32],
    group_scales: &'a [Line<f16>],
    outputs: usize,
}

impl<E: Element> WithSimd for Product<'_, E> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self) -> Vec<f32> {
        let Self { x, inputs, lines, scales, group_scales, outputs } = self;
        let rows = x.len() / inputs;
        let mut interleaved = x.to_vec();
        if wants_interleaved::<S>(rows) {
            interleave::<S>(x, inputs, &mut interleaved);
        }
        let mut out = vec![f32::NAN; rows * outputs];
        let x = Inputs { start: interleaved.as_ptr(), count: inputs, row_stride: inputs };
        let weights = Panels {
            start: lines.as_ptr(),
            stride: inputs / E::INPUTS,
            scales: scales.as_ptr(),
            group_scales: group_scales.as_ptr(),
        };
        let to = Outputs { start: out.as_mut_ptr(), row_stride: outputs, width: outputs, adds: false };
        // SAFETY: the lines are whole panels, with a scale for each output, and `out` has a place for each.
        unsafe { tiles::<S, E>(rows, outputs.div_ceil(PANEL), x, weights, to) };
        out
    }
}

/// The sets that this processor has.
fn sets() -> Vec<Arch> {
    let has_avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c");
    let sets = [
        (Arch::Scalar, true),
        (Arch::V2, is_x86_feature_detected!("sse4.2")),
        (Arch::V3, has_avx2),
        (Arch::V4, has_avx2 && is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vl")),
    ];
    sets.into_iter().filter(|(_, is_available)| *is_available).map(|(arch, _)| arch).collect()
}

/// q4 lines in every set of vectors against f32 lines of the same numbers.
fn check_groups(rows: usize, inputs: usize, outputs: usize, seed: usize) {
    let (panels, groups) = (outputs.div_ceil(PANEL), inputs.div_ceil(Nibbles::GROUP));
    let number = |at: usize| (at + seed).wrapping_mul(2_654_435_761) >> 7;
    let lines = |count: usize| (0..count).map(|line| std::array::from_fn(|lane| number(line * PANEL + lane)));
    let nibbles: Vec<Line<Nibbles>> = lines(panels * inputs / 2)
        .map(|line: [usize; PANEL]| Line(line.map(|value| Nibbles(value as u8))))
        .collect();
    let scales: Vec<Line<f16>> = lines(panels * groups)
        .map(|line: [usize; PANEL]| Line(line.map(|value| f16::from_f32((value % 97) as f32 / 512.0 - 0.1))))
        .collect();
    let weight = |panel: usize, input: usize, lane: usize| {
        let Nibbles(byte) = nibbles[panel * inputs / 2 + input / 2].0[lane];
        let step = if input.is_multiple_of(2) { byte & 15 } else { byte >> 4 };
        (f32::from(step) - 8.0) * scales[panel * groups + input / Nibbles::GROUP].0[lane].to_f32()
    };
    let wide: Vec<Line<f32>> = (0..panels * inputs)
        .map(|line| Line(std::array::from_fn(|lane| weight(line / inputs, line % inputs, lane))))
        .collect();
    let x: Vec<f32> = (0..rows * inputs).map(|at| ((at * 37) % 101) as f32 / 50.0 - 1.0).collect();
    for arch in sets() {
        // SAFETY: only what is available is left.
        let (found, plain) = unsafe {
            let of = Product { x: &x, inputs, lines: &nibbles, scales: &[], group_scales: &scales, outputs };
            let plain = Product { x: &x, inputs, lines: &wide, scales: &[], group_scales: &[], outputs };
            (arch.dispatch(of), arch.dispatch(plain))
        };
        assert!(found.iter().zip(&plain).all(|(a, b)| a.to_bits() == b.to_bits()), "{arch:?}");
    }
}

fn check<E: Element>(
    rows: usize,
    inputs: usize,
    outputs: usize,
    value: impl Fn(usize) -> E,
    plain: impl Fn(E) -> f32,
) {
    let x: Vec<f32> = (0..rows * inputs).map(|at| ((at * 37) % 101) as f32 / 50.0 - 1.0).collect();
    let panels = outputs.div_ceil(PANEL);
    let lines: Vec<Line<E>> = (0..panels * inputs)
        .map(|line| Line(std::array::from_fn(|lane| value(line * PANEL + lane))))
        .collect();
    let scales: Vec<f32> = (0..panels * PANEL).map(|output| 1.0 + output as f32 / 64.0).collect();
    for arch in sets() {
        let run = |x| {
            let product = Product { x, inputs, lines: &lines, scales: &scales, group_scales: &[], outputs };
            // SAFETY: only what is available is left.
            unsafe { arch.dispatch(product) }
        };
        let out = run(&x);
        for (row, x) in x.chunks_exact(inputs).enumerate() {
            let of_row = &out[row * outputs..][..outputs];
            for (output, found) in of_row.iter().enumerate() {
                let weight =
                    |input: usize| f64::from(plain(lines[output / PANEL * inputs + input].0[output % PANEL]));
                let sum: f64 = x.iter().enumerate().map(|(input, x)| f64::from(*x) * weight(input)).sum();
                let scale = if E::IS_SCALED { f64::from(scales[output]) } else { 1.0 };
                let most = 1e-6 * inputs as f64 * weight(0).abs().max(127.0) * scale;
                assert!((sum * scale - f64::from(*found)).abs() < most, "{arch:?} row {row}: {sum} {found}");
            }
            let alone = run(x);
            assert!(
                alone.iter().zip(of_row).all(|(a, b)| a.to_bits() == b.to_bits()),
                "{arch:?} row {row} alone"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_set_of_vectors_gives_the_plain_product_and_a_row_its_own_bits(
        rows in 1_usize..30, inputs in 1_usize..70, outputs in 1_usize..90,
    ) {
        let number = |at: usize| ((at * 7919) % 255) as i16 - 127;
        check(rows, inputs, outputs, |at| f32::from(number(at)) / 100.0, |weight| weight);
        check(rows, inputs, outputs, |at| f16::from_f32(f32::from(number(at)) / 64.0), f16::to_f32);
        check(rows, inputs, outputs, |at| number(at) as i8, f32::from);
    }

    #[test]
    fn groups_of_four_bits_give_the_bits_of_their_numbers_in_every_set_of_vectors(
        rows in 1_usize..30, eights in 1_usize..12, outputs in 1_usize..90, seed in 0_usize..1_000_000,
    ) {
        check_groups(rows, 8 * eights, outputs, seed);
    }
}
