//! Reading a checkpoint: a folder as Hugging Face lays it out, or the same files as bytes.
//!
//! Tensors keep their published names; each module asks for its own by name and shape, so a file that lacks
//! one, or has it in another shape or type, is refused with the tensor's name before anything runs. Extra
//! tensors are ignored. Values stored as F16, BF16 or F32 all become F32 on the device.
//!
//! | checkpoint key | module |
//! |---|---|
//! | `model.vision_model.embeddings.*`, `.encoder.layers.N.*`, `.post_layernorm.*` | [`VisionTower`](crate::vision::VisionTower) |
//! | `model.connector.modality_projection.proj.weight` | [`Connector`](crate::vision::Connector) |
//! | `model.audio_model.{conv1,conv2,embed_positions,layers.N,layer_norm}.*` (Whisper's encoder) | [`AudioTower`](crate::audio::AudioTower) |
//! | `model.audio_projector.{ln_pre,linear_1,linear_2,ln_post}.weight` | [`AudioProjector`](crate::audio::AudioProjector) |
//! | `model.text_model.{embed_tokens,layers.N.*,norm}.weight` | [`Decoder`](crate::decoder::Decoder) |
//! | `lm_head.weight` | the decoder's head, where config.json does not tie it to the embedding table |

use std::cell::Cell;
use std::fs;
use std::path::Path;

use burn::tensor::{Bytes, DType, Device, Tensor, TensorData, bf16, f16};
use safetensors::{Dtype, SafeTensors};

use crate::error::ModelError;
use crate::weights_format::WeightsFormat;

/// The files of a checkpoint that the engine reads, as bytes.
#[derive(Debug, Clone, Default)]
pub struct CheckpointFiles {
    /// `config.json`
    pub config_json: Vec<u8>,
    /// `tokenizer.json`
    pub tokenizer_json: Vec<u8>,
    /// `preprocessor_config.json`
    pub preprocessor_json: Vec<u8>,
    /// `model.safetensors`
    pub safetensors: Vec<u8>,
    /// How the dense layers keep the weights on a CPU; f32 unless told otherwise.
    pub weights_format: WeightsFormat,
}

impl CheckpointFiles {
    /// Reads the files from a folder.
    ///
    /// # Errors
    /// [`ModelError::File`] naming the file that could not be read.
    pub fn from_dir(folder: impl AsRef<Path>) -> Result<Self, ModelError> {
        let read = |name: &str| {
            let path = folder.as_ref().join(name);
            fs::read(&path).map_err(|source| ModelError::File { path: path.display().to_string(), source })
        };
        Ok(Self {
            config_json: read("config.json")?,
            tokenizer_json: read("tokenizer.json")?,
            preprocessor_json: read("preprocessor_config.json")?,
            safetensors: read("model.safetensors")?,
            weights_format: WeightsFormat::default(),
        })
    }
}

/// The parsed `model.safetensors` and the device its tensors go to.
pub(crate) struct Weights<'a> {
    tensors: SafeTensors<'a>,
    device: &'a Device,
    format: WeightsFormat,
    parameters: Cell<usize>,
}

impl<'a> Weights<'a> {
    /// Checks the file's header and extent; no tensor is copied yet.
    pub(crate) fn parse(bytes: &'a [u8], device: &'a Device) -> Result<Self, ModelError> {
        let tensors = SafeTensors::deserialize(bytes)
            .map_err(|error| ModelError::Weights { reason: error.to_string() })?;
        Ok(Self { tensors, device, format: WeightsFormat::F32, parameters: Cell::new(0) })
    }

    /// Has the dense layers keep their weights in this format.
    pub(crate) fn kept_as(mut self, format: WeightsFormat) -> Self {
        self.format = format;
        self
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

    fn values(&self, name: String, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        let Ok(view) = self.tensors.tensor(&name) else { return Err(ModelError::MissingTensor { name }) };
        if view.shape() != shape {
            return Err(ModelError::TensorShape {
                name,
                found: view.shape().to_vec(),
                expected: shape.to_vec(),
            });
        }
        let data = view.data();
        let values: Vec<f32> = match view.dtype() {
            Dtype::F32 => data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
            Dtype::F16 => {
                data.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect()
            }
            Dtype::BF16 => {
                data.as_chunks().0.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect()
            }
            other => return Err(ModelError::TensorType { name, found: format!("{other:?}") }),
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
