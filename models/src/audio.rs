//! The Whisper-style audio encoder and the frame-stacking projector, as Ultravox has it.

use burn::tensor::Tensor;
use burn::tensor::activation::{gelu, silu};
use burn::tensor::module::conv1d;
use burn::tensor::ops::ConvOptions;

use crate::checkpoint::Scope;
use crate::config::AudioConfig;
use crate::encoder::{Activation, EncoderLayers, EncoderShape, LayerNames};
use crate::error::ModelError;
use crate::kept::Selection;
use crate::linear::Linear;
use crate::norm::{LayerNorm, RmsNorm};
use crate::shapes::ShapePolicy;

/// Epsilon of Whisper's layer norms; its configuration does not carry it.
const LAYER_NORM_EPS: f64 = 1e-5;
/// Epsilon of the projector's RMS norms, as Ultravox fixes it.
const PROJECTOR_NORM_EPS: f64 = 1e-6;

/// Turns a log-mel spectrogram into one vector per 20 ms.
#[derive(Debug)]
pub struct AudioTower {
    conv1: Conv,
    conv2: Conv,
    /// `[1, positions, d_model]`
    embed_positions: Tensor<3>,
    layers: EncoderLayers,
    layer_norm: LayerNorm,
}

/// A convolution with three taps over time.
#[derive(Debug)]
struct Conv {
    weight: Tensor<3>,
    bias: Tensor<1>,
    stride: usize,
}

const LAYER_NAMES: LayerNames = LayerNames {
    attention_norm: "self_attn_layer_norm",
    inner_norm: "final_layer_norm",
    up: "fc1",
    down: "fc2",
};

impl AudioTower {
    pub(crate) fn load(scope: &Scope<'_>, config: &AudioConfig) -> Result<Self, ModelError> {
        let size = config.d_model;
        let positions: Tensor<2> =
            scope.tensor("embed_positions.weight", [config.max_source_positions, size])?;
        let shape = EncoderShape {
            layers: config.encoder_layers,
            hidden: size,
            inner: config.encoder_ffn_dim,
            heads: config.encoder_attention_heads,
            key_bias: false,
            eps: LAYER_NORM_EPS,
            activation: Activation::Gelu,
        };
        Ok(Self {
            conv1: Conv::load(&scope.child("conv1"), config.num_mel_bins, size, 1)?,
            conv2: Conv::load(&scope.child("conv2"), size, size, 2)?,
            embed_positions: positions.unsqueeze(),
            layers: EncoderLayers::load(scope, &shape, &LAYER_NAMES)?,
            layer_norm: LayerNorm::load(&scope.child("layer_norm"), size, LAYER_NORM_EPS)?,
        })
    }

    /// # Shapes
    /// - mel: `[batch, mel bins, 2 * positions]`
    /// - output: `[batch, positions, d_model]`
    pub fn forward(&self, mel: Tensor<3>) -> Tensor<3> {
        self.finish(self.early(mel, 0), 0)
    }

    /// The frame vectors after the first `layers` layers; shapes as in [`Self::forward`].
    pub fn early(&self, mel: Tensor<3>, layers: usize) -> Tensor<3> {
        let frames = gelu(self.conv2.forward(gelu(self.conv1.forward(mel))));
        let embedded = frames.swap_dims(1, 2) + self.embed_positions.clone();
        self.layers.forward(embedded, 0..layers, None)
    }

    /// The rest of the tower for what [`Self::early`] gave.
    pub fn finish(&self, early: Tensor<3>, layers: usize) -> Tensor<3> {
        self.layer_norm.forward(self.layers.forward(early, layers..self.layers.len(), None))
    }

    /// The tower over selected positions only; the convolutions still see their neighbours' sound. Where shapes
    /// must stay the same, on a GPU, the others run along and are not attended to.
    ///
    /// # Shapes
    /// - mel: as in [`Self::forward`]; output: `[batch, selected, d_model]`
    pub(crate) fn forward_selected(&self, mel: Tensor<3>, selection: &Selection) -> Tensor<3> {
        let frames = self.early(mel, 0);
        let x = match ShapePolicy::for_device(&frames.device()) {
            ShapePolicy::Exact => self.layers.forward(selection.of(frames), 0..self.layers.len(), None),
            ShapePolicy::Padded | ShapePolicy::Fused => {
                selection.of(self.layers.forward(frames, 0..self.layers.len(), Some(&selection.mask())))
            }
        };
        self.layer_norm.forward(x)
    }
}

impl Conv {
    fn load(scope: &Scope<'_>, inputs: usize, outputs: usize, stride: usize) -> Result<Self, ModelError> {
        let weight = scope.tensor("weight", [outputs, inputs, 3])?;
        Ok(Self { weight, bias: scope.tensor("bias", [outputs])?, stride })
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let options = ConvOptions::new([self.stride], [1], [1], 1);
        conv1d(x, self.weight.clone(), Some(self.bias.clone()), options)
    }
}

/// Stacks neighbouring frames into audio tokens and projects them into the decoder's space.
#[derive(Debug)]
pub struct AudioProjector {
    ln_pre: RmsNorm,
    linear_1: Linear,
    linear_2: Linear,
    ln_post: RmsNorm,
    stack_factor: usize,
}

impl AudioProjector {
    pub(crate) fn load(
        scope: &Scope<'_>,
        config: &AudioConfig,
        text_hidden: usize,
    ) -> Result<Self, ModelError> {
        let stacked = config.d_model * config.stack_factor;
        Ok(Self {
            ln_pre: RmsNorm::load(&scope.child("ln_pre"), stacked, PROJECTOR_NORM_EPS)?,
            linear_1: Linear::load(&scope.child("linear_1"), stacked, 2 * text_hidden, false)?,
            linear_2: Linear::load(&scope.child("linear_2"), text_hidden, text_hidden, false)?,
            ln_post: RmsNorm::load(&scope.child("ln_post"), text_hidden, PROJECTOR_NORM_EPS)?,
            stack_factor: config.stack_factor,
        })
    }

    /// Frames stacked into one token.
    pub(crate) fn stack_factor(&self) -> usize {
        self.stack_factor
    }

    /// # Shapes
    /// - frames: `[batch, positions, d_model]`
    /// - output: `[batch, positions / stack, text hidden]`
    pub fn forward(&self, frames: Tensor<3>) -> Tensor<3> {
        let [batch, positions, size] = frames.dims();
        let stacked = frames.reshape([batch, positions / self.stack_factor, size * self.stack_factor]);
        let both = self.linear_1.forward(self.ln_pre.forward(stacked));
        let half = both.dims()[2] / 2;
        // Ultravox gates with the second half, unlike Llama's feed-forward layer.
        let (value, gate) = (both.clone().narrow(2, 0, half), both.narrow(2, half, half));
        self.ln_post.forward(self.linear_2.forward(silu(gate) * value))
    }
}
