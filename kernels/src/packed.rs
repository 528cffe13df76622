//! Weights in the order in which the kernel reads them, and the product with them.

use std::cell::RefCell;
use std::ops::Range;

use half::f16;
use macerator::{Simd, vstore_unaligned};

use crate::element::{Element, Nibbles, halves};
use crate::pool;
use crate::stored::{GROUP, StoredValues, StoredWeight, WeightsFormat};
use crate::tile::{
    Inputs, Line, MAX_ROWS, Outputs, PANEL, Panels, interleave, tiles, wants_interleaved, wants_widened,
};

/// Bytes of weights that stay in the second cache while rows pass by.
const CHUNK_BYTES: usize = 256 << 10;

/// Bytes of weights that become f32 at a time.
const WIDENED_BYTES: usize = if cfg!(test) { 4 << 10 } else { 1 << 20 };

/// A weight matrix in the kernel's order: for every panel of outputs, for every input, the weights of the panel. Outputs are
/// rounded up with zeros.
pub struct PackedWeight {
    lines: Lines,
    in_features: usize,
    out_features: usize,
}

enum Lines {
    F32(Vec<Line<f32>>),
    F16(Vec<Line<f16>>),
    /// With the factors of the outputs.
    Int8(Vec<Line<i8>>, Vec<f32>),
    /// Two inputs a line; with the factors of the panels' groups.
    Q4(Vec<Line<Nibbles>>, Vec<Line<f16>>),
}

impl Lines {
    fn new(weight: &StoredWeight) -> Self {
        let inputs = weight.inputs();
        match weight.values() {
            StoredValues::F32(values) => Self::F32(panels(values, inputs)),
            StoredValues::F16(values) => Self::F16(panels(values, inputs)),
            StoredValues::Int8 { steps, scales } => {
                let mut scales = scales.clone();
                scales.resize(scales.len().next_multiple_of(PANEL), 0.0);
                Self::Int8(panels(steps, inputs), scales)
            }
            StoredValues::Q4 { nibbles, scales } => {
                // Whatever the steps of outputs that are none: their scales are zero.
                let nibbles: Vec<Nibbles> = nibbles.iter().copied().map(Nibbles).collect();
                Self::Q4(panels(&nibbles, inputs / 2), panels(scales, inputs.div_ceil(GROUP)))
            }
        }
    }
}

thread_local! {
    /// Interleaved rows of the product under way.
    static INTERLEAVED: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    /// Weights of the product under way, as f32.
    static WIDENED: RefCell<Vec<Line<f32>>> = const { RefCell::new(Vec::new()) };
}

impl PackedWeight {
    /// Packs weights as near as the format allows, row by row of outputs.
    ///
    /// # Shapes
    /// - weight: `[weight.len() / in_features, in_features]`
    ///
    /// # Panics
    /// If there are no inputs, or the weights are no whole rows.
    pub fn new(weight: &[f32], in_features: usize, format: WeightsFormat) -> Self {
        let mut stored = StoredWeight::empty(in_features, format);
        stored.push_rows(weight);
        Self::from_stored(&stored)
    }

    /// Packs weights as they are stored.
    pub fn from_stored(weight: &StoredWeight) -> Self {
        Self { lines: Lines::new(weight), in_features: weight.inputs(), out_features: weight.outputs() }
    }

    /// The weights of one output, as numbers: a row of an embedding table.
    ///
    /// # Panics
    /// If there is no such output or `row` is not `in_features` long.
    pub fn read_row(&self, output: usize, row: &mut [f32]) {
        assert!(output < self.out_features && row.len() == self.in_features, "row {output} of {self:?}");
        let (panel, place) = (output / PANEL, output % PANEL);
        let inputs = self.in_features;
        match &self.lines {
            Lines::F32(lines) => {
                let lines = &lines[panel * inputs..][..inputs];
                row.iter_mut().zip(lines).for_each(|(weight, line)| *weight = line.0[place]);
            }
            Lines::F16(lines) => {
                let lines = &lines[panel * inputs..][..inputs];
                row.iter_mut().zip(lines).for_each(|(weight, line)| *weight = line.0[place].to_f32());
            }
            Lines::Int8(lines, scales) => {
                let lines = &lines[panel * inputs..][..inputs];
                let weight = |line: &Line<i8>| f32::from(line.0[place]) * scales[output];
                row.iter_mut().zip(lines).for_each(|(at, line)| *at = weight(line));
            }
            Lines::Q4(lines, scales) => {
                let lines = &lines[panel * (inputs / 2)..][..inputs / 2];
                let scales = &scales[panel * inputs.div_ceil(GROUP)..];
                for (index, (pair, line)) in row.as_chunks_mut().0.iter_mut().zip(lines).enumerate() {
                    let (Nibbles(byte), scale) = (line.0[place], scales[2 * index / GROUP].0[place].to_f32());
                    *pair = [byte & 15, byte >> 4].map(|step| (f32::from(step) - 8.0) * scale);
                }
            }
        }
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
        self.run_as(x, out, adds, widens(x.len() / self.in_features));
    }

