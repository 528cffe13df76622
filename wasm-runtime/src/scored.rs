//! What the edge says about a question before it answers: how much of each modality the question needs, and the parts
//! that are kept, cut out for the wire.
//!
//! Types only, for page and engine alike. In JSON they stand without pixels and samples, which travel beside them as
//! buffers of their own.

use msao_protocol::{
    AudioGrid, ImageGrid, ImageInput, KeepMask, KeptImage, KeptParts, MasReceipt, Media, Modality,
    ModalityAction, ModelInfo, PictureSize, TiledImage,
};
use serde::{Deserialize, Serialize};

use crate::messages::{PcmSamples, RgbaPixels};

/// How the target divides media into tokens: what is kept or left out, and how it is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetGrid {
    /// For pictures.
    pub image: ImageGrid,
    /// For recordings; `None` where the target cannot hear.
    pub audio: Option<AudioGrid>,
    /// How it splits pictures, where tiles may be left out of them; the default cuts pictures by [`Self::image`].
    #[serde(default)]
    pub tiles: PictureSize,
    /// Whether frames in which nothing has changed may be left out without a probe: of videos for a target that hears when frames
    /// were.
    #[serde(default)]
    pub drops_frames: bool,
}

impl From<&ModelInfo> for TargetGrid {
    fn from(model: &ModelInfo) -> Self {
        Self { image: model.image, audio: model.audio, tiles: PictureSize::default(), drops_frames: false }
    }
}

impl TargetGrid {
    /// The model's grid, with its tiles where those may be left out.
    pub fn of(model: &ModelInfo, prunes_tiles: bool) -> Self {
        let tiles = if prunes_tiles { model.pictures } else { PictureSize::default() };
        Self { tiles, ..Self::from(model) }
    }

    /// As [`Self::of`]; frames of which the model hears when they were are not split, so whole ones are left out instead of tiles.
    pub fn of_asked(model: &ModelInfo, has_times: bool, prunes_tiles: bool) -> Self {
        let is_video = has_times && model.clips.is_some();
        let grid = Self::of(model, prunes_tiles && !is_video);
        Self { drops_frames: prunes_tiles && is_video, ..grid }
    }

    /// The same for pictures of which no tile may be left out.
    #[must_use]
    pub fn without_tiles(self) -> Self {
        Self { tiles: PictureSize::default(), ..self }
    }

    /// Whether tiles are left out, for which no probe is needed. A single tile is the whole.
    pub fn has_tiles(&self) -> bool {
        self.tiles.tile_px > 0 && self.tiles.longest_edge_px > self.tiles.tile_px
    }

    /// Whether something may be left out without a probe.
    pub fn needs_no_probe(&self) -> bool {
        self.has_tiles() || self.drops_frames
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
    /// The kept frames in order where nothing is cut out of them, so that they go as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub whole_frames: Vec<u32>,
    /// The kept windows of the recording; `None` without one, or without a grid for it.
    pub audio: Option<PrunedAudio>,
}

impl Scored {
    /// Which of `count` pictures go as they are where `action` is done with them: all, or frames that say something new. `None` where
    /// kept parts are cut out of them.
    pub fn sent_as_they_are(&self, action: ModalityAction, count: usize) -> Option<Vec<usize>> {
        match action {
            ModalityAction::Pruned if self.whole_frames.is_empty() => None,
            ModalityAction::Pruned => Some(self.whole_frames.iter().map(|&frame| frame as usize).collect()),
            _ => Some((0..count).collect()),
        }
    }
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

/// The kept squares or tiles of one frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrunedImage {
    /// Position among the pictures of the question, from 0.
    pub frame: u32,
    /// The kept squares of the target's grid, row by row.
    pub mask: KeepMask,
    /// The squares in the mask's order, [`KeptImage::COLUMNS`](msao_protocol::KeptImage::COLUMNS) in a row; white where
    /// the last row has fewer.
    pub tiles: RgbaPixels,
    /// Where the target splits the frame: [`Self::mask`] is of its tiles then, and [`Self::tiles`] the frame in its own
    /// size, grey where no kept tile is made of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<SplitPicture>,
}

/// How a frame is split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SplitPicture {
    /// Rows of tiles.
    pub rows: u8,
    /// Tiles of a row.
    pub columns: u8,
    /// All of the frame in the target's square.
    pub whole: RgbaPixels,
}

impl PrunedImage {
    /// The pictures to be encoded, one file each, for [`Self::into_input`].
    pub fn pictures(&self) -> impl Iterator<Item = &RgbaPixels> {
        [&self.tiles].into_iter().chain(self.split.as_ref().map(|split| &split.whole))
    }

    /// As the wire carries it, from its encoded [`Self::pictures`]; `None` if there are not enough.
    pub fn into_input(self, files: &mut impl Iterator<Item = Media>) -> Option<ImageInput> {
        let (mask, picture) = (self.mask, files.next()?);
        Some(match self.split {
            None => ImageInput::Kept(KeptImage { mask, tiles: picture }),
            Some(SplitPicture { rows, columns, .. }) => {
                ImageInput::Tiles(TiledImage { rows, columns, mask, picture, whole: files.next()? })
            }
        })
    }
}

/// The kept windows of the recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrunedAudio {
    /// The kept windows of the target's grid, in order of time.
    pub mask: KeepMask,
    /// Their sound one behind the other at the grid's sampling rate; the last window is filled up with silence.
    pub windows: PcmSamples,
}
