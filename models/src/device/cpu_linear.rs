//! A dense layer on the CPU: tensors of burn's flex backend around the kernel of [`msao_kernels`], which knows slices only.

use burn::backend::Flex;
use burn::tensor::{DType, Float, Shape, Tensor};
use burn_flex::FlexTensor;
use msao_kernels::StoredWeight;

/// A weight matrix in the kernel's order.
#[derive(Debug)]
pub(crate) struct PackedWeight(msao_kernels::PackedWeight);

impl PackedWeight {
    /// Packs weights as they are stored.
    pub(crate) fn new(weight: &StoredWeight) -> Self {
        Self(msao_kernels::PackedWeight::from_stored(weight))
    }

    /// `x @ weight^T`
    ///
    /// # Shapes
    /// - x: `[rows, in]` on the CPU; output: `[rows, out]`
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let [rows, in_features] = x.dims();
        assert_eq!(in_features, self.0.in_features(), "linear: x has {in_features} columns");
        let x = x.try_into_primitive::<Flex>().expect("packed weights belong to the CPU").to_contiguous();
        let x = x.as_slice::<f32>().expect("activations are contiguous f32");
        let mut out = FlexTensor::empty(Shape::from([rows, self.0.out_features()]), DType::F32);
        self.0.product(x, out.storage_mut());
        Tensor::<2, Float>::from_primitive::<Flex>(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Distribution, Tolerance};
    use msao_kernels::StoredValues;

    #[test]
    fn tensors_give_the_plain_product_whatever_their_layout() {
        let device = Device::flex();
        let weight = Tensor::<2>::random([30, 100], Distribution::Default, &device);
        let values = weight.to_data().try_to_vec().expect("weights are f32");
        let packed = PackedWeight::new(&StoredWeight::from_values(100, StoredValues::F32(values)));
        let wide = Tensor::<2>::random([200, 9], Distribution::Default, &device);
        for x in [wide.clone().narrow(0, 50, 100).transpose(), wide.narrow(0, 0, 100).transpose()] {
            let plain = x.clone().matmul(weight.clone().transpose());
            let out = packed.forward(x).into_data();
            out.assert_approx_eq::<f32>(&plain.into_data(), Tolerance::default());
        }
    }
}