    /// [`Self::run`]; whether narrow weights become f32 first changes no bit.
    fn run_as(&self, x: &[f32], out: &mut [f32], adds: bool, widens: bool) {
        let rows = x.len() / self.in_features;
        assert_eq!(x.len(), rows * self.in_features, "inputs are whole rows");
        assert_eq!(out.len(), rows * self.out_features, "outputs of {rows} rows");
        INTERLEAVED.with_borrow_mut(|buffer| {
            let x = interleaved(x, self.in_features, buffer);
            let out = Outputs { start: out.as_mut_ptr(), row_stride: self.out_features, width: 0, adds };
            let product = Product { x, inputs: self.in_features, out };
            match &self.lines {
                Lines::F32(lines) => product.take(rows, Weights { lines, ..Weights::default() }, false),
                Lines::F16(lines) => product.take(rows, Weights { lines, ..Weights::default() }, widens),
                Lines::Int8(lines, scales) => {
                    product.take(rows, Weights { lines, scales, ..Weights::default() }, widens);
                }
                Lines::Q4(lines, group_scales) => {
                    product.take(rows, Weights { lines, group_scales, ..Weights::default() }, widens);
                }
            }
        });
    }
}

impl std::fmt::Debug for PackedWeight {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "PackedWeight[{}, {}]", self.out_features, self.in_features)
    }
}

/// Rows of elements in panels.
fn panels<E: Element>(weight: &[E], row: usize) -> Vec<Line<E>> {
    let outputs = weight.len() / row;
    let mut lines = vec![Line([E::default(); PANEL]); outputs.div_ceil(PANEL) * row];
    for (output, row_of) in weight.chunks_exact(row).enumerate() {
        let panel = &mut lines[output / PANEL * row..][..row];
        for (line, weight) in panel.iter_mut().zip(row_of) {
            line.0[output % PANEL] = *weight;
        }
    }
    lines
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

/// Whether weights of fewer bits become f32 once for so many rows.
#[macerator::with_simd]
fn widens<S: Simd>(rows: usize) -> bool {
    wants_widened::<S>(rows)
}

/// The weights of some panels as f32, a line for each input.
#[macerator::with_simd]
fn widen<'a, S: Simd, E: Element>(
    weights: Weights<'a, E>,
    inputs: usize,
    panels: Range<usize>,
    wide: &'a mut [Line<f32>],
) {
    let (lanes, lines) = (S::lanes32(), inputs / E::INPUTS);
    let groups = if E::GROUP > 0 { inputs.div_ceil(E::GROUP) } else { 0 };
    let narrow = &weights.lines[panels.start * lines..panels.end * lines];
    for (panel, (narrow, wide)) in narrow.chunks_exact(lines).zip(wide.chunks_exact_mut(inputs)).enumerate() {
        let scales = &weights.group_scales[(panels.start + panel) * groups..][..groups];
        for (index, (line, wide)) in narrow.iter().zip(wide.chunks_exact_mut(E::INPUTS)).enumerate() {
            // SAFETY: a line lies there.
            let loaded = unsafe { E::load::<S>(line) };
            for (wide, loaded) in wide.iter_mut().zip(&loaded) {
                for (place, (out, vector)) in wide.0.chunks_exact_mut(lanes).zip(loaded).enumerate() {
                    let mut vector = *vector;
                    if let Some(group) = (index * E::INPUTS).checked_div(E::GROUP) {
                        let scales = &scales[group].0[place * lanes..][..lanes];
                        // SAFETY: as many scales as lanes.
                        vector *= unsafe { halves::<S>(scales.as_ptr()) };
                    }
                    // SAFETY: as many weights as lanes.
                    unsafe { vstore_unaligned(out.as_mut_ptr(), vector) };
                }
            }
        }
    }
}

