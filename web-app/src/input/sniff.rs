//! What a file is, from its own bytes: names and declared types are not believed.
//!
//! Reads headers only. Whether the content decodes is for the browser's decoders to say.

/// What the bytes claim to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A picture: PNG, JPEG or WebP.
    Image(ImageKind),
    /// A recording in a container that browsers decode.
    Audio,
    /// Anything else.
    Other,
}

/// Picture formats taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageKind {
    /// `image/png`
    Png,
    /// `image/jpeg`
    Jpeg,
    /// `image/webp`
    Webp,
}

impl ImageKind {
    /// Its media type.
    pub fn mime(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
        }
    }
}

/// The kind of file that `bytes` begin.
pub fn kind(bytes: &[u8]) -> FileKind {
    let riff = |form: &[u8]| bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(form);
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        FileKind::Image(ImageKind::Png)
    } else if bytes.starts_with(&[0xff, 0xd8, 0xff]) {
        FileKind::Image(ImageKind::Jpeg)
    } else if riff(b"WEBP") {
        FileKind::Image(ImageKind::Webp)
    } else if riff(b"WAVE")
        || bytes.starts_with(b"OggS")
        || bytes.starts_with(b"fLaC")
        || bytes.starts_with(b"ID3")
        || bytes.starts_with(&[0x1a, 0x45, 0xdf, 0xa3])
        || bytes.get(4..8) == Some(b"ftyp")
        || is_mp3_frame(bytes)
    {
        FileKind::Audio
    } else {
        FileKind::Other
    }
}

/// Whether the container that `bytes` begin may hold a video; it may as well hold sound alone.
pub fn may_be_video(bytes: &[u8]) -> bool {
    let is_matroska = bytes.starts_with(&[0x1a, 0x45, 0xdf, 0xa3]);
    let brand = bytes.get(8..12).filter(|_| bytes.get(4..8) == Some(b"ftyp"));
    // Apple's names for files of sound alone.
    is_matroska || brand.is_some_and(|brand| !matches!(brand, b"M4A " | b"M4B " | b"M4P "))
}

/// MPEG audio frame sync, layer II or III.
fn is_mp3_frame(bytes: &[u8]) -> bool {
    matches!(bytes, [0xff, second, ..] if second & 0xe0 == 0xe0 && second & 0x06 != 0)
}

/// Whether the file ends before its own structure says, for the formats that tell.
pub fn is_truncated(bytes: &[u8]) -> bool {
    match kind(bytes) {
        FileKind::Image(ImageKind::Png) => !contains(bytes, b"IEND"),
        FileKind::Image(ImageKind::Jpeg) => !contains(bytes, &[0xff, 0xd9]),
        FileKind::Image(ImageKind::Webp) => riff_is_truncated(bytes),
        FileKind::Audio if bytes.starts_with(b"RIFF") => riff_is_truncated(bytes),
        _ => false,
    }
}

fn contains(bytes: &[u8], marker: &[u8]) -> bool {
    bytes.windows(marker.len()).rev().any(|window| window == marker)
}

/// Recorders that stream write a length of zero or of all ones; those lengths announce nothing.
fn riff_is_truncated(bytes: &[u8]) -> bool {
    match u32_le(bytes, 4) {
        None => true,
        Some(0 | u32::MAX) => false,
        Some(length) => (bytes.len() as u64) < 8 + u64::from(length),
    }
}

/// Width and height that a picture's header announces, so that a bomb is refused before it is decoded.
pub fn dimensions(bytes: &[u8]) -> Option<(u32, u32)> {
    match kind(bytes) {
        FileKind::Image(ImageKind::Png) => Some((u32_be(bytes, 16)?, u32_be(bytes, 20)?)),
        FileKind::Image(ImageKind::Jpeg) => jpeg_dimensions(bytes),
        FileKind::Image(ImageKind::Webp) => webp_dimensions(bytes),
        _ => None,
    }
}

/// Walks the JPEG's segments to its frame header.
fn jpeg_dimensions(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut at = 2;
    loop {
        let marker = *bytes.get(at + 1)?;
        if bytes[at] != 0xff {
            return None;
        }
        match marker {
            0xff => at += 1,
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                let half = |offset: usize| {
                    Some(u32::from(u16::from_be_bytes([*bytes.get(offset)?, *bytes.get(offset + 1)?])))
                };
                return Some((half(at + 7)?, half(at + 5)?));
            }
            0x01 | 0xd0..=0xd8 => at += 2,
            _ => at += 2 + usize::from(u16::from_be_bytes([*bytes.get(at + 2)?, *bytes.get(at + 3)?])),
        }
    }
}

