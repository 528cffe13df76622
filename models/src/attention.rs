//! Scaled dot-product attention and the bidirectional self-attention of both encoders.

use burn::tensor::Tensor;
use burn::tensor::activation::softmax;

use crate::checkpoint::Scope;
use crate::device;
use crate::error::ModelError;
use crate::linear::Linear;

/// `softmax(q k^T / sqrt(head_dim) + mask) v`
///
/// # Shapes
/// - q: `[batch, heads, queries, head_dim]`; k, v: `[batch, heads, keys, head_dim]`
/// - mask: `[1, 1, queries or 1, keys]`, added to the scores
/// - output: `[batch, heads, queries, head_dim]`
pub(crate) fn attend(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, mask: Option<Tensor<4>>) -> Tensor<4> {
    let scale = 1.0 / (q.dims()[3] as f64).sqrt();
    let scores = products(q * scale, k);
    let scores = match mask {
        Some(mask) => scores + mask,
        None => scores,
    };
    products(softmax(scores, 3), v.swap_dims(2, 3))
}

/// `a b^T` of each head, one by one: for layers whose sizes the fused kernels do not take. burn's own batched product would be a
/// quarter of the WebGPU module.
///
/// # Shapes
/// - a: `[batch, heads, rows, inputs]`; b: `[batch, heads, outputs, inputs]`; output: `[batch, heads, rows, outputs]`
fn products(a: Tensor<4>, b: Tensor<4>) -> Tensor<4> {
    let ([batch, heads, rows, inputs], outputs) = (a.dims(), b.dims()[2]);
    let (a, b) = (a.reshape([batch * heads, rows, inputs]), b.reshape([batch * heads, outputs, inputs]));
    let of = |head: usize| {
        let [a, b] = [&a, &b].map(|all| all.clone().narrow(0, head, 1).squeeze_dim::<2>(0));
        device::product(a, b)
    };
    let all: Vec<Tensor<2>> = (0..batch * heads).map(of).collect();
    Tensor::stack::<3>(all, 0).reshape([batch, heads, rows, outputs])
}

/// `[batch, positions, heads * head_dim]` to `[batch, heads, positions, head_dim]`.
pub(crate) fn split_heads(x: Tensor<3>, num_heads: usize) -> Tensor<4> {
    let [batch, positions, width] = x.dims();
    x.reshape([batch, positions, num_heads, width / num_heads]).swap_dims(1, 2)
}

/// `[batch, heads, positions, head_dim]` to `[batch, positions, heads * head_dim]`.
pub(crate) fn merge_heads(x: Tensor<4>) -> Tensor<3> {
    let [batch, num_heads, positions, head_dim] = x.dims();
    x.swap_dims(1, 2).reshape([batch, positions, num_heads * head_dim])
}

/// Self-attention in which every position sees every other that is not masked.
#[derive(Debug)]
pub(crate) struct SelfAttention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    num_heads: usize,
}

impl SelfAttention {
    /// Reads `q_proj`, `k_proj`, `v_proj` and `out_proj`; only Whisper's key projection lacks a bias.
    pub(crate) fn load(
        scope: &Scope<'_>,
        size: usize,
        num_heads: usize,
        key_bias: bool,
    ) -> Result<Self, ModelError> {
        let linear = |name: &str, bias| Linear::load(&scope.child(name), size, size, bias);
        Ok(Self {
            q_proj: linear("q_proj", true)?,
            k_proj: linear("k_proj", key_bias)?,
            v_proj: linear("v_proj", true)?,
            out_proj: linear("out_proj", true)?,
            num_heads,
        })
    }

    /// # Shapes
    /// - x, output: `[batch, positions, size]`
    /// - mask: `[1, 1, 1, positions]`, added to the scores; `None` where all positions count
    pub(crate) fn forward(&self, x: Tensor<3>, mask: Option<Tensor<4>>) -> Tensor<3> {
        let q = split_heads(self.q_proj.forward(x.clone()), self.num_heads);
        let k = split_heads(self.k_proj.forward(x.clone()), self.num_heads);
        let v = split_heads(self.v_proj.forward(x), self.num_heads);
        self.out_proj.forward(merge_heads(attend(q, k, v, mask)))
    }
}