/// The weights of a product, with what their elements want.
#[derive(Clone, Copy)]
struct Weights<'a, E> {
    /// Those of the panels from `first` on.
    lines: &'a [Line<E>],
    first: usize,
    /// A factor for each output.
    scales: &'a [f32],
    /// For each panel, a line for each group of inputs.
    group_scales: &'a [Line<f16>],
}

impl<E> Default for Weights<'_, E> {
    fn default() -> Self {
        Self { lines: &[], first: 0, scales: &[], group_scales: &[] }
    }
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
    /// Products with all panels, as the weights are or as f32.
    fn take<E: Element>(&self, rows: usize, weights: Weights<'_, E>, widens: bool) {
        let panels = self.out.row_stride.div_ceil(PANEL);
        if !widens {
            return self.share(rows, weights, 0..panels);
        }
        let each = (WIDENED_BYTES / (self.inputs * size_of::<Line<f32>>())).next_multiple_of(2).max(2);
        WIDENED.with_borrow_mut(|wide| {
            wide.resize(wide.len().max(each.min(panels) * self.inputs), Line([0.0; PANEL]));
            for first in (0..panels).step_by(each) {
                let end = panels.min(first + each);
                let wide = &mut wide[..(end - first) * self.inputs];
                widen(weights, self.inputs, first..end, wide);
                // SAFETY: what is wide is an f32, and nothing else.
                let lines =
                    unsafe { std::slice::from_raw_parts(wide.as_ptr().cast::<Line<E::Wide>>(), wide.len()) };
                self.share(
                    rows,
                    Weights { lines, first, scales: weights.scales, group_scales: &[] },
                    first..end,
                );
            }
        });
    }

    /// Divides the product with some panels between threads, by panels and, where there are many rows, by rows.
    fn share<E: Element>(&self, rows: usize, weights: Weights<'_, E>, all: Range<usize>) {
        let panels = all.len();
        let parts = pool::parts(rows * self.inputs * panels * PANEL);
        if parts == 1 {
            return part(self, weights, 0..rows, all);
        }
        // No more rows in a part than come as whole tiles, and pairs of panels, which tiles like best.
        let panels_each = panels.div_ceil(parts).next_multiple_of(2);
        let by_panels = panels.div_ceil(panels_each);
        let rows_each = rows.div_ceil(parts / by_panels).next_multiple_of(MAX_ROWS);
        pool::share(by_panels * rows.div_ceil(rows_each), &|task, _| {
            let (row, panel) = (task / by_panels * rows_each, task % by_panels * panels_each);
            let panels = all.start + panel..all.end.min(all.start + panel + panels_each);
            part(self, weights, row..rows.min(row + rows_each), panels);
        });
    }
}

/// The outputs of some panels, for some rows that begin with a tile.
#[macerator::with_simd]
fn part<'a, S: Simd, E: Element>(
    product: &Product<'a>,
    weights: Weights<'a, E>,
    rows: Range<usize>,
    panels: Range<usize>,
) {
    let Product { x, inputs, out } = *product;
    let x = &x[rows.start * inputs..rows.end * inputs];
    let x = Inputs { start: x.as_ptr(), count: inputs, row_stride: inputs };
    let (lines, groups) = (inputs / E::INPUTS, if E::GROUP > 0 { inputs.div_ceil(E::GROUP) } else { 0 });
    let chunk = (CHUNK_BYTES / (lines * size_of::<Line<E>>())).max(2);
    for first in panels.clone().step_by(chunk) {
        let end = panels.end.min(first + chunk);
        let scales = if E::IS_SCALED { &weights.scales[first * PANEL..end * PANEL] } else { &[] };
        let weights = Panels {
            start: weights.lines[(first - weights.first) * lines..(end - weights.first) * lines].as_ptr(),
            stride: lines,
            scales: scales.as_ptr(),
            group_scales: weights.group_scales[first * groups..end * groups].as_ptr(),
        };
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
