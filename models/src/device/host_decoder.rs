//! The decoder on a CPU: the kernels of [`msao_kernels`] over plain slices, behind one seam of tensors.
//!
//! One path serves prefill, decoding and verification, of one sequence or many. Products that read the same rows are one
//! product, so a layer is five of them with little between, and no tensor is made on the way.

use std::ops::Range;

use burn::backend::Flex;
use burn::tensor::{DType, Float, Shape, Tensor};
use burn_flex::FlexTensor;
use msao_kernels::{Heads, KeyValues, PackedWeight, Sequence, attend, rms_norm, rotate, swiglu};

use super::is_cpu;
use crate::checkpoint::Scope;
use crate::config::TextConfig;
use crate::error::ModelError;
use crate::rope::angles;

/// Layers, final norm and head, packed.
#[derive(Debug)]
pub(crate) struct HostDecoder {
    layers: Vec<Layer>,
    norm: Vec<f32>,
    /// The embedding table, where the head is another one.
    table: Option<PackedWeight>,
    head: PackedWeight,
    /// `[positions, head_dim / 2]`
    cos: Vec<f32>,
    sin: Vec<f32>,
    heads: Heads,
    eps: f32,
}

#[derive(Debug)]
struct Layer {
    input_norm: Vec<f32>,
    /// Queries, keys and values.
    qkv: PackedWeight,
    output: PackedWeight,
    post_attention_norm: Vec<f32>,
    /// Gates and ups.
    gate_up: PackedWeight,
    down: PackedWeight,
}

/// Keys and values of some layers for a batch of sequences.
#[derive(Debug, Clone)]
pub(crate) struct HostCache {
    layers: Vec<KeyValues>,
}

/// The new positions of one cache in a pass.
#[derive(Debug)]
pub(crate) struct HostSegment<'a> {
    pub(crate) cache: &'a mut HostCache,
    /// Sequences of the cache.
    pub(crate) batch: usize,
    /// Positions held before.
    pub(crate) held: usize,
    /// New positions of each sequence.
    pub(crate) rows: usize,
}

impl HostCache {
    /// Bytes of all keys and values, free space included.
    pub(crate) fn bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.bytes() as u64).sum()
    }

    /// A copy of the first positions with room for `capacity`.
    pub(crate) fn prefix(&self, positions: usize, capacity: usize) -> Self {
        Self { layers: self.layers.iter().map(|layer| layer.resized(positions, capacity)).collect() }
    }

    /// Changes the room to `capacity`, layer by layer; the first `positions` stay.
    pub(crate) fn resize(&mut self, positions: usize, capacity: usize) {
        for layer in &mut self.layers {
            *layer = layer.resized(positions, capacity);
        }
    }
}

impl HostDecoder {
    /// Reads the layers; `None` where the device is no CPU.
    ///
    /// `head` is the scope of an untied head, `num_positions` the longest sequence.
    pub(crate) fn load(
        scope: &Scope<'_>,
        config: &TextConfig,
        head: Option<&Scope<'_>>,
        num_positions: usize,
    ) -> Result<Option<Self>, ModelError> {
        if !is_cpu(scope.device()) {
            return Ok(None);
        }
        let shape = [config.vocab_size, config.hidden_size];
        let table = PackedWeight::from_stored(&scope.dense("embed_tokens.weight", &shape)?);
        let head = head.map(|head| head.dense("weight", &shape)).transpose()?;
        let (table, head) = match head {
            Some(head) => (Some(table), PackedWeight::from_stored(&head)),
            None => (None, table),
        };
        let layers = (0..config.num_hidden_layers)
            .map(|index| Layer::load(&scope.child(&format!("layers.{index}")), config))
            .collect::<Result<_, _>>()?;
        let angles = angles(config, num_positions);
        Ok(Some(Self {
            layers,
            norm: scope.values("norm.weight", &[config.hidden_size])?,
            table,
            head,
            cos: angles.iter().map(|angle| angle.cos()).collect(),
            sin: angles.iter().map(|angle| angle.sin()).collect(),
            heads: Heads {
                queries: config.num_attention_heads,
                keys: config.num_key_value_heads,
                head_dim: config.head_dim(),
            },
            eps: config.rms_norm_eps as f32,
        }))
    }

    /// Looks tokens up in the embedding table.
    ///
    /// # Shapes
    /// - ids: `[batch][positions]`; output: `[batch, positions, hidden]`
    pub(crate) fn embed(&self, ids: &[Vec<u32>]) -> Tensor<3> {
        let table = self.table.as_ref().unwrap_or(&self.head);
        let (positions, width) = (ids.first().map_or(0, Vec::len), table.in_features());
        let mut out = FlexTensor::empty(Shape::from([ids.len(), positions, width]), DType::F32);
        let rows = out.storage_mut::<f32>().chunks_exact_mut(width);
        for (id, row) in ids.iter().flatten().zip(rows) {
            table.read_row(*id as usize, row);
        }
        Tensor::<3, Float>::from_primitive::<Flex>(out)
    }

