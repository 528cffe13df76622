//! The Llama-style decoder: RMS norm, rotary positions, grouped-query attention, SwiGLU.
//!
//! One forward pass serves prefill, decoding and verification; they differ in the number of new positions. Several
//! sequences of different lengths share a pass too, each with its own cache: the dense layers see the rows of all,
//! attention goes sequence by sequence.
//! On the CPU the layers are kernels of our own over slices, and shapes are exact. On a GPU they are fused kernels where the
//! sizes suit them, else tensor operations with every shape padded to one of a few (see [`ShapePolicy`]), since a new
//! shape means compiling and tuning kernels there.

use std::ops::Range;

use burn::tensor::activation::silu;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::attention::{attend, split_heads};
use crate::checkpoint::Scope;
use crate::config::TextConfig;
use crate::device::{FusedDecoder, FusedSegment, HostDecoder, HostSegment};
use crate::error::ModelError;
use crate::kept::MASKED;
use crate::kv_cache::KvCache;
use crate::linear::Linear;
use crate::norm::RmsNorm;
use crate::rope::{RotaryRows, RotaryTable};
use crate::shapes::ShapePolicy;

/// The decoder with its embedding table and head, which most checkpoints share.
#[derive(Debug)]
pub struct Decoder {
    /// `[vocabulary, hidden]`; kernels have a table of their own.
    embed_tokens: Option<Tensor<2>>,
    form: Form,
    config: TextConfig,
    shapes: ShapePolicy,
    device: Device,
}

/// How the layers and the head run.
#[derive(Debug)]
enum Form {
    Tensors(Box<TensorForm>),
    /// Kernels of our own on a CPU.
    Host(Box<HostDecoder>),
    /// Kernels of our own on a GPU.
    Fused(FusedDecoder),
}

/// Layers and head as tensor operations.
#[derive(Debug)]
struct TensorForm {
    layers: Vec<DecoderLayer>,
    norm: RmsNorm,
    head: Linear,
    rotary: RotaryTable,
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

/// The new positions of one sequence in a pass over several.
#[derive(Debug)]
pub struct Segment<'a> {
    /// The sequence's cache, which the positions are added to.
    pub cache: &'a mut KvCache,
    /// Rows of the pass that are its, padding included.
    pub rows: usize,
    /// How many of them are real.
    pub count: usize,
}

/// What all layers of one forward pass share about one sequence (or a batch of equally long ones).
struct Pass {
    rotary: RotaryRows,
    /// `[1, 1, group * new positions, window]`
    mask: Option<Tensor<4>>,
    window: usize,
    first_row: usize,
    rows: usize,
}

impl Decoder {
    /// `untied_head` is the scope of a head of its own.
    pub(crate) fn load(
        scope: &Scope<'_>,
        config: &TextConfig,
        untied_head: Option<&Scope<'_>>,
    ) -> Result<Self, ModelError> {
        let device = scope.device();
        let positions = config.max_position_embeddings;
        let decoder = |embed_tokens, form, shapes| {
            Ok(Self { embed_tokens, form, config: config.clone(), shapes, device: device.clone() })
        };
        if let Some(host) = HostDecoder::load(scope, config, untied_head, positions)? {
            return decoder(None, Form::Host(Box::new(host)), ShapePolicy::Exact);
        }
        if let Some(fused) = FusedDecoder::load(scope, config, untied_head, positions)? {
            return decoder(None, Form::Fused(fused), ShapePolicy::Fused);
        }
        let table: Tensor<2> =
            scope.tensor("embed_tokens.weight", [config.vocab_size, config.hidden_size])?;
        let shapes = ShapePolicy::for_device(device);
        let form = TensorForm::load(scope, config, &table, untied_head, shapes)?;
        decoder(Some(table), Form::Tensors(Box::new(form)), shapes)
    }

    /// How this decoder's device wants its shapes.
    pub fn shapes(&self) -> ShapePolicy {
        self.shapes
    }

    /// An empty cache for `batch` sequences of up to `positions` positions.
    pub fn new_cache(&self, batch: usize, positions: usize) -> KvCache {
        self.new_cache_of(self.num_layers(), batch, positions)
    }

