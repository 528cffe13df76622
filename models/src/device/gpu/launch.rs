//! A decoder's weights as the kernels read them, and the launches of a pass.
//!
//! It knows buffers and sizes, nothing of tensors, tokens or sessions. Five launches a layer for the few rows of a step: the dense
//! layers take up to [`MAX_ROWS`] of them together and repeat for more. Prompts run in tiles (`long.rs`).

use std::ops::Range;

use cubecl::client::Client;
use cubecl::prelude::*;
use cubecl::server::Handle;

use super::kernels::{self, ATTENTION_UNITS, Heads, KEY_TILE, LANES, Product, TEAMS};
use super::plan::Plan;
use super::stored::{Matrix, Table};
use super::tiled::MAX_HEAD_VECTORS;

/// Rows that share a read of the weights.
const MAX_ROWS: usize = 8;
/// Cubes that a device takes in one dimension at least.
const MAX_CUBES: usize = 32_768;
const COPY_UNITS: usize = 64;
const FLOAT_BYTES: usize = size_of::<f32>();

/// The sizes of a decoder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sizes {
    pub(crate) hidden: usize,
    pub(crate) inner: usize,
    pub(crate) vocabulary: usize,
    pub(crate) heads: Heads,
    pub(crate) eps: f32,
}

/// Values of 32 bits on the device.
#[derive(Debug, Clone)]
pub(crate) struct Buffer {
    handle: Handle,
    len: usize,
}

/// The weights of one layer.
#[derive(Debug)]
pub(crate) struct LayerWeights {
    /// `[hidden]`
    pub(crate) input_norm: Buffer,
    /// `[(queries + 2 * keys) * width, hidden]`: query, key and value rows.
    pub(crate) qkv: Matrix,
    /// `[hidden, queries * width]`
    pub(crate) output: Matrix,
    /// `[hidden]`
    pub(crate) inner_norm: Buffer,
    /// `[2 * inner, hidden]`: gate and up rows.
    pub(crate) gate_up: Matrix,
    /// `[hidden, inner]`
    pub(crate) down: Matrix,
}

/// The weights of a decoder.
#[derive(Debug)]
pub(crate) struct Weights {
    pub(crate) sizes: Sizes,
    /// `[vocabulary, hidden]`
    pub(crate) table: Table,
    pub(crate) layers: Vec<LayerWeights>,
    /// `[hidden]`
    pub(crate) norm: Buffer,
    /// `[vocabulary, hidden]`
    pub(crate) head: Table,
    /// `[positions, width / 2, 2]`: cosine and sine.
    pub(crate) rotary: Buffer,
}

impl Weights {
    /// Positions that have a rotation.
    pub(crate) fn num_positions(&self) -> usize {
        self.rotary.len / self.sizes.heads.width
    }
}

/// A queue of launches on one device.
#[derive(Clone)]
pub(crate) struct Launcher {
    client: Client,
    /// Whether every subgroup has as many lanes as a dot product has units.
    planes: bool,
}

impl std::fmt::Debug for Launcher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Launcher[{}]", self.client.name())
    }
}

/// Cubes and units that copy `len` values.
fn copy_cubes(len: usize) -> (CubeCount, CubeDim) {
    let cubes = (len / 4).div_ceil(COPY_UNITS).max(1);
    let across = cubes.min(MAX_CUBES);
    let count = CubeCount::Static(across as u32, cubes.div_ceil(across) as u32, 1);
    (count, CubeDim::new_1d(COPY_UNITS as u32))
}

impl Buffer {
    /// A buffer of `len` values.
    pub(crate) fn new(handle: Handle, len: usize) -> Self {
        Self { handle, len }
    }

    /// The device's name for it.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn argument(&self) -> BufferArg {
        // SAFETY: `len` values are what the handle was made for.
        unsafe { BufferArg::from_raw_parts(self.handle.clone(), self.len) }
    }

    pub(super) fn vectors(&self) -> BufferArg {
        // SAFETY: as above, four values a vector; all sizes are multiples of four.
        unsafe { BufferArg::from_raw_parts(self.handle.clone(), self.len / 4) }
    }
}

impl Launcher {
    pub(crate) fn new(client: Client) -> Self {
        let properties = client.properties();
        let planes = client.features().plane.contains(cubecl::features::Plane::Ops)
            && properties.hardware.plane_size_min as usize == LANES
            && properties.hardware.plane_size_max as usize == LANES;
        Self { client, planes }
    }

    /// Room for values, not yet written.
    pub(crate) fn empty(&self, len: usize) -> Buffer {
        Buffer::new(self.client.empty(len * FLOAT_BYTES), len)
    }

    /// Values from host memory.
    pub(crate) fn upload(&self, values: &[f32]) -> Buffer {
        Buffer::new(self.client.create_from_slice(f32::as_bytes(values)), values.len())
    }

    /// Bytes from host memory, a multiple of four.
    pub(super) fn upload_bytes(&self, bytes: &[u8]) -> Buffer {
        Buffer::new(self.client.create_from_slice(bytes), bytes.len() / FLOAT_BYTES)
    }

