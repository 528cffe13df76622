//! From a look at a question and its media to what is kept of them: the three analyses of MAS on the probe's scores.
//!
//! | analysis | rule |
//! |---|---|
//! | spatial | [`kept_patches`] on the edge's patches, carried to the target's grid by [`project_mask`] |
//! | temporal, frames | [`SimHash::kept_frames_by_region`] on the probe's cells |
//! | temporal, sound | [`kept_windows`] on levels and spectral change |
//! | modal | relevance `r` from the probe; `d` and `MAS = 1 - r d` by [`msao_planner::mas`] |
//!
//! What is sent of it is decided elsewhere.

use std::borrow::Cow;

use msao_models::{
    Device, MasProbe, MasScores, ModelConfig, ModelError, Pcm, ProbeFiles, Prompt, RgbImage,
    preprocess::Resampler,
};
use msao_planner::{
    audio_windows::{AudioRules, kept_windows},
    mas::{Kept, density, kept_patches, mas, project_mask},
    simhash::SimHash,
};
use msao_protocol::{AudioGrid, ImageGrid, KeepMask, KeptParts, MasReceipt, Modality, PictureSize};

use crate::{
    messages::PcmSamples,
    pruning::{prune_audio, prune_image},
    scored::{ModalityScores, PrunedAudio, PrunedImage, Scored, TargetGrid},
    sound_windows::measure,
};

/// Share of the patches' probability that is kept: 53 % of the image tokens, at no loss of accuracy (models/README.md).
const TAU_S: f64 = 0.98;
/// A cell of a frame is as it was if at most so many of its hash's 64 bits differ.
const MAX_HAMMING: u32 = 2;
/// Names the planes of the hash; any other would do.
const HASH_SEED: u64 = 0x4d53_414f;
/// Nothing is cut out of a modality of less relevance: whatever the threshold, the plan drops it.
const CUT_FROM: f32 = 0.01;
/// Windows of sound in a second where no target sets another measure.
const OWN_WINDOWS_PER_S: u32 = 10;
/// Largest grids accepted: beyond those of any published model.
const MAX_SIDE_PX: u32 = 4_096;
const MAX_TOKENS_PER_SIDE: u32 = 128;
const MAX_TILES_PER_SIDE: u32 = 16;

/// A probe and what goes with it.
#[derive(Debug)]
pub(crate) struct Scorer {
    pub(crate) probe: MasProbe,
    planes: SimHash,
    own_grid: ImageGrid,
}

/// Which parts of the media are kept.
#[derive(Debug, Default)]
pub(crate) struct KeptMedia<'a> {
    vision: Option<(ModalityScores, KeptFrames)>,
    audio: Option<(ModalityScores, KeptSound<'a>)>,
}

/// Index and kept squares of each kept frame.
type KeptFrames = Vec<(usize, Vec<bool>)>;

#[derive(Debug)]
struct KeptSound<'a> {
    grid: AudioGrid,
    /// At the grid's rate, no longer than its windows.
    samples: Cow<'a, [f32]>,
    windows: Vec<bool>,
}

impl Scorer {
    /// Loads the probe of a checkpoint.
    ///
    /// # Errors
    /// As [`MasProbe::load`].
    pub(crate) fn load(
        files: &ProbeFiles,
        config: &ModelConfig,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let probe = MasProbe::load(files, config, device)?;
        let vision = config.vision_config.as_ref().expect("no probe loads without a vision tower");
        Ok(Self {
            probe,
            planes: SimHash::new(vision.hidden_size, HASH_SEED),
            own_grid: ImageGrid {
                side_px: vision.image_size as u32,
                tokens_per_side: vision.patches_per_side() as u32,
            },
        })
    }

