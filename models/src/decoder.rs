//! The Llama-style decoder: RMS norm, rotary positions, grouped-query attention, SwiGLU, tied head.
//!
//! One forward pass serves prefill, decoding and verification; they differ in the number of new positions.
//! On a GPU every shape is padded to one of a few (see [`ShapePolicy`]), since a new shape means compiling and
//! tuning kernels there; on the CPU shapes are exact.

use burn::tensor::activation::silu;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::attention::{attend, split_heads};
use crate::checkpoint::Scope;
use crate::config::TextConfig;
use crate::error::ModelError;
use crate::kv_cache::KvCache;
use crate::linear::Linear;
use crate::norm::RmsNorm;
use crate::rope::{RotaryRows, RotaryTable};
use crate::shapes::ShapePolicy;

/// The decoder with its embedding table, which is also its head.
#[derive(Debug)]
pub struct Decoder {
    /// `[vocabulary, hidden]`
    embed_tokens: Tensor<2>,
    layers: Vec<DecoderLayer>,
    norm: RmsNorm,
    head: Linear,
    rotary: RotaryTable,
    config: TextConfig,
    shapes: ShapePolicy,
    device: Device,
}

#[derive(Debug)]
struct DecoderLayer {
    input_layernorm: RmsNorm,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    post_attention_layernorm: RmsNorm,
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
}

/// What all layers of one forward pass share.
struct Pass {
    rotary: RotaryRows,
    /// `[1, 1, group * new positions, window]`
    mask: Option<Tensor<4>>,
    window: usize,
}

impl Decoder {
    pub(crate) fn load(scope: &Scope<'_>, config: &TextConfig) -> Result<Self, ModelError> {
        let embed_tokens: Tensor<2> =
            scope.tensor("embed_tokens.weight", [config.vocab_size, config.hidden_size])?;
        let layers = (0..config.num_hidden_layers)
            .map(|index| DecoderLayer::load(&scope.child(&format!("layers.{index}")), config))
            .collect::<Result<_, _>>()?;
        let shapes = ShapePolicy::for_device(scope.device());
        let num_positions = shapes.capacity(config.max_position_embeddings);
        Ok(Self {
            head: Linear::new(embed_tokens.clone(), None),
            embed_tokens,
            layers,
            norm: RmsNorm::load(&scope.child("norm"), config.hidden_size, config.rms_norm_eps)?,
            rotary: RotaryTable::new(config, num_positions, scope.device()),
            config: config.clone(),
            shapes,
            device: scope.device().clone(),
        })
    }

    /// How this decoder's device wants its shapes.
    pub fn shapes(&self) -> ShapePolicy {
        self.shapes
    }

    /// An empty cache for `batch` sequences of up to `positions` positions.
    pub fn new_cache(&self, batch: usize, positions: usize) -> KvCache {
        KvCache::new(&self.config, batch, self.shapes.capacity(positions), &self.device)
    }

    /// Looks tokens up in the embedding table.
    ///
    /// # Shapes
    /// - ids: `[batch][positions]`, all sequences equally long, every id inside the vocabulary
    /// - output: `[batch, positions, hidden]`
    pub fn embed(&self, ids: &[Vec<u32>]) -> Tensor<3> {
        let positions = ids.first().map_or(0, Vec::len);
        let flat: Vec<i32> = ids.iter().flatten().map(|&id| id as i32).collect();
        let indices: Tensor<1, Int> =
            Tensor::from_data(TensorData::new(flat, [ids.len() * positions]), &self.device);
        let rows = self.embed_tokens.clone().select(0, indices);
        rows.reshape([ids.len(), positions, self.config.hidden_size])
    }

    /// Runs the layers over new positions behind those in the cache, and keeps them there.
    ///
    /// `count` of the positions in `embeddings` are real; what follows them is padding to one of the shapes of
    /// [`Self::shapes`], and its output is meaningless.
    ///
    /// # Shapes
    /// - embeddings, output: `[batch, positions >= count, hidden]`
    ///
    /// # Panics
    /// If the cache has no room for the padded positions.
    pub fn forward(&self, embeddings: Tensor<3>, count: usize, cache: &mut KvCache) -> Tensor<3> {
        let positions = embeddings.dims()[1];
        let start = cache.len();
        assert!(start + positions <= cache.capacity(), "{start} + {positions} positions exceed the cache");
        let window = self.shapes.window(start + count, cache.capacity());
        let pass = Pass {
            rotary: self.rotary.rows(start, positions),
            mask: self.mask(start, positions, window),
            window,
        };
        let mut x = embeddings;
        for (index, layer) in self.layers.iter().enumerate() {
            x = layer.forward(x, &pass, index, cache, &self.config);
        }
        cache.advance(count);
        self.norm.forward(x)
    }

