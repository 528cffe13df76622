//! What lies between the products of a decoder, row by row: norm, rotation, gate.

use macerator::{Scalar, Simd, Vector, vload_unaligned, vstore_unaligned};

use crate::element::splat;
use crate::pool;
use crate::tile::PANEL;

/// What a norm of a value costs, in multiplications of a product.
const NORM_COST: usize = 8;
/// What a gated value costs.
const GATE_COST: usize = 32;

/// `out = x / sqrt(mean(x^2) + eps) * weight`, for each row.
///
/// # Shapes
/// - x, out: `[rows, weight.len()]`
///
/// # Panics
/// If they are not.
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    assert!(x.len() == out.len() && x.len().is_multiple_of(weight.len()), "rows of {}", weight.len());
    share_rows(out, weight.len(), NORM_COST, &|first, out| {
        norm_rows(&x[first * weight.len()..][..out.len()], weight, eps, out);
    });
}

#[allow(
    clippy::extra_unused_type_parameters,
    reason = "it is compiled for each set of vectors, which the compiler then finds by itself"
)]
#[macerator::with_simd]
fn norm_rows<'a, S: Simd>(x: &'a [f32], weight: &'a [f32], eps: f32, out: &'a mut [f32]) {
    for (x, out) in x.chunks_exact(weight.len()).zip(out.chunks_exact_mut(weight.len())) {
        // Apart by place in a panel, so that each row adds in the same order whatever the processor's vectors are.
        let mut squares = [0.0_f32; PANEL];
        for x in x.chunks(PANEL) {
            for (square, x) in squares.iter_mut().zip(x) {
                *square += x * x;
            }
        }
        let mean = squares.iter().sum::<f32>() / weight.len() as f32;
        let scale = (mean + eps).sqrt().recip();
        for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
            *out = x * scale * weight;
        }
    }
}

/// Rotates the heads of one position: pairs are a head's first and second half.
///
/// # Shapes
/// - x: `[heads, 2 * cos.len()]`; cos, sin: `[head_dim / 2]`
pub fn rotate(x: &mut [f32], cos: &[f32], sin: &[f32]) {
    let half = cos.len();
    for head in x.chunks_exact_mut(2 * half) {
        let (first, second) = head.split_at_mut(half);
        for (((first, second), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
            (*first, *second) = (*first * cos - *second * sin, *second * cos + *first * sin);
        }
    }
}

/// `out = silu(gate) * up`
///
/// # Shapes
/// - gate_up: `[rows, 2 * width]`, a row's gates before its ups; out: `[rows, width]`
///
/// # Panics
/// If they are not.
pub fn swiglu(gate_up: &[f32], width: usize, out: &mut [f32]) {
    assert!(gate_up.len() == 2 * out.len() && out.len().is_multiple_of(width), "rows of {width}");
    share_rows(out, width, GATE_COST, &|first, out| {
        gate_rows(&gate_up[2 * first * width..][..2 * out.len()], width, out);
    });
}

#[macerator::with_simd]
fn gate_rows<'a, S: Simd>(gate_up: &'a [f32], width: usize, out: &'a mut [f32]) {
    let one: Vector<S, f32> = splat(1.0);
    for (gate_up, out) in gate_up.chunks_exact(2 * width).zip(out.chunks_exact_mut(width)) {
        let (gates, ups) = gate_up.split_at(width);
        for ((gates, ups), out) in gates.chunks(PANEL).zip(ups.chunks(PANEL)).zip(out.chunks_mut(PANEL)) {
            let (gates, ups) = (panel_of(gates), panel_of(ups));
            let mut values = [0.0; PANEL];
            for first in (0..PANEL).step_by(S::lanes32()) {
                // SAFETY: a panel is a multiple of every vector.
                unsafe {
                    let gate: Vector<S, f32> = vload_unaligned(gates.as_ptr().add(first));
                    let up: Vector<S, f32> = vload_unaligned(ups.as_ptr().add(first));
                    let zero: Vector<S, f32> = splat(0.0);
                    let value = gate / (one + exp(zero - gate)) * up;
                    vstore_unaligned(values.as_mut_ptr().add(first), value);
                }
            }
            put_panel(&values, out);
        }
    }
}

/// Up to a panel of values, and zeros.
#[inline(always)]
pub(crate) fn panel_of(values: &[f32]) -> [f32; PANEL] {
    // A copy whose length only the run knows is a call; in Wasm it takes longer than what is done with the values.
    if let Ok(panel) = values.try_into() {
        return panel;
    }
    let mut panel = [0.0; PANEL];
    panel[..values.len()].copy_from_slice(values);
    panel
}