    /// An empty cache of so many layers.
    pub(crate) fn new_cache(&self, layers: usize, batch: usize, capacity: usize) -> HostCache {
        let layer = || KeyValues::new(batch * self.heads.keys, self.heads.head_dim, capacity);
        HostCache { layers: (0..layers).map(|_| layer()).collect() }
    }

    /// Bytes of such a cache.
    pub(crate) fn kv_bytes(&self, layers: usize, batch: usize, capacity: usize) -> u64 {
        (layers * KeyValues::bytes_of(batch * self.heads.keys, self.heads.head_dim, capacity)) as u64
    }

    /// Runs some of the layers, and the final norm behind the last one.
    ///
    /// # Shapes
    /// - hidden, output: as of [`Decoder::forward_packed`](crate::decoder::Decoder::forward_packed)
    pub(crate) fn forward(
        &self,
        hidden: Tensor<3>,
        segments: &mut [HostSegment<'_>],
        layers: Range<usize>,
    ) -> Tensor<3> {
        let [batch, positions, width] = hidden.dims();
        let rows = batch * positions;
        let total: usize = segments.iter().map(|segment| segment.batch * segment.rows).sum();
        assert_eq!(rows, total, "the segments' rows are those of the pass");
        let mut x = values_of(hidden);
        let mut buffers = Buffers::new(&self.layers[layers.start], rows);
        for (index, layer) in self.layers[layers.clone()].iter().enumerate() {
            self.run_layer(layer, index, &mut x, segments, &mut buffers);
        }
        let mut out = FlexTensor::empty(Shape::from([batch, positions, width]), DType::F32);
        let target: &mut [f32] = out.storage_mut();
        if layers.end == self.layers.len() {
            rms_norm(&x, &self.norm, self.eps, target);
        } else {
            target.copy_from_slice(&x);
        }
        Tensor::<3, Float>::from_primitive::<Flex>(out)
    }

    /// As [`Self::forward`] over all layers, for the last row alone of one sequence: the last layer has of the others their keys
    /// and values only.
    ///
    /// # Shapes
    /// - hidden: `[1, positions, hidden]`; output: `[1, 1, hidden]`
    pub(crate) fn forward_last(&self, hidden: Tensor<3>, segments: &mut [HostSegment<'_>]) -> Tensor<3> {
        let [_, rows, width] = hidden.dims();
        let (last, before) = self.layers.split_last().expect("a decoder has layers");
        let mut x = values_of(hidden);
        let mut buffers = Buffers::new(last, rows);
        for (index, layer) in before.iter().enumerate() {
            self.run_layer(layer, index, &mut x, segments, &mut buffers);
        }
        rms_norm(&x, &last.input_norm, self.eps, &mut buffers.normed);
        last.qkv.product(&buffers.normed, &mut buffers.qkv);
        self.keep(before.len(), &mut buffers.qkv, segments);
        let qkv = &buffers.qkv[(rows - 1) * last.qkv.out_features()..];
        let mut rest = Buffers::new(last, 1);
        let row: Vec<HostSegment<'_>> = segments
            .iter_mut()
            .map(|HostSegment { cache, batch, held, rows }| HostSegment {
                cache,
                batch: *batch,
                held: *held + *rows - 1,
                rows: 1,
            })
            .collect();
        self.attend(before.len(), qkv, &row, &mut rest.attended);
        let x = &mut x[(rows - 1) * width..];
        self.finish_layer(last, x, &mut rest);
        let mut out = FlexTensor::empty(Shape::from([1, 1, width]), DType::F32);
        rms_norm(x, &self.norm, self.eps, out.storage_mut());
        Tensor::<3, Float>::from_primitive::<Flex>(out)
    }

    /// Scores of every token of the vocabulary.
    ///
    /// # Shapes
    /// - hidden: `[batch, positions, hidden]`; output: `[batch, positions, vocabulary]`
    pub(crate) fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        let [batch, positions, _] = hidden.dims();
        let mut out =
            FlexTensor::empty(Shape::from([batch, positions, self.head.out_features()]), DType::F32);
        self.head.product(&values_of(hidden), out.storage_mut());
        Tensor::<3, Float>::from_primitive::<Flex>(out)
    }

    fn run_layer(
        &self,
        layer: &Layer,
        index: usize,
        x: &mut [f32],
        segments: &mut [HostSegment<'_>],
        buffers: &mut Buffers,
    ) {
        let Buffers { normed, qkv, attended, .. } = buffers;
        rms_norm(x, &layer.input_norm, self.eps, normed);
        layer.qkv.product(normed, qkv);
        self.keep(index, qkv, segments);
        self.attend(index, qkv, segments, attended);
        self.finish_layer(layer, x, buffers);
    }

    /// What follows attention, for its rows.
    fn finish_layer(&self, layer: &Layer, x: &mut [f32], buffers: &mut Buffers) {
        let Buffers { normed, attended, gate_up, inner, .. } = buffers;
        layer.output.add_product(attended, x);
        rms_norm(x, &layer.post_attention_norm, self.eps, normed);
        layer.gate_up.product(normed, gate_up);
        swiglu(gate_up, layer.down.in_features(), inner);
        layer.down.add_product(inner, x);
    }

    /// Rotates queries and keys, and keeps keys and values.
    fn keep(&self, layer: usize, qkv: &mut [f32], segments: &mut [HostSegment<'_>]) {
        let Heads { queries, keys, head_dim } = self.heads;
        let width = (queries + 2 * keys) * head_dim;
        let half = head_dim / 2;
        let mut rows = qkv.chunks_exact_mut(width);
        for segment in segments.iter_mut() {
            let cache = &mut segment.cache.layers[layer];
            for sequence in 0..segment.batch {
                for (position, row) in (segment.held..segment.held + segment.rows).zip(&mut rows) {
                    let (queries_and_keys, values) = row.split_at_mut((queries + keys) * head_dim);
                    let angles = position * half..(position + 1) * half;
                    rotate(queries_and_keys, &self.cos[angles.clone()], &self.sin[angles]);
                    let new_keys = queries_and_keys[queries * head_dim..].chunks_exact(head_dim);
                    for (head, (key, value)) in new_keys.zip(values.chunks_exact(head_dim)).enumerate() {
                        cache.write(sequence * keys + head, position, key, value);
                    }
                }
            }
        }
    }

    /// Attends to all that the sequences hold.
    fn attend(&self, layer: usize, qkv: &[f32], segments: &[HostSegment<'_>], out: &mut [f32]) {
        let Heads { queries, keys, head_dim } = self.heads;
        let width = (queries + 2 * keys) * head_dim;
        let mut first_row = 0;
        let mut sequences = Vec::with_capacity(segments.len());
        for segment in segments {
            for sequence in 0..segment.batch {
                sequences.push(Sequence {
                    cache: &segment.cache.layers[layer],
                    first_head: sequence * keys,
                    first_row,
                    rows: segment.rows,
                    held: segment.held,
                    sees_all: false,
                });
                first_row += segment.rows;
            }
        }
        attend(qkv, width, &sequences, self.heads, out);
    }
}

impl Layer {
    fn load(scope: &Scope<'_>, config: &TextConfig) -> Result<Self, ModelError> {
        let (hidden, inner, head_dim) = (config.hidden_size, config.intermediate_size, config.head_dim());
        let (queries, keys) = (config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim);
        let joined = |layers: &[(&str, usize)], inputs: usize| -> Result<PackedWeight, ModelError> {
            Ok(PackedWeight::from_stored(&scope.dense_joined(layers, inputs)?))
        };
        let qkv = [
            ("self_attn.q_proj.weight", queries),
            ("self_attn.k_proj.weight", keys),
            ("self_attn.v_proj.weight", keys),
        ];
        Ok(Self {
            input_norm: scope.values("input_layernorm.weight", &[hidden])?,
            qkv: joined(&qkv, hidden)?,
            output: joined(&[("self_attn.o_proj.weight", hidden)], queries)?,
            post_attention_norm: scope.values("post_attention_layernorm.weight", &[hidden])?,
            gate_up: joined(&[("mlp.gate_proj.weight", inner), ("mlp.up_proj.weight", inner)], hidden)?,
            down: joined(&[("mlp.down_proj.weight", hidden)], inner)?,
        })
    }
}

/// What a layer works in, row by row.
struct Buffers {
    normed: Vec<f32>,
    qkv: Vec<f32>,
    attended: Vec<f32>,
    gate_up: Vec<f32>,
    inner: Vec<f32>,
}

impl Buffers {
    fn new(layer: &Layer, rows: usize) -> Self {
        let of = |width: usize| vec![0.0; rows * width];
        Self {
            normed: of(layer.qkv.in_features()),
            qkv: of(layer.qkv.out_features()),
            attended: of(layer.output.in_features()),
            gate_up: of(layer.gate_up.out_features()),
            inner: of(layer.down.in_features()),
        }
    }
}

/// The values of a tensor on the CPU, in order.
pub(super) fn values_of(x: Tensor<3>) -> Vec<f32> {
    let x = x.try_into_primitive::<Flex>().expect("the kernels belong to the CPU").to_contiguous();
    x.as_slice::<f32>().expect("activations are contiguous f32").to_vec()
}