    /// What is kept of the media of `prompt`, which got these `scores`.
    pub(crate) fn keep<'a>(
        &self,
        prompt: &'a Prompt,
        scores: &MasScores,
        target: Option<&TargetGrid>,
    ) -> KeptMedia<'a> {
        let image_grid = target.map_or(self.own_grid, |target| target.image);
        let audio_grid = target.and_then(|target| target.audio);
        KeptMedia {
            vision: scores.vision_relevance.map(|relevance| self.keep_frames(relevance, scores, image_grid)),
            audio: scores
                .audio_relevance
                .zip(prompt.audio.as_ref())
                .map(|(relevance, recording)| keep_windows(relevance, recording, audio_grid)),
        }
    }

    fn keep_frames(
        &self,
        relevance: f32,
        scores: &MasScores,
        grid: ImageGrid,
    ) -> (ModalityScores, KeptFrames) {
        let is_kept = self.planes.kept_frames_by_region(&scores.frame_cells, MAX_HAMMING);
        let (from, to) = (self.own_grid.tokens_per_side as usize, grid.tokens_per_side as usize);
        let squares = |patches: &Vec<f32>| project_mask(&kept_patches(patches, TAU_S), from, to, 0.0);
        let frames: KeptFrames = (0..is_kept.len())
            .filter(|&frame| is_kept[frame])
            .map(|frame| (frame, squares(&scores.patches[frame])))
            .collect();
        let all_squares: Vec<bool> = frames.iter().flat_map(|(_, squares)| squares).copied().collect();
        let (spatial, temporal) = (Kept::of(&all_squares), Kept::of(&is_kept));
        let scores = ModalityScores {
            modality: Modality::Vision,
            mas: MasReceipt {
                kept_patches: spatial.kept,
                patches: spatial.parts,
                kept_frames: temporal.kept,
                frames: temporal.parts,
                ..receipt(relevance, density(spatial, temporal))
            },
            kept: KeptParts {
                patches: KeepMask::new(&all_squares),
                frames: KeepMask::new(&is_kept),
                ..KeptParts::default()
            },
            patch_probabilities: scores.patches.iter().map(|patches| numbers(patches)).collect(),
        };
        (scores, frames)
    }
}

fn keep_windows(relevance: f32, recording: &Pcm, grid: Option<AudioGrid>) -> (ModalityScores, KeptSound<'_>) {
    let grid = grid.unwrap_or_else(|| own_audio_grid(recording));
    let (window_samples, windows) = (grid.window_samples as usize, grid.tokens as usize);
    let samples = at_rate(recording, grid.sample_rate_hz, window_samples * windows);
    let heard = kept_windows(&measure(&samples, window_samples), &AudioRules::default());
    // A recording in which a click is all there is passes for audible, but not by its windows: it is kept whole.
    let mut kept: Vec<bool> = heard.kept.iter().map(|kept| *kept || heard.silent).collect();
    kept.resize(windows, false);
    let temporal = Kept::of(&kept);
    let scores = ModalityScores {
        modality: Modality::Audio,
        mas: MasReceipt {
            kept_windows: temporal.kept,
            windows: temporal.parts,
            ..receipt(relevance, density(Kept::of(&[]), temporal))
        },
        kept: KeptParts { windows: KeepMask::new(&kept), ..KeptParts::default() },
        patch_probabilities: Vec::new(),
    };
    (scores, KeptSound { grid, samples, windows: kept })
}

fn receipt(relevance: f32, density: f64) -> MasReceipt {
    let relevance = number(relevance);
    MasReceipt {
        relevance,
        density: density as f32,
        mas: mas(f64::from(relevance), density) as f32,
        ..MasReceipt::default()
    }
}

fn numbers(probabilities: &[f32]) -> Vec<f32> {
    probabilities.iter().copied().map(number).collect()
}

/// What is no number counts as needed.
fn number(probability: f32) -> f32 {
    if probability.is_nan() { 1.0 } else { probability }
}

fn own_audio_grid(recording: &Pcm) -> AudioGrid {
    let sample_rate_hz = recording.sample_rate_hz();
    let window_samples = sample_rate_hz / OWN_WINDOWS_PER_S;
    let tokens = recording.samples().len().div_ceil(window_samples as usize);
    AudioGrid { sample_rate_hz, window_samples, tokens: tokens as u32 }
}

