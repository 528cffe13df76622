//! An encoder's layers on a GPU: seven launches a layer, for whole pictures and recordings.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use msao_kernels::StoredWeight;

use super::bridge;
use super::launch::{Buffer, Launcher};
use super::stored::Matrix;
use super::tiled::{self, AttentionLayout, Ending, MAX_HEAD_VECTORS, QUERIES};
use crate::checkpoint::Scope;
use crate::encoder::{Activation, EncoderShape, LayerNames};
use crate::error::ModelError;

/// The layers, as the kernels read them.
#[derive(Debug, Clone)]
pub(crate) struct GpuEncoder {
    layers: Arc<Layers>,
    device: Device,
}

/// What all passes of an encoder share.
#[derive(Debug)]
pub(super) struct Layers {
    launcher: Launcher,
    layers: Vec<Layer>,
    hidden: usize,
    heads: usize,
    eps: f32,
    activation: tiled::Activation,
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
struct Norm {
    weight: Buffer,
    bias: Buffer,
}

#[derive(Debug)]
struct Dense {
    weight: Matrix,
    bias: Buffer,
}

/// Some layers over some sequences.
#[derive(Debug, Clone)]
pub(super) struct EncoderPass {
    layers: Arc<Layers>,
    range: Range<usize>,
    /// Whether some positions do not count.
    masked: bool,
    pub(super) shape: [usize; 3],
}

impl GpuEncoder {
    /// Reads the layers; `None` where the device is no GPU of ours or the sizes do not suit the kernels.
    pub(crate) fn load(
        scope: &Scope<'_>,
        shape: &EncoderShape,
        names: &LayerNames,
    ) -> Result<Option<Self>, ModelError> {
        let width = shape.hidden / shape.heads;
        let whole = [shape.hidden, shape.inner, width].iter().all(|size| size % 4 == 0);
        if !whole || width / 4 > MAX_HEAD_VECTORS {
            return Ok(None);
        }
        let Some(launcher) = bridge::launcher_of(scope.device()) else { return Ok(None) };
        let layers = (0..shape.layers)
            .map(|index| Layer::load(&scope.child(&format!("layers.{index}")), shape, names, &launcher))
            .collect::<Result<_, _>>()?;
        let activation = match shape.activation {
            Activation::Gelu => tiled::Activation::Gelu,
            Activation::GeluTanh => tiled::Activation::GeluTanh,
        };
        let (hidden, heads, eps) = (shape.hidden, shape.heads, shape.eps as f32);
        let layers = Arc::new(Layers { launcher, layers, hidden, heads, eps, activation });
        Ok(Some(Self { layers, device: scope.device().clone() }))
    }

    /// How many layers there are.
    pub(crate) fn len(&self) -> usize {
        self.layers.layers.len()
    }

    /// Runs some of the layers.
    ///
    /// # Shapes
    /// - x, output: `[batch, positions, hidden]`
    /// - mask: `[1, 1, 1, positions]`, added to the scores; `None` where all positions count
    pub(crate) fn forward(&self, x: Tensor<3>, layers: Range<usize>, mask: Option<&Tensor<4>>) -> Tensor<3> {
        let pass = EncoderPass {
            layers: self.layers.clone(),
            range: layers,
            masked: mask.is_some(),
            shape: x.dims(),
        };
        let mask = match mask {
            Some(mask) => mask.clone().reshape([-1]),
            None => Tensor::from_data(TensorData::new(vec![0.0_f32; 4], [4]), &self.device),
        };
        bridge::encode(x, mask, pass)
    }
}

impl Layer {
    fn load(
        scope: &Scope<'_>,
        shape: &EncoderShape,
        names: &LayerNames,
        launcher: &Launcher,
    ) -> Result<Self, ModelError> {
        let (hidden, inner) = (shape.hidden, shape.inner);
        let attention = scope.child("self_attn");
        let dense = |scope: Scope<'_>, inputs: usize, outputs: usize| {
            Dense::load(&[(scope, outputs, true)], inputs, launcher)
        };
        let qkv = [
            (attention.child("q_proj"), hidden, true),
            (attention.child("k_proj"), hidden, shape.key_bias),
            (attention.child("v_proj"), hidden, true),
        ];
        Ok(Self {
            attention_norm: Norm::load(&scope.child(names.attention_norm), hidden, launcher)?,
            qkv: Dense::load(&qkv, hidden, launcher)?,
            output: dense(attention.child("out_proj"), hidden, hidden)?,
            inner_norm: Norm::load(&scope.child(names.inner_norm), hidden, launcher)?,
            up: dense(scope.child(names.up), hidden, inner)?,
            down: dense(scope.child(names.down), inner, hidden)?,
        })
    }
}

