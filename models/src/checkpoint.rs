//! Reading a checkpoint: a folder as Hugging Face lays it out, or the same files as bytes.
//!
//! Tensors keep their published names; each module asks for its own by name and shape, so a file that lacks
//! one, or has it in another shape or type, is refused with the tensor's name before a value is read. Extra
//! tensors are ignored. Values stored as F16, BF16 or F32 all become F32 on the device.
//!
//! | checkpoint key | module |
//! |---|---|
//! | `model.vision_model.embeddings.*`, `.encoder.layers.N.*`, `.post_layernorm.*` | [`VisionTower`](crate::vision::VisionTower) |
//! | `model.connector.modality_projection.proj.weight` | [`Connector`](crate::vision::Connector) |
//! | `model.audio_model.{conv1,conv2,embed_positions,layers.N,layer_norm}.*` (Whisper's encoder) | [`AudioTower`](crate::audio::AudioTower) |
//! | `model.audio_projector.{ln_pre,linear_1,linear_2,ln_post}.weight` | [`AudioProjector`](crate::audio::AudioProjector) |
//! | `model.text_model.{embed_tokens,layers.N.*,norm}.weight` | [`Decoder`](crate::decoder::Decoder); `model.*` where there are no towers |
//! | `lm_head.weight` | the decoder's head, where config.json does not tie it to the embedding table |

use std::cell::Cell;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use burn::tensor::{Bytes, DType, Device, Tensor, TensorData, bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::expected::{expected_tensors, weights_bytes};
use crate::text::read_template;
use crate::weight_files::WeightFiles;
use crate::weights_format::WeightsFormat;

/// The files of a checkpoint that the engine reads, as bytes.
#[derive(Debug, Clone, Default)]
pub struct CheckpointFiles {
    /// `config.json`
    pub config_json: Vec<u8>,
    /// `tokenizer.json`
    pub tokenizer_json: Vec<u8>,
    /// `preprocessor_config.json`; empty where the checkpoint neither sees nor hears.
    pub preprocessor_json: Vec<u8>,
    /// `model.safetensors`, or the files of its index.
    pub safetensors: WeightFiles,
    /// The checkpoint's own chat template, where it has one.
    pub chat_template: Option<String>,
    /// How the dense layers keep the weights on a CPU; f32 unless told otherwise.
    pub weights_format: WeightsFormat,
    /// Bytes that the loaded weights may take; no bound unless told otherwise.
    pub memory_limit_bytes: Option<u64>,
}

impl CheckpointFiles {
    /// Reads the small files of a folder and opens its weights.
    ///
    /// # Errors
    /// [`ModelError::File`] naming the file that could not be read; as [`ModelConfig::from_json`] for a checkpoint of
    /// another kind.
    pub fn from_dir(folder: impl AsRef<Path>) -> Result<Self, ModelError> {
        let folder = folder.as_ref();
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read(&path).map_err(|source| ModelError::File { path: path.display().to_string(), source })
        };
        let config_json = read("config.json")?;
        let config = ModelConfig::from_json(&config_json)?;
        let preprocessor_json = match read("preprocessor_config.json") {
            Err(ModelError::File { source, .. })
                if source.kind() == ErrorKind::NotFound && config.is_text_only() =>
            {
                Vec::new()
            }
            // Files that transformers 5 writes have it within another one.
            Err(missing) => {
                read("processor_config.json").ok().and_then(|file| within(&file)).ok_or(missing)?
            }
            Ok(file) => file,
        };
        Ok(Self {
            config_json,
            tokenizer_json: read("tokenizer.json")?,
            preprocessor_json,
            safetensors: WeightFiles::from_dir(folder)?,
            chat_template: read_template(folder)?,
            ..Self::default()
        })
    }

    /// Refuses weights that would not fit the memory they may take.
    pub(crate) fn check_memory(&self, config: &ModelConfig) -> Result<(), ModelError> {
        let needed_bytes = weights_bytes(config, self.weights_format);
        match self.memory_limit_bytes {
            Some(limit_bytes) if needed_bytes > limit_bytes => {
                Err(ModelError::TooLarge { needed_bytes, limit_bytes, format: self.weights_format })
            }
            _ => Ok(()),
        }
    }
}

/// The preprocessor's own part of a processor_config.json.
fn within(processor_json: &[u8]) -> Option<Vec<u8>> {
    let file: Value = serde_json::from_slice(processor_json).ok()?;
    Some(file.get("image_processor")?.to_string().into_bytes())
}

/// The parsed weights and the device its tensors go to.
pub(crate) struct Weights<'a> {
    files: Vec<(&'a str, SafeTensors<'a>)>,
    device: &'a Device,
    format: WeightsFormat,
    parameters: Cell<usize>,
}

