//! One multimodal LLM for both sides: a vision tower, an audio tower and a decoder in burn, with everything
//! from raw media to text around them.
//!
//! - [`Assistant`] is a loaded checkpoint; [`Prompt`] goes in, a [`Generation`] comes out.
//! - [`Generation`] writes token by token, or checks a run of drafts in one pass.
//! - [`FirstLayers`] and [`LastLayers`] are one decoder cut in two, for a device each.
//! - [`MasProbe`] says which modalities and patches matter; [`KeptTokens`] leaves the others out.
//! - [`speech::Whisper`] writes down what is said in a recording, for checkpoints that cannot hear.
//! - [`CheckpointFiles`] holds a checkpoint's files; [`device`] opens the device to run it on.
//!
//! The modules know tensors and nothing of networks, browsers or plans.

pub mod assistant;
mod attention;
pub mod audio;
pub mod checkpoint;
pub mod config;
mod converter;
pub mod decoder;
pub mod device;
mod encoder;
mod end_tokens;
mod error;
mod expected;
pub mod flops;
pub mod generation;
pub mod kept;
pub mod kv_cache;
mod linear;
pub mod mas_probe;
pub mod memory_plan;
pub mod model;
mod norm;
pub mod preprocess;
mod prompt;
mod quantisation;
pub mod reuse;
mod rope;
mod saliency;
mod seeing;
pub mod shapes;
pub mod speech;
pub mod split;
pub mod text;
pub mod vision;
mod weight_files;
mod weight_headers;
mod weights;
mod weights_format;

pub use assistant::{Assistant, DEFAULT_MAX_NEW_TOKENS, EncodedPrompt, LookedAt};
pub use checkpoint::CheckpointFiles;
pub use config::ModelConfig;
pub use converter::{ConvertError, Converter, SHARD_BYTES};
pub use device::{Device, DeviceKind};
pub use end_tokens::EndTokens;
pub use error::ModelError;
pub use flops::Flops;
pub use generation::{Generation, Scores, TokenProposal, VerificationOutcome};
pub use kept::KeptTokens;
pub use mas_probe::{MasProbe, MasScores, ProbeFiles};
pub use preprocess::{Pcm, RgbImage};
pub use prompt::{PastTurn, Prompt, Splitting};
pub use quantisation::QuantizationConfig;
pub use reuse::ReadBefore;
pub use split::{FirstLayers, LastLayers};
pub use text::TextTokenizer;
pub use weight_files::{ReadAt, WeightFiles, shards_of};
pub use weight_headers::WeightHeaders;
pub use weights_format::WeightsFormat;
