//! The kernels of a decoder pass, for a few rows at a time: dense layers with what stands around them, and attention.
//!
//! On a GPU a step costs its dispatches, not its arithmetic, so norm, product, rotation, activation and residual are
//! one kernel where they touch the same rows. Lengths and positions are read from a buffer: no kernel is compiled for
//! a length. Only what WebGPU has everywhere is required; subgroups are used where all of them have 32 lanes.
//!
//! The plan of a pass is `u32`s: how many rows there are and three words of padding, then four words for each row:
//! its position, where its keys and values go in the cache, where its sequence begins there, and padding.

use cubecl::prelude::*;

use super::stored::{Packing, Word, row_of, scale_of, scaled, unpacked, vector_at, words_of};

/// Units that share a dot product.
pub(crate) const LANES: usize = 32;
/// Dot products of a cube that run side by side.
pub(crate) const TEAMS: usize = 4;
/// Units of an attention cube.
pub(crate) const ATTENTION_UNITS: usize = 128;
/// Keys that an attention cube scores before it adds their values.
pub(crate) const KEY_TILE: usize = 512;
/// Words before the first row of a plan, and words of each row.
pub(crate) const PLAN_STRIDE: usize = 4;

type Vec4 = Vector<f32, Const<4>>;

/// Which pairs of weight rows a cube multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Product {
    /// Width of a row, in vectors of four.
    pub(crate) vectors: usize,
    /// Rows of the input that run together.
    pub(crate) rows: usize,
    /// Whether the input is normalised first.
    pub(crate) normed: bool,
    /// Whether sums go through subgroups.
    pub(crate) planes: bool,
    /// How the weights are stored.
    pub(crate) packing: Packing,
}

impl Product {
    /// Sums that each row has.
    const fn values(&self) -> usize {
        if self.normed { 3 } else { 2 }
    }

    /// Whether the last word of a row is not full.
    const fn is_ragged(&self) -> bool {
        !self.vectors.is_multiple_of(self.packing.vectors())
    }
}

/// Sizes of attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Heads {
    /// Query heads.
    pub(crate) queries: usize,
    /// Key heads.
    pub(crate) keys: usize,
    /// Width of a head.
    pub(crate) width: usize,
}

/// Both dot products of each row, and its sum of squares where it is normed: `[first, second, squares]` of row 0, then
/// of row 1.
///
/// Every unit of the cube must come here; the sums are whole in every lane of a team.
#[cube]
fn products(
    x: &[Vec4],
    norm: &[Vec4],
    weights: &[Word],
    first_row: usize,
    last_row: usize,
    first: usize,
    second: usize,
    #[comptime] product: Product,
) -> Array<f32> {
    let lane = UNIT_POS_X as usize;
    let team = UNIT_POS_Y as usize;
    let vectors = comptime!(product.vectors);
    let rows = comptime!(product.rows);
    let normed = comptime!(product.normed);
    let values = comptime!(product.values());
    let mut sums = Array::<Vec4>::new(comptime!(rows * product.values()));
    #[unroll]
    for index in 0..comptime!(rows * product.values()) {
        sums[index] = Vec4::new(0.0);
    }
    let packing = comptime!(product.packing);
    let each = comptime!(product.packing.vectors());
    let words = words_of(vectors, packing);
    let (first, second) = (first * row_of(words, packing), second * row_of(words, packing));
    let mut word = lane;
    while word < words {
        let (first_word, second_word) = (weights[first + word], weights[second + word]);
        let first_scale = scale_of(weights, first, words, word, packing);
        let second_scale = scale_of(weights, second, words, word, packing);
        #[unroll]
        for part in 0..each {
            let first_weight = scaled(unpacked(first_word, part, packing), first_scale, packing);
            let second_weight = scaled(unpacked(second_word, part, packing), second_scale, packing);
            let mut at = word * each + part;
            let is_inside = at < vectors;
            if comptime!(product.is_ragged()) {
                at = clamp_max(at, vectors - 1);
            }
            #[unroll]
            for row in 0..rows {
                let mut plain = x[clamp_max(first_row + row, last_row) * vectors + at];
                if comptime!(product.is_ragged()) {
                    plain = select(is_inside, plain, Vec4::new(0.0));
                }
                if normed {
                    let scaled = plain * norm[at];
                    sums[row * values] += scaled * first_weight;
                    sums[row * values + 1] += scaled * second_weight;
                    sums[row * values + 2] += plain * plain;
                } else {
                    sums[row * values] += plain * first_weight;
                    sums[row * values + 1] += plain * second_weight;
                }
            }
        }
        word += comptime!(LANES);
    }
    let mut totals = Array::<f32>::new(comptime!(rows * product.values()));
    let mut shared = Shared::<[f32]>::new_slice(comptime!(if product.planes {
        1
    } else {
        rows * product.values() * LANES * TEAMS
    }));
    #[unroll]
    for index in 0..comptime!(rows * product.values()) {
        let sum = sums[index];
        let sum = sum.extract(0usize) + sum.extract(1usize) + sum.extract(2usize) + sum.extract(3usize);
        if comptime!(product.planes) {
            totals[index] = plane_sum(sum);
        } else {
            shared[(index * TEAMS + team) * LANES + lane] = sum;
        }
    }
    if comptime!(!product.planes) {
        sync_cube();
        #[unroll]
        for step in 0..5usize {
            let half = comptime!(LANES >> (step + 1));
            if lane < half {
                #[unroll]
                for index in 0..comptime!(rows * product.values()) {
                    let at = (index * TEAMS + team) * LANES + lane;
                    let other = shared[at + half];
                    shared[at] += other;
                }
            }
            sync_cube();
        }
        #[unroll]
        for index in 0..comptime!(rows * product.values()) {
            totals[index] = shared[(index * TEAMS + team) * LANES];
        }
    }
    totals
}

