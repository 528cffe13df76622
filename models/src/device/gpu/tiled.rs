//! The kernels of many rows at once, of encoders and of prompts: dense layers in square tiles, attention in blocks of queries, and what
//! stands between.
//!
//! With many rows a pass is bound by arithmetic, not by its dispatches: what comes from memory is shared by a cube's units, and
//! each of them keeps a square of sums in registers. Shared memory stays within the 16 KiB that WebGPU has everywhere.

use cubecl::prelude::*;

use super::kernels::{Heads, PLAN_STRIDE, clamp_max};
use super::stored::{Packing, Word, row_of, vector_at, words_of};

/// Rows and outputs of a cube's square.
pub(crate) const TILE: usize = 64;
/// Units along its sides.
pub(crate) const SIDE: usize = 16;
/// Rows, and outputs, of each unit.
const EACH: usize = TILE / SIDE;
/// Vectors of each row that lie in shared memory at a time.
const DEPTH: usize = SIDE * SIDE / TILE;
/// Vectors from one row to the next there: one more than it has, so that units read from different banks.
const PITCH: usize = DEPTH + 1;
/// Queries of an attention cube, each a unit's.
pub(crate) const QUERIES: usize = 64;
/// Keys that lie in shared memory at a time.
pub(crate) const KEYS: usize = 16;
/// Units of a cube of what takes each value by itself.
pub(crate) const ROW_UNITS: usize = 128;
/// Units of a layer norm's cube.
pub(crate) const NORM_UNITS: usize = 64;
/// Vectors of the widest head: each unit keeps a query and its sum in registers.
pub(crate) const MAX_HEAD_VECTORS: usize = 20;
/// Words of each block of queries.
pub(crate) const BLOCK_STRIDE: usize = 4;

type Vec4 = Vector<f32, Const<4>>;

/// What becomes of the sums of a dense layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ending {
    /// Whether they are added to what is there.
    pub(crate) adds: bool,
    /// What is made of them before.
    pub(crate) activation: Activation,
}

/// What a value becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Activation {
    /// Itself.
    None,
    Gelu,
    /// The form with a hyperbolic tangent, written with a sigmoid: `0.5 (1 + tanh z) = sigmoid(2 z)`.
    GeluTanh,
}

/// Where attention finds queries, keys and values; strides and places in vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AttentionLayout {
    /// Query heads.
    pub(crate) queries: usize,
    /// Key heads.
    pub(crate) keys: usize,
    /// Width of a head in vectors.
    pub(crate) vectors: usize,
    pub(crate) query_stride: usize,
    pub(crate) key_stride: usize,
    pub(crate) keys_at: usize,
    pub(crate) values_at: usize,
    /// Whether a row sees one key more than the row before it.
    pub(crate) causal: bool,
    /// Whether a mask is added to the scores.
    pub(crate) masked: bool,
}

#[cube]
fn add_up(x: Vec4) -> f32 {
    x.extract(0usize) + x.extract(1usize) + x.extract(2usize) + x.extract(3usize)
}

#[cube]
fn activated(x: f32, #[comptime] activation: Activation) -> f32 {
    match comptime!(activation) {
        Activation::None => x,
        Activation::Gelu => x * 0.5f32 * (1.0f32 + Erf::erf(x * 0.707_106_77f32)),
        Activation::GeluTanh => x / (1.0f32 + (x * (x * x * 0.044_715f32 + 1.0f32) * -1.595_769_2f32).exp()),
    }
}