/// The first values of a panel, as many as there is room for.
#[inline(always)]
pub(crate) fn put_panel(values: &[f32; PANEL], out: &mut [f32]) {
    if let Ok(out) = <&mut [f32; PANEL]>::try_from(&mut *out) {
        *out = *values;
    } else {
        out.copy_from_slice(&values[..out.len()]);
    }
}

/// Turns each row of scores into `exp(score - greatest)`, from `limit` on zero, and returns the sum.
#[inline(always)]
pub(crate) fn exponentials<S: Simd>(scores: &mut [f32], limit: usize) -> f32 {
    let (lanes, least) = (S::lanes32(), f32::NEG_INFINITY);
    assert!(scores.len().is_multiple_of(PANEL), "scores are whole panels");
    let (scores, beyond) = scores.split_at_mut(limit.next_multiple_of(PANEL));
    beyond.fill(0.0);
    scores[limit..].fill(least);
    let mut greatest: Vector<S, f32> = splat(least);
    for at in (0..scores.len()).step_by(lanes) {
        // SAFETY: whole panels are whole vectors.
        greatest = greatest.max(unsafe { vload_unaligned(scores.as_ptr().add(at)) });
    }
    let greatest: Vector<S, f32> = splat(greatest.reduce_max());
    let mut sum: Vector<S, f32> = splat(0.0);
    for at in (0..scores.len()).step_by(lanes) {
        // SAFETY: as above.
        unsafe {
            let score = vload_unaligned(scores.as_ptr().add(at));
            let value = exp::<S>(score - greatest);
            sum += value;
            vstore_unaligned(scores.as_mut_ptr().add(at), value);
        }
    }
    sum.reduce_add()
}

/// `e^x` to two units in the last place; 0 below the least exponent, the greatest f32 or so above the greatest.
#[inline(always)]
pub(crate) fn exp<S: Simd>(x: Vector<S, f32>) -> Vector<S, f32> {
    const LEAST: f32 = -87.3;
    const GREATEST: f32 = 88.3;
    // Cephes' `expf`: ln 2 in two parts, and the polynomial of what is left.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    const POLYNOMIAL: [f32; 6] =
        [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    let splat = splat::<S>;
    let is_zero = x.lt(splat(LEAST));
    let bounded = x.max(splat(LEAST)).min(splat(GREATEST));
    let power = (bounded * splat(std::f32::consts::LOG2_E)).round_to_int();
    let whole = power.to_float();
    let rest = whole.mul_add(splat(-LN_2[1]), whole.mul_add(splat(-LN_2[0]), bounded));
    let mut sum = splat(POLYNOMIAL[0]);
    for factor in &POLYNOMIAL[1..] {
        sum = sum.mul_add(rest, splat(*factor));
    }
    let fraction = sum.mul_add(rest * rest, rest) + splat(1.0);
    let bias: Vector<S, i32> = 127.splat();
    let scale = ((power + bias) << 23).reinterpret::<f32>();
    // What is no number stays so: the bounds may have lost it.
    x.eq(x).select(is_zero.select(splat(0.0), fraction * scale), x)
}

/// Calls `work` with the number of the first row and the rows of each part, on as many threads as that is worth.
///
/// `cost` is what a value takes, in multiplications.
///
/// # Panics
/// If `out` is not whole rows of `width`.
pub fn share_rows<T: Send>(
    out: &mut [T],
    width: usize,
    cost: usize,
    work: &(dyn Fn(usize, &mut [T]) + Sync),
) {
    assert!(out.len().is_multiple_of(width), "{} values are rows of {width}", out.len());
    let rows = out.len() / width;
    let parts = pool::parts(out.len() * cost).min(rows);
    if parts <= 1 {
        return work(0, out);
    }
    let each = rows.div_ceil(parts);
    let out = Rows { start: out.as_mut_ptr(), count: rows };
    pool::share(rows.div_ceil(each), &|task, _| {
        let first = task * each;
        let rows = each.min(out.count() - first);
        // SAFETY: no two tasks have a row in common, and all lie in the slice that is borrowed meanwhile.
        work(first, unsafe { std::slice::from_raw_parts_mut(out.row(first, width), rows * width) });
    });
}

/// Rows of which each task takes its own.
struct Rows<T> {
    start: *mut T,
    count: usize,
}

// SAFETY: see `share_rows`; values of these types may go to other threads.
unsafe impl<T: Send> Sync for Rows<T> {}

impl<T> Rows<T> {
    fn count(&self) -> usize {
        self.count
    }

    /// # Safety
    /// There must be such a row.
    unsafe fn row(&self, row: usize, width: usize) -> *mut T {
        // SAFETY: as the caller's.
        unsafe { self.start.add(row * width) }
    }
}

#[cfg(test)]
mod tests;