#[cube]
pub(crate) fn clamp_max(value: usize, max: usize) -> usize {
    if value < max { value } else { max }
}

/// The factor of RMS norm from a sum of squares.
#[cube]
fn rms_factor(squares: f32, eps: f32, #[comptime] size: usize) -> f32 {
    1.0 / (squares / comptime!(size as f32) + eps).sqrt()
}

/// Norm, query, key and value products, rotation; keys and values go into the cache.
///
/// A team has two columns of a head that rotate together, or two of a value head.
///
/// - weights: `[(queries + 2 * keys) * width, hidden]`; rotary: `[positions, width / 2]` of cosine and sine
/// - q: `[rows, queries * width]`, scaled for attention; cache: `[positions, 2 * keys * width]`
#[cube(launch_unchecked)]
pub(crate) fn project_qkv(
    x: &[Vec4],
    norm: &[Vec4],
    weights: &[Word],
    rotary: &[f32],
    plan: &[u32],
    q: &mut [f32],
    cache: &mut [f32],
    eps: f32,
    #[comptime] product: Product,
    #[comptime] heads: Heads,
) {
    let half = comptime!(heads.width / 2);
    let pairs = comptime!((heads.queries + 2 * heads.keys) * heads.width / 2);
    let pair = CUBE_POS_X as usize * TEAMS + UNIT_POS_Y as usize;
    let inside = clamp_max(pair, comptime!(pairs - 1));
    let head = inside / half;
    let column = inside % half;
    let first = head * comptime!(heads.width) + column;
    let first_row = CUBE_POS_Y as usize * comptime!(product.rows);
    let num_rows = plan[0] as usize;
    let totals = products(x, norm, weights, first_row, num_rows - 1, first, first + half, product);
    #[unroll]
    for offset in 0..comptime!(product.rows) {
        let row = first_row + offset;
        if UNIT_POS_X as usize == offset && row < num_rows && pair < pairs {
            let factor = rms_factor(totals[offset * 3 + 2], eps, comptime!(product.vectors * 4));
            let a = totals[offset * 3] * factor;
            let b = totals[offset * 3 + 1] * factor;
            let words = (row + 1) * PLAN_STRIDE;
            let mut target = row * comptime!(heads.queries * heads.width) + first;
            if head < comptime!(heads.queries + heads.keys) {
                let angle = (plan[words] as usize * half + column) * 2;
                let (cos, sin) = (rotary[angle], rotary[angle + 1]);
                let rotated_a = a * cos - b * sin;
                let rotated_b = b * cos + a * sin;
                if head < comptime!(heads.queries) {
                    let scale = comptime!(1.0 / (heads.width as f32).sqrt());
                    q[target] = rotated_a * scale;
                    q[target + half] = rotated_b * scale;
                } else {
                    target = plan[words + 1] as usize * comptime!(2 * heads.keys * heads.width) + first
                        - comptime!(heads.queries * heads.width);
                    cache[target] = rotated_a;
                    cache[target + half] = rotated_b;
                }
            } else {
                target = plan[words + 1] as usize * comptime!(2 * heads.keys * heads.width) + first
                    - comptime!(heads.queries * heads.width);
                cache[target] = a;
                cache[target + half] = b;
            }
        }
    }
}

