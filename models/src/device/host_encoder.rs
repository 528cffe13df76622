//! The layers of an encoder on a CPU: the kernels of [`msao_kernels`] over plain slices, behind one seam of tensors.

use std::ops::Range;

use burn::backend::Flex;
use burn::tensor::{DType, Float, Shape, Tensor};
use burn_flex::FlexTensor;
use msao_kernels::{
    Gelu, Heads, KeyValues, PackedWeight, Sequence, StoredWeight, add_gelu, attend, layer_norm,
};

use super::host_decoder::values_of;
use super::is_cpu;
use crate::checkpoint::Scope;
use crate::encoder::{Activation, EncoderShape, LayerNames};
use crate::error::ModelError;

/// The layers, packed.
#[derive(Debug)]
pub(crate) struct HostEncoder {
    layers: Vec<Layer>,
    heads: Heads,
    eps: f32,
    gelu: Gelu,
}

#[derive(Debug)]
struct Layer {
    attention_norm: Norm,
    /// Queries, keys and values.
    qkv: Dense,
    output: Dense,
    inner_norm: Norm,
    up: Dense,
    down: Dense,
}

#[derive(Debug)]
pub(super) struct Norm {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

#[derive(Debug)]
pub(super) struct Dense {
    pub(super) weight: PackedWeight,
    pub(super) bias: Vec<f32>,
}

impl HostEncoder {
    /// Reads the layers; `None` where the device is no CPU.
    pub(crate) fn load(
        scope: &Scope<'_>,
        shape: &EncoderShape,
        names: &LayerNames,
    ) -> Result<Option<Self>, ModelError> {
        if !is_cpu(scope.device()) {
            return Ok(None);
        }
        let layers = (0..shape.layers)
            .map(|index| Layer::load(&scope.child(&format!("layers.{index}")), shape, names))
            .collect::<Result<_, _>>()?;
        let heads = Heads { queries: shape.heads, keys: shape.heads, head_dim: shape.hidden / shape.heads };
        let gelu = match shape.activation {
            Activation::Gelu => Gelu::Exact,
            Activation::GeluTanh => Gelu::Tanh,
        };
        Ok(Some(Self { layers, heads, eps: shape.eps as f32, gelu }))
    }

    /// How many layers there are.
    pub(crate) fn len(&self) -> usize {
        self.layers.len()
    }

    /// Runs some of the layers.
    ///
    /// # Shapes
    /// - x, output: `[batch, positions, hidden]`
    pub(crate) fn forward(&self, x: Tensor<3>, layers: Range<usize>) -> Tensor<3> {
        let [batch, positions, width] = x.dims();
        let mut x = values_of(x);
        if let Some(first) = self.layers.get(layers.start).filter(|_| !x.is_empty()) {
            let mut buffers = Buffers::new(first, self.heads, batch, positions);
            for layer in &self.layers[layers] {
                self.run_layer(layer, &mut x, [batch, positions], &mut buffers);
            }
        }
        let mut out = FlexTensor::empty(Shape::from([batch, positions, width]), DType::F32);
        out.storage_mut::<f32>().copy_from_slice(&x);
        Tensor::<3, Float>::from_primitive::<Flex>(out)
    }

    fn run_layer(&self, layer: &Layer, x: &mut [f32], shape: [usize; 2], buffers: &mut Buffers) {
        let Buffers { normed, qkv, cache, attended, inner } = buffers;
        layer.attention_norm.apply(x, self.eps, normed);
        layer.qkv.weight.product(normed, qkv);
        add_rows(qkv, &layer.qkv.bias);
        self.attend(qkv, shape, cache, attended);
        layer.output.weight.add_product(attended, x);
        add_rows(x, &layer.output.bias);
        layer.inner_norm.apply(x, self.eps, normed);
        layer.up.weight.product(normed, inner);
        add_gelu(inner, &layer.up.bias, self.gelu);
        layer.down.weight.add_product(inner, x);
        add_rows(x, &layer.down.bias);
    }

