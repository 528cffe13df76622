//! From files to pixels and samples, each within its budget.
//!
//! A silent recording is refused even beside a typed question, since its sender believes that something can be heard
//! in it. Kept windows may be silent: their sender has listened to them.

use msao_models::preprocess::decode::{ImageBudget, decode_image, image_size};
use msao_models::preprocess::{self, AudioBudget, MediaError, Pcm, RgbImage, read_wav};
use msao_models::{KeptTokens, PastTurn, Prompt, Splitting};
use msao_protocol::{Ask, AudioInput, Clip, ErrorCode, ImageInput, Limits, ModelInfo};

use super::{Refusal, kept, tiled};

/// Seconds that a recording may run over: recorders stop at the end of a buffer, not on the dot. The model
/// does not hear what runs over.
const AUDIO_TOLERANCE_S: f64 = 0.25;

/// Decodes a checked question's media for this model.
///
/// # Errors
/// The first file that cannot be used.
pub(crate) fn decode(ask: &Ask, limits: &Limits, model: &ModelInfo) -> Result<Prompt, Refusal> {
    check_pixels(ask, limits)?;
    let mut prompt =
        decode_question(&ask.question, (&ask.images, &ask.clip), ask.audio.as_ref(), limits, model)?;
    for turn in &ask.history {
        let pictures = (&turn.images[..], &turn.clip);
        let asked = decode_question(&turn.question, pictures, turn.audio.as_ref(), limits, model)?;
        prompt.history.push(PastTurn { asked, answer: turn.answer.clone() });
    }
    Ok(prompt)
}

fn decode_question(
    question: &str,
    (images, clip): (&[ImageInput], &Option<Clip>),
    audio: Option<&AudioInput>,
    limits: &Limits,
    model: &ModelInfo,
) -> Result<Prompt, Refusal> {
    let clip = clip.as_ref().map(seconds);
    let mut prompt = Prompt { question: question.to_owned(), clip, ..Prompt::default() };
    for input in images {
        let picture = decode_picture(&input.media().bytes, limits)?;
        let mut whole = None;
        let (picture, tokens) = match input {
            ImageInput::Whole(_) => (picture, None),
            ImageInput::Tiles(tiled) => {
                let kept = tiled::kept_tokens(tiled, &picture, model)?;
                whole = Some(tiled::whole(decode_picture(&tiled.whole.bytes, limits)?, model)?);
                (picture, Some(kept))
            }
            ImageInput::Kept(image) => {
                // Its squares are those of a picture in one piece.
                prompt.splitting = Splitting::Never;
                kept::place_tiles(&picture, &image.mask, &model.image)?
            }
        };
        prompt.images.push(picture);
        prompt.wholes.push(whole);
        prompt.kept.images.push(tokens);
    }
    match (audio, &model.audio) {
        (Some(AudioInput::Kept(audio)), Some(grid)) => {
            let windows = decode_audio(&audio.windows.bytes, limits)?;
            let (recording, tokens) = kept::place_windows(&windows, &audio.mask, grid)?;
            prompt.audio = Some(recording);
            prompt.kept = KeptTokens { audio: tokens, ..prompt.kept };
        }
        (Some(input), _) => {
            let recording = decode_audio(&input.media().bytes, limits)?;
            recording.require_audible()?;
            prompt.audio = Some(recording);
        }
        (None, _) => {}
    }
    Ok(prompt)
}

/// A clip as models have it.
fn seconds(clip: &Clip) -> preprocess::Clip {
    let seconds = |&ms: &u32| f64::from(ms) / 1e3;
    preprocess::Clip {
        duration_s: seconds(&clip.duration_ms),
        times_s: clip.times_ms.iter().map(seconds).collect(),
    }
}

/// Holds the pixels of all pictures together, those of earlier turns included, against the limit: from their headers,
/// before one of them is decoded.
fn check_pixels(ask: &Ask, limits: &Limits) -> Result<(), Refusal> {
    let (mut count, mut pixels) = (0_usize, 0_u64);
    let images = ask.history.iter().flat_map(|turn| &turn.images).chain(&ask.images);
    for file in images.flat_map(ImageInput::files) {
        count += 1;
        let (width, height) = image_size(&file.bytes, &image_budget(limits))?;
        pixels = pixels.saturating_add(u64::from(width) * u64::from(height));
    }
    let limit = limits.image_pixels;
    if pixels > limit.into() {
        let message = format!(
            "the {count} pictures have {pixels} pixels together; at most {limit} are accepted: scale them down or send fewer"
        );
        return Err(Refusal::new(ErrorCode::TooManyPixels, message));
    }
    Ok(())
}

