//! The product of a few rows with a few panels of weights, all sums in registers.
//!
//! Each output is one chain of additions over the inputs, in their order: how many rows and panels a tile has decides which
//! chains run side by side, and changes no sum.

use half::f16;
use macerator::{Simd, VFma, Vector, vload_unaligned, vstore_unaligned};

use crate::element::{Element, halves, splat};

/// Outputs whose weights are interleaved: a vector of AVX-512, two of AVX2, four of the others.
pub(crate) const PANEL: usize = 16;
/// Rows of a tile at most, and a multiple of what any processor takes at once.
pub(crate) const MAX_ROWS: usize = 12;
/// Up to here rows are read where they lie; more are interleaved first, so that they come as one stream.
const MAX_LOOSE_ROWS: usize = 4;

/// Rows from which on what converting saves is more than writing and reading f32 takes.
const WIDENED_ROWS: usize = 16;

/// The weights of a panel for one input, or for two that share its elements.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(16))]
pub(crate) struct Line<E>(pub(crate) [E; PANEL]);

/// The inputs of a tile.
#[derive(Clone, Copy)]
pub(crate) struct Inputs {
    pub(crate) start: *const f32,
    /// How many each row has.
    pub(crate) count: usize,
    /// From row to row; of no use where they are interleaved.
    pub(crate) row_stride: usize,
}

/// The weights of a tile.
#[derive(Clone, Copy)]
pub(crate) struct Panels<E> {
    pub(crate) start: *const Line<E>,
    /// From panel to panel.
    pub(crate) stride: usize,
    /// A factor for each output, if the weights want one.
    pub(crate) scales: *const f32,
    /// For each panel, for each group of inputs, a factor for each output, if the weights want them.
    pub(crate) group_scales: *const Line<f16>,
}

/// Where a tile's sums go.
#[derive(Clone, Copy)]
pub(crate) struct Outputs {
    pub(crate) start: *mut f32,
    pub(crate) row_stride: usize,
    /// How many may be written from `start` on.
    pub(crate) width: usize,
    /// Whether they are added to what is there.
    pub(crate) adds: bool,
}

/// Rows that there are registers for: each has a sum for every output of a panel or two, which need a weight each.
#[inline(always)]
fn rows_at_once<S: Simd>() -> usize {
    match S::lanes32() {
        // AVX-512 has 32 registers.
        16 => 12,
        // AVX2 has 16.
        8 => 6,
        // NEON has 32, of 4 lanes.
        4 if <f32 as VFma>::is_accelerated::<S>() => 6,
        // Wasm and SSE have 16, one of them busy with a product, since multiplying and adding are two steps.
        _ => 2,
    }
}

/// How many of `left` rows the next tile takes.
#[inline(always)]
fn rows_of_next<S: Simd>(left: usize) -> usize {
    match left.min(rows_at_once::<S>()) {
        9..MAX_ROWS => 8,
        7 => 6,
        rows => rows,
    }
}

/// How many of `left` panels a tile of so many rows takes: with few rows there are registers for more, and chains of
/// additions enough to hide how long one takes.
#[inline(always)]
fn panels_of_next<S: Simd>(rows: usize, left: usize) -> usize {
    let most = match S::lanes32() {
        16 if rows <= 4 => 4,
        16 => 2,
        8 if rows <= 2 => 2,
        _ => 1,
    };
    match left.min(most) {
        3 => 2,
        panels => panels,
    }
}

/// Whether so many rows want to be interleaved.
#[inline(always)]
pub(crate) fn wants_interleaved<S: Simd>(rows: usize) -> bool {
    rows > MAX_LOOSE_ROWS && rows_at_once::<S>() > MAX_LOOSE_ROWS
}

/// Whether weights of fewer bits should become f32 once for so many rows: low tiles would convert them again and again.
#[inline(always)]
pub(crate) fn wants_widened<S: Simd>(rows: usize) -> bool {
    rows >= WIDENED_ROWS && rows_at_once::<S>() <= 2
}

