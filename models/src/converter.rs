//! A published checkpoint's weights in another format, as files: planned from headers, then written one tensor at a time.
//!
//! It knows tensors and the safetensors format, no folders and no hashes. What is written is what quantising at load makes
//! of the same files, bit for bit; tensors that the configuration does not ask for are left out.

use std::io::{self, Write};

use burn::tensor::Device;
use msao_kernels::StoredValues;
use serde_json::{Map, Value, json};

use crate::checkpoint::{CheckpointFiles, Weights};
use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::expected::expected_tensors;
use crate::quantisation::{SCALE_SUFFIX, inputs_of, is_packed, stored_format};
use crate::weights_format::WeightsFormat;

/// Bytes of a file at most, but for a tensor that is larger by itself: a browser fetches and lets go of one at a time.
pub const SHARD_BYTES: u64 = 512 << 20;
/// Headers are padded to this, so that values are aligned.
const HEADER_GRAIN: usize = 8;

/// Why a conversion ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The checkpoint is no good.
    #[error(transparent)]
    Checkpoint(#[from] ModelError),
    /// The result could not be written.
    #[error("cannot write the converted weights: {0}; make room or choose another folder")]
    Write(#[from] io::Error),
    /// Whoever asked for it has changed their mind.
    #[error("the conversion was cancelled; nothing was kept of it")]
    Cancelled,
}

/// A checkpoint and the format that it is to have.
pub struct Converter<'a> {
    weights: Weights<'a>,
    shards: Vec<Vec<Planned>>,
    format: WeightsFormat,
}

/// A tensor that is to be written, with its scales.
struct Planned {
    name: String,
    shape: Vec<usize>,
    parts: Vec<Part>,
}

/// A tensor of the file.
struct Part {
    name: String,
    dtype: &'static str,
    shape: Vec<usize>,
    bytes: u64,
}

impl std::fmt::Debug for Converter<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Converter[{} files of {}]", self.shards.len(), self.format)
    }
}

impl<'a> Converter<'a> {
    /// Checks a checkpoint's headers and plans its files; no value is read.
    ///
    /// # Errors
    /// As [`Assistant::load`](crate::Assistant::load) for a checkpoint that cannot be loaded.
    pub fn new(
        files: &'a CheckpointFiles,
        format: WeightsFormat,
        device: &'a Device,
    ) -> Result<Self, ModelError> {
        Self::with_shards(files, format, device, SHARD_BYTES)
    }

