//! Pictures that are small as files.

use std::io::{Cursor, Write as _};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder as _, ImageFormat, RgbImage};
use msao_protocol::{Ask, ErrorCode, ImageInput, Media, MediaKind};

use crate::forged_png::{crc32, png_of};
use crate::support::{ask, png};
use crate::{Bomb, Fate, bomb};

/// What a decompressor would make of a few hundred kilobytes.
const UNPACKED_BYTES: usize = 200 << 20;

pub(crate) fn all() -> Vec<Bomb> {
    use ErrorCode::{NotAnImage, TooManyImages, TooManyPixels, Truncated};
    use Fate::{Harmless, Refused};
    let zeros = zlib_of_zeros();
    let text = |before: &[u8]| [before, &zeros].concat();
    let profile = png_with(b"iCCP", &text(b"profile\0\0"));
    let compressed_text = png_with(b"zTXt", &text(b"Comment\0\0"));
    let international = png_with(b"iTXt", &text(b"Comment\0\x01\0en\0\0"));
    let frames = |bytes: &[u8]| png_with(b"acTL", bytes);
    let (jpeg, webp) = (jpeg(), webp());
    let mut bombs = vec![
        bomb("PNG of 1x100000000", with(&[png_of(1, 100_000_000)]), Refused(TooManyPixels)),
        bomb("PNG of 100000000x1", with(&[png_of(100_000_000, 1)]), Refused(TooManyPixels)),
        bomb(
            "PNG of 2147483647x2147483647",
            with(&[png_of(i32::MAX as u32, i32::MAX as u32)]),
            Refused(TooManyPixels),
        ),
        bomb("PNG of 16000x16000", with(&[png_of(16_000, 16_000)]), Refused(TooManyPixels)),
        bomb("PNG with a colour profile of 200 MB", with(&[profile]), Harmless),
        bomb("PNG with a zTXt of 200 MB", with(&[compressed_text]), Harmless),
        bomb("PNG with an iTXt of 200 MB", with(&[international]), Harmless),
        bomb("PNG of 8x8 with 200 MB of pixels", with(&[png_with_pixels(&zeros)]), Harmless),
        bomb(
            "APNG of 100000 frames",
            with(&[frames(&[0, 1, 0x86, 0xA0, 0, 0, 0, 0])]),
            Refused(TooManyImages),
        ),
        bomb("JPEG of 65500x65500", with(&[jpeg_of(&jpeg, 65_500, 65_500)]), Refused(TooManyPixels)),
        bomb("JPEG of 2000 scans", with(&[scans(&jpeg, 2_000)]), Refused(NotAnImage)),
        bomb(
            "JPEG of 6000x6000 in 40 scans",
            with(&[scans(&jpeg_of(&jpeg, 6_000, 6_000), 40)]),
            Refused(NotAnImage),
        ),
        bomb("JPEG of 8 MB that never ends", with(&[endless_jpeg()]), Refused(Truncated)),
        bomb("1000 JPEGs in one file", with(&[jpeg.repeat(1_000)]), Harmless),
        bomb("WebP of 16383x16383", with(&[webp_of(&webp, 16_383)]), Refused(TooManyPixels)),
        // No file of WebP may be that large, so it counts as damaged.
        bomb(
            "WebP of 8x8 on a canvas of 16777216x16777216",
            with(&[on_canvas(&webp, 1 << 24)]),
            Refused(NotAnImage),
        ),
        bomb(
            "WebP of 16383x16383 on a canvas of 8x8",
            with(&[on_canvas(&webp_of(&webp, 16_383), 8)]),
            Refused(NotAnImage),
        ),
        bomb("animated WebP of 100000 frames", with(&[animated_webp(100_000)]), Refused(TooManyImages)),
        bomb("8 pictures of 36 million pixels", with(&vec![png_of(6_000, 6_000); 8]), Refused(TooManyPixels)),
        bomb("1000 frames of a video", with(&vec![jpeg.clone(); 1_000]), Refused(TooManyImages)),
        bomb(
            "2000 frames of a video",
            with(&vec![jpeg.clone(); 2_000]),
            Fate::Ended(ErrorCode::MalformedFrame),
        ),
    ];
    let too_many_bytes = Ask { images: vec![input(vec![0xFF; (8 << 20) + 1])], ..ask(1, "a?") };
    bombs.push(bomb("a file of more than 8 MiB", too_many_bytes, Refused(ErrorCode::TooLarge)));
    bombs
}

