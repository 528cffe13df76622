//! PNG, JPEG and WebP files, natively; a browser has its own decoders.
//!
//! Size, pixel count, frames and passes come from headers and are held against the budget before any pixel is decoded or
//! memory is set aside for it.

use std::io::{Cursor, ErrorKind};

use image::error::ImageError;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::image::check_size;
use super::image_file::{ImageFile, inspect, png_size};
use super::{MediaError, RgbImage};

/// Most scans of a progressive JPEG, of whatever size; encoders write about ten.
const MAX_PASSES: u32 = 64;
/// Most scans of one that has all the pixels it may have.
const PASSES_AT_FULL_SIZE: u64 = 16;

/// What an image file may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageBudget {
    /// Longest file in bytes.
    pub max_bytes: u64,
    /// Longest side in pixels.
    pub max_side: u32,
    /// Most pixels.
    pub max_pixels: u64,
}

impl Default for ImageBudget {
    /// 16 MiB of file and 32 million pixels: any phone's photograph, decoded in well under a second.
    fn default() -> Self {
        Self { max_bytes: 16 << 20, max_side: 16_384, max_pixels: 32_000_000 }
    }
}

/// The size of a PNG, JPEG or WebP file as it is stored, from its header alone: width and height in pixels.
///
/// # Errors
/// When the file is over budget, no image of these formats, cut off or damaged at its beginning.
pub fn image_size(bytes: &[u8], budget: &ImageBudget) -> Result<(u32, u32), MediaError> {
    Ok(open(bytes, budget)?.dimensions())
}

/// Decodes a PNG, JPEG or WebP file, upright (Exif orientation applied) and flattened onto white.
///
/// # Errors
/// When the file is over budget, no image of these formats, cut off or damaged, or an animation.
pub fn decode_image(bytes: &[u8], budget: &ImageBudget) -> Result<RgbImage, MediaError> {
    let mut decoder = open(bytes, budget)?;
    let orientation = decoder.orientation().map_err(refusal)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(refusal)?;
    image.apply_orientation(orientation);
    let (width, height) = (image.width(), image.height());
    if image.color().has_alpha() {
        RgbImage::from_rgba(width, height, &image.into_rgba8())
    } else {
        RgbImage::from_rgb(width, height, image.into_rgb8().into_raw())
    }
}

/// A decoder that has read a file's header, and nothing more, and whose pixels are within the budget.
fn open<'a>(bytes: &'a [u8], budget: &ImageBudget) -> Result<impl ImageDecoder + 'a, MediaError> {
    if bytes.len() as u64 > budget.max_bytes {
        return Err(MediaError::FileTooLarge { bytes: bytes.len() as u64, max_bytes: budget.max_bytes });
    }
    let format = image::guess_format(bytes).map_err(|_unknown| MediaError::NotAnImage)?;
    if !matches!(format, ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::WebP) {
        return Err(MediaError::NotAnImage);
    }
    if let Some((width, height)) = png_size(bytes) {
        check_size(width, height, budget.max_side, budget.max_pixels)?;
    }
    let ImageFile { bytes, passes } = inspect(bytes, format)?;
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits(budget));
    let decoder = reader.into_decoder().map_err(refusal)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, budget.max_side, budget.max_pixels)?;
    let work = u64::from(width) * u64::from(height) * u64::from(passes);
    if passes > MAX_PASSES || work > budget.max_pixels.saturating_mul(PASSES_AT_FULL_SIZE) {
        let detail = format!("its {width}x{height} pixels are drawn {passes} times over");
        return Err(MediaError::DamagedImage { detail });
    }
    Ok(decoder)
}

/// The decoders' own limit, as a second line behind the header check; it covers what is not pixels as well.
fn limits(budget: &ImageBudget) -> Limits {
    let mut limits = Limits::default();
    // At most 4 channels of 16 bits, and as much again for the decoder's own buffers.
    limits.max_alloc = Some(budget.max_pixels.saturating_mul(16));
    limits
}