/// Interleaves rows, tile by tile as [`rows_of_next`] divides them.
///
/// # Shapes
/// - x, out: `[rows, inputs]`
#[inline(always)]
pub(crate) fn interleave<S: Simd>(x: &[f32], inputs: usize, out: &mut [f32]) {
    let mut left = x.len() / inputs;
    let (mut x, mut out) = (x, out);
    while left > 0 {
        let rows = rows_of_next::<S>(left);
        let (tile, rest) = x.split_at(rows * inputs);
        let (tile_out, rest_out) = out.split_at_mut(rows * inputs);
        match rows {
            12 => interleave_tile::<12>(tile, inputs, tile_out),
            8 => interleave_tile::<8>(tile, inputs, tile_out),
            6 => interleave_tile::<6>(tile, inputs, tile_out),
            5 => interleave_tile::<5>(tile, inputs, tile_out),
            _ => tile_out.copy_from_slice(tile),
        }
        (x, out, left) = (rest, rest_out, left - rows);
    }
}

#[inline(always)]
fn interleave_tile<const ROWS: usize>(x: &[f32], inputs: usize, out: &mut [f32]) {
    let rows: [&[f32]; ROWS] = std::array::from_fn(|row| &x[row * inputs..][..inputs]);
    for (input, out) in out.as_chunks_mut::<ROWS>().0.iter_mut().enumerate() {
        for (out, row) in out.iter_mut().zip(rows) {
            *out = row[input];
        }
    }
}

/// Products of any number of rows with any number of panels; `out` has the first output of the first row.
///
/// # Safety
/// There must be `rows` rows of inputs as [`interleave`] leaves them (if [`wants_interleaved`], or as they are), `row_stride`
/// apart; `panels` panels of a line for each input, and a scale for each output if the weights want one; and `rows` rows of
/// outputs that nobody else uses.
#[inline(always)]
pub(crate) unsafe fn tiles<S: Simd, E: Element>(
    rows: usize,
    panels: usize,
    x: Inputs,
    weights: Panels<E>,
    out: Outputs,
) {
    let mut row = 0;
    while row < rows {
        let taken = rows_of_next::<S>(rows - row);
        let mut panel = 0;
        while panel < panels {
            let count = panels_of_next::<S>(taken, panels - panel);
            let first = panel * PANEL;
            // SAFETY: these rows and panels are among the caller's.
            unsafe {
                let x = Inputs { start: x.start.add(row * x.row_stride), ..x };
                let scales = if E::IS_SCALED { weights.scales.add(first) } else { weights.scales };
                let start = weights.start.add(panel * weights.stride);
                let group_scales = if E::GROUP > 0 {
                    weights.group_scales.add(panel * x.count.div_ceil(E::GROUP))
                } else {
                    weights.group_scales
                };
                let weights = Panels { start, scales, group_scales, ..weights };
                let start = out.start.add(row * out.row_stride + first);
                tile::<S, E>(taken, count, x, weights, Outputs { start, width: out.width - first, ..out });
            }
            panel += count;
        }
        row += taken;
    }
}

/// Products of some rows with some panels, as many as [`rows_of_next`] and [`panels_of_next`] said.
///
/// # Safety
/// As [`tiles`].
#[inline(always)]
unsafe fn tile<S: Simd, E: Element>(rows: usize, panels: usize, x: Inputs, weights: Panels<E>, out: Outputs) {
    macro_rules! tile_of {
        ($rows:literal, $vectors:literal) => {
            // SAFETY: as the caller's.
            return unsafe { sums::<S, E, $rows, $vectors>(x, weights, out) }
        };
    }
    macro_rules! tile_of_few {
        ($rows:literal) => {
            match panels * PANEL / S::lanes32() {
                1 if S::lanes32() == 16 => tile_of!($rows, 1),
                2 if S::lanes32() >= 8 => tile_of!($rows, 2),
                4 => tile_of!($rows, 4),
                8 if S::lanes32() < 4 => tile_of!($rows, 8),
                _ => {}
            }
        };
    }
    macro_rules! tile_of_many {
        ($rows:literal) => {
            match S::lanes32() {
                16 if panels == 2 => tile_of!($rows, 2),
                16 => tile_of!($rows, 1),
                8 => tile_of!($rows, 2),
                4 => tile_of!($rows, 4),
                _ => {}
            }
        };
    }
    let most = rows_at_once::<S>();
    match rows {
        1 => tile_of_few!(1),
        2 => tile_of_few!(2),
        3 if most >= 3 => tile_of_few!(3),
        4 if most >= 4 => tile_of_few!(4),
        5 if most >= 5 => tile_of_many!(5),
        6 if most >= 6 => tile_of_many!(6),
        8 if most >= 8 => tile_of_many!(8),
        MAX_ROWS if most >= MAX_ROWS => tile_of_many!(12),
        _ => {}
    }
    unreachable!("no tile has {rows} rows and {panels} panels");
}

