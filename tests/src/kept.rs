//! Cuts the parts out of pictures and recordings that are not background, as an edge does that asks for pruned media.

use std::io::Cursor;

use anyhow::{Context, Result};
use hound::{SampleFormat, WavReader, WavSpec, WavWriter};
use image::ImageFormat;
use msao_models::preprocess::{
    ResizeFilter, RgbImage, SquareGrid,
    decode::{ImageBudget, decode_image},
    resize,
};
use msao_protocol::{AudioGrid, ImageGrid, KeepMask, KeptAudio, KeptImage, Media, MediaKind};

/// Brightness steps by which a tile with something in it varies more than twice the quiet ones.
const CONTRAST: f64 = 2.0;
/// Sixteen-bit steps by which a window with something in it is louder than twice the quiet ones.
const LOUDNESS: f64 = 60.0;

/// The tiles of a picture that show something; at least one.
///
/// # Errors
/// If the file is no picture.
pub fn image(file: &[u8], grid: &ImageGrid) -> Result<KeptImage> {
    let picture = decode_image(file, &ImageBudget::default())?.center_square();
    let picture = resize(&picture, grid.side_px, grid.side_px, ResizeFilter::Lanczos);
    let (side_px, per_side) = (grid.side_px, grid.tokens_per_side);
    let squares = SquareGrid { side_px, per_side, columns: KeptImage::COLUMNS };
    let level = |square| deviation(&squares.cut(&picture, &[square]));
    let kept = standing_out((0..grid.tokens() as usize).map(level).collect(), CONTRAST);
    let tiles = squares.cut(&picture, &indices(&kept));
    let tiles = image::RgbImage::from_raw(tiles.width(), tiles.height(), tiles.into_pixels())
        .context("squares of pixels are a picture")?;
    let mut bytes = Vec::new();
    tiles.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)?;
    Ok(KeptImage { mask: KeepMask::new(&kept), tiles: Media { kind: MediaKind::Png, bytes } })
}

/// Standard deviation of the channel that varies most.
fn deviation(square: &RgbImage) -> f64 {
    let count = f64::from(square.width() * square.height());
    let of_channel = |channel: usize| {
        let values = || square.pixels().iter().skip(channel).step_by(3).map(|value| f64::from(*value));
        let mean = values().sum::<f64>() / count;
        (values().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt()
    };
    (0..3).map(of_channel).fold(0.0, f64::max)
}

/// Which parts exceed twice the level of the quiet ones by a margin, pictures and recordings being noisy; the first
/// where none does, since something has to be kept.
fn standing_out(levels: Vec<f64>, margin: f64) -> Vec<bool> {
    let mut sorted = levels.clone();
    sorted.sort_by(f64::total_cmp);
    let quiet = sorted[sorted.len() / 5];
    let mut kept: Vec<bool> = levels.iter().map(|&level| level > 2.0 * quiet + margin).collect();
    kept[0] |= !kept.contains(&true);
    kept
}

fn indices(kept: &[bool]) -> Vec<usize> {
    (0..kept.len()).filter(|&part| kept[part]).collect()
}

/// The windows of a recording in which something sounds, and their neighbours; at least one.
///
/// # Errors
/// If the file is no 16-bit recording at the grid's rate.
pub fn audio(file: &[u8], grid: &AudioGrid) -> Result<KeptAudio> {
    let mut reader = WavReader::new(Cursor::new(file))?;
    anyhow::ensure!(reader.spec().sample_rate == grid.sample_rate_hz, "the recording has another rate");
    let mut samples = reader.samples::<i16>().collect::<Result<Vec<i16>, _>>()?;
    let window = grid.window_samples as usize;
    samples.resize(grid.tokens as usize * window, 0);
    let peak = |one: &[i16]| one.iter().map(|sample| f64::from(sample.unsigned_abs())).fold(0.0, f64::max);
    let sounds = standing_out(samples.chunks(window).map(peak).collect(), LOUDNESS);
    let is_near_sound = |at: usize| sounds[at.saturating_sub(1)..sounds.len().min(at + 2)].contains(&true);
    let kept: Vec<bool> = (0..sounds.len()).map(is_near_sound).collect();
    let spec = WavSpec {
        channels: 1,
        sample_rate: grid.sample_rate_hz,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = WavWriter::new(&mut bytes, spec)?;
    for (window, _) in samples.chunks(window).zip(&kept).filter(|(_, kept)| **kept) {
        for &sample in window {
            writer.write_sample(sample)?;
        }
    }
    writer.finalize()?;
    let windows = Media { kind: MediaKind::Wav, bytes: bytes.into_inner() };
    Ok(KeptAudio { mask: KeepMask::new(&kept), windows })
}
