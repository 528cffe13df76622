//! Files and questions that nobody should have to accept.

use std::{fs, io::Cursor, path::Path};

use anyhow::{Context, Result};
use image::{ImageFormat, Rgb, RgbImage};
use msao_protocol::Limits;

use crate::microphone;

/// More characters than any server takes.
pub const LONG_QUESTION_CHARS: usize = 100_000;

/// A PNG of more bytes than `limits` allow: every pixel is random, so nothing compresses.
///
/// # Errors
/// If the image cannot be encoded.
pub fn oversized_png(limits: &Limits) -> Result<Vec<u8>> {
    let side = (f64::from(limits.image_bytes) / 3.0).sqrt() as u32 + 32;
    let mut state = 1_u32;
    let noise = RgbImage::from_fn(side, side, |_, _| {
        Rgb(std::array::from_fn(|_| {
            // xorshift32
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8
        }))
    });
    png(&noise)
}

/// A PNG that ends in the middle.
///
/// # Errors
/// If the image cannot be encoded.
pub fn truncated_png() -> Result<Vec<u8>> {
    let mut bytes = png(&RgbImage::from_fn(300, 300, |x, y| Rgb([x as u8, y as u8, (x * y) as u8])))?;
    bytes.truncate(bytes.len() / 2);
    Ok(bytes)
}

/// No image at all.
pub fn no_image() -> Vec<u8> {
    b"Dear Sir or Madam, this file was named .png by mistake.".repeat(20)
}

/// Two seconds in which nothing can be heard.
///
/// # Errors
/// If the temporary file cannot be written.
pub fn silent_wav() -> Result<Vec<u8>> {
    through_file("silent", |file| microphone::silence(16_000, 2, file))
}

/// A ten-minute tone, in few enough bytes that only its length is wrong with it.
///
/// # Errors
/// If the temporary file cannot be written.
pub fn ten_minute_wav() -> Result<Vec<u8>> {
    through_file("long", |file| microphone::tone(4_000, 600.0, 440.0, file))
}

/// A question of [`LONG_QUESTION_CHARS`] characters.
pub fn long_question() -> String {
    "what color is the star? ".chars().cycle().take(LONG_QUESTION_CHARS).collect()
}

fn png(image: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(bytes.into_inner())
}

/// The bytes of a file that `write` writes.
fn through_file(name: &str, write: impl FnOnce(&Path) -> Result<()>) -> Result<Vec<u8>> {
    let thread = std::thread::current().id();
    let file = std::env::temp_dir().join(format!("msao-{name}-{}-{thread:?}.wav", std::process::id()));
    write(&file)?;
    let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    fs::remove_file(&file)?;
    Ok(bytes)
}