fn webp_dimensions(bytes: &[u8]) -> Option<(u32, u32)> {
    match bytes.get(12..16)? {
        b"VP8 " => {
            let half = |offset: usize| {
                Some(u32::from(u16::from_le_bytes([*bytes.get(offset)?, *bytes.get(offset + 1)?]) & 0x3fff))
            };
            Some((half(26)?, half(28)?))
        }
        b"VP8L" => {
            let bits = u32_le(bytes, 21)?;
            Some(((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1))
        }
        b"VP8X" => {
            let three = |offset: usize| Some(u32_le(bytes, offset)? & 0x00ff_ffff);
            let height = u32_le(bytes, 26).map(|x| x >> 8).or_else(|| three(27))?;
            Some((three(24)? + 1, height + 1))
        }
        _ => None,
    }
}

/// Seconds a WAV file of `file_bytes` lasts by its header, so that ten minutes are refused before they are
/// decoded. `bytes` need only reach to the start of the samples.
pub fn wav_seconds(bytes: &[u8], file_bytes: u64) -> Option<f64> {
    if !(bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WAVE")) {
        return None;
    }
    let (mut at, mut bytes_per_s) = (12, None);
    loop {
        let length = u32_le(bytes, at + 4)?;
        match bytes.get(at..at + 4)? {
            b"fmt " => bytes_per_s = u32_le(bytes, at + 16).filter(|&rate| rate > 0),
            b"data" => {
                let held = file_bytes.saturating_sub(at as u64 + 8);
                return Some(u64::from(length).min(held) as f64 / f64::from(bytes_per_s?));
            }
            _ => {}
        }
        at += 8 + length as usize + (length as usize & 1);
    }
}

fn u32_le(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u32_be(bytes: &[u8], at: usize) -> Option<u32> {
    u32_le(bytes, at).map(u32::swap_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::pcm;

    #[test]
    fn containers_of_videos_are_told_from_those_of_sound_alone() {
        assert!(may_be_video(b"\x1a\x45\xdf\xa3 webm"));
        assert!(may_be_video(b"\0\0\0\x18ftypmp42") && may_be_video(b"\0\0\0\x14ftypqt  "));
        for other in [&b"\0\0\0\x20ftypM4A "[..], b"\0\0\0\x20ftyp", b"OggS", &png(3, 4), b""] {
            assert!(!may_be_video(other), "{other:?}");
        }
    }

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        file.extend(width.to_be_bytes());
        file.extend(height.to_be_bytes());
        file.extend([8, 2, 0, 0, 0]);
        file
    }

    #[test]
    fn a_png_tells_its_size_and_its_end() {
        let mut file = png(640, 480);
        assert_eq!(kind(&file), FileKind::Image(ImageKind::Png));
        assert_eq!(dimensions(&file), Some((640, 480)));
        assert!(is_truncated(&file));
        file.extend(b"\0\0\0\0IEND\xaeB`\x82");
        assert!(!is_truncated(&file));
    }

    #[test]
    fn a_jpeg_tells_its_size_past_other_segments() {
        let mut file = vec![0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xc2, 0, 11, 8];
        file.extend([1, 0xe0, 2, 0x80, 3]);
        assert_eq!(kind(&file), FileKind::Image(ImageKind::Jpeg));
        assert_eq!(dimensions(&file), Some((640, 480)));
        assert!(is_truncated(&file));
    }

    #[test]
    fn a_wav_tells_its_length_and_when_it_is_cut() {
        let file = pcm::wav(&vec![0.1; 32_000]);
        assert_eq!(kind(&file), FileKind::Audio);
        assert_eq!(wav_seconds(&file[..44], file.len() as u64), Some(2.0));
        assert!(!is_truncated(&file));
        assert!(is_truncated(&file[..file.len() - 10]));
        assert!(is_truncated(&file[..6]) || kind(&file[..6]) == FileKind::Other);
    }

    #[test]
    fn lossless_webp_sizes_are_packed_in_bits() {
        let mut file = b"RIFF\x20\0\0\0WEBPVP8L\x10\0\0\0\x2f".to_vec();
        file.extend((639u32 | (479 << 14)).to_le_bytes());
        assert_eq!(dimensions(&file), Some((640, 480)));
    }

    #[test]
    fn text_is_neither() {
        assert_eq!(kind(b"hello, world"), FileKind::Other);
        assert_eq!(kind(b""), FileKind::Other);
        assert_eq!(dimensions(b"hello"), None);
    }

    #[test]
    fn no_cut_of_a_header_panics() {
        let mut webp = b"RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0".to_vec();
        webp.extend([0x7f, 2, 0, 0xdf, 1, 0]);
        assert_eq!(dimensions(&webp), Some((640, 480)));
        let jpeg = [0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xc2, 0, 11, 8, 1, 0xe0, 2, 0x80, 3];
        for file in [png(1, 1), webp, jpeg.to_vec(), pcm::wav(&[0.0; 8])] {
            for end in 0..file.len() {
                let _ = (kind(&file[..end]), dimensions(&file[..end]), is_truncated(&file[..end]));
                let _ = wav_seconds(&file[..end], end as u64);
            }
        }
    }
}
