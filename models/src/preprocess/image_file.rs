//! How image files are built, read from their chunks and segments alone: what an image costs is known before a decoder
//! sees it.

use std::borrow::Cow;

use image::ImageFormat;

use super::MediaError;

/// Longest Exif data that is kept of a PNG.
const MAX_EXIF_BYTES: usize = 64 << 10;
const PNG_SIGNATURE_BYTES: usize = 8;
/// Length, type and checksum of a PNG's chunk.
const PNG_CHUNK_BYTES: usize = 12;

/// What a file says about itself.
pub(super) struct ImageFile<'a> {
    /// What the decoder needs of it.
    pub(super) bytes: Cow<'a, [u8]>,
    /// How often a decoder goes over all pixels.
    pub(super) passes: u32,
}

/// Looks at a file of a known format.
///
/// # Errors
/// When it is cut off or holds several pictures. What else is wrong with it, the decoder says.
pub(super) fn inspect(bytes: &[u8], format: ImageFormat) -> Result<ImageFile<'_>, MediaError> {
    match format {
        ImageFormat::Png => {
            single_picture(png_frames(bytes))?;
            Ok(ImageFile { bytes: png_essentials(bytes), passes: 1 })
        }
        // Its decoder fills what is missing with grey.
        ImageFormat::Jpeg => {
            let passes = jpeg_scans(bytes).ok_or(MediaError::TruncatedImage)?;
            Ok(ImageFile { bytes: bytes.into(), passes })
        }
        // Its decoder calls a short file corrupt.
        _ if !webp_is_complete(bytes) => Err(MediaError::TruncatedImage),
        _ => {
            single_picture(webp_frames(bytes))?;
            Ok(ImageFile { bytes: bytes.into(), passes: 1 })
        }
    }
}

fn single_picture(frames: u32) -> Result<(), MediaError> {
    if frames > 1 { Err(MediaError::AnimatedImage { frames }) } else { Ok(()) }
}

/// The size in a PNG's header. Its decoder sets memory aside for a row while it opens a file, the others do not.
pub(super) fn png_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let number = |start: usize| bytes.get(start..start + 4)?.try_into().ok().map(u32::from_be_bytes);
    if bytes.starts_with(b"\x89PNG") { number(16).zip(number(20)) } else { None }
}

/// A PNG's chunks with their types, each whole but for the last one.
fn png_chunks(bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut rest = bytes.get(PNG_SIGNATURE_BYTES..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = rest.get(..4)?.try_into().ok().map(u32::from_be_bytes)?;
        let kind = rest.get(4..8)?.try_into().ok()?;
        let size = (length as usize).saturating_add(PNG_CHUNK_BYTES).min(rest.len());
        let (chunk, behind) = rest.split_at(size);
        rest = behind;
        Some((kind, chunk))
    })
}

/// Frames of an animated PNG, as it announces them; 1 for any other.
fn png_frames(bytes: &[u8]) -> u32 {
    let animation =
        png_chunks(bytes).take_while(|(kind, _)| kind != b"IDAT").find(|(kind, _)| kind == b"acTL");
    let frames = animation.and_then(|(_, chunk)| chunk.get(8..12)?.try_into().ok()).map(u32::from_be_bytes);
    frames.unwrap_or(1)
}

/// A PNG without what its pixels do not need.
///
/// Colour profiles and texts are compressed, up to a thousandfold, and the decoder unpacks a profile as it opens the file.
fn png_essentials(bytes: &[u8]) -> Cow<'_, [u8]> {
    let is_essential = |kind: &[u8; 4], chunk: &[u8]| {
        let is_critical = kind[0].is_ascii_uppercase();
        is_critical || kind == b"tRNS" || kind == b"eXIf" && chunk.len() <= MAX_EXIF_BYTES
    };
    if png_chunks(bytes).all(|(kind, chunk)| is_essential(&kind, chunk)) {
        return bytes.into();
    }
    let mut essentials = bytes.get(..PNG_SIGNATURE_BYTES).unwrap_or(bytes).to_vec();
    for (_, chunk) in png_chunks(bytes).filter(|(kind, chunk)| is_essential(kind, chunk)) {
        essentials.extend(chunk);
    }
    essentials.into()
}

/// Whether a WebP is as long as its header says.
fn webp_is_complete(bytes: &[u8]) -> bool {
    let declared = bytes.get(4..8).and_then(|field| field.try_into().ok()).map(u32::from_le_bytes);
    declared.is_some_and(|length| u64::from(length) + 8 <= bytes.len() as u64)
}

