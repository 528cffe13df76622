//! Whether a file may be read, from its first bytes and its size: nothing large is loaded, nothing decoded.

use msao_protocol::Limits;

use super::{
    refusal::Refusal,
    sniff::{self, FileKind},
};

/// First bytes that tell enough: a photograph's preview may stand before its dimensions.
pub const HEAD_BYTES: u32 = 256 * 1024;

/// Says what the file is, if it may be read.
///
/// # Errors
/// [`Refusal::UnknownFormat`], [`Refusal::FileTooLarge`], [`Refusal::TooManyPixels`],
/// [`Refusal::AudioTooLong`], [`Refusal::NobodyHears`] where no second may be given.
pub fn admit(name: &str, head: &[u8], file_bytes: u64, limits: &Limits) -> Result<FileKind, Refusal> {
    let kind = sniff::kind(head);
    let limit = match kind {
        FileKind::Image(_) => limits.image_bytes,
        FileKind::Audio => limits.audio_bytes,
        FileKind::Other => return Err(Refusal::UnknownFormat { name: name.to_owned() }),
    };
    // Before the size, because ten minutes say more than megabytes.
    let limit_s = f64::from(limits.audio_s);
    if kind == FileKind::Audio && limit_s <= 0.0 {
        return Err(Refusal::NobodyHears { speech_bytes: None });
    }
    if let Some(actual_s) = sniff::wav_seconds(head, file_bytes).filter(|&s| s > limit_s) {
        return Err(Refusal::AudioTooLong { name: name.to_owned(), actual_s, limit_s });
    }
    if file_bytes > u64::from(limit) {
        return Err(Refusal::FileTooLarge {
            name: name.to_owned(),
            actual: file_bytes,
            limit: u64::from(limit),
        });
    }
    if let Some((width, height)) = sniff::dimensions(head) {
        let limit = u64::from(limits.image_pixels);
        if u64::from(width) * u64::from(height) > limit {
            return Err(Refusal::TooManyPixels { name: name.to_owned(), width, height, limit });
        }
    }
    Ok(kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::pcm;

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        head.extend(width.to_be_bytes());
        head.extend(height.to_be_bytes());
        head
    }

    #[test]
    fn a_recording_that_nobody_hears_is_not_called_too_long() {
        let deaf = Limits { audio_s: 0.0, ..Limits::default() };
        let refusal = admit("said.wav", &pcm::wav(&[0.5; 100]), 244, &deaf).unwrap_err();
        assert!(matches!(refusal, Refusal::NobodyHears { .. }), "{refusal:?}");
    }

    #[test]
    fn ten_minutes_are_told_from_the_header() {
        let mut head = pcm::wav(&[0.5; 100]);
        let data_bytes: u32 = 16_000 * 2 * 600;
        head[40..44].copy_from_slice(&data_bytes.to_le_bytes());
        let refusal = admit("a.wav", &head, u64::from(data_bytes) + 44, &Limits::default()).unwrap_err();
        assert!(refusal.to_string().contains("10 min 0 s"), "{refusal}");
    }

    #[test]
    fn a_bomb_is_told_from_the_header() {
        let refusal = admit("a.png", &png(30_000, 30_000), 1_000, &Limits::default()).unwrap_err();
        assert!(matches!(refusal, Refusal::TooManyPixels { .. }));
        assert!(admit("a.png", &png(640, 480), 1_000, &Limits::default()).is_ok());
    }

    #[test]
    fn large_and_unknown_files_are_refused() {
        let refusal = admit("a.png", &png(640, 480), 1 << 30, &Limits::default()).unwrap_err();
        assert!(matches!(refusal, Refusal::FileTooLarge { .. }));
        let refusal = admit("a.txt", b"hello", 5, &Limits::default()).unwrap_err();
        assert!(matches!(refusal, Refusal::UnknownFormat { .. }));
    }
}