    /// Bytes of a cache of [`Self::new_cache`] for one sequence of up to `positions` positions.
    pub fn kv_bytes(&self, positions: usize) -> u64 {
        let capacity = self.shapes.capacity(positions);
        if let Form::Host(host) = &self.form {
            return host.kv_bytes(self.num_layers(), 1, capacity);
        }
        let row = self.config.num_key_value_heads * self.config.head_dim() * size_of::<f32>();
        (2 * self.num_layers() * capacity * row) as u64
    }

    /// As [`Self::new_cache`], for so many of the layers only: what [`Self::forward_layers`] needs.
    pub fn new_cache_of(&self, layers: usize, batch: usize, positions: usize) -> KvCache {
        let capacity = self.shapes.capacity(positions);
        match &self.form {
            Form::Tensors(_) => KvCache::new(&self.config, layers, batch, capacity, &self.device),
            Form::Host(host) => {
                KvCache::host(host.new_cache(layers, batch, capacity), layers, batch, capacity)
            }
            Form::Fused(fused) => KvCache::fused(fused.new_cache(batch, capacity), layers, batch, capacity),
        }
    }

    /// How many layers there are.
    pub fn num_layers(&self) -> usize {
        self.config.num_hidden_layers
    }

    /// Looks tokens up in the embedding table.
    ///
    /// # Shapes
    /// - ids: `[batch][positions]`, all sequences equally long, every id inside the vocabulary
    /// - output: `[batch, positions, hidden]`
    pub fn embed(&self, ids: &[Vec<u32>]) -> Tensor<3> {
        let positions = ids.first().map_or(0, Vec::len);
        let table = match (&self.form, &self.embed_tokens) {
            (Form::Host(host), _) => return host.embed(ids),
            (Form::Fused(fused), _) => {
                let shape = [ids.len(), positions, self.config.hidden_size];
                return fused.embed(&ids.concat()).reshape(shape);
            }
            (Form::Tensors(_), Some(table)) => table.clone(),
            (Form::Tensors(_), None) => unreachable!("tensors come with their table"),
        };
        let flat: Vec<i32> = ids.iter().flatten().map(|&id| id as i32).collect();
        let indices: Tensor<1, Int> =
            Tensor::from_data(TensorData::new(flat, [ids.len() * positions]), &self.device);
        let rows = table.select(0, indices);
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
        self.forward_packed(embeddings, &mut [Segment { cache, rows: positions, count }])
    }

    /// As [`Self::forward`], where only the last of the new positions of one sequence is wanted, as behind a prompt.
    ///
    /// # Shapes
    /// - embeddings: `[1, positions >= count, hidden]`; output: `[1, 1, hidden]`
    ///
    /// # Panics
    /// As [`Self::forward`].
    pub fn forward_last(&self, embeddings: Tensor<3>, count: usize, cache: &mut KvCache) -> Tensor<3> {
        match &self.form {
            Form::Host(host) if embeddings.dims()[..2] == [1, count] => {
                let segment = Segment { cache, rows: count, count };
                host_pass(&mut [segment], |segments| host.forward_last(embeddings, segments))
            }
            _ => self.forward(embeddings, count, cache).narrow(1, count - 1, 1),
        }
    }