/// `out = x W^T`, or added to what is there.
///
/// - weights: `[outputs, inputs]`; out: `[rows, columns]`, of which these are the ones from `first_column` on
#[cube(launch_unchecked)]
pub(crate) fn project(
    x: &[Vec4],
    weights: &[Word],
    out: &mut [f32],
    rows: u32,
    outputs: u32,
    first_column: u32,
    columns: u32,
    #[comptime] product: Product,
    #[comptime] add: bool,
) {
    let outputs = outputs as usize;
    let first = (CUBE_POS_X as usize * TEAMS + UNIT_POS_Y as usize) * 2;
    let first_row = CUBE_POS_Y as usize * comptime!(product.rows);
    let num_rows = rows as usize;
    let last = outputs - 1;
    let totals = products(
        x,
        x,
        weights,
        first_row,
        num_rows - 1,
        clamp_max(first, last),
        clamp_max(first + 1, last),
        product,
    );
    #[unroll]
    for offset in 0..comptime!(product.rows) {
        let row = first_row + offset;
        if UNIT_POS_X as usize == offset && row < num_rows {
            #[unroll]
            for column in 0..2usize {
                if first + column < outputs {
                    let target = row * columns as usize + first_column as usize + first + column;
                    if add {
                        out[target] += totals[offset * 2 + column];
                    } else {
                        out[target] = totals[offset * 2 + column];
                    }
                }
            }
        }
    }
}

/// Norm and SwiGLU: `silu(x G^T) * (x U^T)`.
///
/// - weights: `[2 * outputs, hidden]`, gate above up; out: `[rows, outputs]`
#[cube(launch_unchecked)]
pub(crate) fn project_swiglu(
    x: &[Vec4],
    norm: &[Vec4],
    weights: &[Word],
    out: &mut [f32],
    rows: u32,
    outputs: u32,
    eps: f32,
    #[comptime] product: Product,
) {
    let outputs = outputs as usize;
    let output = CUBE_POS_X as usize * TEAMS + UNIT_POS_Y as usize;
    let inside = clamp_max(output, outputs - 1);
    let first_row = CUBE_POS_Y as usize * comptime!(product.rows);
    let num_rows = rows as usize;
    let totals = products(x, norm, weights, first_row, num_rows - 1, inside, outputs + inside, product);
    #[unroll]
    for offset in 0..comptime!(product.rows) {
        let row = first_row + offset;
        if UNIT_POS_X as usize == offset && row < num_rows && output < outputs {
            let factor = rms_factor(totals[offset * 3 + 2], eps, comptime!(product.vectors * 4));
            let gate = totals[offset * 3] * factor;
            let up = totals[offset * 3 + 1] * factor;
            out[row * outputs + output] = gate / (1.0 + (-gate).exp()) * up;
        }
    }
}

/// Attention of one row's query head to all that its sequence holds, its own position included; a cube for each.
///
/// - q, out: `[rows, queries * width]`; cache: `[positions, 2 * keys * width]`
#[cube(launch_unchecked)]
pub(crate) fn attend(
    q: &[Vec4],
    cache: &[Vec4],
    plan: &[u32],
    out: &mut [Vec4],
    tiles: u32,
    #[comptime] heads: Heads,
) {
    let vectors = comptime!(heads.width / 4);
    let stride = comptime!(heads.keys * heads.width / 2);
    let groups = comptime!(ATTENTION_UNITS / vectors);
    let unit = UNIT_POS_X as usize;
    let head = CUBE_POS_X as usize;
    let row = CUBE_POS_Y as usize;
    let words = (row + 1) * PLAN_STRIDE;
    let keys = plan[words] as usize + 1;
    let start = plan[words + 2] as usize;
    let key_head = head / comptime!(heads.queries / heads.keys);
    let q_at = (row * comptime!(heads.queries) + head) * vectors;
    let group = unit / vectors;
    let column = unit % vectors;
    let mut scores = Shared::<[f32]>::new_slice(KEY_TILE);
    let mut maxima = Shared::<[f32]>::new_slice(ATTENTION_UNITS);
    let mut highest = f32::new(-1e30);
    let mut weight_sum = f32::new(0.0);
    let mut sum = Vec4::new(0.0);
    // As many tiles for every row: whoever waits at a barrier must know that all others come there.
    for index in 0..tiles as usize {
        let tile = index * KEY_TILE;
        let count = clamp_max(keys - clamp_max(tile, keys), KEY_TILE);
        let mut own_highest = f32::new(-1e30);
        let mut key = unit;
        while key < count {
            let at = (start + tile + key) * stride + key_head * vectors;
            let mut dot = Vec4::new(0.0);
            #[unroll]
            for vector in 0..vectors {
                dot += q[q_at + vector] * cache[at + vector];
            }
            let score = dot.extract(0usize) + dot.extract(1usize) + dot.extract(2usize) + dot.extract(3usize);
            scores[key] = score;
            own_highest = max(own_highest, score);
            key += ATTENTION_UNITS;
        }
        maxima[unit] = own_highest;
        sync_cube();
        if unit < comptime!(ATTENTION_UNITS / 8) {
            #[unroll]
            for other in 1..8usize {
                own_highest = max(own_highest, maxima[unit + other * comptime!(ATTENTION_UNITS / 8)]);
            }
            maxima[unit] = own_highest;
        }
        sync_cube();
        let before = highest;
        #[unroll]
        for other in 0..comptime!(ATTENTION_UNITS / 8) {
            highest = max(highest, maxima[other]);
        }
        let mut key = unit;
        while key < count {
            scores[key] = (scores[key] - highest).exp();
            key += ATTENTION_UNITS;
        }
        sync_cube();
        let rescale = (before - highest).exp();
        weight_sum *= rescale;
        sum *= Vec4::new(rescale);
        if group < groups {
            let mut key = group;
            while key < count {
                let at =
                    (start + tile + key) * stride + (comptime!(heads.keys) + key_head) * vectors + column;
                let weight = scores[key];
                weight_sum += weight;
                sum += Vec4::new(weight) * cache[at];
                key += groups;
            }
        }
        sync_cube();
    }
    let mut sums = Shared::<[Vec4]>::new_slice(ATTENTION_UNITS);
    sums[unit] = sum;
    maxima[unit] = weight_sum;
    sync_cube();
    if group == 0 {
        #[unroll]
        for other in 1..groups {
            sum += sums[other * vectors + unit];
            weight_sum += maxima[other * vectors];
        }
        out[q_at + unit] = sum / Vec4::new(weight_sum);
    }
}