    /// Bytes that a kernel may see through one binding.
    pub(super) fn binding_bytes(&self) -> usize {
        self.client.properties().memory.max_page_size.try_into().unwrap_or(usize::MAX)
    }

    /// Words from host memory.
    pub(super) fn upload_words(&self, words: &[u32]) -> Buffer {
        Buffer::new(self.client.create_from_slice(u32::as_bytes(words)), words.len())
    }

    /// The queue itself.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    fn product(&self, weights: &Matrix, rows: usize, normed: bool) -> Product {
        let rows = rows.next_power_of_two().min(MAX_ROWS);
        Product { vectors: weights.inputs / 4, rows, normed, planes: self.planes, packing: weights.packing }
    }

    /// Copies the first `len` values of a buffer to another one.
    pub(crate) fn copy(&self, from: &Buffer, to: &Buffer, len: usize) {
        self.copy_part(from, 0, to, 0, len);
    }

    /// Copies `len` values of a buffer to a place in another one.
    fn copy_part(&self, from: &Buffer, from_at: usize, to: &Buffer, to_at: usize, len: usize) {
        assert!(from_at + len <= from.len && to_at + len <= to.len, "{len} values to copy");
        let (count, units) = copy_cubes(len);
        let (from_at, to_at) = ((from_at / 4) as u32, (to_at / 4) as u32);
        // SAFETY: both ends were checked above.
        unsafe {
            let (from, to) = (from.vectors(), to.vectors());
            kernels::copy::launch_unchecked(
                &self.client,
                count,
                units,
                from,
                to,
                from_at,
                to_at,
                (len / 4) as u32,
            );
        }
    }

    /// Copies `len` values of a buffer to another place in it; the places do not overlap.
    pub(crate) fn copy_within(&self, buffer: &Buffer, from: usize, to: usize, len: usize) {
        assert!(from.max(to) + len <= buffer.len, "{len} values to copy from {from} to {to}");
        let (count, units) = copy_cubes(len);
        let (from, to) = ((from / 4) as u32, (to / 4) as u32);
        // SAFETY: both ends were checked above.
        unsafe {
            let values = buffer.vectors();
            kernels::copy_within::launch_unchecked(
                &self.client,
                count,
                units,
                values,
                from,
                to,
                (len / 4) as u32,
            );
        }
    }

    /// Embeddings of tokens; `ids` are `i32`s inside the vocabulary.
    pub(crate) fn embed(&self, table: &Table, ids: &Handle, rows: usize) -> Buffer {
        let hidden = table.inputs();
        let out = self.empty(rows * hidden);
        for (first, part) in &table.parts {
            // SAFETY: a cube for each id, which looks where the table has it.
            unsafe {
                kernels::embed::launch_unchecked(
                    &self.client,
                    CubeCount::Static(rows as u32, 1, 1),
                    CubeDim::new_1d(LANES as u32),
                    BufferArg::from_raw_parts(ids.clone(), rows),
                    part.argument(),
                    out.vectors(),
                    *first as u32,
                    part.outputs as u32,
                    hidden / 4,
                    part.packing,
                );
            }
        }
        out
    }

    /// Runs layers over rows in place, and keeps their keys and values in `caches`, one for each of these layers.
    ///
    /// # Shapes
    /// - x: `[rows, hidden]`
    pub(crate) fn run_layers(
        &self,
        weights: &Weights,
        layers: Range<usize>,
        caches: &[Buffer],
        plan: &Plan,
        x: &Buffer,
    ) {
        let run = |plan: &Plan, x: &Buffer| {
            if plan.is_long() && weights.sizes.heads.width / 4 <= MAX_HEAD_VECTORS {
                self.run_long(weights, layers.clone(), caches, plan, x);
            } else {
                self.run_rows(weights, layers.clone(), caches, plan, x);
            }
        };
        let parts = plan.parts();
        if let [(_, part)] = &parts[..] {
            return run(part, x);
        }
        let hidden = weights.sizes.hidden;
        for (rows, part) in &parts {
            let (at, len) = (rows.start * hidden, rows.len() * hidden);
            let own = self.empty(len);
            self.copy_part(x, at, &own, 0, len);
            run(part, &own);
            self.copy_part(&own, 0, x, at, len);
        }
    }

    /// A few rows of each sequence: five launches a layer.
    fn run_rows(&self, weights: &Weights, layers: Range<usize>, caches: &[Buffer], plan: &Plan, x: &Buffer) {
        let Sizes { hidden, inner, heads, eps, .. } = weights.sizes;
        let (client, rows, plan_keys) = (&self.client, plan.rows(), plan.keys());
        let plan = Plan::upload(plan, self);
        let width = heads.queries * heads.width;
        let qkv_pairs = (heads.queries + 2 * heads.keys) * heads.width / 2;
        let (q, attended) = (self.empty(rows * width), self.empty(rows * width));
        let activated = self.empty(rows * inner);
        let tiles_of_keys = plan_keys.div_ceil(KEY_TILE) as u32;
        let teams = CubeDim::new_2d(LANES as u32, TEAMS as u32);
        let tiles = rows.div_ceil(MAX_ROWS) as u32;
        let cubes = |products: usize| CubeCount::Static(products.div_ceil(TEAMS) as u32, tiles, 1);
        for (layer, cache) in weights.layers[layers].iter().zip(caches) {
            // SAFETY: the kernels stay inside buffers of the documented shapes, which these are.
            unsafe {
                kernels::project_qkv::launch_unchecked(
                    client,
                    cubes(qkv_pairs),
                    teams,
                    x.vectors(),
                    layer.input_norm.vectors(),
                    layer.qkv.argument(),
                    weights.rotary.argument(),
                    plan.argument(),
                    q.argument(),
                    cache.argument(),
                    eps,
                    self.product(&layer.qkv, rows, true),
                    heads,
                );
                kernels::attend::launch_unchecked(
                    client,
                    CubeCount::Static(heads.queries as u32, rows as u32, 1),
                    CubeDim::new_1d(ATTENTION_UNITS as u32),
                    q.vectors(),
                    cache.vectors(),
                    plan.argument(),
                    attended.vectors(),
                    tiles_of_keys,
                    heads,
                );
                kernels::project::launch_unchecked(
                    client,
                    cubes(hidden.div_ceil(2)),
                    teams,
                    attended.vectors(),
                    layer.output.argument(),
                    x.argument(),
                    rows as u32,
                    hidden as u32,
                    0,
                    hidden as u32,
                    self.product(&layer.output, rows, false),
                    true,
                );
                kernels::project_swiglu::launch_unchecked(
                    client,
                    cubes(inner),
                    teams,
                    x.vectors(),
                    layer.inner_norm.vectors(),
                    layer.gate_up.argument(),
                    activated.argument(),
                    rows as u32,
                    inner as u32,
                    eps,
                    self.product(&layer.gate_up, rows, true),
                );
                kernels::project::launch_unchecked(
                    client,
                    cubes(hidden.div_ceil(2)),
                    teams,
                    activated.vectors(),
                    layer.down.argument(),
                    x.argument(),
                    rows as u32,
                    hidden as u32,
                    0,
                    hidden as u32,
                    self.product(&layer.down, rows, false),
                    true,
                );
            }
        }
    }

    /// The final norm: `[rows, hidden]` to the same.
    pub(crate) fn norm(&self, weights: &Weights, x: &Buffer) -> Buffer {
        self.rms_norm(x, &weights.norm, weights.sizes.eps)
    }

    /// RMS norm of rows as wide as the weight.
    pub(super) fn rms_norm(&self, x: &Buffer, weight: &Buffer, eps: f32) -> Buffer {
        let size = weight.len;
        let out = self.empty(x.len);
        // SAFETY: a cube for each row of x.
        unsafe {
            kernels::rms_norm::launch_unchecked(
                &self.client,
                CubeCount::Static((x.len / size) as u32, 1, 1),
                CubeDim::new_1d(LANES as u32),
                x.vectors(),
                weight.vectors(),
                out.vectors(),
                eps,
                size / 4,
            );
        }
        out
    }

    /// Scores of every token: `[rows, hidden]` of normalised values to `[rows, vocabulary]`.
    pub(crate) fn logits(&self, head: &Table, x: &Buffer) -> Buffer {
        let Table { parts, rows: columns } = head;
        let out = self.empty(x.len / head.inputs() * columns);
        for (first, part) in parts {
            self.multiply_into(x, part, &out, *first, *columns);
        }
        out
    }

    /// `x W^T`: `[rows, inputs]` to `[rows, outputs]`.
    pub(crate) fn multiply(&self, x: &Buffer, weights: &Matrix) -> Buffer {
        let out = self.empty(x.len / weights.inputs * weights.outputs);
        self.multiply_into(x, weights, &out, 0, weights.outputs);
        out
    }

    /// As [`Self::multiply`], into some of the columns of `[rows, columns]`.
    fn multiply_into(&self, x: &Buffer, weights: &Matrix, out: &Buffer, first: usize, columns: usize) {
        let (rows, outputs) = (x.len / weights.inputs, weights.outputs);
        assert!(first + outputs <= columns && out.len == rows * columns, "columns of a product");
        let cubes = outputs.div_ceil(2).div_ceil(TEAMS) as u32;
        // SAFETY: the kernel stays inside buffers of the documented shapes, which these are.
        unsafe {
            kernels::project::launch_unchecked(
                &self.client,
                CubeCount::Static(cubes, rows.div_ceil(MAX_ROWS) as u32, 1),
                CubeDim::new_2d(LANES as u32, TEAMS as u32),
                x.vectors(),
                weights.argument(),
                out.argument(),
                rows as u32,
                outputs as u32,
                first as u32,
                columns as u32,
                self.product(weights, rows, false),
                false,
            );
        }
    }
}
