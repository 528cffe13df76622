//! Decoder and encoders on a GPU: fused kernels, the decoder's over a cache of their own, behind one seam of tensors.
//!
//! Bare tensor operations make some forty dispatches a layer and a step costs its dispatches; here it is five. One
//! path serves prefill, decoding and verification, of one sequence or many.
//!
//! | file | holds |
//! |---|---|
//! | [`kernels`] | what runs on the device |
//! | [`tiled`] | what runs there over many rows: encoders and prompts |
//! | [`plan`] | which rows belong where, and which run in tiles |
//! | [`long`] | the launches of a pass over a prompt |
//! | [`encoder`] | an encoder's weights and passes |
//! | [`launch`] | weights in the kernels' layout, the launches of a pass |
//! | [`stored`] | weights as they are stored, and how kernels read them |
//! | [`pool`] | the cache of all sequences |
//! | [`bridge`] | tensors in, tensors out, in step with whatever else is queued on the device |

mod bridge;
mod encoder;
mod kernels;
mod launch;
mod long;
mod plan;
mod pool;
mod stored;
mod tiled;

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::checkpoint::Scope;
use crate::config::TextConfig;
use crate::error::ModelError;
pub(crate) use encoder::GpuEncoder;

use bridge::{Input, Pass, PassOutput};
use kernels::{ATTENTION_UNITS, Heads};
use launch::{Launcher, LayerWeights, Sizes, Weights};
use plan::Plan;
use pool::{CachePool, Move, Slot};
use stored::{Matrix, Table};

/// `x W^T` by a kernel that is compiled once for all numbers of rows, and never tuned.
///
/// # Shapes
/// - x: `[rows, in]`; weight: `[out, in]`; output: `[rows, out]`
pub(crate) fn product(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    let missing = x.dims()[1].next_multiple_of(4) - x.dims()[1];
    if missing == 0 {
        return bridge::product(x, weight);
    }
    // The kernel reads vectors of four.
    let [x, weight] = [x, weight].map(|all| {
        let zeros = Tensor::zeros([all.dims()[0], missing], &all.device());
        Tensor::cat(vec![all, zeros], 1)
    });
    bridge::product(x, weight)
}

/// A decoder's layers and head in the kernels' layout.
#[derive(Debug, Clone)]
pub(crate) struct FusedDecoder {
    shared: Arc<Shared>,
}

/// What all passes of a decoder share.
#[derive(Debug)]
struct Shared {
    launcher: Launcher,
    weights: Weights,
    pool: Arc<CachePool>,
    device: Device,
}

/// Room for the keys and values of a batch of equally long sequences.
///
/// A clone sees the same values until one of the two writes: then the writer moves to a copy.
#[derive(Debug, Clone)]
pub(crate) struct FusedCache {
    decoder: FusedDecoder,
    slot: Arc<Slot>,
    /// Counts the caches that see the slot; queued passes hold the slot alone.
    owners: Arc<()>,
    batch: usize,
    capacity: usize,
}

/// The new positions of one cache in a pass.
#[derive(Debug)]
pub(crate) struct FusedSegment<'a> {
    pub(crate) cache: &'a mut FusedCache,
    /// Positions held before.
    pub(crate) held: usize,
    /// New positions of each sequence of the batch.
    pub(crate) rows: usize,
}

