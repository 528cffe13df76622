//! Everything that can go wrong with data from outside: checkpoints, prompts, media, devices.

use thiserror::Error;

/// Why a checkpoint could not be loaded or a prompt not be answered; each message names the remedy.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file of the checkpoint folder could not be read.
    #[error(
        "cannot read `{path}`: {source}; a checkpoint folder holds config.json, tokenizer.json, preprocessor_config.json (but for text alone) and model.safetensors, or model.safetensors.index.json with the files it names"
    )]
    File {
        /// The path as given.
        path: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The checkpoint is of another kind.
    #[error(
        "config.json names the architecture `{found}`; this engine runs SmolVLMForConditionalGeneration, Idefics3ForConditionalGeneration and LlamaForCausalLM: choose such a checkpoint"
    )]
    Architecture {
        /// What `config.json` names.
        found: String,
    },
    /// A JSON file of the checkpoint is malformed or contradicts itself.
    #[error("{file} is not usable: {reason}; fetch the checkpoint again or correct the file")]
    Config {
        /// The file's name inside the checkpoint folder.
        file: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of weights itself cannot be parsed, for example because a download was cut short.
    #[error(
        "{file} is damaged: {reason}; fetch the file again and compare its size with MANIFEST.json or its publisher's"
    )]
    Weights {
        /// The file's name inside the checkpoint folder.
        file: String,
        /// What the parser said.
        reason: String,
    },
    /// The weights would not fit the memory.
    #[error(
        "the weights take {} MB as {format}, of which {} MB are free; {}choose a smaller checkpoint, or make room", needed_bytes >> 20, limit_bytes >> 20, as_smaller(*fits_as)
    )]
    TooLarge {
        /// What the loaded weights take.
        needed_bytes: u64,
        /// What they may take.
        limit_bytes: u64,
        /// How they would be kept.
        format: crate::WeightsFormat,
        /// The largest format that would fit.
        fits_as: Option<crate::WeightsFormat>,
    },
    /// A name that stands for no format of weights.
    #[error(
        "`{0}` is no format of weights: they are f32, f16, int8 and q4, and stored for what the checkpoint has"
    )]
    UnknownFormat(String),
    /// The weights lack a tensor that the configuration asks for.
    #[error("the weights have no tensor `{name}`; config.json and the weights do not belong together")]
    MissingTensor {
        /// The tensor's name in the checkpoint.
        name: String,
    },
    /// A tensor has another shape than the configuration says.
    #[error(
        "tensor `{name}` has shape {found:?}, config.json asks for {expected:?}; the two files do not belong together"
    )]
    TensorShape {
        /// The tensor's name in the checkpoint.
        name: String,
        /// Shape in the file.
        found: Vec<usize>,
        /// Shape by the configuration.
        expected: Vec<usize>,
    },
    /// A tensor is stored in a type that this engine does not read.
    #[error("tensor `{name}` is stored as {found}; convert it to F16, BF16 or F32")]
    TensorType {
        /// The tensor's name in the checkpoint.
        name: String,
        /// Type in the file.
        found: String,
    },
    /// `tokenizer.json` is not usable, or lacks a token that the model needs.
    #[error("tokenizer.json is not usable: {reason}; fetch the checkpoint again")]
    Tokenizer {
        /// What is wrong with it.
        reason: String,
    },
    /// A picture or a recording cannot be used.
    #[error(transparent)]
    Media(#[from] crate::preprocess::MediaError),
    /// The question is too long to be worth tokenising.
    #[error("the question has {chars} characters, at most {limit} are accepted; shorten it")]
    QuestionTooLong {
        /// Characters of the question.
        chars: usize,
        /// The most that is accepted.
        limit: usize,
    },
    /// The question, images and audio do not fit.
    #[error("the prompt has {tokens} tokens, at most {limit} fit; shorten the question or send fewer images")]
    PromptTooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// The most that fits.
        limit: usize,
    },
    /// A prompt asks for something that this checkpoint cannot do.
    #[error("the prompt cannot be answered: {reason}")]
    Prompt {
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// The asked-for device is not there.
    #[error("device `{device}` is not available: {reason}")]
    Device {
        /// The device asked for.
        device: String,
        /// Why, and what to do.
        reason: String,
    },
    /// A result could not be read back from the device, for example because the device was lost.
    #[error("reading a result from the device failed: {reason}; reload the model")]
    ReadBack {
        /// What the device said.
        reason: String,
    },
}

/// The first half of what helps against too large weights.
fn as_smaller(fits_as: Option<crate::WeightsFormat>) -> String {
    match fits_as {
        Some(format) => {
            format!(
                "keep them as {format}, which fits (--weights-format {format}, or `msao-server convert`), "
            )
        }
        None => "not even as q4 they fit: ".to_owned(),
    }
}

impl ModelError {
    /// A JSON parser's complaint about one of the checkpoint's files.
    pub(crate) fn json(file: &'static str, source: &serde_json::Error) -> Self {
        Self::Config { file, reason: source.to_string() }
    }
}
