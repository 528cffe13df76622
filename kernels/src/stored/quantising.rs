//! How numbers become int8 and q4: some rows on each thread, without a division or a branch for a weight.
//!
//! For q4 a few scales are tried for each group. The steps `q` that weights `w` get under one of them have a best scale of their own,
//! `sum(w q) / sum(q q)` (least squares), and what it leaves of the group's squares is `sum(w w) - sum(w q)^2 / sum(q q)`: so one
//! pass over the group tells how good a try is. The best one is rounded and fitted again until that gains nothing.

use half::f16;

use super::{GROUP, NIBBLE_ZERO};
use crate::pool;

/// The greatest int8 weight; its negative is the least.
const INT8_MOST: f32 = 127.0;
/// Scales that are tried for a group, on each side of the greatest weight's own.
const SCALES_TRIED: i32 = 9;
/// How often the best scale is fitted anew to the steps that it gives.
const REFITS: usize = 3;
/// Adding this to a small number leaves no room for a fraction, so it is rounded, ties to even; its lowest bits are then the number's.
const ROUNDING: f32 = 12_582_912.0;
/// Sums that a vector holds side by side.
const LANES: usize = 8;
/// Operations for a weight, beside which what threads cost each other is little.
const INT8_COST: usize = 4;
const Q4_COST: usize = 64;

/// Adds rows of int8 with their scales.
///
/// # Shapes
/// - rows: `[outputs, inputs]`
pub(super) fn push_int8(rows: &[f32], inputs: usize, steps: &mut Vec<i8>, scales: &mut Vec<f32>) {
    let (steps, scales) = (grown(steps, rows.len()), grown(scales, rows.len() / inputs));
    share(rows, inputs, INT8_COST, (steps, inputs), (scales, 1), &|rows, steps, scales| {
        let rows = rows.chunks_exact(inputs).zip(steps.chunks_exact_mut(inputs)).zip(scales);
        for ((row, steps), scale) in rows {
            *scale = int8_scale(row);
            let inverse = 1.0 / *scale;
            for (step, weight) in steps.iter_mut().zip(row) {
                *step = (weight * inverse + ROUNDING).to_bits() as i8;
            }
        }
    });
}

/// Adds rows of q4 with their groups' scales.
///
/// # Shapes
/// - rows: `[outputs, inputs]`
pub(super) fn push_q4(rows: &[f32], inputs: usize, nibbles: &mut Vec<u8>, scales: &mut Vec<f16>) {
    let groups = inputs.div_ceil(GROUP);
    let (nibbles, scales) = (grown(nibbles, rows.len() / 2), grown(scales, rows.len() / inputs * groups));
    let (nibbles, scales) = ((nibbles, inputs / 2), (scales, groups));
    share(rows, inputs, Q4_COST, nibbles, scales, &|rows, nibbles, scales| {
        let groups = rows.chunks_exact(inputs).flat_map(|row| row.chunks(GROUP));
        let nibbles = nibbles.chunks_exact_mut(inputs / 2).flat_map(|row| row.chunks_mut(GROUP / 2));
        for ((group, nibbles), scale) in groups.zip(nibbles).zip(scales) {
            // What is missing in a short group is zero, which no scale has trouble with.
            let mut whole = [0.0; GROUP];
            whole[..group.len()].copy_from_slice(group);
            *scale = q4_scale(&whole);
            let inverse = inverse_of(*scale);
            for (byte, pair) in nibbles.iter_mut().zip(whole.as_chunks::<2>().0) {
                let [low, high] = pair.map(|weight| (q4_step(weight, inverse) + NIBBLE_ZERO) as u8);
                *byte = low | high << 4;
            }
        }
    });
}

/// Makes room for so many more values, and gives it.
fn grown<T: Copy + Default>(values: &mut Vec<T>, more: usize) -> &mut [T] {
    let before = values.len();
    values.resize(before + more, T::default());
    &mut values[before..]
}

