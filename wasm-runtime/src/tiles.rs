//! Which tiles of its pictures a target is to look at, where it splits them: chosen on the device, so that the others do not leave it.
//!
//! The whole of a picture is looked at, a fraction of what one tile takes, and what its patches weigh chooses
//! (`msao_planner::tiles`). The weights are a probe's, or without one what stands out; then the picture's relevance is 1, since
//! nothing says that it is not needed. The device's own model reads the same tiles where it splits pictures alike.

use msao_models::{
    Assistant, KeptTokens, Prompt, RgbImage, Splitting,
    preprocess::{ImageLayout, ResizeFilter, Tiling},
};
use msao_planner::{
    mas::mas,
    tiles::{TAU_TILES, kept_tiles},
};
use msao_protocol::{KeepMask, KeptParts, MasReceipt, Modality, PictureSize};

use crate::{
    messages::RgbaPixels,
    scored::{ModalityScores, PrunedImage, SplitPicture, TargetGrid},
};

/// How the target splits pictures, where tiles may be left out of them.
pub(crate) fn tiling(target: &TargetGrid) -> Option<Tiling> {
    let PictureSize { longest_edge_px: longest_edge, tile_px: tile } = target.tiles;
    target.has_tiles().then_some(Tiling { longest_edge, tile })
}

/// The tiles that are kept of each of a question's pictures.
#[derive(Debug)]
pub(crate) struct ChosenTiles {
    tiling: Tiling,
    pictures: Vec<Picture>,
    relevance: f32,
    patches: Vec<Vec<f32>>,
}

#[derive(Debug)]
struct Picture {
    layout: ImageLayout,
    kept: Vec<bool>,
}

impl ChosenTiles {
    /// Chooses by the weights of each picture's patches.
    ///
    /// # Panics
    /// If the patches of a picture are no square.
    pub(crate) fn new(tiling: Tiling, images: &[RgbImage], patches: Vec<Vec<f32>>, relevance: f32) -> Self {
        let choose = |(image, patches): (&RgbImage, &Vec<f32>)| {
            let layout = tiling.layout(image.width(), image.height());
            let (rows, columns) = (layout.rows as usize, layout.columns as usize);
            Picture { layout, kept: kept_tiles(patches, rows, columns, TAU_TILES) }
        };
        let pictures = images.iter().zip(&patches).map(choose).collect();
        Self { tiling, pictures, relevance: if relevance.is_nan() { 1.0 } else { relevance }, patches }
    }

    /// The prompt as the device's own model reads it: with the same tiles left out where it splits all the pictures alike,
    /// else with each picture in one piece.
    pub(crate) fn on_edge(&self, assistant: &Assistant, prompt: &Prompt) -> Prompt {
        let is_alike =
            |(index, picture): (usize, &Picture)| assistant.image_layout(prompt, index) == picture.layout;
        let mut prompt = prompt.clone();
        if self.pictures.iter().enumerate().all(is_alike) {
            let tokens = |picture: &Picture| Some(assistant.tokens_of_tiles(&picture.kept));
            prompt.kept = KeptTokens { images: self.pictures.iter().map(tokens).collect(), ..prompt.kept };
        } else {
            prompt.splitting = Splitting::Never;
        }
        prompt
    }

    /// What is told of them. Parts are tiles; the density counts the wholes too, which are always looked at.
    pub(crate) fn scores(&self) -> ModalityScores {
        let all: Vec<bool> = self.pictures.iter().flat_map(|picture| &picture.kept).copied().collect();
        let (kept, wholes) = (all.iter().filter(|kept| **kept).count(), self.pictures.len());
        let density = (kept + wholes) as f64 / (all.len() + wholes).max(1) as f64;
        ModalityScores {
            modality: Modality::Vision,
            mas: MasReceipt {
                relevance: self.relevance,
                density: density as f32,
                mas: mas(f64::from(self.relevance), density) as f32,
                kept_patches: kept as u32,
                patches: all.len() as u32,
                kept_frames: wholes as u32,
                frames: wholes as u32,
                ..MasReceipt::default()
            },
            kept: KeptParts {
                patches: KeepMask::new(&all),
                frames: KeepMask::new(&vec![true; wholes]),
                ..KeptParts::default()
            },
            patch_probabilities: self.patches.clone(),
        }
    }

    /// The pictures as they are sent.
    pub(crate) fn cut(&self, images: &[RgbImage]) -> Vec<PrunedImage> {
        let cut = |(frame, (image, picture)): (u32, (&RgbImage, &Picture))| PrunedImage {
            frame,
            mask: KeepMask::new(&picture.kept),
            tiles: rgba(&self.tiling.paint_over(image, &picture.kept)),
            split: Some(SplitPicture {
                rows: picture.layout.rows as u8,
                columns: picture.layout.columns as u8,
                whole: rgba(&self.tiling.whole(image, ResizeFilter::Lanczos)),
            }),
        };
        (0..).zip(images.iter().zip(&self.pictures)).map(cut).collect()
    }
}

/// As a canvas takes it.
pub(crate) fn rgba(image: &RgbImage) -> RgbaPixels {
    let rgb = image.pixels().as_chunks::<3>().0;
    let pixels = rgb.iter().flat_map(|&[red, green, blue]| [red, green, blue, 255]).collect();
    RgbaPixels { width: image.width(), height: image.height(), pixels }
}
