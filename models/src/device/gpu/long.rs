//! The launches of passes over many rows: those of a prompt, and the steps that encoders share with it.

use std::ops::Range;

use cubecl::prelude::*;

use super::kernels::Heads;
use super::launch::{Buffer, Launcher, Sizes, Weights};
use super::plan::{LONG_ROWS, Plan};
use super::stored::Matrix;
use super::tiled::{
    self, Activation, AttentionLayout, BLOCK_STRIDE, Ending, KEYS, NORM_UNITS, QUERIES, ROW_UNITS, SIDE, TILE,
};

impl Launcher {
    /// Runs layers over many rows of each sequence in place: nine launches a layer, bound by arithmetic.
    ///
    /// # Shapes
    /// - x: `[rows, hidden]`
    pub(super) fn run_long(
        &self,
        weights: &Weights,
        layers: Range<usize>,
        caches: &[Buffer],
        plan: &Plan,
        x: &Buffer,
    ) {
        let Sizes { inner, heads, .. } = weights.sizes;
        let Heads { queries, keys, width } = heads;
        let rows = plan.rows();
        let blocks = self.upload_words(&plan.blocks());
        let num_keys = plan.keys();
        let plan = plan.upload(self);
        let buffer = |columns: usize| self.empty(rows * columns);
        let (qkv, q, attended) =
            (buffer((queries + 2 * keys) * width), buffer(queries * width), buffer(queries * width));
        let (gate_up, activated) = (buffer(2 * inner), buffer(inner));
        let plain = Ending { adds: false, activation: Activation::None };
        let adding = Ending { adds: true, ..plain };
        let layout = AttentionLayout {
            queries,
            keys,
            vectors: width / 4,
            query_stride: queries * width / 4,
            key_stride: keys * width / 2,
            keys_at: 0,
            values_at: keys * width / 4,
            causal: true,
            masked: false,
        };
        let across = |columns: usize| CubeCount::Static(columns.div_ceil(ROW_UNITS) as u32, rows as u32, 1);
        let units = CubeDim::new_1d(ROW_UNITS as u32);
        for (layer, cache) in weights.layers[layers].iter().zip(caches) {
            let normed = self.rms_norm(x, &layer.input_norm, weights.sizes.eps);
            self.multiply_tiles(&normed, &layer.qkv, None, &qkv, plain);
            // SAFETY: the kernel stays inside buffers of the documented shapes, which these are.
            unsafe {
                tiled::rotate::launch_unchecked(
                    self.client(),
                    across((queries + 2 * keys) * width / 2),
                    units,
                    qkv.argument(),
                    weights.rotary.argument(),
                    plan.argument(),
                    q.argument(),
                    cache.argument(),
                    heads,
                );
            }
            self.attend_blocks(&q, cache, &weights.norm, &blocks, &attended, num_keys, layout);
            self.multiply_tiles(&attended, &layer.output, None, x, adding);
            let normed = self.rms_norm(x, &layer.inner_norm, weights.sizes.eps);
            self.multiply_tiles(&normed, &layer.gate_up, None, &gate_up, plain);
            // SAFETY: as above.
            unsafe {
                tiled::swiglu::launch_unchecked(
                    self.client(),
                    across(inner),
                    units,
                    gate_up.argument(),
                    activated.argument(),
                    inner as u32,
                );
            }
            self.multiply_tiles(&activated, &layer.down, None, x, adding);
        }
    }

    /// Attention of blocks of queries, `keys` positions at most.
    ///
    /// # Shapes
    /// - mask: `[keys]`, of any values where the layout says that there is none; the rest as the layout says
    #[expect(clippy::too_many_arguments, reason = "they are the kernel's")]
    pub(super) fn attend_blocks(
        &self,
        q: &Buffer,
        cache: &Buffer,
        mask: &Buffer,
        blocks: &Buffer,
        out: &Buffer,
        keys: usize,
        layout: AttentionLayout,
    ) {
        // SAFETY: the blocks name rows of these buffers.
        unsafe {
            tiled::attend_blocks::launch_unchecked(
                self.client(),
                CubeCount::Static(layout.queries as u32, (blocks.len() / BLOCK_STRIDE) as u32, 1),
                CubeDim::new_1d(QUERIES as u32),
                q.vectors(),
                cache.vectors(),
                mask.argument(),
                blocks.argument(),
                out.vectors(),
                keys.div_ceil(KEYS) as u32,
                1.0 / ((layout.vectors * 4) as f32).sqrt(),
                layout,
            );
        }
    }

    /// `x W^T` as suits the number of rows; shapes as [`Self::multiply`] has them.
    pub(super) fn multiply_any(&self, x: &Buffer, weights: &Matrix) -> Buffer {
        let rows = x.len() / weights.inputs;
        if rows < LONG_ROWS {
            return self.multiply(x, weights);
        }
        let out = self.empty(rows * weights.outputs);
        let plain = Ending { adds: false, activation: Activation::None };
        self.multiply_tiles(x, weights, None, &out, plain);
        out
    }

    /// A dense layer over many rows: `x W^T + b`, and what comes behind.
    ///
    /// # Shapes
    /// - x: `[rows, inputs]`; bias: `[outputs]`; out: `[rows, outputs]`
    pub(super) fn multiply_tiles(
        &self,
        x: &Buffer,
        weights: &Matrix,
        bias: Option<&Buffer>,
        out: &Buffer,
        ending: Ending,
    ) {
        let Matrix { inputs, outputs, packing, .. } = *weights;
        let rows = x.len() / inputs;
        assert_eq!(
            (out.len(), bias.map_or(outputs, Buffer::len)),
            (rows * outputs, outputs),
            "a dense layer's"
        );
        let cubes = |count: usize| count.div_ceil(TILE) as u32;
        // SAFETY: the kernel stays inside buffers of these shapes.
        unsafe {
            tiled::multiply_tiles::launch_unchecked(
                self.client(),
                CubeCount::Static(cubes(outputs), cubes(rows), 1),
                CubeDim::new_2d(SIDE as u32, SIDE as u32),
                x.vectors(),
                weights.argument(),
                bias.unwrap_or(x).argument(),
                out.argument(),
                rows as u32,
                outputs as u32,
                (inputs / 4) as u32,
                bias.is_some(),
                ending,
                packing,
            );
        }
    }

    /// Layer norm of rows.
    ///
    /// # Shapes
    /// - x, out: `[rows, size]`; weight, bias: `[size]`
    pub(super) fn layer_norm(&self, x: &Buffer, weight: &Buffer, bias: &Buffer, eps: f32, out: &Buffer) {
        let size = weight.len();
        assert_eq!(x.len(), out.len(), "a norm's sizes");
        // SAFETY: a cube for each row of x.
        unsafe {
            tiled::layer_norm::launch_unchecked(
                self.client(),
                CubeCount::Static((x.len() / size) as u32, 1, 1),
                CubeDim::new_1d(NORM_UNITS as u32),
                x.vectors(),
                weight.vectors(),
                bias.vectors(),
                out.vectors(),
                eps,
                size / 4,
            );
        }
    }
}