fn refusal(error: ImageError) -> MediaError {
    let detail = error.to_string();
    match error {
        ImageError::IoError(source) if source.kind() == ErrorKind::UnexpectedEof => {
            MediaError::TruncatedImage
        }
        _ => MediaError::DamagedImage { detail },
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use image::{ExtendedColorType, ImageEncoder};

    use super::*;

    fn decode(bytes: &[u8]) -> Result<RgbImage, MediaError> {
        decode_image(bytes, &ImageBudget::default())
    }

    fn png(width: u32, height: u32, rgba: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let encoder = image::codecs::png::PngEncoder::new(&mut bytes);
        encoder.write_image(rgba, width, height, ExtendedColorType::Rgba8).expect("a PNG");
        bytes
    }

    fn jpeg(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let pixels: Vec<u8> =
            (0..width * height * 3).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let encoder = image::codecs::jpeg::JpegEncoder::new(&mut bytes);
        encoder.write_image(&pixels, width, height, ExtendedColorType::Rgb8).expect("a JPEG");
        bytes
    }

    fn webp(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let pixels = vec![77; (width * height * 3) as usize];
        let encoder = image::codecs::webp::WebPEncoder::new_lossless(&mut bytes);
        encoder.write_image(&pixels, width, height, ExtendedColorType::Rgb8).expect("a WebP");
        bytes
    }

    /// A PNG that is nothing but a header with a valid checksum.
    fn png_header(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = png(1, 1, &[0; 4]);
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        let checksum = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |crc, &byte| {
            (0..8).fold(
                crc ^ u32::from(byte),
                |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 },
            )
        })
    }

    #[test]
    fn each_format_is_read() {
        let image = decode(&png(2, 1, &[1, 2, 3, 255, 1, 2, 3, 0])).expect("a PNG");
        assert_eq!(image.pixels(), [1, 2, 3, 255, 255, 255]);
        assert_eq!(decode(&webp(3, 2)).expect("a WebP").pixels(), [77; 18]);
        let photo = decode(&jpeg(40, 30)).expect("a JPEG");
        assert_eq!((photo.width(), photo.height()), (40, 30));
    }

    #[test]
    fn bombs_are_refused_by_their_header() {
        let start = Instant::now();
        for (width, height) in
            [(1, 100_000_000), (100_000_000, 1), (16_000, 16_000), (0x7FFF_FFFF, 0x7FFF_FFFF)]
        {
            let refused = decode(&png_header(width, height));
            let Err(MediaError::ImageTooLarge { width: seen_width, .. }) = refused else {
                panic!("{width}x{height}: {refused:?}")
            };
            assert_eq!(seen_width, width);
        }
        // 16,383 x 16,383 in the header of a small lossless WebP.
        let mut bomb = webp(3, 2);
        bomb[21..25].copy_from_slice(&(16_382_u32 | 16_382 << 14).to_le_bytes());
        assert!(matches!(decode(&bomb), Err(MediaError::ImageTooLarge { .. })));
        let budget = ImageBudget { max_bytes: 10, ..ImageBudget::default() };
        assert!(matches!(decode_image(&bomb, &budget), Err(MediaError::FileTooLarge { .. })));
        assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
    }

    #[test]
    fn what_is_cut_off_says_so() {
        for (name, whole) in
            [("PNG", png(64, 64, &[9; 64 * 64 * 4])), ("JPEG", jpeg(64, 64)), ("WebP", webp(64, 64))]
        {
            for length in [whole.len() / 2, whole.len() - 20] {
                let cut = decode(&whole[..length]);
                assert_eq!(cut, Err(MediaError::TruncatedImage), "{name} cut to {length} of {}", whole.len());
            }
        }
    }

    #[test]
    fn what_is_no_image_says_so() {
        let noise: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        assert_eq!(decode(&noise), Err(MediaError::NotAnImage));
        assert_eq!(decode(b""), Err(MediaError::NotAnImage));
        assert_eq!(decode(b"GIF89a\x01\x00\x01\x00"), Err(MediaError::NotAnImage));
        assert_eq!(decode(b"RIFF\x24\x00\x00\x00WAVEfmt "), Err(MediaError::NotAnImage));
    }

    #[test]
    fn damaged_files_never_panic() {
        let mut state = 1_u32;
        let mut random = |below: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as usize % below
        };
        let budget = ImageBudget { max_pixels: 100_000, ..ImageBudget::default() };
        for whole in [png(9, 7, &[9; 9 * 7 * 4]), jpeg(16, 16), webp(9, 7)] {
            for _ in 0..1_000 {
                let mut bytes = whole.clone();
                for _ in 0..=random(3) {
                    let position = random(bytes.len());
                    bytes[position] = random(256) as u8;
                }
                let _outcome = decode_image(&bytes, &budget);
            }
        }
    }
}