/// Copies vectors to a place in another buffer.
#[cube(launch_unchecked)]
pub(crate) fn copy(from: &[Vec4], to: &mut [Vec4], from_at: u32, to_at: u32, count: u32) {
    let at = (CUBE_POS * CUBE_DIM as usize) + UNIT_POS as usize;
    if at < count as usize {
        to[to_at as usize + at] = from[from_at as usize + at];
    }
}

/// Copies vectors to another place of their buffer.
#[cube(launch_unchecked)]
pub(crate) fn copy_within(values: &mut [Vec4], from: u32, to: u32, count: u32) {
    let at = (CUBE_POS * CUBE_DIM as usize) + UNIT_POS as usize;
    if at < count as usize {
        values[to as usize + at] = values[from as usize + at];
    }
}

/// Rows of the embedding table that are in this part of it, `first_row` and so many behind it; a cube for each id.
#[cube(launch_unchecked)]
pub(crate) fn embed(
    ids: &[i32],
    table: &[Word],
    out: &mut [Vec4],
    first_row: u32,
    rows: u32,
    #[comptime] vectors: usize,
    #[comptime] packing: Packing,
) {
    let row = CUBE_POS_X as usize;
    let id = ids[row] as u32;
    let words = words_of(vectors, packing);
    if id >= first_row && id < first_row + rows {
        let from = (id - first_row) as usize * row_of(words, packing);
        let mut at = UNIT_POS_X as usize;
        while at < vectors {
            out[row * vectors + at] = vector_at(table, from, words, at, packing);
            at += comptime!(LANES);
        }
    }
}

/// RMS norm; a cube for each row.
#[cube(launch_unchecked)]
pub(crate) fn rms_norm(x: &[Vec4], norm: &[Vec4], out: &mut [Vec4], eps: f32, #[comptime] vectors: usize) {
    let first = CUBE_POS_X as usize * vectors;
    let lane = UNIT_POS_X as usize;
    let mut shared = Shared::<[f32]>::new_slice(LANES);
    let mut squares = Vec4::new(0.0);
    let mut at = lane;
    while at < vectors {
        let value = x[first + at];
        squares += value * value;
        at += comptime!(LANES);
    }
    shared[lane] =
        squares.extract(0usize) + squares.extract(1usize) + squares.extract(2usize) + squares.extract(3usize);
    sync_cube();
    let mut total = f32::new(0.0);
    #[unroll]
    for other in 0..LANES {
        total += shared[other];
    }
    let factor = Vec4::new(rms_factor(total, eps, comptime!(vectors * 4)));
    let mut at = lane;
    while at < vectors {
        out[first + at] = x[first + at] * factor * norm[at];
        at += comptime!(LANES);
    }
}