    /// Scores of every token of the vocabulary.
    ///
    /// # Shapes
    /// - hidden: `[batch, positions, hidden]`
    /// - output: `[batch, positions, vocabulary]`
    pub fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.head.forward(hidden)
    }

    /// Causal mask, repeated for the query heads that share a key head; `None` where nothing is hidden.
    fn mask(&self, start: usize, positions: usize, window: usize) -> Option<Tensor<4>> {
        if positions == 1 && window == start + 1 {
            return None;
        }
        let group = self.config.num_attention_heads / self.config.num_key_value_heads;
        let mut values = Vec::with_capacity(group * positions * window);
        for _ in 0..group {
            for position in start..start + positions {
                values.extend((0..window).map(|key| if key <= position { 0.0_f32 } else { MASKED }));
            }
        }
        Some(Tensor::from_data(TensorData::new(values, [1, 1, group * positions, window]), &self.device))
    }
}

/// Score of a hidden key: far below any real one, and finite so that no row of a softmax is undefined.
const MASKED: f32 = -1e9;

impl DecoderLayer {
    fn load(scope: &Scope<'_>, config: &TextConfig) -> Result<Self, ModelError> {
        let (hidden, inner, eps) = (config.hidden_size, config.intermediate_size, config.rms_norm_eps);
        let queries = config.num_attention_heads * config.head_dim();
        let keys = config.num_key_value_heads * config.head_dim();
        let linear = |name: &str, inputs, outputs| Linear::load(&scope.child(name), inputs, outputs, false);
        Ok(Self {
            input_layernorm: RmsNorm::load(&scope.child("input_layernorm"), hidden, eps)?,
            q_proj: linear("self_attn.q_proj", hidden, queries)?,
            k_proj: linear("self_attn.k_proj", hidden, keys)?,
            v_proj: linear("self_attn.v_proj", hidden, keys)?,
            o_proj: linear("self_attn.o_proj", queries, hidden)?,
            post_attention_layernorm: RmsNorm::load(&scope.child("post_attention_layernorm"), hidden, eps)?,
            gate_proj: linear("mlp.gate_proj", hidden, inner)?,
            up_proj: linear("mlp.up_proj", hidden, inner)?,
            down_proj: linear("mlp.down_proj", inner, hidden)?,
        })
    }

    fn forward(
        &self,
        x: Tensor<3>,
        pass: &Pass,
        index: usize,
        cache: &mut KvCache,
        config: &TextConfig,
    ) -> Tensor<3> {
        let normed = self.input_layernorm.forward(x.clone());
        let x = x + self.attention(normed, pass, index, cache, config);
        let normed = self.post_attention_layernorm.forward(x.clone());
        let inner = silu(self.gate_proj.forward(normed.clone())) * self.up_proj.forward(normed);
        x + self.down_proj.forward(inner)
    }

    fn attention(
        &self,
        x: Tensor<3>,
        pass: &Pass,
        index: usize,
        cache: &mut KvCache,
        config: &TextConfig,
    ) -> Tensor<3> {
        let [batch, positions, _] = x.dims();
        let (heads, kv_heads, head_dim) =
            (config.num_attention_heads, config.num_key_value_heads, config.head_dim());
        let group = heads / kv_heads;
        let q = pass.rotary.rotate(split_heads(self.q_proj.forward(x.clone()), heads));
        let k = pass.rotary.rotate(split_heads(self.k_proj.forward(x.clone()), kv_heads));
        let v = split_heads(self.v_proj.forward(x), kv_heads);
        let (k, v) = cache.write(index, k, v, pass.window);
        // The query heads of a group stand as further rows before their one key head: nothing is repeated.
        let q = q.reshape([batch, kv_heads, group * positions, head_dim]);
        let attended = attend(q, k, v, pass.mask.clone())
            .reshape([batch, heads, positions, head_dim])
            .swap_dims(1, 2)
            .reshape([batch, positions, heads * head_dim]);
        self.o_proj.forward(attended)
    }
}