impl Norm {
    fn load(scope: &Scope<'_>, size: usize, launcher: &Launcher) -> Result<Self, ModelError> {
        let values = |name: &str| Ok::<_, ModelError>(launcher.upload(&scope.values(name, &[size])?));
        Ok(Self { weight: values("weight")?, bias: values("bias")? })
    }
}

impl Dense {
    /// Layers with the same inputs, one below the other; one without a bias gets zeros.
    fn load(
        parts: &[(Scope<'_>, usize, bool)],
        inputs: usize,
        launcher: &Launcher,
    ) -> Result<Self, ModelError> {
        let (mut weights, mut biases) = (None::<StoredWeight>, Vec::new());
        for (scope, outputs, biased) in parts {
            let own = scope.dense("weight", &[*outputs, inputs])?;
            match &mut weights {
                Some(weights) => weights.append(own),
                none => *none = Some(own),
            }
            if *biased {
                biases.append(&mut scope.values("bias", &[*outputs])?);
            } else {
                biases.resize(biases.len() + outputs, 0.0);
            }
        }
        let weights = weights.expect("a layer has parts");
        Ok(Self { weight: Matrix::upload(&weights, launcher), bias: launcher.upload(&biases) })
    }

    fn run(&self, launcher: &Launcher, x: &Buffer, out: &Buffer, ending: Ending) {
        launcher.multiply_tiles(x, &self.weight, Some(&self.bias), out, ending);
    }
}

impl EncoderPass {
    /// Launches the layers over rows, which they overwrite.
    pub(super) fn launch(&self, x: &Buffer, mask: &Buffer) {
        let Layers { launcher, layers, hidden, heads, eps, activation } = &*self.layers;
        let [batch, positions, _] = self.shape;
        let rows = batch * positions;
        let blocks = blocks(batch, positions);
        let (normed, attended) = (launcher.empty(rows * hidden), launcher.empty(rows * hidden));
        let qkv = launcher.empty(3 * rows * hidden);
        let words = launcher.upload_words(&blocks);
        let plain = Ending { adds: false, activation: tiled::Activation::None };
        let adding = Ending { adds: true, ..plain };
        let layout = AttentionLayout {
            queries: *heads,
            keys: *heads,
            vectors: hidden / heads / 4,
            query_stride: 3 * hidden / 4,
            key_stride: 3 * hidden / 4,
            keys_at: hidden / 4,
            values_at: hidden / 2,
            causal: false,
            masked: self.masked,
        };
        for layer in &layers[self.range.clone()] {
            let inner = launcher.empty(rows * layer.up.bias.len());
            let norm = |norm: &Norm| {
                launcher.layer_norm(x, &norm.weight, &norm.bias, *eps, &normed);
            };
            norm(&layer.attention_norm);
            layer.qkv.run(launcher, &normed, &qkv, plain);
            launcher.attend_blocks(&qkv, &qkv, mask, &words, &attended, positions, layout);
            layer.output.run(launcher, &attended, x, adding);
            norm(&layer.inner_norm);
            layer.up.run(launcher, &normed, &inner, Ending { activation: *activation, ..plain });
            layer.down.run(launcher, &inner, x, adding);
        }
    }
}

/// Blocks of queries of equally long sequences, each of which sees all of its own.
fn blocks(batch: usize, positions: usize) -> Vec<u32> {
    let firsts =
        (0..batch).flat_map(|sequence| (0..positions).step_by(QUERIES).map(move |row| (sequence, row)));
    firsts
        .flat_map(|(sequence, row)| {
            let start = sequence * positions;
            [start + row, (positions - row).min(QUERIES), start, positions].map(|word| word as u32)
        })
        .collect()
}