fn at_rate(recording: &Pcm, rate_hz: u32, max_samples: usize) -> Cow<'_, [f32]> {
    let samples = recording.samples();
    if recording.sample_rate_hz() == rate_hz {
        return Cow::Borrowed(&samples[..samples.len().min(max_samples)]);
    }
    Cow::Owned(Resampler::new(recording.sample_rate_hz(), rate_hz).resample(samples, max_samples))
}

impl KeptMedia<'_> {
    /// The scores alone, where nothing is to be sent.
    pub(crate) fn into_scores(self) -> Scored {
        let (vision, audio) = (self.vision.map(|(scores, _)| scores), self.audio.map(|(scores, _)| scores));
        Scored { modalities: vision.into_iter().chain(audio).collect(), ..Scored::default() }
    }

    /// With these scores of the pictures, which are cut elsewhere.
    pub(crate) fn with_vision(mut self, scores: ModalityScores) -> Self {
        self.vision = Some((scores, KeptFrames::new()));
        self
    }

    /// The scores with what is kept, cut out on the target's grids.
    pub(crate) fn cut(self, prompt: &Prompt, target: &TargetGrid) -> Scored {
        let is_sent = |scores: &ModalityScores| scores.mas.relevance >= CUT_FROM;
        let frames = self.vision.iter().filter(|(scores, _)| is_sent(scores)).flat_map(|(_, frames)| frames);
        let image = |(frame, squares): &(usize, Vec<bool>)| PrunedImage {
            frame: *frame as u32,
            mask: KeepMask::new(squares),
            tiles: prune_image(&prompt.images[*frame], target.image, squares),
            split: None,
        };
        let images = frames.map(image).collect();
        let sound = self.audio.as_ref().filter(|(scores, _)| target.audio.is_some() && is_sent(scores));
        let audio = sound.map(|(_, kept)| PrunedAudio {
            mask: KeepMask::new(&kept.windows),
            windows: PcmSamples {
                sample_rate_hz: kept.grid.sample_rate_hz,
                samples: prune_audio(&kept.samples, kept.grid.window_samples as usize, &kept.windows),
            },
        });
        Scored { images, audio, ..self.into_scores() }
    }
}

/// Refuses grids that no target has: they come from outside.
///
/// # Errors
/// [`ModelError::Prompt`] naming the number that cannot be.
pub(crate) fn check_target(target: &TargetGrid) -> Result<(), ModelError> {
    let refuse = |what: String| {
        Err(ModelError::Prompt { reason: format!("the target's grid is impossible: {what}; use its own") })
    };
    let ImageGrid { side_px, tokens_per_side } = target.image;
    if !(1..=MAX_SIDE_PX).contains(&side_px)
        || !(1..=MAX_TOKENS_PER_SIDE).contains(&tokens_per_side)
        || !side_px.is_multiple_of(tokens_per_side)
    {
        return refuse(format!("{tokens_per_side} tokens along {side_px} pixels"));
    }
    let PictureSize { longest_edge_px, tile_px } = target.tiles;
    if longest_edge_px > RgbImage::MAX_SIDE
        || tile_px > MAX_SIDE_PX
        || longest_edge_px.div_ceil(tile_px.max(1)) > MAX_TILES_PER_SIDE && target.has_tiles()
    {
        return refuse(format!("tiles of {tile_px} pixels along {longest_edge_px}"));
    }
    let Some(AudioGrid { sample_rate_hz, window_samples, tokens }) = target.audio else { return Ok(()) };
    let samples = u64::from(window_samples) * u64::from(tokens);
    let longest = (Pcm::MAX_SECONDS * f64::from(sample_rate_hz)) as u64;
    if !(Pcm::MIN_RATE_HZ..=Pcm::MAX_RATE_HZ).contains(&sample_rate_hz) || !(1..=longest).contains(&samples) {
        return refuse(format!("{tokens} windows of {window_samples} samples at {sample_rate_hz} Hz"));
    }
    Ok(())
}