/// `x W^T`, with what comes behind; without a bias any values may stand for it.
///
/// - x: `[rows, 4 * vectors]`; weights: `[outputs, 4 * vectors]`; bias: `[outputs]`; out: `[rows, outputs]`
#[cube(launch_unchecked)]
pub(crate) fn multiply_tiles(
    x: &[Vec4],
    weights: &[Word],
    bias: &[f32],
    out: &mut [f32],
    rows: u32,
    outputs: u32,
    vectors: u32,
    #[comptime] biased: bool,
    #[comptime] ending: Ending,
    #[comptime] packing: Packing,
) {
    let (rows, outputs, vectors) = (rows as usize, outputs as usize, vectors as usize);
    let unit = UNIT_POS_Y as usize * SIDE + UNIT_POS_X as usize;
    let (column, line) = (UNIT_POS_X as usize, UNIT_POS_Y as usize);
    let first_row = CUBE_POS_Y as usize * TILE;
    let first_output = CUBE_POS_X as usize * TILE;
    let (loaded, depth) = (unit / DEPTH, unit % DEPTH);
    let x_at = clamp_max(first_row + loaded, rows - 1) * vectors + depth;
    let words = words_of(vectors, packing);
    let weights_at = clamp_max(first_output + loaded, outputs - 1) * row_of(words, packing);
    let shared_at = loaded * PITCH + depth;
    let mut shared_x = Shared::<[Vec4]>::new_slice(comptime!(TILE * PITCH));
    let mut shared_weights = Shared::<[Vec4]>::new_slice(comptime!(TILE * PITCH));
    let mut sums = Array::<Vec4>::new(comptime!(EACH * EACH));
    #[unroll]
    for index in 0..comptime!(EACH * EACH) {
        sums[index] = Vec4::new(0.0);
    }
    let mut from = 0usize;
    while from < vectors {
        let is_inside = from + depth < vectors;
        let mut new_x = Vec4::new(0.0);
        let mut new_weights = Vec4::new(0.0);
        if is_inside {
            new_x = x[x_at + from];
            new_weights = vector_at(weights, weights_at, words, from + depth, packing);
        }
        shared_x[shared_at] = new_x;
        shared_weights[shared_at] = new_weights;
        sync_cube();
        #[unroll]
        for at in 0..comptime!(DEPTH) {
            let mut of_x = Array::<Vec4>::new(EACH);
            #[unroll]
            for row in 0..comptime!(EACH) {
                of_x[row] = shared_x[(line + row * SIDE) * PITCH + at];
            }
            #[unroll]
            for output in 0..comptime!(EACH) {
                let weight = shared_weights[(column + output * SIDE) * PITCH + at];
                #[unroll]
                for row in 0..comptime!(EACH) {
                    sums[row * EACH + output] += of_x[row] * weight;
                }
            }
        }
        sync_cube();
        from += comptime!(DEPTH);
    }
    #[unroll]
    for row in 0..comptime!(EACH) {
        #[unroll]
        for output in 0..comptime!(EACH) {
            let at_row = first_row + line + row * SIDE;
            let at_output = first_output + column + output * SIDE;
            if at_row < rows && at_output < outputs {
                let mut sum = add_up(sums[row * EACH + output]);
                if comptime!(biased) {
                    sum += bias[at_output];
                }
                let value = activated(sum, comptime!(ending.activation));
                let target = at_row * outputs + at_output;
                if comptime!(ending.adds) {
                    out[target] += value;
                } else {
                    out[target] = value;
                }
            }
        }
    }
}

/// Attention of blocks of rows; a cube for each block and head.
///
/// - blocks: `[first row, rows, first key, keys that the first row sees]` each
/// - mask: `[keys]`, added to the scores
/// - out: `[rows, queries * width]`
#[cube(launch_unchecked)]
pub(crate) fn attend_blocks(
    q: &[Vec4],
    cache: &[Vec4],
    mask: &[f32],
    blocks: &[u32],
    out: &mut [Vec4],
    tiles: u32,
    scale: f32,
    #[comptime] layout: AttentionLayout,
) {
    let vectors = comptime!(layout.vectors);
    let unit = UNIT_POS_X as usize;
    let head = CUBE_POS_X as usize;
    let words = CUBE_POS_Y as usize * BLOCK_STRIDE;
    let first_row = blocks[words] as usize;
    let rows = blocks[words + 1] as usize;
    let start = blocks[words + 2] as usize;
    let first_keys = blocks[words + 3] as usize;
    let key_head = head / comptime!(layout.queries / layout.keys);
    let inside = clamp_max(unit, rows - 1);
    let mut own_keys = first_keys;
    let mut all_keys = first_keys;
    if comptime!(layout.causal) {
        own_keys += inside;
        all_keys += rows - 1;
    }
    let q_at = (first_row + inside) * comptime!(layout.query_stride) + head * vectors;
    let mut query = Array::<Vec4>::new(vectors);
    let mut sum = Array::<Vec4>::new(vectors);
    #[unroll]
    for at in 0..vectors {
        query[at] = q[q_at + at] * Vec4::new(scale);
        sum[at] = Vec4::new(0.0);
    }
    let mut highest = f32::new(-1e30);
    let mut weight_sum = f32::new(0.0);
    let mut keys = Shared::<[Vec4]>::new_slice(comptime!(KEYS * layout.vectors));
    let mut values = Shared::<[Vec4]>::new_slice(comptime!(KEYS * layout.vectors));
    // As many tiles for every block: whoever waits at a barrier must know that all others come there.
    for tile in 0..tiles as usize {
        let first = tile * KEYS;
        let mut at = unit;
        while at < comptime!(KEYS * layout.vectors) {
            let key = first + at / vectors;
            if key < all_keys {
                let from = (start + key) * comptime!(layout.key_stride) + key_head * vectors + at % vectors;
                keys[at] = cache[from + comptime!(layout.keys_at)];
                values[at] = cache[from + comptime!(layout.values_at)];
            }
            at += comptime!(QUERIES);
        }
        sync_cube();
        if first < own_keys {
            let mut scores = Array::<f32>::new(KEYS);
            let before = highest;
            #[unroll]
            for key in 0..comptime!(KEYS) {
                let mut dot = Vec4::new(0.0);
                #[unroll]
                for at in 0..vectors {
                    dot += query[at] * keys[key * vectors + at];
                }
                let mut score = add_up(dot);
                if comptime!(layout.masked) {
                    score += mask[clamp_max(first + key, own_keys - 1)];
                }
                if first + key >= own_keys {
                    score = f32::new(-1e30);
                }
                scores[key] = score;
                highest = max(highest, score);
            }
            let rescale = (before - highest).exp();
            weight_sum *= rescale;
            #[unroll]
            for at in 0..vectors {
                sum[at] *= Vec4::new(rescale);
            }
            #[unroll]
            for key in 0..comptime!(KEYS) {
                let mut weight = f32::new(0.0);
                if first + key < own_keys {
                    weight = (scores[key] - highest).exp();
                }
                weight_sum += weight;
                #[unroll]
                for at in 0..vectors {
                    // Beyond the last key lies what was never written.
                    if first + key < own_keys {
                        sum[at] += Vec4::new(weight) * values[key * vectors + at];
                    }
                }
            }
        }
        sync_cube();
    }
    if unit < rows {
        let out_at = ((first_row + unit) * comptime!(layout.queries) + head) * vectors;
        #[unroll]
        for at in 0..vectors {
            out[out_at + at] = sum[at] / Vec4::new(weight_sum);
        }
    }
}

