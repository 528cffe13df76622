//! Weights in the order in which the kernel reads them, and the product with them.

use std::cell::RefCell;
use std::ops::Range;

#[cfg(not(target_family = "wasm"))]
use half::f16;
use macerator::Simd;

use crate::element::Element;
use crate::pool;
use crate::tile::{Inputs, Line, MAX_ROWS, Outputs, PANEL, Panels, interleave, tiles, wants_interleaved};

/// Bytes of weights that stay in the second cache while rows pass by.
const CHUNK_BYTES: usize = 256 << 10;
/// The greatest int8 weight; its negative is the least.
#[cfg(not(target_family = "wasm"))]
const INT8_MOST: f32 = 127.0;

/// How weights are stored. Products are of f32 throughout. In Wasm all are stored as f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightsFormat {
    /// 4 bytes each.
    #[default]
    F32,
    /// 2 bytes each: the nearest f16. Where the weights are f16 in truth, results are those of f32, bit for bit.
    F16,
    /// 1 byte each, and a factor for each output.
    Int8,
}

/// A weight matrix in the kernel's order: for every panel of outputs, for every input, the weights of the panel. Outputs are
/// rounded up with zeros.
pub struct PackedWeight {
    lines: Lines,
    in_features: usize,
    out_features: usize,
}

enum Lines {
    F32(Vec<Line<f32>>),
    #[cfg(not(target_family = "wasm"))]
    F16(Vec<Line<f16>>),
    /// With the factors of the outputs.
    #[cfg(not(target_family = "wasm"))]
    Int8(Vec<Line<i8>>, Vec<f32>),
}

impl Lines {
    #[cfg(target_family = "wasm")]
    fn new(weight: &[f32], in_features: usize, _format: WeightsFormat) -> Self {
        Self::F32(packed(weight, in_features, |_, weight| weight))
    }

    #[cfg(not(target_family = "wasm"))]
    fn new(weight: &[f32], in_features: usize, format: WeightsFormat) -> Self {
        match format {
            WeightsFormat::F32 => Self::F32(packed(weight, in_features, |_, weight| weight)),
            WeightsFormat::F16 => Self::F16(packed(weight, in_features, |_, weight| f16::from_f32(weight))),
            WeightsFormat::Int8 => {
                let mut scales: Vec<f32> = weight.chunks_exact(in_features).map(int8_scale).collect();
                let quantised = |output: usize, weight: f32| (weight / scales[output]).round() as i8;
                let lines = packed(weight, in_features, quantised);
                scales.resize(scales.len().next_multiple_of(PANEL), 0.0);
                Self::Int8(lines, scales)
            }
        }
    }
}

thread_local! {
    /// Interleaved rows of the product under way.
    static INTERLEAVED: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

impl PackedWeight {
    /// Packs weights, row by row of outputs.
    ///
    /// # Shapes
    /// - weight: `[weight.len() / in_features, in_features]`
    ///
    /// # Panics
    /// If there are no inputs, or the weights are no whole rows.
    pub fn new(weight: &[f32], in_features: usize, format: WeightsFormat) -> Self {
        assert!(in_features > 0 && weight.len().is_multiple_of(in_features), "weights are whole rows");
        let lines = Lines::new(weight, in_features, format);
        Self { lines, in_features, out_features: weight.len() / in_features }
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
        self.run(x, out, false);
    }

    /// `out += x W^T`
    ///
    /// # Shapes
    /// As [`Self::product`].
    ///
    /// # Panics
    /// As [`Self::product`].
    pub fn add_product(&self, x: &[f32], out: &mut [f32]) {
        self.run(x, out, true);
    }

    fn run(&self, x: &[f32], out: &mut [f32], adds: bool) {
        let rows = x.len() / self.in_features;
        assert_eq!(x.len(), rows * self.in_features, "inputs are whole rows");
        assert_eq!(out.len(), rows * self.out_features, "outputs of {rows} rows");
        INTERLEAVED.with_borrow_mut(|buffer| {
            let x = interleaved(x, self.in_features, buffer);
            let out = Outputs { start: out.as_mut_ptr(), row_stride: self.out_features, width: 0, adds };
            let product = Product { x, inputs: self.in_features, out };
            match &self.lines {
                Lines::F32(lines) => product.share(rows, lines, &[]),
                #[cfg(not(target_family = "wasm"))]
                Lines::F16(lines) => product.share(rows, lines, &[]),
                #[cfg(not(target_family = "wasm"))]
                Lines::Int8(lines, scales) => product.share(rows, lines, scales),
            }
        });
    }
}

impl std::fmt::Debug for PackedWeight {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "PackedWeight[{}, {}]", self.out_features, self.in_features)
    }
}

