//! Reading a checkpoint: a folder as Hugging Face lays it out, or the same files as bytes.
//!
//! Tensors keep their published names; each module asks for its own by name and shape, so a file that lacks
//! one, or has it in another shape or type, is refused with the tensor's name before a value is read. Extra
//! tensors are ignored. Values stored as F16, BF16 or F32 become what [`WeightsFormat`] says; those of a converted
//! checkpoint (`quantisation.rs`) stay as they are.
//!
//! | checkpoint key | module |
//! |---|---|
//! | `model.vision_model.embeddings.*`, `.encoder.layers.N.*`, `.post_layernorm.*` | [`VisionTower`](crate::vision::VisionTower) |
//! | `model.connector.modality_projection.proj.weight` | [`Connector`](crate::vision::Connector) |
//! | `model.audio_model.{conv1,conv2,embed_positions,layers.N,layer_norm}.*` (Whisper's encoder) | [`AudioTower`](crate::audio::AudioTower) |
//! | `model.audio_projector.{ln_pre,linear_1,linear_2,ln_post}.weight` | [`AudioProjector`](crate::audio::AudioProjector) |
//! | `model.text_model.{embed_tokens,layers.N.*,norm}.weight` | [`Decoder`](crate::decoder::Decoder); `model.*` where there are no towers |
//! | `lm_head.weight` | the decoder's head, where config.json does not tie it to the embedding table |

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use serde_json::Value;

use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::text::template_of;
use crate::weight_files::WeightFiles;
pub(crate) use crate::weights::{Scope, Weights};
use crate::weights_format::WeightsFormat;

/// Tokenizers of large vocabularies have some megabytes; nothing else but weights comes near.
const MAX_SMALL_FILE_BYTES: u64 = 64 << 20;

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
    /// `generation_config.json`, which names the tokens that end an answer, where it is there.
    pub generation_json: Option<Vec<u8>>,
    /// How the weights are kept; as the checkpoint says unless told otherwise.
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
            let failed = |source| ModelError::File { path: path.display().to_string(), source };
            match fs::metadata(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(failed(error)),
                Ok(file) if file.len() > MAX_SMALL_FILE_BYTES => {
                    let (bytes, most) = (file.len(), MAX_SMALL_FILE_BYTES);
                    Err(failed(io::Error::other(format!("it has {bytes} bytes, at most {most} are read"))))
                }
                Ok(_) => fs::read(&path).map(Some).map_err(failed),
            }
        };
        Self::gather(read, folder, || WeightFiles::from_dir(folder))
    }

    /// Puts a checkpoint together from its small files by name and its weights, as a browser has them.
    ///
    /// # Errors
    /// As [`Self::from_dir`].
    pub fn from_files(
        small: &BTreeMap<String, Vec<u8>>,
        safetensors: WeightFiles,
    ) -> Result<Self, ModelError> {
        Self::gather(|name| Ok(small.get(name).cloned()), Path::new(""), || Ok(safetensors))
    }

    fn gather(
        read: impl Fn(&'static str) -> Result<Option<Vec<u8>>, ModelError>,
        folder: &Path,
        weights: impl FnOnce() -> Result<WeightFiles, ModelError>,
    ) -> Result<Self, ModelError> {
        let missing = |name: &str| ModelError::File {
            path: folder.join(name).display().to_string(),
            source: ErrorKind::NotFound.into(),
        };
        let required = |name| read(name)?.ok_or_else(|| missing(name));
        let config_json = required("config.json")?;
        let config = ModelConfig::from_json(&config_json)?;
        let preprocessor_json = match read("preprocessor_config.json")? {
            Some(file) => file,
            // Files that transformers 5 writes have it within another one.
            None => match read("processor_config.json")?.and_then(|file| within(&file)) {
                Some(part) => part,
                None if config.is_text_only() => Vec::new(),
                None => return Err(missing("preprocessor_config.json")),
            },
        };
        Ok(Self {
            config_json,
            tokenizer_json: required("tokenizer.json")?,
            preprocessor_json,
            safetensors: weights()?,
            chat_template: template_of(&read)?,
            generation_json: read("generation_config.json")?,
            ..Self::default()
        })
    }

    /// Refuses weights that would not fit the memory they may take, and tells how they are kept.
    pub(crate) fn check_memory(&self, config: &ModelConfig) -> Result<WeightsFormat, ModelError> {
        config.check_memory(self.weights_format, self.memory_limit_bytes)
    }
}

/// The preprocessor's own part of a processor_config.json.
fn within(processor_json: &[u8]) -> Option<Vec<u8>> {
    let file: Value = serde_json::from_slice(processor_json).ok()?;
    Some(file.get("image_processor")?.to_string().into_bytes())
}
