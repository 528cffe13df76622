//! Weights in the order in which the kernel reads them, and the product with them.

use macerator::{Scalar, Simd, VFma, Vector, vload_unaligned};

/// Outputs whose weights are interleaved.
const BLOCK: usize = 4;
/// Neighbouring weights of one output that stay together: one cache line, a multiple of every vector width.
const CHUNK: usize = 16;
/// Rows that are taken together, so that they fit the inner caches beside a block of weights.
const ROW_GROUP: usize = 32;
/// Multiplications from which on a product is shared between threads, and the least that one takes at a time.
#[cfg(not(target_family = "wasm"))]
const WORTH_SHARING: usize = 1 << 16;

/// A weight matrix in the kernel's order: for every block of outputs, for every chunk of inputs, a chunk of each output.
/// Sizes are rounded up with zeros.
pub struct PackedWeight {
    lines: Vec<Line>,
    in_features: usize,
    out_features: usize,
}

/// One cache line of weights.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; CHUNK]);

impl PackedWeight {
    /// Packs weights, row by row of outputs.
    ///
    /// # Shapes
    /// - weight: `[weight.len() / in_features, in_features]`
    ///
    /// # Panics
    /// If there are no inputs, or the weights are no whole rows.
    pub fn new(weight: &[f32], in_features: usize) -> Self {
        assert!(in_features > 0 && weight.len().is_multiple_of(in_features), "weights are whole rows");
        let out_features = weight.len() / in_features;
        let chunks = in_features.div_ceil(CHUNK);
        let mut lines = vec![Line([0.0; CHUNK]); out_features.div_ceil(BLOCK) * BLOCK * chunks];
        for (output, row) in weight.chunks_exact(in_features).enumerate() {
            for (chunk, values) in row.chunks(CHUNK).enumerate() {
                let line = (output / BLOCK * chunks + chunk) * BLOCK + output % BLOCK;
                lines[line].0[..values.len()].copy_from_slice(values);
            }
        }
        Self { lines, in_features, out_features }
    }

    /// Width of what goes in.
    pub fn in_features(&self) -> usize {
        self.in_features
    }

    /// Width of what comes out.
    pub fn out_features(&self) -> usize {
        self.out_features
    }

    /// `out = x W^T`
    ///
    /// # Shapes
    /// - x: `[rows, in_features]`; out: `[rows, out_features]`
    ///
    /// # Panics
    /// If the two are not of these shapes.
    pub fn product(&self, x: &[f32], out: &mut [f32]) {
        let rows = x.len() / self.in_features;
        assert_eq!(x.len(), rows * self.in_features, "inputs are whole rows");
        assert_eq!(out.len(), rows * self.out_features, "outputs of {rows} rows");
        let padded = self.in_features.next_multiple_of(CHUNK);
        if padded == self.in_features {
            return self.padded_product(x, out);
        }
        let mut wide = vec![0.0; rows * padded];
        for (wide, row) in wide.chunks_exact_mut(padded).zip(x.chunks_exact(self.in_features)) {
            wide[..self.in_features].copy_from_slice(row);
        }
        self.padded_product(&wide, out);
    }

    fn padded_product(&self, x: &[f32], out: &mut [f32]) {
        let inputs = self.in_features.next_multiple_of(CHUNK);
        let blocks = self.out_features.div_ceil(BLOCK);
        let rows = Rows { x, inputs, out: Outputs { start: out.as_mut_ptr(), columns: self.out_features } };
        #[cfg(not(target_family = "wasm"))]
        {
            let multiplications = x.len() * self.out_features;
            let tasks = (multiplications / WORTH_SHARING).min(4 * crate::threads()).min(blocks);
            if tasks > 1 && crate::threads() > 1 {
                let share = blocks.div_ceil(tasks);
                return crate::pool::share(blocks.div_ceil(share), &|task| {
                    blocks_of_product(&rows, &self.lines, task * share..blocks.min((task + 1) * share));
                });
            }
        }
        blocks_of_product(&rows, &self.lines, 0..blocks);
    }
}

impl std::fmt::Debug for PackedWeight {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "PackedWeight[{}, {}]", self.out_features, self.in_features)
    }
}

/// The rows of a product; `inputs` is a multiple of [`CHUNK`].
struct Rows<'a> {
    x: &'a [f32],
    inputs: usize,
    out: Outputs,
}

/// Where results go, `columns` a row. Threads write different columns.
#[derive(Clone, Copy)]
struct Outputs {
    start: *mut f32,
    columns: usize,
}

// SAFETY: whoever shares it writes the columns of its own blocks only; see `blocks_of_product`.
unsafe impl Sync for Outputs {}

