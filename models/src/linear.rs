//! The one home of dense layers: keeps the weight in the layout that its device wants and picks the form of the
//! product by the number of rows.
//!
//! On the CPU one packed form serves any number of rows (`msao-kernels`); the decoder there uses it without tensors
//! (`device/host_decoder.rs`). On a GPU it is a kernel of our own, which no
//! number of rows has to be tuned for.

use burn::tensor::{Tensor, TensorData};

use crate::checkpoint::Scope;
use crate::device::{self, PackedWeight};
use crate::error::ModelError;

/// A dense layer, `y = x W^T + b`.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Weight,
    in_features: usize,
    out_features: usize,
    bias: Option<Tensor<1>>,
}

#[derive(Debug)]
enum Weight {
    /// In the CPU kernel's order.
    Packed(PackedWeight),
    /// `[out, in]`, for the GPU kernel.
    Kernel(Box<Tensor<2>>),
}

impl Linear {
    /// Reads `weight`, and `bias` where `has_bias`, from the scope.
    pub(crate) fn load(
        scope: &Scope<'_>,
        in_features: usize,
        out_features: usize,
        has_bias: bool,
    ) -> Result<Self, ModelError> {
        Self::load_shaped(scope, [out_features, in_features], has_bias)
    }

    /// As [`Self::load`], where the weight has further dimensions of inputs, such as a convolution whose stride is its kernel.
    pub(crate) fn load_shaped<const D: usize>(
        scope: &Scope<'_>,
        shape: [usize; D],
        has_bias: bool,
    ) -> Result<Self, ModelError> {
        let bias = if has_bias { Some(scope.tensor("bias", [shape[0]])?) } else { None };
        if device::is_cpu(scope.device()) {
            let weight = scope.dense("weight", &shape)?;
            let (in_features, out_features) = (weight.inputs(), weight.outputs());
            let weight = Weight::Packed(PackedWeight::new(&weight));
            return Ok(Self { weight, in_features, out_features, bias });
        }
        // What stands alone is small: it is rounded as the CPU rounds it, so that both give the same, and takes 4 bytes a weight.
        let weight = scope.dense("weight", &shape)?;
        let shape = [weight.outputs(), weight.inputs()];
        let data = TensorData::new(weight.dequantised(), shape);
        Ok(Self::of_tensors(Tensor::from_data(data, scope.device()), bias))
    }

    /// A layer over tensors on a GPU; the weight is `[out, in]`.
    pub(crate) fn of_tensors(weight: Tensor<2>, bias: Option<Tensor<1>>) -> Self {
        let [out_features, in_features] = weight.dims();
        Self { weight: Weight::Kernel(Box::new(weight)), in_features, out_features, bias }
    }

    /// Width of what goes in.
    pub(crate) fn in_features(&self) -> usize {
        self.in_features
    }

    /// Width of what comes out.
    pub(crate) fn out_features(&self) -> usize {
        self.out_features
    }

    /// # Shapes
    /// - x: `[..., in]`
    /// - output: `[..., out]`
    pub(crate) fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let mut dims = x.dims();
        let in_features = dims[D - 1];
        let rows = dims[..D - 1].iter().product();
        let x = x.reshape([rows, in_features]);
        let y = match &self.weight {
            Weight::Packed(weight) => weight.forward(x),
            Weight::Kernel(weight) => device::product(x, (**weight).clone()),
        };
        let y = match &self.bias {
            Some(bias) => y + bias.clone().unsqueeze(),
            None => y,
        };
        dims[D - 1] = self.out_features;
        y.reshape(dims)
    }
}