/// Weights in panels, each as `convert` gives it from its output and value.
fn packed<E: Element>(weight: &[f32], inputs: usize, convert: impl Fn(usize, f32) -> E) -> Vec<Line<E>> {
    let outputs = weight.len() / inputs;
    let mut lines = vec![Line([E::default(); PANEL]); outputs.div_ceil(PANEL) * inputs];
    for (output, row) in weight.chunks_exact(inputs).enumerate() {
        let panel = &mut lines[output / PANEL * inputs..][..inputs];
        for (line, weight) in panel.iter_mut().zip(row) {
            line.0[output % PANEL] = convert(output, *weight);
        }
    }
    lines
}

/// What one step of an output's int8 weights stands for.
#[cfg(not(target_family = "wasm"))]
fn int8_scale(weights: &[f32]) -> f32 {
    let most = weights.iter().fold(0.0_f32, |most, weight| most.max(weight.abs()));
    if most > 0.0 { most / INT8_MOST } else { 1.0 }
}

/// Rows as tiles want them.
#[macerator::with_simd]
fn interleaved<'a, S: Simd>(x: &'a [f32], inputs: usize, buffer: &'a mut Vec<f32>) -> &'a [f32] {
    if !wants_interleaved::<S>(x.len() / inputs) {
        return x;
    }
    buffer.resize(x.len().max(buffer.len()), 0.0);
    interleave::<S>(x, inputs, &mut buffer[..x.len()]);
    &buffer[..x.len()]
}

/// One product.
struct Product<'a> {
    /// As [`interleaved`] gives them.
    x: &'a [f32],
    inputs: usize,
    /// The first output of the first row.
    out: Outputs,
}

// SAFETY: whoever shares it writes the rows and panels of its own part only; see `Product::share`.
unsafe impl Sync for Product<'_> {}

impl Product<'_> {
    /// Divides the product between threads, by panels and, where there are many rows, by rows.
    fn share<E: Element>(&self, rows: usize, lines: &[Line<E>], scales: &[f32]) {
        let panels = self.out.row_stride.div_ceil(PANEL);
        let parts = pool::parts(rows * self.inputs * self.out.row_stride);
        if parts == 1 {
            return part(self, lines, scales, 0..rows, 0..panels);
        }
        // No more rows in a part than come as whole tiles, and pairs of panels, which tiles like best.
        let panels_each = panels.div_ceil(parts).next_multiple_of(2);
        let by_panels = panels.div_ceil(panels_each);
        let rows_each = rows.div_ceil(parts / by_panels).next_multiple_of(MAX_ROWS);
        pool::share(by_panels * rows.div_ceil(rows_each), &|task, _| {
            let (row, panel) = (task / by_panels * rows_each, task % by_panels * panels_each);
            part(self, lines, scales, row..rows.min(row + rows_each), panel..panels.min(panel + panels_each));
        });
    }
}

/// The outputs of some panels, for some rows that begin with a tile.
#[macerator::with_simd]
fn part<'a, S: Simd, E: Element>(
    product: &Product<'a>,
    lines: &[Line<E>],
    scales: &[f32],
    rows: Range<usize>,
    panels: Range<usize>,
) {
    let Product { x, inputs, out } = *product;
    let x = &x[rows.start * inputs..rows.end * inputs];
    let x = Inputs { start: x.as_ptr(), count: inputs, row_stride: inputs };
    let chunk = (CHUNK_BYTES / (inputs * size_of::<Line<E>>())).max(2);
    for first in panels.clone().step_by(chunk) {
        let end = panels.end.min(first + chunk);
        let lines = &lines[first * inputs..end * inputs];
        let scales = if E::IS_SCALED { &scales[first * PANEL..end * PANEL] } else { &[] };
        let weights = Panels { start: lines.as_ptr(), stride: inputs, scales: scales.as_ptr() };
        let column = first * PANEL;
        // SAFETY: the slices above are as long as these rows and panels, whose outputs no other part has.
        unsafe {
            let start = out.start.add(rows.start * out.row_stride + column);
            let out = Outputs { start, width: out.row_stride - column, ..out };
            tiles::<S, E>(rows.len(), end - first, x, weights, out);
        }
    }
}

#[cfg(test)]
mod tests;