/// Frames of an animated WebP; 1 for any other.
fn webp_frames(bytes: &[u8]) -> u32 {
    const ANIMATION: u8 = 0x02;
    let is_animated =
        bytes.get(12..16) == Some(b"VP8X") && bytes.get(20).is_some_and(|flags| flags & ANIMATION != 0);
    if !is_animated {
        return 1;
    }
    let mut rest = bytes.get(12..).unwrap_or_default();
    let mut frames = 0;
    while let (Some(kind), Some(size)) = (rest.get(..4), rest.get(4..8)) {
        frames += u32::from(kind == b"ANMF");
        let length = size.iter().rev().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
        rest = rest.get(8 + length.next_multiple_of(2)..).unwrap_or_default();
    }
    frames
}

/// The scans of a whole JPEG, walking segment by segment since thumbnails inside have markers too; `None` without an end.
fn jpeg_scans(bytes: &[u8]) -> Option<u32> {
    const END: u8 = 0xD9;
    const SCAN: u8 = 0xDA;
    let (mut position, mut scans) = (2, 0);
    loop {
        // Through the scan's own bytes to what may be a marker.
        position += bytes.get(position..)?.iter().position(|&byte| byte == 0xFF)?;
        match *bytes.get(position + 1)? {
            0xFF => position += 1,
            0x00 | 0x01 | 0xD0..=0xD7 => position += 2,
            END => return Some(scans),
            marker => {
                scans += u32::from(marker == SCAN);
                let &[high, low] = bytes.get(position + 2..position + 4)? else { return None };
                position += 2 + usize::from(u16::from_be_bytes([high, low]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(data.len()).expect("short").to_be_bytes();
        [&length, &kind[..], data, &[0; 4]].concat()
    }

    fn png(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let chunks = chunks.iter().flat_map(|(kind, data)| chunk(kind, data));
        b"\x89PNG\r\n\x1a\n".iter().copied().chain(chunks).collect()
    }

    #[test]
    fn a_png_is_cut_down_to_what_pixels_need() {
        let whole = png(&[
            (b"IHDR", &[0; 13]),
            (b"iCCP", b"bomb"),
            (b"tRNS", &[1]),
            (b"zTXt", b"text"),
            (b"IDAT", &[2; 9]),
        ]);
        let expected = png(&[(b"IHDR", &[0; 13]), (b"tRNS", &[1]), (b"IDAT", &[2; 9])]);
        assert_eq!(*png_essentials(&whole), expected);
        assert!(matches!(png_essentials(&expected), Cow::Borrowed(_)));
        // A chunk that is cut off is left to the decoder to complain about.
        let cut = &expected[..expected.len() - 7];
        assert_eq!(*png_essentials(cut), *cut);
    }

    #[test]
    fn frames_are_counted() {
        let animated =
            |frames: u32| png(&[(b"IHDR", &[0; 13]), (b"acTL", &[frames.to_be_bytes(), [0; 4]].concat())]);
        assert_eq!(
            [png_frames(&animated(7)), png_frames(&animated(u32::MAX)), png_frames(b"")],
            [7, u32::MAX, 1]
        );
        // Behind the pixels the announcement means nothing.
        assert_eq!(png_frames(&png(&[(b"IDAT", &[]), (b"acTL", &[9; 8])])), 1);

        let mut webp = b"RIFF\0\0\0\0WEBPVP8X\x0A\0\0\0\x02\0\0\0\0\0\0\0\0\0".to_vec();
        for _ in 0..3 {
            webp.extend(b"ANMF\x03\0\0\0abc\0");
        }
        assert_eq!(webp_frames(&webp), 3);
        webp[20] = 0;
        assert_eq!(webp_frames(&webp), 1);
    }

    #[test]
    fn scans_are_counted_to_the_end() {
        let scan = b"\xFF\xDA\0\x02\x12\xFF\x00\x34";
        let jpeg = [&b"\xFF\xD8\xFF\xE1\0\x06\xFF\xDA\xFF\xD9"[..], scan, scan, b"\xFF\xD9"].concat();
        assert_eq!(jpeg_scans(&jpeg), Some(2));
        assert_eq!(jpeg_scans(&jpeg[..jpeg.len() - 1]), None);
    }
}
