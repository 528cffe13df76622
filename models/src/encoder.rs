//! The layers of both encoders: attention of all positions to all, then two dense layers, each behind a layer norm.

use std::ops::Range;

use burn::tensor::Tensor;
use burn::tensor::activation::{gelu, sigmoid};

use crate::attention::SelfAttention;
use crate::checkpoint::Scope;
use crate::device::{GpuEncoder, HostEncoder};
use crate::error::ModelError;
use crate::linear::Linear;
use crate::norm::LayerNorm;

/// Sizes of the layers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EncoderShape {
    pub(crate) layers: usize,
    pub(crate) hidden: usize,
    /// Width between the two dense layers.
    pub(crate) inner: usize,
    pub(crate) heads: usize,
    /// Whisper's key projection has no bias.
    pub(crate) key_bias: bool,
    pub(crate) eps: f64,
    pub(crate) activation: Activation,
}

/// What lies between the two dense layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    Gelu,
    /// The form with a hyperbolic tangent.
    GeluTanh,
}

/// What a checkpoint calls the parts of a layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LayerNames {
    pub(crate) attention_norm: &'static str,
    pub(crate) inner_norm: &'static str,
    pub(crate) up: &'static str,
    pub(crate) down: &'static str,
}

/// The layers, in the form that their device wants.
#[derive(Debug)]
pub(crate) enum EncoderLayers {
    Tensors(Vec<Layer>),
    /// Kernels of our own on a CPU.
    Host(HostEncoder),
    /// Kernels of our own on a GPU.
    Gpu(GpuEncoder),
}

/// A layer of tensors.
#[derive(Debug)]
pub(crate) struct Layer {
    attention_norm: LayerNorm,
    attention: SelfAttention,
    inner_norm: LayerNorm,
    up: Linear,
    down: Linear,
    activation: Activation,
}

impl EncoderLayers {
    /// Reads `layers.0` and so on.
    pub(crate) fn load(
        scope: &Scope<'_>,
        shape: &EncoderShape,
        names: &LayerNames,
    ) -> Result<Self, ModelError> {
        if let Some(host) = HostEncoder::load(scope, shape, names)? {
            return Ok(Self::Host(host));
        }
        if let Some(gpu) = GpuEncoder::load(scope, shape, names)? {
            return Ok(Self::Gpu(gpu));
        }
        let layers = (0..shape.layers)
            .map(|index| Layer::load(&scope.child(&format!("layers.{index}")), shape, names))
            .collect::<Result<_, _>>()?;
        Ok(Self::Tensors(layers))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Tensors(layers) => layers.len(),
            Self::Host(host) => host.len(),
            Self::Gpu(gpu) => gpu.len(),
        }
    }

    /// Runs some of the layers.
    ///
    /// # Shapes
    /// - x, output: `[batch, positions, hidden]`
    /// - mask: `[1, 1, 1, positions]`, added to the scores; `None` where all positions count, as always on a CPU
    pub(crate) fn forward(&self, x: Tensor<3>, layers: Range<usize>, mask: Option<&Tensor<4>>) -> Tensor<3> {
        match self {
            Self::Tensors(all) => all[layers].iter().fold(x, |x, layer| layer.forward(x, mask.cloned())),
            Self::Host(host) => {
                assert!(mask.is_none(), "on a CPU what does not count is left out");
                host.forward(x, layers)
            }
            Self::Gpu(gpu) => gpu.forward(x, layers, mask),
        }
    }
}

impl Layer {
    fn load(scope: &Scope<'_>, shape: &EncoderShape, names: &LayerNames) -> Result<Self, ModelError> {
        let norm = |name: &str| LayerNorm::load(&scope.child(name), shape.hidden, shape.eps);
        Ok(Self {
            attention_norm: norm(names.attention_norm)?,
            attention: SelfAttention::load(
                &scope.child("self_attn"),
                shape.hidden,
                shape.heads,
                shape.key_bias,
            )?,
            inner_norm: norm(names.inner_norm)?,
            up: Linear::load(&scope.child(names.up), shape.hidden, shape.inner, true)?,
            down: Linear::load(&scope.child(names.down), shape.inner, shape.hidden, true)?,
            activation: shape.activation,
        })
    }

    fn forward(&self, x: Tensor<3>, mask: Option<Tensor<4>>) -> Tensor<3> {
        let x = x.clone() + self.attention.forward(self.attention_norm.forward(x), mask);
        let inner = self.up.forward(self.inner_norm.forward(x.clone()));
        let inner = match self.activation {
            Activation::Gelu => gelu(inner),
            Activation::GeluTanh => gelu_tanh(inner),
        };
        x + self.down.forward(inner)
    }
}

/// The tanh form of GELU, written with a sigmoid: `0.5 (1 + tanh z) = sigmoid(2 z)`.
fn gelu_tanh(x: Tensor<3>) -> Tensor<3> {
    const TWICE_SQRT_2_OVER_PI: f64 = 1.595_769_121_605_730_7;
    let cubic = x.clone().square() * 0.044_715 + 1.0;
    let z = x.clone() * cubic * TWICE_SQRT_2_OVER_PI;
    x * sigmoid(z)
}
