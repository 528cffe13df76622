//! What a checkpoint will take in memory, from its `config.json` alone, and what would fit where it does not.
//!
//! Plain arithmetic over shapes: nothing is read, allocated or asked. The figures are those of this engine's own layout: dense
//! layers and tables in their format, keys and values as f32 for the whole context of each sequence at a time, and the
//! buffers of the largest pass.

mod speech;

use std::fmt;

use crate::config::ModelConfig;
use crate::expected::expected_tensors;
use crate::quantisation::{is_packed, stored_bytes};
use crate::weights_format::WeightsFormat;

const FLOAT_BYTES: u64 = 4;
/// Numbers that are brought into a format at a time, as a file has them and as f32.
const QUANTISING_BYTES: u64 = 8 << 20;
/// The program itself, tokenizer and allocator's loss included.
const PROGRAM_BYTES: u64 = 48 << 20;

/// What a model is to be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// How the weights are kept; [`WeightsFormat::Stored`] as the checkpoint says.
    pub format: WeightsFormat,
    /// Longest prompt and answer together, in tokens; no more than the model can.
    pub context: usize,
    /// Sequences held at a time.
    pub sequences: usize,
    /// Inputs of the vision tower (tiles and frames) that are encoded in one pass.
    pub inputs_per_pass: usize,
}

/// Tokens that a page plans for: its pictures are one tile, its questions short, and it keeps no conversation.
const PAGE_CONTEXT: usize = 2048;

impl Use {
    /// What an engine in a browser is used for: one question at a time, picture by picture.
    pub fn in_page(format: WeightsFormat) -> Self {
        Self { format, context: PAGE_CONTEXT, sequences: 1, inputs_per_pass: 1 }
    }
}

/// What there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes for everything.
    pub total_bytes: u64,
    /// The largest buffer that can be made; `None` without a bound, as on a CPU.
    pub buffer_bytes: Option<u64>,
    /// The largest part of a buffer that a kernel can be given, 128 MiB on weak adapters; `None` without a bound.
    pub binding_bytes: Option<u64>,
}

/// What a model takes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryPlan {
    /// How the weights are kept.
    pub format: WeightsFormat,
    /// Positions of each sequence.
    pub context: usize,
    /// Dense layers, norms and positions.
    pub weights_bytes: u64,
    /// Embedding table and head, which are one where they are tied.
    pub tables_bytes: u64,
    /// Keys and values of all sequences at their longest.
    pub kv_bytes: u64,
    /// Buffers of the largest pass: a prompt, or the towers.
    pub activations_bytes: u64,
    /// The most while weights are read tensor by tensor: all of them, and the largest one once more.
    pub peak_loading_bytes: u64,
    /// The largest tensor that must lie in one buffer; tables are split where a buffer takes less.
    pub largest_tensor_bytes: u64,
}

/// Why a model does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// Everything together.
    Total {
        /// What it takes.
        needed_bytes: u64,
        /// What there is.
        limit_bytes: u64,
    },
    /// One tensor, in a buffer or a binding.
    Tensor {
        /// What it takes.
        needed_bytes: u64,
        /// What a buffer or a binding may have.
        limit_bytes: u64,
    },
}

/// What would fit instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// The same model in a smaller format.
    Format(WeightsFormat),
    /// The smallest format, and no more than so many tokens.
    Context(WeightsFormat, usize),
    /// Another model of those offered, in a format.
    Model(String, WeightsFormat),
    /// None of all that.
    Nothing,
}

/// The least context that is worth loading a model for.
const LEAST_CONTEXT: usize = 1024;

impl MemoryPlan {
    /// What a model takes. A format that the checkpoint itself names wrongly counts as f32.
    pub fn new(config: &ModelConfig, wanted: &Use) -> Self {
        let format = wanted.format.for_checkpoint(config).unwrap_or(WeightsFormat::F32);
        let text = &config.text_config;
        let context = wanted.context.min(text.max_position_embeddings);
        let mut kept = Kept::of(expected_tensors(config), format);
        // Rotations of every position.
        kept.weights_bytes += (text.max_position_embeddings * text.head_dim()) as u64 * FLOAT_BYTES;
        let row = 2 * text.num_key_value_heads * text.head_dim() * text.num_hidden_layers;
        let kv_bytes = (wanted.sequences * context * row) as u64 * FLOAT_BYTES;
        Self {
            format,
            context,
            weights_bytes: kept.weights_bytes,
            tables_bytes: kept.tables_bytes,
            kv_bytes,
            activations_bytes: activations(config, context, wanted.inputs_per_pass),
            peak_loading_bytes: kept.peak_loading_bytes(),
            largest_tensor_bytes: kept.largest_bytes,
        }
    }

    /// The plans of the format that a use asks for and of all that are smaller, in this order. Those above it would bring back nothing of
    /// what it has rounded.
    pub fn of_formats(config: &ModelConfig, wanted: &Use) -> Vec<Self> {
        let first = Self::new(config, wanted);
        let smaller = std::iter::successors(first.format.smaller(), |format| format.smaller());
        let plans = smaller.map(|format| Self::new(config, &Use { format, ..*wanted }));
        std::iter::once(first).chain(plans).collect()
    }

    /// The most at any time.
    pub fn peak_bytes(&self) -> u64 {
        let running =
            self.weights_bytes + self.tables_bytes + self.kv_bytes + self.activations_bytes + PROGRAM_BYTES;
        running.max(self.peak_loading_bytes)
    }