    /// As [`Self::forward`] for several sequences at once, whose new positions stand one behind the other.
    ///
    /// # Shapes
    /// - embeddings, output: `[1, sum of the segments' rows, hidden]`; with a single segment the first dimension is
    ///   the batch of its cache
    ///
    /// # Panics
    /// If a cache has no room for its padded positions, or the rows do not add up.
    pub fn forward_packed(&self, embeddings: Tensor<3>, segments: &mut [Segment<'_>]) -> Tensor<3> {
        self.run_layers(embeddings, segments, 0..self.num_layers())
    }

    /// Runs tokens through everything and gives the scores behind each: [`Self::embed`], [`Self::forward_packed`] and
    /// [`Self::logits`] in one.
    ///
    /// # Shapes
    /// - ids: the new positions of the segments one behind the other, every id inside the vocabulary; one sequence a
    ///   cache
    /// - output: `[1, ids, vocabulary]`
    ///
    /// # Panics
    /// As [`Self::forward_packed`].
    pub fn score(&self, ids: Vec<u32>, segments: &mut [Segment<'_>]) -> Tensor<3> {
        match &self.form {
            Form::Tensors(_) | Form::Host(_) => {
                self.logits(self.forward_packed(self.embed(&[ids]), segments))
            }
            Form::Fused(fused) => fused_pass(segments, |segments| fused.score(&ids, segments)),
        }
    }

    /// As [`Self::forward`], running some of the layers only. The last layers end in the final norm, so that what
    /// they give is ready for [`Self::logits`].
    ///
    /// # Shapes
    /// - hidden, output: `[batch, positions >= count, hidden]`; for the first layers `hidden` are embeddings, else what
    ///   the layers before gave
    ///
    /// # Panics
    /// If there are no such layers, the cache is not one of [`Self::new_cache_of`] as many, or it has no room.
    pub fn forward_layers(
        &self,
        hidden: Tensor<3>,
        count: usize,
        cache: &mut KvCache,
        layers: Range<usize>,
    ) -> Tensor<3> {
        assert_eq!(cache.num_layers(), layers.len(), "the cache is made for these layers");
        let rows = hidden.dims()[1];
        self.run_layers(hidden, &mut [Segment { cache, rows, count }], layers)
    }

    /// The layers, and the final norm behind the last one; the caches hold those of `layers`.
    fn run_layers(&self, x: Tensor<3>, segments: &mut [Segment<'_>], layers: Range<usize>) -> Tensor<3> {
        match &self.form {
            Form::Tensors(form) => form.run_layers(x, segments, layers, self),
            Form::Host(host) => host_pass(segments, |segments| host.forward(x, segments, layers)),
            Form::Fused(fused) => fused_pass(segments, |segments| fused.forward(x, segments, layers)),
        }
    }

    /// Scores of every token of the vocabulary.
    ///
    /// # Shapes
    /// - hidden: `[batch, positions, hidden]`
    /// - output: `[batch, positions, vocabulary]`
    pub fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        match &self.form {
            Form::Tensors(form) => form.head.forward(hidden),
            Form::Host(host) => host.logits(hidden),
            Form::Fused(fused) => fused.logits(hidden),
        }
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

impl TensorForm {
    fn load(
        scope: &Scope<'_>,
        config: &TextConfig,
        embed_tokens: &Tensor<2>,
        untied_head: Option<&Scope<'_>>,
        shapes: ShapePolicy,
    ) -> Result<Self, ModelError> {
        let head = match untied_head {
            Some(head) => Linear::load(head, config.hidden_size, config.vocab_size, false)?,
            None => Linear::of_tensors(embed_tokens.clone(), None),
        };
        let layers = (0..config.num_hidden_layers)
            .map(|index| DecoderLayer::load(&scope.child(&format!("layers.{index}")), config))
            .collect::<Result<_, _>>()?;
        let num_positions = shapes.capacity(config.max_position_embeddings);
        Ok(Self {
            layers,
            norm: RmsNorm::load(&scope.child("norm"), config.hidden_size, config.rms_norm_eps)?,
            head,
            rotary: RotaryTable::new(config, num_positions, scope.device()),
        })
    }

    fn run_layers(
        &self,
        x: Tensor<3>,
        segments: &mut [Segment<'_>],
        layers: Range<usize>,
        decoder: &Decoder,
    ) -> Tensor<3> {
        let mut first_row = 0;
        let mut passes = Vec::with_capacity(segments.len());
        for Segment { cache, rows, count } in segments.iter() {
            let (start, rows) = (checked_len(cache, *rows), *rows);
            let window = decoder.shapes.window(start + count, cache.capacity());
            let (rotary, mask) = (self.rotary.rows(start, rows), decoder.mask(start, rows, window));
            passes.push(Pass { rotary, mask, window, first_row, rows });
            first_row += rows;
        }
        assert_eq!(x.dims()[1], first_row, "the segments' rows are those of the pass");
        let is_end = layers.end == self.layers.len();
        let mut x = x;
        for (index, layer) in self.layers[layers].iter().enumerate() {
            x = layer.forward(x, &passes, index, segments, &decoder.config);
        }
        advance(segments);
        if is_end { self.norm.forward(x) } else { x }
    }
}

/// Runs a pass of fused kernels over segments, and counts their positions.
fn fused_pass(
    segments: &mut [Segment<'_>],
    run: impl FnOnce(&mut [FusedSegment<'_>]) -> Tensor<3>,
) -> Tensor<3> {
    let mut inner: Vec<FusedSegment<'_>> = segments
        .iter_mut()
        .map(|Segment { cache, rows, .. }| {
            let (held, rows) = (checked_len(cache, *rows), *rows);
            FusedSegment { cache: cache.as_fused(), held, rows }
        })
        .collect();
    let output = run(&mut inner);
    drop(inner);
    advance(segments);
    output
}

/// Runs a pass of the CPU's kernels over segments, and counts their positions.
fn host_pass(
    segments: &mut [Segment<'_>],
    run: impl FnOnce(&mut [HostSegment<'_>]) -> Tensor<3>,
) -> Tensor<3> {
    let mut inner: Vec<HostSegment<'_>> = segments
        .iter_mut()
        .map(|Segment { cache, rows, .. }| {
            let (held, rows, batch) = (checked_len(cache, *rows), *rows, cache.batch());
            HostSegment { cache: cache.as_host(), batch, held, rows }
        })
        .collect();
    let output = run(&mut inner);
    drop(inner);
    advance(segments);
    output
}

/// Positions that a cache holds, which has room for `rows` more.
fn checked_len(cache: &KvCache, rows: usize) -> usize {
    let held = cache.len();
    assert!(held + rows <= cache.capacity(), "{held} + {rows} positions exceed the cache");
    held
}

/// Counts the segments' new positions.
fn advance(segments: &mut [Segment<'_>]) {
    for Segment { cache, count, .. } in segments {
        cache.advance(*count);
    }
}

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
        passes: &[Pass],
        index: usize,
        segments: &mut [Segment<'_>],
        config: &TextConfig,
    ) -> Tensor<3> {
        let normed = self.input_layernorm.forward(x.clone());
        let x = x + self.attention(normed, passes, index, segments, config);
        let normed = self.post_attention_layernorm.forward(x.clone());
        let inner = silu(self.gate_proj.forward(normed.clone())) * self.up_proj.forward(normed);
        x + self.down_proj.forward(inner)
    }

    fn attention(
        &self,
        x: Tensor<3>,
        passes: &[Pass],
        index: usize,
        segments: &mut [Segment<'_>],
        config: &TextConfig,
    ) -> Tensor<3> {
        let projected =
            [self.q_proj.forward(x.clone()), self.k_proj.forward(x.clone()), self.v_proj.forward(x)];
        let mut attended = Vec::with_capacity(passes.len());
        for (pass, segment) in passes.iter().zip(segments) {
            let rows = |x: &Tensor<3>| match passes.len() {
                1 => x.clone(),
                _ => x.clone().narrow(1, pass.first_row, pass.rows),
            };
            let [q, k, v] = [rows(&projected[0]), rows(&projected[1]), rows(&projected[2])];
            attended.push(attend_to_cache(q, k, v, pass, index, segment.cache, config));
        }
        let attended = match attended.len() {
            1 => attended.remove(0),
            _ => Tensor::cat(attended, 1),
        };
        self.o_proj.forward(attended)
    }
}

/// Attention of one sequence's new positions to all that its cache holds.
///
/// # Shapes
/// - q: `[batch, positions, heads * head_dim]`; k, v: `[batch, positions, kv heads * head_dim]`
/// - output: as q
fn attend_to_cache(
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    pass: &Pass,
    layer: usize,
    cache: &mut KvCache,
    config: &TextConfig,
) -> Tensor<3> {
    let [batch, positions, _] = q.dims();
    let (heads, kv_heads, head_dim) =
        (config.num_attention_heads, config.num_key_value_heads, config.head_dim());
    let group = heads / kv_heads;
    let q = pass.rotary.rotate(split_heads(q, heads));
    let k = pass.rotary.rotate(split_heads(k, kv_heads));
    let v = split_heads(v, kv_heads);
    let (k, v) = cache.write(layer, k, v, pass.window);
    // The query heads of a group stand as further rows before their one key head: nothing is repeated.
    let q = q.reshape([batch, kv_heads, group * positions, head_dim]);
    attend(q, k, v, pass.mask.clone()).reshape([batch, heads, positions, head_dim]).swap_dims(1, 2).reshape([
        batch,
        positions,
        heads * head_dim,
    ])
}