#[inline(always)]
unsafe fn sums<S: Simd, E: Element, const ROWS: usize, const VECTORS: usize>(
    x: Inputs,
    weights: Panels<E>,
    out: Outputs,
) {
    let lanes = S::lanes32();
    let vectors_of_panel = PANEL / lanes;
    let zero = splat::<S>(0.0);
    let mut sums = [[zero; VECTORS]; ROWS];
    let groups = if E::GROUP > 0 { x.count.div_ceil(E::GROUP) } else { 1 };
    for group in 0..groups {
        let mut scales = [zero; VECTORS];
        if E::GROUP > 0 {
            for (index, scale) in scales.iter_mut().enumerate() {
                // SAFETY: the weights want scales, so each panel has a line of them for each group.
                *scale = unsafe {
                    let line = weights.group_scales.add(index / vectors_of_panel * groups + group);
                    halves::<S>(line.cast::<f16>().add(index % vectors_of_panel * lanes))
                };
            }
        }
        let end = if E::GROUP > 0 { x.count.min((group + 1) * E::GROUP) } else { x.count };
        for line in group * E::GROUP / E::INPUTS..end / E::INPUTS {
            let mut vectors = [[zero; VECTORS]; 2];
            for panel in 0..VECTORS / vectors_of_panel {
                let at = weights.start.wrapping_add(panel * weights.stride + line);
                // SAFETY: the panels have lines for all inputs.
                let loaded = unsafe { E::load::<S>(at) };
                for index in 0..vectors_of_panel {
                    let place = panel * vectors_of_panel + index;
                    for (vectors, loaded) in vectors.iter_mut().zip(&loaded).take(E::INPUTS) {
                        vectors[place] =
                            if E::GROUP > 0 { loaded[index] * scales[place] } else { loaded[index] };
                    }
                }
                prefetch(at.wrapping_add(VECTORS / vectors_of_panel * weights.stride));
            }
            for (part, vectors) in vectors.into_iter().enumerate().take(E::INPUTS) {
                let input = line * E::INPUTS + part;
                for (row, sums) in sums.iter_mut().enumerate() {
                    let at =
                        if ROWS > MAX_LOOSE_ROWS { input * ROWS + row } else { row * x.row_stride + input };
                    // SAFETY: there are as many rows, of as many inputs.
                    let x = splat::<S>(unsafe { *x.start.add(at) });
                    for (sum, vector) in sums.iter_mut().zip(vectors) {
                        *sum = x.mul_add(vector, *sum);
                    }
                }
            }
        }
    }
    for (row, sums) in sums.into_iter().enumerate() {
        for (index, mut sum) in sums.into_iter().enumerate() {
            let first = index * lanes;
            if E::IS_SCALED {
                // SAFETY: the weights want scales, so there is one for each output.
                sum *= unsafe { vload_unaligned(weights.scales.add(first)) };
            }
            // SAFETY: only `width` outputs of each row are touched, which nobody else uses.
            unsafe { store(sum, out.start.add(row * out.row_stride), first, out.width, out.adds) };
        }
    }
}

/// Puts a vector behind the first outputs of a row, as far as the row goes.
#[inline(always)]
unsafe fn store<S: Simd>(sums: Vector<S, f32>, row: *mut f32, first: usize, width: usize, adds: bool) {
    let lanes = S::lanes32();
    if first + lanes <= width {
        // SAFETY: the vector ends inside the row.
        unsafe {
            let out = row.add(first);
            vstore_unaligned(out, if adds { sums + vload_unaligned(out) } else { sums });
        }
        return;
    }
    let mut values = [0.0; PANEL];
    // SAFETY: no vector has more lanes than a panel.
    unsafe { vstore_unaligned(values.as_mut_ptr(), sums) };
    for (index, value) in values[..width.saturating_sub(first)].iter().enumerate() {
        // SAFETY: below `width`.
        unsafe {
            let out = row.add(first + index);
            *out = if adds { value + *out } else { *value };
        }
    }
}

/// Asks memory for what the next tile will read, into the second cache, where there is room for a tile.
#[inline(always)]
fn prefetch<E>(at: *const E) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which reads nothing and may point anywhere.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
