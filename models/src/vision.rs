//! The SigLIP-style vision tower and the pixel-shuffle connector, as SmolVLM (Idefics3) has them.

use burn::tensor::Tensor;

use crate::checkpoint::Scope;
use crate::config::{ModelConfig, VisionConfig};
use crate::encoder::{Activation, EncoderLayers, EncoderShape, LayerNames};
use crate::error::ModelError;
use crate::kept::Selection;
use crate::linear::Linear;
use crate::norm::LayerNorm;
use crate::shapes::ShapePolicy;

/// Turns an image into one vector per patch.
#[derive(Debug)]
pub struct VisionTower {
    patch_embedding: Linear,
    /// `[1, patches, hidden]`
    position_embedding: Tensor<3>,
    layers: EncoderLayers,
    post_layernorm: LayerNorm,
    patch_size: usize,
}

const LAYER_NAMES: LayerNames =
    LayerNames { attention_norm: "layer_norm1", inner_norm: "layer_norm2", up: "mlp.fc1", down: "mlp.fc2" };

impl VisionTower {
    pub(crate) fn load(scope: &Scope<'_>, config: &VisionConfig) -> Result<Self, ModelError> {
        let hidden = config.hidden_size;
        let patch = config.patch_size;
        let embeddings = scope.child("embeddings");
        let positions: Tensor<2> =
            embeddings.tensor("position_embedding.weight", [config.num_patches(), hidden])?;
        let shape = EncoderShape {
            layers: config.num_hidden_layers,
            hidden,
            inner: config.intermediate_size,
            heads: config.num_attention_heads,
            key_bias: true,
            eps: config.layer_norm_eps,
            activation: Activation::GeluTanh,
        };
        Ok(Self {
            // A convolution whose stride is its kernel is a dense layer over each patch.
            patch_embedding: Linear::load_shaped(
                &embeddings.child("patch_embedding"),
                [hidden, config.num_channels, patch, patch],
                true,
            )?,
            position_embedding: positions.unsqueeze(),
            layers: EncoderLayers::load(&scope.child("encoder"), &shape, &LAYER_NAMES)?,
            post_layernorm: LayerNorm::load(&scope.child("post_layernorm"), hidden, config.layer_norm_eps)?,
            patch_size: patch,
        })
    }

    /// # Shapes
    /// - images: `[batch, channels, side, side]`, values in -1..1
    /// - output: `[batch, patches, hidden]`, patches row by row
    pub fn forward(&self, images: Tensor<4>) -> Tensor<3> {
        self.finish(self.early(images, 0), 0)
    }

    /// The patch vectors after the first `layers` layers; shapes as in [`Self::forward`].
    pub fn early(&self, images: Tensor<4>, layers: usize) -> Tensor<3> {
        let embedded = self.patch_embedding.forward(self.patches(images)) + self.position_embedding.clone();
        self.layers.forward(embedded, 0..layers, None)
    }

    /// The rest of the tower for what [`Self::early`] gave.
    pub fn finish(&self, early: Tensor<3>, layers: usize) -> Tensor<3> {
        self.post_layernorm.forward(self.layers.forward(early, layers..self.layers.len(), None))
    }

    /// The tower over selected patches only, as if the others were not there.
    ///
    /// Where shapes must stay the same, on a GPU, the others run along and are not attended to.
    ///
    /// # Shapes
    /// - images: as in [`Self::forward`]; output: `[batch, selected, hidden]` in the selection's order
    pub(crate) fn forward_selected(&self, images: Tensor<4>, selection: &Selection) -> Tensor<3> {
        let (patches, positions) = (self.patches(images), self.position_embedding.clone());
        let x = match ShapePolicy::for_device(&patches.device()) {
            ShapePolicy::Exact => {
                let x = self.patch_embedding.forward(selection.of(patches)) + selection.of(positions);
                self.layers.forward(x, 0..self.layers.len(), None)
            }
            ShapePolicy::Padded | ShapePolicy::Fused => {
                let x = self.patch_embedding.forward(patches) + positions;
                selection.of(self.layers.forward(x, 0..self.layers.len(), Some(&selection.mask())))
            }
        };
        self.post_layernorm.forward(x)
    }

    /// Side of a patch in pixels.
    pub(crate) fn patch_size(&self) -> usize {
        self.patch_size
    }

    /// `[batch, patches, values]`
    fn patches(&self, images: Tensor<4>) -> Tensor<3> {
        let [batch, channels, height, width] = images.dims();
        let patch = self.patch_size;
        let (rows, columns) = (height / patch, width / patch);
        // What is left beside whole patches is not looked at, as by a convolution without padding.
        let images = if (rows * patch, columns * patch) == (height, width) {
            images
        } else {
            images.slice([0..batch, 0..channels, 0..rows * patch, 0..columns * patch])
        };
        images
            .reshape([batch, channels, rows, patch, columns, patch])
            .permute([0, 2, 4, 1, 3, 5]) // [batch, rows, columns, channels, patch, patch]
            .reshape([batch, rows * columns, channels * patch * patch])
    }
}

/// Folds squares of patches into image tokens and projects them into the decoder's space.
#[derive(Debug)]
pub struct Connector {
    proj: Linear,
    scale_factor: usize,
}

impl Connector {
    pub(crate) fn load(
        scope: &Scope<'_>,
        vision: &VisionConfig,
        config: &ModelConfig,
    ) -> Result<Self, ModelError> {
        let folded = vision.hidden_size * config.scale_factor.pow(2);
        let proj = scope.child("modality_projection.proj");
        Ok(Self {
            proj: Linear::load(&proj, folded, config.text_config.hidden_size, false)?,
            scale_factor: config.scale_factor,
        })
    }

    /// Side of the square of patches folded into one token.
    pub(crate) fn scale_factor(&self) -> usize {
        self.scale_factor
    }

    /// # Shapes
    /// - patches: `[batch, side * side, vision hidden]`
    /// - output: `[batch, (side / scale)^2, text hidden]`
    pub fn forward(&self, patches: Tensor<3>) -> Tensor<3> {
        let [batch, positions, hidden] = patches.dims();
        let side = positions.isqrt();
        let scale = self.scale_factor;
        let tokens = patches
            .reshape([batch, side / scale, scale, side / scale, scale, hidden])
            .permute([0, 1, 3, 2, 4, 5]) // [batch, rows, columns, scale, scale, hidden]
            .reshape([batch, positions / (scale * scale), hidden * scale * scale]);
        self.proj.forward(tokens)
    }

    /// As [`Self::forward`] for patches of which each token's stand together already.
    ///
    /// # Shapes
    /// - patches: `[batch, tokens * scale^2, vision hidden]`; output: `[batch, tokens, text hidden]`
    pub(crate) fn forward_grouped(&self, patches: Tensor<3>) -> Tensor<3> {
        let [batch, positions, hidden] = patches.dims();
        let folded = self.scale_factor * self.scale_factor;
        self.proj.forward(patches.reshape([batch, positions / folded, hidden * folded]))
    }
}