impl<'a> Weights<'a> {
    /// Checks each file's header and extent, and that they hold what their index says; no tensor is read yet.
    pub(crate) fn parse(files: &'a WeightFiles, device: &'a Device) -> Result<Self, ModelError> {
        let parse = |name: &'a str, bytes| SafeTensors::deserialize(bytes).map(|file| (name, file));
        let files_of = files.iter().map(|file| {
            parse(&file.name, file.bytes())
                .map_err(|error| ModelError::Weights { file: file.name.clone(), reason: error.to_string() })
        });
        let weights = Self::of(files_of.collect::<Result<_, _>>()?, device);
        for (tensor, place) in files.places() {
            let file = weights.files.iter().find(|(name, _)| name == place);
            if file.is_none_or(|(_, file)| file.tensor(tensor).is_err()) {
                let reason = format!("it has no tensor `{tensor}`, which the index says it has");
                return Err(ModelError::Weights { file: place.clone(), reason });
            }
        }
        Ok(weights)
    }

    /// As [`Self::parse`] for one file at hand.
    pub(crate) fn parse_one(bytes: &'a [u8], device: &'a Device) -> Result<Self, ModelError> {
        let name = "model.safetensors";
        let file = SafeTensors::deserialize(bytes)
            .map_err(|error| ModelError::Weights { file: name.to_owned(), reason: error.to_string() })?;
        Ok(Self::of(vec![(name, file)], device))
    }

    fn of(files: Vec<(&'a str, SafeTensors<'a>)>, device: &'a Device) -> Self {
        Self { files, device, format: WeightsFormat::F32, parameters: Cell::new(0) }
    }

    /// Has the dense layers keep their weights in this format.
    pub(crate) fn kept_as(mut self, format: WeightsFormat) -> Self {
        self.format = format;
        self
    }

    /// Holds the headers against everything that a configuration asks for, before a value is read.
    pub(crate) fn check(&self, config: &ModelConfig) -> Result<(), ModelError> {
        expected_tensors(config).into_iter().try_for_each(|(name, shape)| self.view(name, &shape).map(|_| ()))
    }

    /// The tensors below a name such as `model.text_model`.
    pub(crate) fn scope(&self, prefix: &str) -> Scope<'_> {
        Scope { weights: self, prefix: prefix.to_owned() }
    }

    /// The tensors at the root of the tree, such as `lm_head.weight`.
    pub(crate) fn root(&self) -> Scope<'_> {
        self.scope("")
    }

    /// Number of values in the tensors taken so far.
    pub(crate) fn num_parameters(&self) -> usize {
        self.parameters.get()
    }

    /// A tensor of exactly this shape, in a type that is read here.
    fn view(&self, name: String, shape: &[usize]) -> Result<TensorView<'_>, ModelError> {
        let Some(view) = self.files.iter().find_map(|(_, file)| file.tensor(&name).ok()) else {
            return Err(ModelError::MissingTensor { name });
        };
        if view.shape() != shape {
            return Err(ModelError::TensorShape {
                name,
                found: view.shape().to_vec(),
                expected: shape.to_vec(),
            });
        }
        match view.dtype() {
            Dtype::F32 | Dtype::F16 | Dtype::BF16 => Ok(view),
            other => Err(ModelError::TensorType { name, found: format!("{other:?}") }),
        }
    }

    fn values(&self, name: String, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        let view = self.view(name, shape)?;
        let data = view.data();
        let values: Vec<f32> = match view.dtype() {
            Dtype::F16 => {
                data.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect()
            }
            Dtype::BF16 => {
                data.as_chunks().0.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect()
            }
            _ => data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        };
        self.parameters.set(self.parameters.get() + values.len());
        Ok(values)
    }
}

/// A place in the checkpoint's tree of names.
pub(crate) struct Scope<'a> {
    weights: &'a Weights<'a>,
    prefix: String,
}

impl Scope<'_> {
    /// The scope below this one.
    pub(crate) fn child(&self, name: &str) -> Self {
        Self { weights: self.weights, prefix: self.full_name(name) }
    }

    fn full_name(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}.{name}", self.prefix) }
    }

    /// One tensor of exactly this shape.
    pub(crate) fn tensor<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
    ) -> Result<Tensor<D>, ModelError> {
        let values = self.values(name, &shape)?;
        let data = TensorData::from_bytes(Bytes::from_elems(values), shape, DType::F32);
        Ok(Tensor::from_data(data, self.weights.device))
    }

    /// The values of one tensor of exactly this shape, which never go to the device: a browser cannot read them back at
    /// once.
    pub(crate) fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        self.weights.values(self.full_name(name), shape)
    }

    /// How dense layers keep their weights.
    pub(crate) fn weights_format(&self) -> WeightsFormat {
        self.weights.format
    }

    /// The device that the tensors go to.
    pub(crate) fn device(&self) -> &Device {
        self.weights.device
    }
}