    /// As [`Self::new`] with files of another size.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_shards(
        files: &'a CheckpointFiles,
        format: WeightsFormat,
        device: &'a Device,
        shard_bytes: u64,
    ) -> Result<Self, ModelError> {
        let config = ModelConfig::from_json(&files.config_json)?;
        let format = format.for_checkpoint(&config)?;
        let weights = Weights::parse(&files.safetensors, device)?.kept_as(format);
        weights.check(&config)?;
        let (mut shards, mut held): (Vec<Vec<Planned>>, u64) = (Vec::new(), 0);
        for (name, shape) in expected_tensors(&config) {
            let planned = Planned::new(&weights, name, shape, format)?;
            let bytes = planned.bytes();
            match shards.last_mut().filter(|_| held + bytes <= shard_bytes) {
                Some(shard) => shard.push(planned),
                None => {
                    shards.push(vec![planned]);
                    held = 0;
                }
            }
            held += bytes;
        }
        Ok(Self { weights, shards, format })
    }

    /// Names of the files in the order of [`Self::write`].
    pub fn files(&self) -> Vec<String> {
        match self.shards.len() {
            1 => vec!["model.safetensors".to_owned()],
            count => (1..=count).map(|index| format!("model-{index:05}-of-{count:05}.safetensors")).collect(),
        }
    }

    /// Bytes of all values.
    pub fn bytes(&self) -> u64 {
        self.shards.iter().flatten().map(Planned::bytes).sum()
    }

    /// `model.safetensors.index.json`, where there are several files.
    pub fn index_json(&self) -> Option<Value> {
        if self.shards.len() == 1 {
            return None;
        }
        let files = self.files();
        let place = |(shard, file): (&Vec<Planned>, &String)| -> Vec<(String, Value)> {
            let parts = shard.iter().flat_map(|planned| &planned.parts);
            parts.map(|part| (part.name.clone(), json!(file))).collect()
        };
        let places: Map<String, Value> = self.shards.iter().zip(&files).flat_map(place).collect();
        Some(json!({"metadata": {"total_size": self.bytes()}, "weight_map": places}))
    }

    /// The checkpoint's `config.json` with the key that says what its weights are.
    ///
    /// # Errors
    /// [`ModelError::Config`] if it is no object.
    pub fn config_json(&self, config_json: &[u8]) -> Result<Value, ModelError> {
        let file = "config.json";
        let mut config: Value =
            serde_json::from_slice(config_json).map_err(|source| ModelError::json(file, &source))?;
        let group_size = (self.format == WeightsFormat::Q4).then_some(msao_kernels::GROUP);
        let Some(fields) = config.as_object_mut() else {
            return Err(ModelError::Config { file, reason: "it is no object".to_owned() });
        };
        fields.insert(
            "quantization".to_owned(),
            json!({"format": self.format.to_string(), "group_size": group_size}),
        );
        Ok(config)
    }

    /// Writes one file. `progress` hears how many bytes of values were written with each tensor, and says whether to go on.
    ///
    /// # Errors
    /// [`ConvertError`]
    ///
    /// # Panics
    /// If there is no such file.
    pub fn write(
        &self,
        file: usize,
        out: &mut dyn Write,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<(), ConvertError> {
        let shard = &self.shards[file];
        out.write_all(&header(shard))?;
        for planned in shard {
            self.write_tensor(planned, out)?;
            if !progress(planned.bytes()) {
                return Err(ConvertError::Cancelled);
            }
        }
        Ok(())
    }

    fn write_tensor(&self, planned: &Planned, out: &mut dyn Write) -> Result<(), ConvertError> {
        if !is_packed(&planned.name, &planned.shape) {
            return Ok(out.write_all(&self.weights.raw(&planned.name, &planned.shape)?)?);
        }
        let weight = self.weights.root().dense(&planned.name, &planned.shape)?;
        let mut written = io::BufWriter::new(out);
        match weight.values() {
            StoredValues::F32(values) => {
                values.iter().try_for_each(|value| written.write_all(&value.to_le_bytes()))?
            }
            StoredValues::F16(values) => {
                values.iter().try_for_each(|value| written.write_all(&value.to_le_bytes()))?
            }
            StoredValues::Int8 { steps, scales } => {
                steps.iter().try_for_each(|step| written.write_all(&step.to_le_bytes()))?;
                scales.iter().try_for_each(|scale| written.write_all(&scale.to_le_bytes()))?;
            }
            StoredValues::Q4 { nibbles, scales } => {
                written.write_all(nibbles)?;
                scales.iter().try_for_each(|scale| written.write_all(&scale.to_le_bytes()))?;
            }
        }
        Ok(written.flush()?)
    }
}

impl Planned {
    fn new(
        weights: &Weights<'_>,
        name: String,
        shape: Vec<usize>,
        format: WeightsFormat,
    ) -> Result<Self, ModelError> {
        let part = |name: &str, dtype, shape: &[usize], value_bytes: usize| Part {
            name: name.to_owned(),
            dtype,
            bytes: (shape.iter().product::<usize>() * value_bytes) as u64,
            shape: shape.to_vec(),
        };
        let scales = format!("{name}{SCALE_SUFFIX}");
        let parts = if is_packed(&name, &shape) {
            let (outputs, inputs) = (shape[0], inputs_of(&shape));
            match stored_format(&name, &shape, format) {
                msao_kernels::WeightsFormat::F32 => vec![part(&name, "F32", &shape, 4)],
                msao_kernels::WeightsFormat::F16 => vec![part(&name, "F16", &shape, 2)],
                msao_kernels::WeightsFormat::Int8 => {
                    vec![part(&name, "I8", &shape, 1), part(&scales, "F32", &[outputs], 4)]
                }
                msao_kernels::WeightsFormat::Q4 => vec![
                    part(&name, "U8", &[outputs, inputs / 2], 1),
                    part(&scales, "F16", &[outputs, inputs.div_ceil(msao_kernels::GROUP)], 2),
                ],
            }
        } else {
            let (dtype, value_bytes) = weights.type_of(&name, &shape)?;
            vec![part(&name, dtype, &shape, value_bytes)]
        };
        Ok(Self { name, shape, parts })
    }

    fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }
}

/// What a file of these tensors begins with.
fn header(shard: &[Planned]) -> Vec<u8> {
    let (mut tensors, mut start) = (Map::new(), 0);
    for part in shard.iter().flat_map(|planned| &planned.parts) {
        let end = start + part.bytes;
        let entry = json!({"dtype": part.dtype, "shape": part.shape, "data_offsets": [start, end]});
        tensors.insert(part.name.clone(), entry);
        start = end;
    }
    let mut text = Value::Object(tensors).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(HEADER_GRAIN), b' ');
    let mut header = (text.len() as u64).to_le_bytes().to_vec();
    header.append(&mut text);
    header
}