/// Rotates queries and keys that were projected before, and puts keys and values into the cache; a unit for each pair of columns
/// that rotate together, a row of cubes for each row.
///
/// - qkv: `[rows, (queries + 2 * keys) * width]`; rotary, q, cache: as [`project_qkv`](super::kernels::project_qkv) has them
#[cube(launch_unchecked)]
pub(crate) fn rotate(
    qkv: &[f32],
    rotary: &[f32],
    plan: &[u32],
    q: &mut [f32],
    cache: &mut [f32],
    #[comptime] heads: Heads,
) {
    let half = comptime!(heads.width / 2);
    let pair = CUBE_POS_X as usize * ROW_UNITS + UNIT_POS_X as usize;
    let row = CUBE_POS_Y as usize;
    if pair < comptime!((heads.queries + 2 * heads.keys) * heads.width / 2) {
        let head = pair / half;
        let column = pair % half;
        let first = head * comptime!(heads.width) + column;
        let words = (row + 1) * PLAN_STRIDE;
        let from = row * comptime!((heads.queries + 2 * heads.keys) * heads.width) + first;
        let (a, b) = (qkv[from], qkv[from + half]);
        let angle = (plan[words] as usize * half + column) * 2;
        let (cos, sin) = (rotary[angle], rotary[angle + 1]);
        if head < comptime!(heads.queries) {
            let target = row * comptime!(heads.queries * heads.width) + first;
            q[target] = a * cos - b * sin;
            q[target + half] = b * cos + a * sin;
        } else {
            let target = plan[words + 1] as usize * comptime!(2 * heads.keys * heads.width) + first
                - comptime!(heads.queries * heads.width);
            if head < comptime!(heads.queries + heads.keys) {
                cache[target] = a * cos - b * sin;
                cache[target + half] = b * cos + a * sin;
            } else {
                cache[target] = a;
                cache[target + half] = b;
            }
        }
    }
}

/// `silu(gate) * up` of each row, a unit for each value.
///
/// - gate_up: `[rows, 2 * outputs]`; out: `[rows, outputs]`
#[cube(launch_unchecked)]
pub(crate) fn swiglu(gate_up: &[f32], out: &mut [f32], outputs: u32) {
    let outputs = outputs as usize;
    let output = CUBE_POS_X as usize * ROW_UNITS + UNIT_POS_X as usize;
    let row = CUBE_POS_Y as usize;
    if output < outputs {
        let gate = gate_up[row * 2 * outputs + output];
        let up = gate_up[row * 2 * outputs + outputs + output];
        out[row * outputs + output] = gate / (1.0 + (-gate).exp()) * up;
    }
}

/// Layer norm; a cube for each row.
#[cube(launch_unchecked)]
pub(crate) fn layer_norm(
    x: &[Vec4],
    weight: &[Vec4],
    bias: &[Vec4],
    out: &mut [Vec4],
    eps: f32,
    #[comptime] vectors: usize,
) {
    let first = CUBE_POS_X as usize * vectors;
    let unit = UNIT_POS_X as usize;
    let mut shared = Shared::<[f32]>::new_slice(NORM_UNITS);
    let mut sum = Vec4::new(0.0);
    let mut at = unit;
    while at < vectors {
        sum += x[first + at];
        at += comptime!(NORM_UNITS);
    }
    shared[unit] = add_up(sum);
    sync_cube();
    let mut total = f32::new(0.0);
    #[unroll]
    for other in 0..NORM_UNITS {
        total += shared[other];
    }
    let mean = Vec4::new(total / comptime!((vectors * 4) as f32));
    sync_cube();
    let mut squares = Vec4::new(0.0);
    let mut at = unit;
    while at < vectors {
        let value = x[first + at] - mean;
        squares += value * value;
        at += comptime!(NORM_UNITS);
    }
    shared[unit] = add_up(squares);
    sync_cube();
    let mut total = f32::new(0.0);
    #[unroll]
    for other in 0..NORM_UNITS {
        total += shared[other];
    }
    let factor = Vec4::new(1.0 / (total / comptime!((vectors * 4) as f32) + eps).sqrt());
    let mut at = unit;
    while at < vectors {
        out[first + at] = (x[first + at] - mean) * factor * weight[at] + bias[at];
        at += comptime!(NORM_UNITS);
    }
}
