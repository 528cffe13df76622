//! A dense layer on the CPU: the one custom kernel of the crate.
//!
//! Decoding multiplies 1 row, verification 2 to 16, by matrices of megabytes. General products repack the
//! weights in each call, which costs more than the product itself at these sizes. Here they are packed once,
//! when the checkpoint is loaded, into the order in which the kernel reads them: memory sees one plain stream,
//! every weight is read once per tile of rows, and one form serves 1 row as well as 300. SIMD comes from the
//! same portable layer that burn's flex backend uses, so one source serves AVX-512, AVX2, NEON and Wasm.

use burn::backend::Flex;
use burn::tensor::{DType, Float, Shape, Tensor};
use burn_flex::FlexTensor;
use macerator::{Scalar, Simd, VFma, Vector, vload_unaligned};

/// Outputs whose weights are interleaved.
const BLOCK: usize = 4;
/// Neighbouring weights of one output that stay together: one cache line, a multiple of every vector width.
const CHUNK: usize = 16;

/// A weight matrix in the kernel's order: for every block of outputs, for every chunk of inputs, a chunk of
/// each output. Sizes are rounded up with zeros.
pub(crate) struct PackedWeight {
    lines: Vec<Line>,
    in_features: usize,
    out_features: usize,
}

/// One cache line of weights.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; CHUNK]);

impl PackedWeight {
    /// Packs `[out, in]` weights that live on the CPU.
    pub(crate) fn new(weight: &Tensor<2>) -> Self {
        let [out_features, in_features] = weight.dims();
        let values = weight.to_data();
        let values = values.as_slice::<f32>().expect("weights are f32");
        let chunks = in_features.div_ceil(CHUNK);
        let mut lines = vec![Line([0.0; CHUNK]); out_features.div_ceil(BLOCK) * BLOCK * chunks];
        for (output, row) in values.chunks_exact(in_features).enumerate() {
            for (chunk, values) in row.chunks(CHUNK).enumerate() {
                let line = (output / BLOCK * chunks + chunk) * BLOCK + output % BLOCK;
                lines[line].0[..values.len()].copy_from_slice(values);
            }
        }
        Self { lines, in_features, out_features }
    }

    /// `x @ weight^T`
    ///
    /// # Shapes
    /// - x: `[rows, in]` on the CPU; output: `[rows, out]`
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let [rows, in_features] = x.dims();
        assert_eq!(in_features, self.in_features, "linear: x has {in_features} columns");
        let x = x.try_into_primitive::<Flex>().expect("packed weights belong to the CPU").to_contiguous();
        let x = x.as_slice::<f32>().expect("activations are contiguous f32");
        let mut out = FlexTensor::empty(Shape::from([rows, self.out_features]), DType::F32);
        let padded = in_features.next_multiple_of(CHUNK);
        if padded == in_features {
            product(x, &self.lines, out.storage_mut(), padded, self.out_features);
        } else {
            let mut wide = vec![0.0; rows * padded];
            for (wide, row) in wide.chunks_exact_mut(padded).zip(x.chunks_exact(in_features)) {
                wide[..in_features].copy_from_slice(row);
            }
            product(&wide, &self.lines, out.storage_mut(), padded, self.out_features);
        }
        Tensor::<2, Float>::from_primitive::<Flex>(out)
    }
}

impl std::fmt::Debug for PackedWeight {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "PackedWeight[{}, {}]", self.out_features, self.in_features)
    }
}

/// Fills `out` (`[rows, outputs]`) from `x` (`[rows, inputs]`); `inputs` is a multiple of [`CHUNK`].
///
/// Rows are taken in groups that fit the inner caches together with a block of weights.
#[macerator::with_simd]
fn product<S: Simd>(x: &[f32], lines: &[Line], out: &mut [f32], inputs: usize, outputs: usize) {
    const ROW_GROUP: usize = 32;
    let block_lines = inputs / CHUNK * BLOCK;
    for (x, out) in x.chunks(ROW_GROUP * inputs).zip(out.chunks_mut(ROW_GROUP * outputs)) {
        let rows = x.len() / inputs;
        for (block, lines) in lines.chunks_exact(block_lines).enumerate() {
            let mut row = 0;
            while row < rows {
                let x = &x[row * inputs..];
                let (sums, taken) = match (rows - row).min(rows_at_once::<S>()) {
                    4.. => tile::<S, 4>(x, lines, inputs),
                    3 => tile::<S, 3>(x, lines, inputs),
                    2 => tile::<S, 2>(x, lines, inputs),
                    _ => tile::<S, 1>(x, lines, inputs),
                };
                let columns = block * BLOCK..outputs.min((block + 1) * BLOCK);
                for (offset, sums) in sums[..taken].iter().enumerate() {
                    let start = (row + offset) * outputs;
                    let target = &mut out[start + columns.start..start + columns.end];
                    target.copy_from_slice(&sums[..columns.len()]);
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
    use super::*;
    use burn::tensor::{Device, Distribution, Tolerance};

    #[test]
    fn every_row_count_and_odd_sizes_equal_the_plain_product() {
        let device = Device::flex();
        for (in_features, out_features) in [(1, 1), (7, 5), (33, 9), (64, 64), (100, 30), (16, 3)] {
            let weight = Tensor::<2>::random([out_features, in_features], Distribution::Default, &device);
            let packed = PackedWeight::new(&weight);
            for rows in (1..=9).chain([31, 32, 33, 70]) {
                let x = Tensor::<2>::random([rows, in_features], Distribution::Default, &device);
                let plain = x.clone().matmul(weight.clone().transpose());
                packed
                    .forward(x)
                    .into_data()
                    .assert_approx_eq::<f32>(&plain.into_data(), Tolerance::default());
            }
        }
    }
}