fn with(files: &[Vec<u8>]) -> Ask {
    Ask { images: files.iter().cloned().map(input).collect(), ..ask(1, "what is this?") }
}

fn input(bytes: Vec<u8>) -> ImageInput {
    ImageInput::Whole(Media { kind: MediaKind::Png, bytes })
}

fn zlib_of_zeros() -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    for _ in 0..UNPACKED_BYTES >> 20 {
        encoder.write_all(&[0; 1 << 20]).unwrap();
    }
    encoder.finish().unwrap()
}

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [&kind[..], data].concat();
    [&(data.len() as u32).to_be_bytes()[..], &body, &crc32(&body).to_be_bytes()].concat()
}

/// A good picture of 8x8 with one more chunk before its pixels.
fn png_with(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let good = png(8, 8);
    [&good[..33], &chunk(kind, data), &good[33..]].concat()
}

/// A picture of 8x8 whose pixels are followed by more of them.
fn png_with_pixels(zlib: &[u8]) -> Vec<u8> {
    [&png(8, 8)[..33], &chunk(b"IDAT", zlib), &chunk(b"IEND", &[])].concat()
}

fn jpeg() -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new(&mut bytes).write_image(&[99; 8 * 8 * 3], 8, 8, ExtendedColorType::Rgb8).unwrap();
    bytes
}

/// The position of a JPEG's first segment with this marker.
fn segment(jpeg: &[u8], marker: u8) -> usize {
    jpeg.windows(2).position(|pair| pair == [0xFF, marker]).unwrap()
}

fn jpeg_of(jpeg: &[u8], width: u16, height: u16) -> Vec<u8> {
    let mut bytes = jpeg.to_vec();
    let frame = segment(jpeg, 0xC0);
    bytes[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
    bytes[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
    bytes
}

/// Draws the same pixels again and again.
fn scans(jpeg: &[u8], count: usize) -> Vec<u8> {
    let (scan, end) = (segment(jpeg, 0xDA), jpeg.len() - 2);
    [&jpeg[..scan], &jpeg[scan..end].repeat(count), &jpeg[end..]].concat()
}

pub(crate) fn endless_jpeg() -> Vec<u8> {
    let jpeg = jpeg();
    let end = jpeg.len() - 2;
    [&jpeg[..end], &vec![0x55; 8_000_000]].concat()
}

fn webp() -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::new(8, 8).write_to(&mut bytes, ImageFormat::WebP).unwrap();
    bytes.into_inner()
}

/// A square of this side, by the header of lossless WebP.
fn webp_of(webp: &[u8], side: u32) -> Vec<u8> {
    let mut bytes = webp.to_vec();
    let lossless = bytes.windows(4).position(|name| name == b"VP8L").unwrap();
    bytes[lossless + 9..lossless + 13].copy_from_slice(&((side - 1) | (side - 1) << 14).to_le_bytes());
    bytes
}

fn riff(chunks: &[u8]) -> Vec<u8> {
    [&b"RIFF"[..], &(chunks.len() as u32 + 4).to_le_bytes(), b"WEBP", chunks].concat()
}

fn extended_header(flags: u8, side: u32) -> Vec<u8> {
    let side = (side - 1).to_le_bytes();
    [&b"VP8X\x0A\0\0\0"[..], &[flags, 0, 0, 0], &side[..3], &side[..3]].concat()
}

fn on_canvas(webp: &[u8], side: u32) -> Vec<u8> {
    let lossless = webp.windows(4).position(|name| name == b"VP8L").unwrap();
    riff(&[&extended_header(0, side), &webp[lossless..]].concat())
}

fn animated_webp(frames: usize) -> Vec<u8> {
    let frame = [&b"ANMF\x18\0\0\0"[..], &[0; 24]].concat();
    riff(&[&extended_header(2, 8), &b"ANIM\x06\0\0\0\0\0\0\0\0\0"[..], &frame.repeat(frames)].concat())
}
