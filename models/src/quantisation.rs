//! Which tensors of a checkpoint a format is for, and how a converted checkpoint's files hold them.
//!
//! Dense layers have the format. Tables, of which single rows are read too, and the kernel of a picture's patches are int8 where
//! the dense layers are q4; a few per cent of the weights, and the first and last things that a value passes. Norms, biases,
//! positions and convolutions are numbers as published.
//!
//! | format | tensor `X.weight` | tensor `X.weight_scale` |
//! |---|---|---|
//! | f16 | F16, as published | |
//! | int8 | I8, as published | F32 `[outputs]` |
//! | q4 | U8 `[outputs, inputs / 2]`: two steps above -8 a byte, the first in its low half | F16 `[outputs, inputs / 32]`, rounded up |
//!
//! `config.json` says so in a key of ours: `"quantization": {"format": "q4", "group_size": 32}`.

use msao_kernels::GROUP;
use serde::Deserialize;

use crate::error::ModelError;
use crate::weights_format::WeightsFormat;

/// What the name of a tensor's scales ends in.
pub(crate) const SCALE_SUFFIX: &str = "_scale";

/// What `config.json` of a converted checkpoint says of its weights (`quantization`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct QuantizationConfig {
    /// `f16`, `int8` or `q4`.
    pub format: String,
    /// Inputs that share a scale in q4: 32.
    pub group_size: Option<usize>,
}

impl QuantizationConfig {
    /// The format by its name.
    ///
    /// # Errors
    /// [`ModelError::Config`] for a format that is none of ours, or other groups.
    pub fn format(&self) -> Result<WeightsFormat, ModelError> {
        let refused = |reason: String| ModelError::Config { file: "config.json", reason };
        if self.group_size.is_some_and(|size| size != GROUP) {
            return Err(refused(format!(
                "quantization.group_size is {:?}; only {GROUP} is supported",
                self.group_size
            )));
        }
        match self.format.parse() {
            Ok(format @ (WeightsFormat::F16 | WeightsFormat::Int8 | WeightsFormat::Q4)) => Ok(format),
            _ => Err(refused(format!(
                "quantization.format is `{}`; `msao-server convert` writes f16, int8 and q4",
                self.format
            ))),
        }
    }
}

/// What a tensor is to the formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// A dense layer.
    Dense,
    /// An embedding table, a head, or the kernel of patches.
    Table,
    /// Anything else.
    Plain,
}

fn part_of(name: &str, shape: &[usize]) -> Part {
    let ends = |end: &str| name.ends_with(end);
    if ends("embed_tokens.weight") || ends("lm_head.weight") || ends("patch_embedding.weight") {
        Part::Table
    } else if shape.len() == 2
        && ends(".weight")
        && !ends("position_embedding.weight")
        && !ends("embed_positions.weight")
    {
        Part::Dense
    } else {
        Part::Plain
    }
}

/// Whether a tensor has a format at all.
pub(crate) fn is_packed(name: &str, shape: &[usize]) -> bool {
    part_of(name, shape) != Part::Plain
}

/// Width of what goes into a tensor's layer.
pub(crate) fn inputs_of(shape: &[usize]) -> usize {
    shape[1..].iter().product()
}

/// How a tensor is stored where the checkpoint has this format.
pub(crate) fn stored_format(
    name: &str,
    shape: &[usize],
    format: WeightsFormat,
) -> msao_kernels::WeightsFormat {
    match (part_of(name, shape), format.into()) {
        (Part::Plain, _) => msao_kernels::WeightsFormat::F32,
        (Part::Table, msao_kernels::WeightsFormat::Q4) => msao_kernels::WeightsFormat::Int8,
        (_, format) => format.of_rows(inputs_of(shape)),
    }
}

/// Bytes that a tensor takes in memory, scales included.
pub(crate) fn stored_bytes(name: &str, shape: &[usize], format: WeightsFormat) -> u64 {
    let values = shape.iter().map(|&size| size as u64).product::<u64>();
    let outputs = shape.first().map_or(0, |&outputs| outputs as u64);
    match stored_format(name, shape, format) {
        msao_kernels::WeightsFormat::F32 => 4 * values,
        msao_kernels::WeightsFormat::F16 => 2 * values,
        msao_kernels::WeightsFormat::Int8 => values + 4 * outputs,
        msao_kernels::WeightsFormat::Q4 => values / 2 + 2 * outputs * inputs_of(shape).div_ceil(GROUP) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_int8_in_q4_and_norms_are_numbers() {
        let of = |name: &str, shape: &[usize]| stored_format(name, shape, WeightsFormat::Q4);
        use msao_kernels::WeightsFormat::{F32, Int8, Q4};
        assert_eq!(of("model.text_model.layers.0.mlp.up_proj.weight", &[64, 32]), Q4);
        assert_eq!(of("model.vision_model.encoder.layers.0.mlp.fc2.weight", &[64, 40]), Int8);
        assert_eq!(of("model.text_model.embed_tokens.weight", &[64, 32]), Int8);
        assert_eq!(of("model.vision_model.embeddings.patch_embedding.weight", &[64, 3, 16, 16]), Int8);
        assert_eq!(of("model.vision_model.embeddings.position_embedding.weight", &[64, 32]), F32);
        assert_eq!(of("model.text_model.norm.weight", &[64]), F32);
        assert_eq!(stored_bytes("model.layers.0.mlp.up_proj.weight", &[4, 48], WeightsFormat::Q4), 96 + 16);
    }

    #[test]
    fn another_tool_s_quantization_is_refused() {
        let of =
            |format: &str, group_size| QuantizationConfig { format: format.to_owned(), group_size }.format();
        assert_eq!(of("q4", Some(32)).unwrap(), WeightsFormat::Q4);
        assert!(of("q4", Some(64)).unwrap_err().to_string().contains("32"));
        assert!(of("nf4", None).unwrap_err().to_string().contains("convert"));
        assert!(of("stored", None).is_err());
    }
}