impl FusedDecoder {
    /// Reads the layers; `None` where the device is no GPU of ours or the sizes do not suit the kernels.
    ///
    /// `head` is the scope of an untied head, `num_positions` the longest sequence.
    pub(crate) fn load(
        scope: &Scope<'_>,
        config: &TextConfig,
        head: Option<&Scope<'_>>,
        num_positions: usize,
    ) -> Result<Option<Self>, ModelError> {
        let Some(sizes) = sizes_of(config) else { return Ok(None) };
        let Some(launcher) = bridge::launcher_of(scope.device()) else { return Ok(None) };
        let table = |scope: &Scope<'_>, name: &str| {
            let weight = scope.dense(name, &[sizes.vocabulary, sizes.hidden])?;
            Ok::<_, ModelError>(Table::upload(&weight, &launcher, launcher.binding_bytes()))
        };
        let head = head.map(|head| table(head, "weight")).transpose()?;
        let table = table(scope, "embed_tokens.weight")?;
        let head = head.unwrap_or_else(|| table.clone());
        let layers = (0..config.num_hidden_layers)
            .map(|index| load_layer(&scope.child(&format!("layers.{index}")), &sizes, &launcher))
            .collect::<Result<_, _>>()?;
        let weights = Weights {
            sizes,
            table,
            layers,
            norm: launcher.upload(&scope.child("norm").values("weight", &[sizes.hidden])?),
            head,
            rotary: launcher.upload(&rotary_values(config, num_positions)),
        };
        let width = 2 * sizes.heads.keys * sizes.heads.width;
        let pool = CachePool::new(launcher.clone(), config.num_hidden_layers, width);
        Ok(Some(Self {
            shared: Arc::new(Shared { launcher, weights, pool, device: scope.device().clone() }),
        }))
    }

    /// An empty cache for `batch` sequences of up to `capacity` positions.
    pub(crate) fn new_cache(&self, batch: usize, capacity: usize) -> FusedCache {
        let slot = Arc::new(self.shared.pool.allocate(batch * capacity));
        FusedCache { decoder: self.clone(), slot, owners: Arc::new(()), batch, capacity }
    }

    /// Runs layers over hidden values, with the final norm behind the last layer.
    ///
    /// # Shapes
    /// - hidden, output: `[batch, positions, hidden]`, the rows of the segments one behind the other
    pub(crate) fn forward(
        &self,
        hidden: Tensor<3>,
        segments: &mut [FusedSegment<'_>],
        layers: Range<usize>,
    ) -> Tensor<3> {
        let output = if layers.end == self.shared.weights.layers.len() {
            PassOutput::Normed
        } else {
            PassOutput::Hidden
        };
        let shape = hidden.dims();
        bridge::run(Input::Hidden(hidden), self.pass(segments, layers, output, shape))
    }

    /// Embeddings of tokens.
    ///
    /// # Shapes
    /// - output: `[1, ids, hidden]`
    pub(crate) fn embed(&self, ids: &[u32]) -> Tensor<3> {
        let shape = [1, ids.len(), self.shared.weights.sizes.hidden];
        let pass = self.pass(&mut [], 0..0, PassOutput::Hidden, shape);
        bridge::run(self.tokens(ids), pass)
    }

    /// Tokens for the device.
    fn tokens(&self, ids: &[u32]) -> Input {
        let vocabulary = self.shared.weights.sizes.vocabulary;
        assert!(ids.iter().all(|&id| (id as usize) < vocabulary), "an id is outside the vocabulary");
        let (ids, count): (Vec<i32>, _) = (ids.iter().map(|&id| id as i32).collect(), ids.len());
        Input::Tokens(Tensor::from_data(TensorData::new(ids, [count]), &self.shared.device))
    }

    /// Scores of what follows each of `ids`, which are the new positions of the segments one behind the other.
    ///
    /// # Shapes
    /// - output: `[1, ids, vocabulary]`
    pub(crate) fn score(&self, ids: &[u32], segments: &mut [FusedSegment<'_>]) -> Tensor<3> {
        let weights = &self.shared.weights;
        let shape = [1, ids.len(), weights.sizes.vocabulary];
        let pass = self.pass(segments, 0..weights.layers.len(), PassOutput::Logits, shape);
        bridge::run(self.tokens(ids), pass)
    }

    /// Scores of every token after normalised hidden values.
    ///
    /// # Shapes
    /// - hidden: `[batch, positions, hidden]`; output: `[batch, positions, vocabulary]`
    pub(crate) fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        let [batch, positions, _] = hidden.dims();
        let shape = [batch, positions, self.shared.weights.sizes.vocabulary];
        bridge::run(Input::Hidden(hidden), self.pass(&mut [], 0..0, PassOutput::Logits, shape))
    }

    fn pass(
        &self,
        segments: &mut [FusedSegment<'_>],
        layers: Range<usize>,
        output: PassOutput,
        shape: [usize; 3],
    ) -> Pass {
        let mut plan = Plan::new();
        let mut slots = Vec::with_capacity(segments.len());
        let num_positions = self.shared.weights.num_positions();
        for FusedSegment { cache, held, rows } in segments {
            assert!(
                *held + *rows <= num_positions,
                "{held} + {rows} positions, {num_positions} have rotations"
            );
            cache.make_own(*held);
            for sequence in 0..cache.batch {
                let start = cache.slot.start() + sequence * cache.capacity;
                plan.push(*held, *rows, start);
            }
            slots.push(cache.slot.clone());
        }
        Pass::new(self.shared.clone(), layers, plan, Vec::new(), slots, output, shape)
    }
}

impl FusedCache {
    /// Bytes of the keys and values, free space included.
    pub(crate) fn bytes(&self) -> u64 {
        let shared = &self.decoder.shared;
        let row = 2 * shared.weights.sizes.heads.keys * shared.weights.sizes.heads.width * size_of::<f32>();
        (self.batch * self.capacity * shared.weights.layers.len() * row) as u64
    }

    /// A copy of the first `positions` positions with room for `capacity`.
    pub(crate) fn prefix(&self, positions: usize, capacity: usize) -> Self {
        let copy = self.decoder.new_cache(self.batch, capacity);
        if positions > 0 {
            let moves = (0..self.batch).map(|sequence| Move {
                from: self.slot.clone(),
                from_at: sequence * self.capacity,
                to: copy.slot.clone(),
                to_at: sequence * capacity,
                positions,
            });
            self.decoder.shared.queue_moves(moves.collect());
        }
        copy
    }

    /// Moves to a slot of its own if another cache sees this one.
    fn make_own(&mut self, held: usize) {
        if Arc::strong_count(&self.owners) > 1 {
            *self = self.prefix(held, self.capacity);
        }
    }
}

impl Shared {
    /// Copies positions in the cache, in turn with what else is queued.
    fn queue_moves(self: &Arc<Self>, moves: Vec<Move>) {
        // An operation of the queue needs a tensor, so one row is looked up for nothing.
        let shape = [1, 1, self.weights.sizes.hidden];
        let pass = Pass::new(self.clone(), 0..0, Plan::new(), moves, Vec::new(), PassOutput::Hidden, shape);
        let id: Tensor<1, Int> = Tensor::from_data(TensorData::new(vec![0_i32], [1]), &self.device);
        bridge::run(Input::Tokens(id), pass);
    }
}

/// The sizes of a decoder that the kernels can run.
fn sizes_of(config: &TextConfig) -> Option<Sizes> {
    let width = config.head_dim();
    let heads = Heads { queries: config.num_attention_heads, keys: config.num_key_value_heads, width };
    let whole_vectors =
        [config.hidden_size, config.intermediate_size, width].iter().all(|size| size % 4 == 0);
    let suits = whole_vectors && width.is_multiple_of(2) && width / 4 <= ATTENTION_UNITS;
    suits.then_some(Sizes {
        hidden: config.hidden_size,
        inner: config.intermediate_size,
        vocabulary: config.vocab_size,
        heads,
        eps: config.rms_norm_eps as f32,
    })
}

fn load_layer(scope: &Scope<'_>, sizes: &Sizes, launcher: &Launcher) -> Result<LayerWeights, ModelError> {
    let Sizes { hidden, inner, heads, .. } = *sizes;
    let (queries, keys) = (heads.queries * heads.width, heads.keys * heads.width);
    let norm = |name: &str| scope.child(name).values("weight", &[hidden]);
    let joined = |names: &[(&str, usize)], inputs| {
        Ok::<_, ModelError>(Matrix::upload(&scope.dense_joined(names, inputs)?, launcher))
    };
    let qkv = [
        ("self_attn.q_proj.weight", queries),
        ("self_attn.k_proj.weight", keys),
        ("self_attn.v_proj.weight", keys),
    ];
    Ok(LayerWeights {
        input_norm: launcher.upload(&norm("input_layernorm")?),
        qkv: joined(&qkv, hidden)?,
        output: joined(&[("self_attn.o_proj.weight", hidden)], queries)?,
        inner_norm: launcher.upload(&norm("post_attention_layernorm")?),
        gate_up: joined(&[("mlp.gate_proj.weight", inner), ("mlp.up_proj.weight", inner)], hidden)?,
        down: joined(&[("mlp.down_proj.weight", hidden)], inner)?,
    })
}

/// Cosine and sine of every position and pair of columns: `[positions, width / 2, 2]`.
fn rotary_values(config: &TextConfig, num_positions: usize) -> Vec<f32> {
    let angles = crate::rope::angles(config, num_positions);
    angles.into_iter().flat_map(|angle| [angle.cos(), angle.sin()]).collect()
}
