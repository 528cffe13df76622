//! Whisper's decoder on a CPU: the kernels of [`msao_kernels`] over plain slices.
//!
//! What the encoder heard becomes keys and values once a window; the tokens written so far have a cache of their own, as in
//! any decoder. There are no tensors in here.

use msao_kernels::{Gelu, Heads, KeyValues, PackedWeight, Sequence, add_gelu, attend};

use super::host_encoder::{Dense, Norm, add_rows};
use crate::checkpoint::Scope;
use crate::error::ModelError;
use crate::speech::WhisperConfig;

/// Epsilon of Whisper's layer norms; its configuration does not carry it.
const LAYER_NORM_EPS: f32 = 1e-5;

/// Layers, final norm and the head, which is the embedding table.
#[derive(Debug)]
pub(crate) struct SpeechDecoder {
    layers: Vec<Layer>,
    norm: Norm,
    /// `[vocabulary, d_model]`
    /// `[positions, d_model]`
    positions: Vec<f32>,
    head: PackedWeight,
    heads: Heads,
}

#[derive(Debug)]
struct Layer {
    attention_norm: Norm,
    /// Queries, keys and values.
    qkv: Dense,
    output: Dense,
    cross_norm: Norm,
    cross_queries: Dense,
    /// Keys and values of what was heard.
    cross_keys_values: Dense,
    cross_output: Dense,
    inner_norm: Norm,
    up: Dense,
    down: Dense,
}

/// Keys and values of one window of sound.
#[derive(Debug)]
pub(crate) struct Heard {
    layers: Vec<KeyValues>,
    positions: usize,
}

/// Keys and values of what was written about a window.
#[derive(Debug)]
pub(crate) struct Written {
    layers: Vec<KeyValues>,
    len: usize,
}

impl SpeechDecoder {
    /// Reads the layers below `model.decoder`.
    pub(crate) fn load(scope: &Scope<'_>, config: &WhisperConfig) -> Result<Self, ModelError> {
        let size = config.d_model;
        let layers = (0..config.decoder_layers)
            .map(|index| Layer::load(&scope.child(&format!("layers.{index}")), config))
            .collect::<Result<_, _>>()?;
        let count = config.decoder_attention_heads;
        Ok(Self {
            layers,
            norm: Norm::load(&scope.child("layer_norm"), size)?,
            positions: scope.values("embed_positions.weight", &[config.max_target_positions, size])?,
            head: PackedWeight::from_stored(&scope.dense("embed_tokens.weight", &[config.vocab_size, size])?),
            heads: Heads { queries: count, keys: count, head_dim: size / count },
        })
    }

    /// Takes in what the encoder made of a window.
    ///
    /// # Shapes
    /// - frames: `[positions, d_model]`
    pub(crate) fn hear(&self, frames: &[f32]) -> Heard {
        let width = self.heads.queries * self.heads.head_dim;
        let positions = frames.len() / width;
        let mut both = vec![0.0; 2 * frames.len()];
        let layers = self.layers.iter().map(|layer| {
            let mut cache = KeyValues::new(self.heads.keys, self.heads.head_dim, positions);
            layer.cross_keys_values.weight.product(frames, &mut both);
            add_rows(&mut both, &layer.cross_keys_values.bias);
            for (position, row) in both.chunks_exact(2 * width).enumerate() {
                let (keys, values) = row.split_at(width);
                self.keep(&mut cache, position, keys, values);
            }
            cache
        });
        Heard { layers: layers.collect(), positions }
    }

    /// Nothing written yet, with room for so many tokens.
    pub(crate) fn begin(&self, capacity: usize) -> Written {
        let layer = || KeyValues::new(self.heads.keys, self.heads.head_dim, capacity);
        Written { layers: self.layers.iter().map(|_| layer()).collect(), len: 0 }
    }

    /// Runs further tokens, and returns what the head reads of each.
    ///
    /// # Shapes
    /// - output: `[ids, d_model]`
    ///
    /// # Panics
    /// If there is no room for them.
    pub(crate) fn forward(&self, ids: &[u32], heard: &Heard, written: &mut Written) -> Vec<f32> {
        let width = self.heads.queries * self.heads.head_dim;
        let mut x = vec![0.0; ids.len() * width];
        for ((id, position), row) in ids.iter().zip(written.len..).zip(x.chunks_exact_mut(width)) {
            self.head.read_row(*id as usize, row);
            let place = &self.positions[position * width..][..width];
            row.iter_mut().zip(place).for_each(|(value, place)| *value += place);
        }
        let mut buffers = Buffers::new(&self.layers[0], ids.len());
        for (index, layer) in self.layers.iter().enumerate() {
            let sequences = (&mut written.layers[index], written.len, &heard.layers[index], heard.positions);
            self.run_layer(layer, sequences, &mut x, &mut buffers);
        }
        written.len += ids.len();
        self.norm.apply(&x, LAYER_NORM_EPS, &mut buffers.normed);
        buffers.normed
    }

