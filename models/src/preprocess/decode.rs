//! PNG, JPEG and WebP files, natively; a browser has its own decoders.
//!
//! Size and pixel count come from the header and are held against the budget before any pixel is decoded or
//! memory is set aside for it.

use std::io::{Cursor, ErrorKind};

use image::error::ImageError;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::image::check_size;
use super::{MediaError, RgbImage};

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

/// Decodes a PNG, JPEG or WebP file, upright (Exif orientation applied) and flattened onto white.
///
/// # Errors
/// When the file is over budget, no image of these formats, cut off or damaged.
pub fn decode_image(bytes: &[u8], budget: &ImageBudget) -> Result<RgbImage, MediaError> {
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
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits(budget));
    let mut decoder = reader.into_decoder().map_err(refusal)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, budget.max_side, budget.max_pixels)?;
    // The JPEG decoder fills what is missing with grey, the WebP decoder calls it corrupt.
    let complete = match format {
        ImageFormat::Jpeg => jpeg_is_complete(bytes),
        ImageFormat::WebP => webp_is_complete(bytes),
        _ => true,
    };
    if !complete {
        return Err(MediaError::TruncatedImage);
    }
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

/// The size in a PNG's header. Its decoder sets memory aside for a row while it opens a file, the others do not.
fn png_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let number = |start: usize| bytes.get(start..start + 4)?.try_into().ok().map(u32::from_be_bytes);
    if bytes.starts_with(b"\x89PNG") { number(16).zip(number(20)) } else { None }
}

/// Whether a WebP is as long as its header says.
fn webp_is_complete(bytes: &[u8]) -> bool {
    let declared = bytes.get(4..8).and_then(|field| field.try_into().ok()).map(u32::from_le_bytes);
    declared.is_some_and(|length| u64::from(length) + 8 <= bytes.len() as u64)
}

/// Whether a JPEG has its end marker, walking segment by segment since thumbnails inside have markers too.
fn jpeg_is_complete(bytes: &[u8]) -> bool {
    const END: u8 = 0xD9;
    let mut position = 2;
    while let Some(&[first, marker]) = bytes.get(position..position + 2) {
        let in_scan_or_fill = first != 0xFF || matches!(marker, 0x00 | 0x01 | 0xD0..=0xD7 | 0xFF);
        if in_scan_or_fill {
            position += if first == 0xFF && marker != 0xFF { 2 } else { 1 };
        } else if marker == END {
            return true;
        } else {
            let Some(&[high, low]) = bytes.get(position + 2..position + 4) else { return false };
            position += 2 + usize::from(u16::from_be_bytes([high, low]));
        }
    }
    false
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