fn decode_picture(bytes: &[u8], limits: &Limits) -> Result<RgbImage, MediaError> {
    decode_image(bytes, &image_budget(limits))
}

fn image_budget(limits: &Limits) -> ImageBudget {
    ImageBudget {
        max_bytes: limits.image_bytes.into(),
        max_side: RgbImage::MAX_SIDE,
        max_pixels: limits.image_pixels.into(),
    }
}

/// Decodes a recording by itself, as [`decode`] does within a question.
///
/// # Errors
/// When it cannot be used, or nothing can be heard in it.
pub(crate) fn decode_recording(
    audio: &AudioInput,
    limits: &Limits,
    model: &ModelInfo,
) -> Result<Pcm, Refusal> {
    let alone = decode_question("", (&[], &None), Some(audio), limits, model)?;
    alone.audio.ok_or_else(|| Refusal::new(ErrorCode::NotAudio, "there is no recording: send one"))
}

/// Decodes a file of sound that may be longer than a question.
///
/// # Errors
/// When it is over its budget, or cannot be read.
pub(crate) fn decode_sound(bytes: &[u8], limits: &Limits) -> Result<Pcm, Refusal> {
    let budget = AudioBudget { max_bytes: limits.message_bytes.into(), max_seconds: Pcm::MAX_SECONDS };
    Ok(read_wav(bytes, &budget)?)
}

fn decode_audio(bytes: &[u8], limits: &Limits) -> Result<Pcm, MediaError> {
    let limit_s = f64::from(limits.audio_s);
    let budget =
        AudioBudget { max_bytes: limits.audio_bytes.into(), max_seconds: limit_s + AUDIO_TOLERANCE_S };
    read_wav(bytes, &budget).map_err(|error| match error {
        // The tolerance is ours alone; people are told the limit.
        MediaError::AudioTooLong { seconds, .. } => {
            MediaError::AudioTooLong { seconds, max_seconds: (limit_s * 10.0).round() / 10.0 }
        }
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_of_the_model_bounds_recordings() {
        let limits = Limits { audio_s: 4.8, ..Limits::default() };
        let refused = Refusal::from(decode_audio(&wav(5.1), &limits).unwrap_err());
        assert_eq!(refused.code, ErrorCode::AudioTooLong);
        assert_eq!(refused.message, "the recording lasts 5.1 s; at most 4.8 s are accepted: cut it");
        assert!(decode_audio(&wav(5.0), &limits).is_ok());
    }

    #[test]
    fn a_declared_size_is_refused_before_pixels_are() {
        let limits = Limits::default();
        let png = |width: u32, height: u32| {
            let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
            bytes.extend(width.to_be_bytes());
            bytes.extend(height.to_be_bytes());
            bytes.extend([8, 2, 0, 0, 0]);
            bytes.extend(crc32(&bytes[12..]).to_be_bytes());
            bytes.extend(b"\0\0\0\0IDAT");
            bytes.extend(crc32(b"IDAT").to_be_bytes());
            bytes
        };
        for (width, height) in [(1, 100_000_000), (16_000, 16_000), (u32::MAX >> 1, 1)] {
            let refused = Refusal::from(decode_picture(&png(width, height), &limits).unwrap_err());
            assert_eq!(refused.code, ErrorCode::TooManyPixels, "{width}x{height}");
        }
    }

    fn wav(seconds: f32) -> Vec<u8> {
        let samples = (seconds * 8_000.0) as u32;
        let mut bytes = b"RIFF".to_vec();
        bytes.extend((36 + 2 * samples).to_le_bytes());
        bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
        bytes.extend(8_000_u32.to_le_bytes());
        bytes.extend(16_000_u32.to_le_bytes());
        bytes.extend(b"\x02\0\x10\0data");
        bytes.extend((2 * samples).to_le_bytes());
        bytes.extend((0..samples).flat_map(|n| (if n % 20 < 10 { 9_000_i16 } else { -9_000 }).to_le_bytes()));
        bytes
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0_u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 * (crc & 1)))
        })
    }
}
