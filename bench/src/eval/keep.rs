//! What of a question's media is sent, and what the target makes of it.

use anyhow::{Context, Result};
use msao_models::{
    Assistant, Flops, KeptTokens, Pcm, Prompt, RgbImage,
    preprocess::{
        SquareGrid,
        decode::{ImageBudget, decode_image},
        put_back_windows,
    },
};
use msao_planner::mas::{DROP_BELOW, is_needed};
use msao_protocol::{AudioGrid, ImageGrid, KeepMask, KeptImage, Modality, PictureSize};
use msao_runtime::scored::{Scored, TargetGrid};

use crate::picture::{Codec, captured};

/// Header of a WAV file.
const WAV_HEADER_BYTES: usize = 44;

/// Media as they arrive at the target.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeptMedia {
    pub(crate) images: Vec<RgbImage>,
    pub(crate) audio: Option<Pcm>,
    kept: KeptTokens,
    pub(crate) image_bytes: usize,
    pub(crate) audio_bytes: usize,
    /// Tokens of one whole image and of a whole recording.
    whole_tokens: (usize, usize),
    /// How each image was encoded.
    codecs: Vec<Codec>,
}

impl KeptMedia {
    /// A question about these media.
    pub(crate) fn prompt(&self, question: &str) -> Prompt {
        Prompt {
            question: question.to_owned(),
            images: self.images.clone(),
            audio: self.audio.clone(),
            kept: self.kept.clone(),
            ..Prompt::default()
        }
    }

    /// Image tokens that the target looks at.
    pub(crate) fn image_tokens(&self) -> usize {
        let of = |index| self.kept.image(index).map_or(self.whole_tokens.0, <[usize]>::len);
        (0..self.images.len()).map(of).sum()
    }

    /// Audio tokens that the target hears.
    pub(crate) fn audio_tokens(&self) -> usize {
        let kept = self.kept.audio.as_ref().map_or(self.whole_tokens.1, Vec::len);
        if self.audio.is_some() { kept } else { 0 }
    }

    /// Operations of the target's towers.
    pub(crate) fn flops(&self, flops: &Flops<'_>) -> u64 {
        let of = |index| flops.image(self.kept.image(index).map_or(self.whole_tokens.0, <[usize]>::len));
        let heard = if self.audio.is_some() { flops.audio(self.audio_tokens()) } else { 0 };
        (0..self.images.len()).map(of).sum::<u64>() + heard
    }
}

/// Everything, as the page sends it to a target alone.
///
/// # Errors
/// If a picture cannot be encoded.
pub(crate) fn as_sent_whole(
    images: &[RgbImage],
    audio: Option<&Pcm>,
    target: &Assistant,
) -> Result<KeptMedia> {
    let mut media =
        KeptMedia { whole_tokens: whole_tokens(target), audio: audio.cloned(), ..KeptMedia::default() };
    for image in images {
        let square = captured(image);
        let codec = Codec::of(&square)?;
        let (received, bytes) = through_the_wire(&square, codec)?;
        media.images.push(received);
        media.codecs.push(codec);
        media.image_bytes += bytes;
    }
    media.audio_bytes = audio.map_or(0, |audio| WAV_HEADER_BYTES + 2 * audio.samples().len());
    Ok(media)
}

/// What MAS keeps of the media that the question needs; squares are encoded as the `whole` picture was, as the page does.
///
/// # Errors
/// If a picture cannot be encoded.
pub(crate) fn keep(
    scored: &Scored,
    whole: &KeptMedia,
    grid: &TargetGrid,
    target: &Assistant,
) -> Result<KeptMedia> {
    let mut media = KeptMedia { whole_tokens: whole_tokens(target), ..KeptMedia::default() };
    let is_needed = |modality| {
        relevance(scored, modality).is_some_and(|relevance| is_needed(relevance.into(), DROP_BELOW))
    };
    let (side_px, per_side) = (grid.image.side_px, grid.image.tokens_per_side);
    let squares = SquareGrid { side_px, per_side, columns: KeptImage::COLUMNS };
    for image in scored.images.iter().filter(|_| is_needed(Modality::Vision)) {
        let kept = indices(&image.mask);
        let rgb = image
            .tiles
            .pixels
            .as_chunks::<4>()
            .0
            .iter()
            .flat_map(|&[red, green, blue, _]| [red, green, blue]);
        let tiles = RgbImage::from_rgb(image.tiles.width, image.tiles.height, rgb.collect())?;
        let codec = *whole.codecs.get(image.frame as usize).context("a frame that was not given")?;
        let (received, bytes) = through_the_wire(&tiles, codec)?;
        media.images.push(squares.put_back(&received, &kept).context("squares of another size")?);
        media.image_bytes += bytes + mask_bytes(&image.mask);
        media.kept.images.push(Some(kept));
    }
    let heard = scored.audio.as_ref().zip(grid.audio).filter(|_| is_needed(Modality::Audio));
    if let Some((audio, grid)) = heard {
        let (kept, window) = (indices(&audio.mask), grid.window_samples as usize);
        let samples = put_back_windows(&audio.windows.samples, window, &kept, grid.tokens as usize);
        media.audio_bytes = WAV_HEADER_BYTES + 2 * audio.windows.samples.len() + mask_bytes(&audio.mask);
        media.audio = Some(Pcm::from_mono(grid.sample_rate_hz, samples)?);
        media.kept.audio = Some(kept);
    }
    Ok(media)
}

/// The probe's relevance of a modality; `None` where it was not given.
pub(crate) fn relevance(scored: &Scored, modality: Modality) -> Option<f32> {
    scored.modalities.iter().find(|scores| scores.modality == modality).map(|scores| scores.mas.relevance)
}

/// How the target divides media.
pub(crate) fn grid_of(target: &Assistant) -> TargetGrid {
    let config = target.config();
    let audio =
        config.audio_config.as_ref().zip(target.audio_chunk()).map(|(audio, (rate, samples))| AudioGrid {
            sample_rate_hz: rate,
            window_samples: (samples / audio.num_audio_tokens()) as u32,
            tokens: audio.num_audio_tokens() as u32,
        });
    let (side_px, tokens_per_side) = config.image_grid().unwrap_or((1, 1));
    let image = ImageGrid { side_px, tokens_per_side };
    TargetGrid { image, audio, tiles: PictureSize::default(), drops_frames: false }
}

fn indices(mask: &KeepMask) -> Vec<usize> {
    (0..mask.parts()).filter(|&part| mask.is_kept(part)).map(|part| part as usize).collect()
}

fn whole_tokens(target: &Assistant) -> (usize, usize) {
    let audio = target.config().audio_config.as_ref().map_or(0, |audio| audio.num_audio_tokens());
    (target.config().num_image_tokens(), audio)
}

fn mask_bytes(mask: &KeepMask) -> usize {
    (mask.parts() as usize).div_ceil(8)
}

/// What is left of a picture after encoding, and the bytes that took.
fn through_the_wire(image: &RgbImage, codec: Codec) -> Result<(RgbImage, usize)> {
    let bytes = codec.encode(image)?;
    Ok((decode_image(&bytes, &ImageBudget::default())?, bytes.len()))
}
