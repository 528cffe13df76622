//! Rotary position embedding in Hugging Face's half-rotation form, from tables made once.

use burn::tensor::{Device, Tensor, TensorData};

use crate::config::TextConfig;

/// The angle of each position and pair of columns: `[positions, head_dim / 2]`.
pub(crate) fn angles(config: &TextConfig, num_positions: usize) -> Vec<f32> {
    let head_dim = config.head_dim();
    let frequency = |pair: usize| {
        // The reference rounds the frequency and the angle to f32 before it takes sine and cosine.
        config.rope_theta.powf((2 * pair) as f64 / head_dim as f64).recip() as f32
    };
    let frequencies: Vec<f32> = (0..head_dim / 2).map(frequency).collect();
    let positions = 0..num_positions;
    positions.flat_map(|at| frequencies.iter().map(move |frequency| at as f32 * frequency)).collect()
}

/// Cosines and signed sines for every position.
#[derive(Debug)]
pub(crate) struct RotaryTable {
    /// `[positions, head_dim]`
    cos: Tensor<2>,
    /// `[positions, head_dim]`; the first half carries the minus sign of the rotation.
    signed_sin: Tensor<2>,
}

/// The table's rows for the positions of one forward pass.
#[derive(Debug, Clone)]
pub(crate) struct RotaryRows {
    /// `[1, 1, positions, head_dim]`
    cos: Tensor<4>,
    signed_sin: Tensor<4>,
}

impl RotaryTable {
    /// Tables for `num_positions` positions.
    pub(crate) fn new(config: &TextConfig, num_positions: usize, device: &Device) -> Self {
        let head_dim = config.head_dim();
        let half = head_dim / 2;
        let mut cos = Vec::with_capacity(num_positions * head_dim);
        let mut signed_sin = Vec::with_capacity(num_positions * head_dim);
        for angles in angles(config, num_positions).chunks_exact(half) {
            cos.extend(angles.iter().chain(angles).map(|angle| angle.cos()));
            signed_sin.extend(angles.iter().map(|angle| -angle.sin()));
            signed_sin.extend(angles.iter().map(|angle| angle.sin()));
        }
        let table = |values| Tensor::from_data(TensorData::new(values, [num_positions, head_dim]), device);
        Self { cos: table(cos), signed_sin: table(signed_sin) }
    }

    /// Rows `start..start + count`.
    pub(crate) fn rows(&self, start: usize, count: usize) -> RotaryRows {
        let rows = |table: &Tensor<2>| table.clone().narrow(0, start, count).unsqueeze();
        RotaryRows { cos: rows(&self.cos), signed_sin: rows(&self.signed_sin) }
    }
}

impl RotaryRows {
    /// Rotates queries or keys.
    ///
    /// # Shapes
    /// - x, output: `[batch, heads, positions, head_dim]`
    pub(crate) fn rotate(&self, x: Tensor<4>) -> Tensor<4> {
        let half = x.dims()[3] / 2;
        let swapped = Tensor::cat(vec![x.clone().narrow(3, half, half), x.clone().narrow(3, 0, half)], 3);
        x * self.cos.clone() + swapped * self.signed_sin.clone()
    }
}