    /// Scores of every token of the vocabulary.
    ///
    /// # Shapes
    /// - hidden: `[rows, d_model]`; output: `[rows, vocabulary]`
    pub(crate) fn scores(&self, hidden: &[f32]) -> Vec<f32> {
        let rows = hidden.len() / self.head.in_features();
        let mut out = vec![0.0; rows * self.head.out_features()];
        self.head.product(hidden, &mut out);
        out
    }

    fn run_layer(
        &self,
        layer: &Layer,
        (own, held, heard, positions): (&mut KeyValues, usize, &KeyValues, usize),
        x: &mut [f32],
        buffers: &mut Buffers,
    ) {
        let Buffers { normed, qkv, queries, attended, inner } = buffers;
        let width = self.heads.queries * self.heads.head_dim;
        layer.attention_norm.apply(x, LAYER_NORM_EPS, normed);
        layer.qkv.weight.product(normed, qkv);
        add_rows(qkv, &layer.qkv.bias);
        for (row, position) in qkv.chunks_exact(3 * width).zip(held..) {
            let (keys, values) = row[width..].split_at(width);
            self.keep(own, position, keys, values);
        }
        let rows = x.len() / width;
        let written = Sequence { cache: own, first_head: 0, first_row: 0, rows, held, sees_all: false };
        attend(qkv, 3 * width, &[written], self.heads, attended);
        layer.output.weight.add_product(attended, x);
        add_rows(x, &layer.output.bias);

        layer.cross_norm.apply(x, LAYER_NORM_EPS, normed);
        layer.cross_queries.weight.product(normed, queries);
        add_rows(queries, &layer.cross_queries.bias);
        // Every row sees all that was heard: as if the rows were the last of its positions, each seeing all.
        let held = positions - rows;
        let heard = Sequence { cache: heard, first_head: 0, first_row: 0, rows, held, sees_all: true };
        attend(queries, width, &[heard], self.heads, attended);
        layer.cross_output.weight.add_product(attended, x);
        add_rows(x, &layer.cross_output.bias);

        layer.inner_norm.apply(x, LAYER_NORM_EPS, normed);
        layer.up.weight.product(normed, inner);
        add_gelu(inner, &layer.up.bias, Gelu::Exact);
        layer.down.weight.add_product(inner, x);
        add_rows(x, &layer.down.bias);
    }

    /// Keeps the keys and values of one position, head by head.
    fn keep(&self, cache: &mut KeyValues, position: usize, keys: &[f32], values: &[f32]) {
        let head_dim = self.heads.head_dim;
        for (head, (key, value)) in keys.chunks_exact(head_dim).zip(values.chunks_exact(head_dim)).enumerate()
        {
            cache.write(head, position, key, value);
        }
    }
}

impl Layer {
    fn load(scope: &Scope<'_>, config: &WhisperConfig) -> Result<Self, ModelError> {
        let (size, inner) = (config.d_model, config.decoder_ffn_dim);
        let (own, cross) = (scope.child("self_attn"), scope.child("encoder_attn"));
        let one = |scope: Scope<'_>, outputs, inputs| Dense::load(&[(scope, outputs, true)], inputs);
        let [own_keys, own_values] = keys_values(&own, size);
        Ok(Self {
            attention_norm: Norm::load(&scope.child("self_attn_layer_norm"), size)?,
            qkv: Dense::load(&[(own.child("q_proj"), size, true), own_keys, own_values], size)?,
            output: one(own.child("out_proj"), size, size)?,
            cross_norm: Norm::load(&scope.child("encoder_attn_layer_norm"), size)?,
            cross_queries: one(cross.child("q_proj"), size, size)?,
            cross_keys_values: Dense::load(&keys_values(&cross, size), size)?,
            cross_output: one(cross.child("out_proj"), size, size)?,
            inner_norm: Norm::load(&scope.child("final_layer_norm"), size)?,
            up: one(scope.child("fc1"), inner, size)?,
            down: one(scope.child("fc2"), size, inner)?,
        })
    }
}

/// The layers that make keys and values of the same rows; only Whisper's keys have no bias.
fn keys_values<'a>(attention: &Scope<'a>, size: usize) -> [(Scope<'a>, usize, bool); 2] {
    [(attention.child("k_proj"), size, false), (attention.child("v_proj"), size, true)]
}

/// What a layer works in, row by row.
struct Buffers {
    normed: Vec<f32>,
    qkv: Vec<f32>,
    queries: Vec<f32>,
    attended: Vec<f32>,
    inner: Vec<f32>,
}

impl Buffers {
    fn new(layer: &Layer, rows: usize) -> Self {
        let of = |dense: &Dense| vec![0.0; rows * dense.weight.out_features()];
        Self {
            normed: of(&layer.output),
            qkv: of(&layer.qkv),
            queries: of(&layer.cross_queries),
            attended: of(&layer.output),
            inner: of(&layer.up),
        }
    }
}