/// Calls `work` with some of the rows, and what becomes of them, on as many threads as that is worth. Values of a row stand beside
/// both outputs.
fn share<A: Send, B: Send, W: Fn(&[f32], &mut [A], &mut [B]) + Sync>(
    rows: &[f32],
    inputs: usize,
    cost: usize,
    (first, firsts): (&mut [A], usize),
    (second, seconds): (&mut [B], usize),
    work: &W,
) {
    let count = rows.len() / inputs;
    let each = count.div_ceil(pool::parts(rows.len() * cost).min(count).max(1)).max(1);
    assert!(first.len() == count * firsts && second.len() == count * seconds, "outputs are as long as rows");
    let (first, second) = (Start(first.as_mut_ptr()), Start(second.as_mut_ptr()));
    pool::share(count.div_ceil(each), &|task, _| {
        let (from, rows) = (task * each, &rows[task * each * inputs..count.min((task + 1) * each) * inputs]);
        let count = rows.len() / inputs;
        // SAFETY: no two tasks have a row in common, and all lie in the slices that are borrowed meanwhile.
        unsafe {
            let first = std::slice::from_raw_parts_mut(first.at(from * firsts), count * firsts);
            let second = std::slice::from_raw_parts_mut(second.at(from * seconds), count * seconds);
            work(rows, first, second);
        }
    });
}

/// Where values stand of which each task takes its own.
struct Start<T>(*mut T);

// SAFETY: see `share`; values of these types may go to other threads.
unsafe impl<T: Send> Sync for Start<T> {}

impl<T> Start<T> {
    /// # Safety
    /// There must be a value, or the end of them.
    unsafe fn at(&self, offset: usize) -> *mut T {
        // SAFETY: as the caller's.
        unsafe { self.0.add(offset) }
    }
}

/// What one step of an output's int8 weights stands for.
fn int8_scale(weights: &[f32]) -> f32 {
    let most = weights.iter().fold(0.0_f32, |most, weight| most.max(weight.abs()));
    let scale = most / INT8_MOST;
    // Of what is smaller there is no inverse.
    if scale >= f32::MIN_POSITIVE { scale } else { 1.0 }
}

/// What weights are multiplied with to be steps of a scale; nothing but zeros come of none.
pub(super) fn inverse_of(scale: f16) -> f32 {
    if scale == f16::ZERO { 0.0 } else { 1.0 / scale.to_f32() }
}

/// The nearest step, in -8..=7.
pub(super) fn q4_step(weight: f32, inverse: f32) -> f32 {
    // Comparisons, since what is no number need not be kept here: `clamp` costs twice as much.
    let step = weight * inverse;
    let step = if step > -NIBBLE_ZERO { step } else { -NIBBLE_ZERO };
    let step = if step < NIBBLE_ZERO - 1.0 { step } else { NIBBLE_ZERO - 1.0 };
    (step + ROUNDING) - ROUNDING
}

/// The scale of a group whose steps come nearest to its weights, by the sum of squares.
fn q4_scale(group: &[f32; GROUP]) -> f16 {
    let most =
        group.iter().fold(0.0_f32, |most, weight| if weight.abs() > most.abs() { *weight } else { most });
    // The greatest weight is some eight steps long, on the side that has eight.
    let own = f16::from_f32(-most / NIBBLE_ZERO);
    if own == f16::ZERO {
        return own;
    }
    let (mut gain, mut scale) = (0.0, own.to_f32());
    for tried in -SCALES_TRIED..=SCALES_TRIED {
        let found = fitted(group, -(NIBBLE_ZERO + 0.1 * tried as f32) / most);
        if found.0 > gain {
            (gain, scale) = found;
        }
    }
    for _ in 0..REFITS {
        let found = fitted(group, 1.0 / scale);
        if found.0 <= gain {
            break;
        }
        (gain, scale) = found;
    }
    // Rounding to f16 may cost what little was gained.
    let fitted = f16::from_f32(scale);
    if error(group, fitted) < error(group, own) { fitted } else { own }
}

/// By how much the steps under a scale can lower a group's sum of squares, and the scale that does so.
fn fitted(group: &[f32; GROUP], inverse: f32) -> (f32, f32) {
    let (mut along, mut squares) = ([0.0; LANES], [0.0; LANES]);
    for part in group.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            let step = q4_step(part[lane], inverse);
            along[lane] += part[lane] * step;
            squares[lane] += step * step;
        }
    }
    let (along, squares) = (sum(along), sum(squares));
    if squares > 0.0 { (along * along / squares, along / squares) } else { (0.0, 0.0) }
}

/// The sum of squares of what a scale's steps are off.
fn error(group: &[f32; GROUP], scale: f16) -> f32 {
    let (inverse, scale) = (inverse_of(scale), scale.to_f32());
    let mut squares = [0.0; LANES];
    for part in group.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            let off = part[lane] - q4_step(part[lane], inverse) * scale;
            squares[lane] += off * off;
        }
    }
    sum(squares)
}

/// In halves, as vectors add up.
fn sum(lanes: [f32; LANES]) -> f32 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}