    /// What is too much, if anything is.
    pub fn excess(&self, limits: &Limits) -> Option<Excess> {
        let largest = [limits.buffer_bytes, limits.binding_bytes].into_iter().flatten().min();
        match largest {
            Some(limit_bytes) if self.largest_tensor_bytes > limit_bytes => {
                Some(Excess::Tensor { needed_bytes: self.largest_tensor_bytes, limit_bytes })
            }
            _ if self.peak_bytes() > limits.total_bytes => {
                Some(Excess::Total { needed_bytes: self.peak_bytes(), limit_bytes: limits.total_bytes })
            }
            _ => None,
        }
    }

    /// What would fit instead: the next smaller format that does, else a shorter context, else the first that fits of the smaller
    /// models that are `offered`, each with its name, in whatever format.
    pub fn remedy(
        config: &ModelConfig,
        wanted: &Use,
        limits: &Limits,
        offered: &[(&str, &ModelConfig)],
    ) -> Remedy {
        let fits = |config: &ModelConfig, wanted: &Use| Self::new(config, wanted).excess(limits).is_none();
        let fitting = |config: &ModelConfig, first: WeightsFormat| {
            let formats = WeightsFormat::ALL.into_iter().skip_while(move |format| *format != first);
            formats.into_iter().find(|format| fits(config, &Use { format: *format, ..*wanted }))
        };
        let first = Self::new(config, wanted).format;
        if let Some(format) = first.smaller().and_then(|smaller| fitting(config, smaller)) {
            return Remedy::Format(format);
        }
        let format = WeightsFormat::Q4;
        let mut context = wanted.context.min(config.text_config.max_position_embeddings) / 2;
        while context >= LEAST_CONTEXT {
            if fits(config, &Use { format, context, ..*wanted }) {
                return Remedy::Context(format, context);
            }
            context /= 2;
        }
        let found =
            offered.iter().find_map(|(name, config)| Some((name, fitting(config, WeightsFormat::F16)?)));
        found.map_or(Remedy::Nothing, |(name, format)| Remedy::Model((*name).to_owned(), format))
    }
}

/// Bytes that the tensors of a checkpoint take in a format.
#[derive(Debug, Clone, Copy, Default)]
struct Kept {
    weights_bytes: u64,
    tables_bytes: u64,
    largest_bytes: u64,
    /// The largest of those that have a format.
    largest_packed_bytes: u64,
}

impl Kept {
    fn of(tensors: impl IntoIterator<Item = (String, Vec<usize>)>, format: WeightsFormat) -> Self {
        let mut kept = Self::default();
        for (name, shape) in tensors {
            let bytes = stored_bytes(&name, &shape, format);
            if name.ends_with("embed_tokens.weight") || name.ends_with("lm_head.weight") {
                kept.tables_bytes += bytes;
            } else {
                kept.weights_bytes += bytes;
                kept.largest_bytes = bytes.max(kept.largest_bytes);
            }
            if is_packed(&name, &shape) {
                kept.largest_packed_bytes = bytes.max(kept.largest_packed_bytes);
            }
        }
        kept
    }

    fn peak_loading_bytes(&self) -> u64 {
        let loaded = self.weights_bytes + self.tables_bytes;
        loaded + self.largest_packed_bytes + QUANTISING_BYTES + PROGRAM_BYTES
    }
}

/// Bytes of the buffers of the largest pass: a whole prompt through a layer of the decoder, or the vision tower's inputs.
fn activations(config: &ModelConfig, context: usize, inputs_per_pass: usize) -> u64 {
    let text = &config.text_config;
    let heads = text.num_attention_heads + 2 * text.num_key_value_heads;
    // Residual, its copy, normed, queries with keys and values, attended, gates and ups, their product.
    let row = 3 * text.hidden_size
        + (heads + text.num_attention_heads) * text.head_dim()
        + 3 * text.intermediate_size;
    let prompt = context * row + text.vocab_size;
    let towers = config.vision_config.as_ref().map_or(0, |vision| {
        let pixels = vision.num_channels * vision.image_size.pow(2);
        // Residual, its copy, normed, queries, keys and values twice, attended, inner.
        let row = 10 * vision.hidden_size + vision.intermediate_size;
        inputs_per_pass * (2 * pixels + vision.num_patches() * row)
    });
    prompt.max(towers) as u64 * FLOAT_BYTES
}

impl fmt::Display for MemoryPlan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} MB at most: weights {} as {}, tables {}, keys and values {} for {} tokens, a pass {}; while loading {}",
            self.peak_bytes() >> 20,
            self.weights_bytes >> 20,
            self.format,
            self.tables_bytes >> 20,
            self.kv_bytes >> 20,
            self.context,
            self.activations_bytes >> 20,
            self.peak_loading_bytes >> 20
        )
    }
}

impl fmt::Display for Excess {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, needed, limit) = match self {
            Self::Total { needed_bytes, limit_bytes } => ("it takes", needed_bytes, limit_bytes),
            Self::Tensor { needed_bytes, limit_bytes } => {
                ("its largest tensor takes", needed_bytes, limit_bytes)
            }
        };
        write!(formatter, "{what} {} MB of {} MB that there are", needed >> 20, limit >> 20)
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(format) => write!(formatter, "as {format} it fits"),
            Self::Context(format, context) => {
                write!(formatter, "as {format} with at most {context} tokens it fits")
            }
            Self::Model(name, format) => write!(formatter, "{name} fits as {format}"),
            Self::Nothing => formatter.write_str("choose a smaller model, or a machine with more memory"),
        }
    }
}

#[cfg(test)]
mod tests;
