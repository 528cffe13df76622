//! What the edge says about a question before it answers: how much of each modality the question needs, and the parts
//! that are kept, cut out for the wire.
//!
//! Types only, for page and engine alike. In JSON they stand without pixels and samples, which travel beside them as
//! buffers of their own.

use msao_protocol::{AudioGrid, ImageGrid, KeepMask, KeptParts, MasReceipt, Modality, ModelInfo};
use serde::{Deserialize, Serialize};

use crate::messages::{PcmSamples, RgbaPixels};

/// How the target divides media into tokens: what is kept or left out, and how it is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetGrid {
    /// For pictures.
    pub image: ImageGrid,
    /// For recordings; `None` where the target cannot hear.
    pub audio: Option<AudioGrid>,
}

impl From<&ModelInfo> for TargetGrid {
    fn from(model: &ModelInfo) -> Self {
        Self { image: model.image, audio: model.audio }
    }
}

/// Scores of one question, and what may be sent of its media. Nothing is cut out of a modality with a relevance below
/// 0.01, which every plan leaves out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// One entry for each of vision and audio that was given.
    pub modalities: Vec<ModalityScores>,
    /// The kept frames in order, each with its kept squares; empty without a [`TargetGrid`].
    pub images: Vec<PrunedImage>,
    /// The kept windows of the recording; `None` without one, or without a grid for it.
    pub audio: Option<PrunedAudio>,
}

/// How much of one modality a question needs.
///
/// Parts are those of the [`TargetGrid`]; without one they are the edge's own patches, and tenths of a second of sound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModalityScores {
    /// The modality.
    pub modality: Modality,
    /// Relevance, density and MAS, with the counts behind them. All squares of a picture and all windows that the
    /// target would hear count as given, those of the silence behind a short recording too.
    pub mas: MasReceipt,
    /// Which parts are kept.
    pub kept: KeptParts,
    /// For each given picture, row by row on the edge's own grid of patches: the probability that a patch decides the
    /// answer, given that the pictures matter. Empty for sound.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patch_probabilities: Vec<Vec<f32>>,
}

/// The kept squares of one frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrunedImage {
    /// Position among the pictures of the question, from 0.
    pub frame: u32,
    /// The kept squares of the target's grid, row by row.
    pub mask: KeepMask,
    /// The squares in the mask's order, [`KeptImage::COLUMNS`](msao_protocol::KeptImage::COLUMNS) in a row; white where
    /// the last row has fewer.
    pub tiles: RgbaPixels,
}

/// The kept windows of the recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrunedAudio {
    /// The kept windows of the target's grid, in order of time.
    pub mask: KeepMask,
    /// Their sound one behind the other at the grid's sampling rate; the last window is filled up with silence.
    pub windows: PcmSamples,
}
