//! Which frames of a video a target is to look at, chosen on a device whose model has no probe, so that the others do not leave it.
//!
//! Frames in whose pixels nothing has changed since the last kept one are left out (`msao_planner::frames`); the others go as
//! they are. Nothing says that the video is not needed, so its relevance is 1. The device's own model reads the same frames.

use msao_models::{Prompt, RgbImage};
use msao_planner::{
    frames::{FrameCells, MAX_CHANGE, kept_frames},
    mas::{Kept, density, mas},
};
use msao_protocol::{KeepMask, KeptParts, MasReceipt, Modality};

use crate::scored::{ModalityScores, Scored};

/// The frames that are kept of a question's video.
#[derive(Debug)]
pub(crate) struct ChosenFrames {
    kept: Vec<bool>,
}

impl ChosenFrames {
    /// Chooses by the frames' pixels, in one addition for each.
    pub(crate) fn new(frames: &[RgbImage]) -> Self {
        let cells = frames.iter().map(|frame| FrameCells::of(frame.pixels(), frame.width(), frame.height()));
        Self { kept: kept_frames(&cells.collect::<Vec<_>>(), MAX_CHANGE) }
    }

    /// The prompt as the device's own model reads it; `None` where nothing is left out.
    pub(crate) fn on_edge(&self, prompt: &Prompt) -> Option<Prompt> {
        self.kept.contains(&false).then(|| {
            let mut prompt = prompt.clone();
            prompt.retain_images(&self.kept);
            prompt
        })
    }

    /// What is told of them, where there are any: a frame is a single part.
    pub(crate) fn scored(&self) -> Scored {
        if self.kept.is_empty() {
            return Scored::default();
        }
        let temporal = Kept::of(&self.kept);
        let spatial = Kept { kept: temporal.kept, parts: temporal.kept };
        let (relevance, density) = (1.0, density(spatial, temporal));
        let modality = ModalityScores {
            modality: Modality::Vision,
            mas: MasReceipt {
                relevance,
                density: density as f32,
                mas: mas(f64::from(relevance), density) as f32,
                kept_patches: spatial.kept,
                patches: spatial.parts,
                kept_frames: temporal.kept,
                frames: temporal.parts,
                ..MasReceipt::default()
            },
            kept: KeptParts {
                patches: KeepMask::new(&vec![true; spatial.parts as usize]),
                frames: KeepMask::new(&self.kept),
                ..KeptParts::default()
            },
            patch_probabilities: Vec::new(),
        };
        let whole_frames = (0..).zip(&self.kept).filter(|(_, kept)| **kept).map(|(frame, _)| frame).collect();
        Scored { modalities: vec![modality], whole_frames, ..Scored::default() }
    }
}
