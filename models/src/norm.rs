//! Normalisation over the last dimension: RMS norm (decoder, projector) and layer norm (encoders).

use burn::tensor::Tensor;
use burn::tensor::module::layer_norm;

use crate::checkpoint::Scope;
use crate::error::ModelError;

/// `x / sqrt(mean(x^2) + eps) * weight`
#[derive(Debug)]
pub(crate) struct RmsNorm {
    weight: Tensor<1>,
    eps: f64,
}

impl RmsNorm {
    pub(crate) fn load(scope: &Scope<'_>, size: usize, eps: f64) -> Result<Self, ModelError> {
        Ok(Self { weight: scope.tensor("weight", [size])?, eps })
    }

    /// # Shapes
    /// - x, output: `[..., size]`
    pub(crate) fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let mean_square = x.clone().square().mean_dim(D - 1);
        let scale = (mean_square + self.eps).sqrt().recip();
        x * scale * self.weight.clone().unsqueeze()
    }
}

/// `(x - mean) / sqrt(var + eps) * weight + bias`
#[derive(Debug)]
pub(crate) struct LayerNorm {
    weight: Tensor<1>,
    bias: Tensor<1>,
    eps: f64,
}

impl LayerNorm {
    pub(crate) fn load(scope: &Scope<'_>, size: usize, eps: f64) -> Result<Self, ModelError> {
        Ok(Self { weight: scope.tensor("weight", [size])?, bias: scope.tensor("bias", [size])?, eps })
    }

    /// # Shapes
    /// - x, output: `[..., size]`
    pub(crate) fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        layer_norm(x, self.weight.clone(), Some(self.bias.clone()), self.eps)
    }
}