/// The outputs of some blocks, for all rows.
#[macerator::with_simd]
fn blocks_of_product<'a, S: Simd>(rows: &Rows<'a>, lines: &[Line], blocks: std::ops::Range<usize>) {
    let Rows { x, inputs, out } = *rows;
    let block_lines = inputs / CHUNK * BLOCK;
    for (group, x) in x.chunks(ROW_GROUP * inputs).enumerate() {
        let rows = x.len() / inputs;
        for block in blocks.clone() {
            let lines = &lines[block * block_lines..(block + 1) * block_lines];
            let first = block * BLOCK;
            let width = BLOCK.min(out.columns - first);
            let mut row = 0;
            while row < rows {
                let x = &x[row * inputs..];
                let (sums, taken) = match (rows - row).min(rows_at_once::<S>()) {
                    4.. => tile::<S, 4>(x, lines, inputs),
                    3 => tile::<S, 3>(x, lines, inputs),
                    2 => tile::<S, 2>(x, lines, inputs),
                    _ => tile::<S, 1>(x, lines, inputs),
                };
                for (offset, sums) in sums[..taken].iter().enumerate() {
                    let at = (group * ROW_GROUP + row + offset) * out.columns + first;
                    // SAFETY: `out` has a row of `columns` for each row of `x`, and these are columns of this block, which no
                    // other thread writes.
                    unsafe { std::ptr::copy_nonoverlapping(sums.as_ptr(), out.start.add(at), width) };
                }
                row += taken;
            }
        }
    }
}

/// As many rows as there are registers for: they hold `4 * rows` sums, an input per row and a weight.
#[inline(always)]
fn rows_at_once<S: Simd>() -> usize {
    match S::lanes32() {
        // AVX-512 and NEON have 32 registers.
        16 => 4,
        4 if <f32 as VFma>::is_accelerated::<S>() => 4,
        // AVX2 has 16.
        8 => 3,
        // Wasm and SSE have 16, one of them busy with a product, since multiplying and adding are two steps.
        _ => 2,
    }
}

/// Products of `ROWS` rows with one block of outputs: `[row][output]`, and `ROWS`.
#[inline(always)]
fn tile<S: Simd, const ROWS: usize>(x: &[f32], lines: &[Line], inputs: usize) -> ([[f32; BLOCK]; 4], usize) {
    let lanes = S::lanes32();
    assert!(x.len() >= ROWS * inputs && lines.len() * CHUNK == inputs * BLOCK && CHUNK.is_multiple_of(lanes));
    let zero: Vector<S, f32> = 0.0_f32.splat();
    let mut sums = [[zero; BLOCK]; ROWS];
    for (chunk, lines) in lines.as_chunks::<BLOCK>().0.iter().enumerate() {
        let mut offset = 0;
        while offset < CHUNK {
            let mut inputs_of_rows = [zero; ROWS];
            for (row, input) in inputs_of_rows.iter_mut().enumerate() {
                // SAFETY: the vector ends at or before `row * inputs + inputs <= x.len()`, asserted above.
                *input = unsafe { vload_unaligned(x.as_ptr().add(row * inputs + chunk * CHUNK + offset)) };
            }
            for (output, line) in lines.iter().enumerate() {
                // SAFETY: `offset + lanes <= CHUNK`, since both are multiples of `lanes`.
                let weights: Vector<S, f32> = unsafe { vload_unaligned(line.0.as_ptr().add(offset)) };
                for (sums, input) in sums.iter_mut().zip(inputs_of_rows) {
                    sums[output] = weights.mul_add(input, sums[output]);
                }
            }
            offset += lanes;
        }
    }
    let mut totals = [[0.0; BLOCK]; 4];
    for (totals, sums) in totals.iter_mut().zip(sums) {
        *totals = sums.map(Vector::reduce_add);
    }
    (totals, ROWS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    fn product(weight: &PackedWeight, x: &[f32]) -> Vec<f32> {
        let mut out = vec![f32::NAN; x.len() / weight.in_features() * weight.out_features()];
        weight.product(x, &mut out);
        out
    }

    proptest! {
        #[test]
        fn any_sizes_equal_the_plain_product(
            rows in 1_usize..70, inputs in 1_usize..150, outputs in 1_usize..90, seed in any::<u64>(),
        ) {
            let (weight, x) = (numbers(inputs * outputs, seed), numbers(rows * inputs, !seed));
            let out = product(&PackedWeight::new(&weight, inputs), &x);
            for (row, x) in x.chunks_exact(inputs).enumerate() {
                for (output, weight) in weight.chunks_exact(inputs).enumerate() {
                    let plain: f64 = x.iter().zip(weight).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
                    let found = f64::from(out[row * outputs + output]);
                    prop_assert!((plain - found).abs() < 1e-5 * inputs as f64, "{plain} {found}");
                }
            }
        }

        #[test]
        fn a_row_has_the_same_result_bit_for_bit_whatever_shares_its_pass(
            rows in 1_usize..70, inputs in 1_usize..600, outputs in 1_usize..600, seed in any::<u64>(),
        ) {
            let weight = PackedWeight::new(&numbers(inputs * outputs, seed), inputs);
            let x = numbers(rows * inputs, !seed);
            let together = product(&weight, &x);
            let apart: Vec<f32> = x.chunks_exact(inputs).flat_map(|x| product(&weight, x)).collect();
            prop_assert!(together.iter().zip(&apart).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
    }

    #[test]
    fn what_is_no_number_stays_so_and_in_its_row() {
        let weight = PackedWeight::new(&numbers(40 * 9, 1), 40);
        let mut x = numbers(5 * 40, 2);
        x[2 * 40 + 7] = f32::NAN;
        for (row, out) in product(&weight, &x).chunks_exact(9).enumerate() {
            assert!(out.iter().all(|value| value.is_nan() == (row == 2)));
        }
    }
}
