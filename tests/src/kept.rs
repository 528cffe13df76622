//! Cuts the parts out of pictures and recordings that are not background, as an edge does that asks for pruned media.

use std::io::Cursor;

use anyhow::{Context, Result};
use hound::{SampleFormat, WavReader, WavSpec, WavWriter};
use image::{ImageFormat, Rgb, RgbImage, imageops};
use msao_models::preprocess::{
    ResizeFilter,
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
    let picture = RgbImage::from_raw(grid.side_px, grid.side_px, picture.into_pixels())
        .context("a square of pixels is a picture")?;
    let tile_px = grid.tile_px();
    let tile = |token: u32| {
        let (row, column) = (token / grid.tokens_per_side, token % grid.tokens_per_side);
        imageops::crop_imm(&picture, column * tile_px, row * tile_px, tile_px, tile_px).to_image()
    };
    let kept = standing_out((0..grid.tokens()).map(|token| deviation(&tile(token))).collect(), CONTRAST);
    let tokens: Vec<u32> = (0..grid.tokens()).filter(|&token| kept[token as usize]).collect();
    let count = tokens.len() as u32;
    let (columns, rows) = (count.min(KeptImage::COLUMNS), count.div_ceil(KeptImage::COLUMNS));
    let mut tiles = RgbImage::from_pixel(columns * tile_px, rows * tile_px, Rgb([128; 3]));
    for (place, &token) in (0_u32..).zip(&tokens) {
        let (row, column) = (place / KeptImage::COLUMNS, place % KeptImage::COLUMNS);
        imageops::replace(&mut tiles, &tile(token), (column * tile_px).into(), (row * tile_px).into());
    }
    let mut bytes = Vec::new();
    tiles.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)?;
    Ok(KeptImage { mask: KeepMask::new(&kept), tiles: Media { kind: MediaKind::Png, bytes } })
}

/// Standard deviation of the channel that varies most.
fn deviation(tile: &RgbImage) -> f64 {
    let count = f64::from(tile.width() * tile.height());
    let of_channel = |channel: usize| {
        let values = || tile.pixels().map(|pixel| f64::from(pixel.0[channel]));
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