    /// Attention of every position to all of its sequence.
    fn attend(&self, qkv: &[f32], [batch, positions]: [usize; 2], cache: &mut KeyValues, out: &mut [f32]) {
        let Heads { queries, head_dim, .. } = self.heads;
        let width = queries * head_dim;
        for (row, values) in qkv.chunks_exact(3 * width).enumerate() {
            let (keys, values) = values[width..].split_at(width);
            let first_head = row / positions * queries;
            for (head, (key, value)) in
                keys.chunks_exact(head_dim).zip(values.chunks_exact(head_dim)).enumerate()
            {
                cache.write(first_head + head, row % positions, key, value);
            }
        }
        let cache = &*cache;
        let sequence = |index| Sequence {
            cache,
            first_head: index * queries,
            first_row: index * positions,
            rows: positions,
            held: 0,
            sees_all: true,
        };
        let sequences: Vec<Sequence<'_>> = (0..batch).map(sequence).collect();
        attend(qkv, 3 * width, &sequences, self.heads, out);
    }
}

impl Layer {
    fn load(scope: &Scope<'_>, shape: &EncoderShape, names: &LayerNames) -> Result<Self, ModelError> {
        let (hidden, inner) = (shape.hidden, shape.inner);
        let attention = scope.child("self_attn");
        Ok(Self {
            attention_norm: Norm::load(&scope.child(names.attention_norm), hidden)?,
            qkv: Dense::load(
                &[
                    (attention.child("q_proj"), hidden, true),
                    (attention.child("k_proj"), hidden, shape.key_bias),
                    (attention.child("v_proj"), hidden, true),
                ],
                hidden,
            )?,
            output: Dense::load(&[(attention.child("out_proj"), hidden, true)], hidden)?,
            inner_norm: Norm::load(&scope.child(names.inner_norm), hidden)?,
            up: Dense::load(&[(scope.child(names.up), inner, true)], hidden)?,
            down: Dense::load(&[(scope.child(names.down), hidden, true)], inner)?,
        })
    }
}

impl Norm {
    pub(super) fn load(scope: &Scope<'_>, size: usize) -> Result<Self, ModelError> {
        Ok(Self { weight: scope.values("weight", &[size])?, bias: scope.values("bias", &[size])? })
    }

    pub(super) fn apply(&self, x: &[f32], eps: f32, out: &mut [f32]) {
        layer_norm(x, &self.weight, &self.bias, eps, out);
    }
}

impl Dense {
    /// Layers over the same inputs as one: each with its outputs, and whether it has a bias.
    pub(super) fn load(layers: &[(Scope<'_>, usize, bool)], inputs: usize) -> Result<Self, ModelError> {
        let (mut joined, mut bias): (Option<StoredWeight>, _) = (None, Vec::new());
        for (scope, outputs, has_bias) in layers {
            let weight = scope.dense("weight", &[*outputs, inputs])?;
            match &mut joined {
                Some(joined) => joined.append(weight),
                None => joined = Some(weight),
            }
            bias.extend(if *has_bias { scope.values("bias", &[*outputs])? } else { vec![0.0; *outputs] });
        }
        let weight = joined.expect("there is a layer to join");
        Ok(Self { weight: PackedWeight::from_stored(&weight), bias })
    }
}

pub(super) fn add_rows(x: &mut [f32], bias: &[f32]) {
    for row in x.chunks_exact_mut(bias.len()) {
        row.iter_mut().zip(bias).for_each(|(x, bias)| *x += bias);
    }
}

/// What a layer works in, row by row.
struct Buffers {
    normed: Vec<f32>,
    qkv: Vec<f32>,
    cache: KeyValues,
    attended: Vec<f32>,
    inner: Vec<f32>,
}

impl Buffers {
    fn new(layer: &Layer, heads: Heads, batch: usize, positions: usize) -> Self {
        let of = |dense: &Dense| vec![0.0; batch * positions * dense.weight.out_features()];
        Self {
            normed: of(&layer.output),
            qkv: of(&layer.qkv),
            cache: KeyValues::new(batch * heads.keys, heads.head_dim, positions),
            attended: of(&layer.output),
            inner: of(&layer.up),
        }
    }
}
