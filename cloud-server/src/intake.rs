//! What may come in: every question is held against the limits before anything of it is decoded.
//!
//! [`check`] looks at counts and sizes only and costs nothing; [`decode`] turns files into pixels and samples,
//! each within its budget. Both speak to people: value, limit, remedy. A silent recording is refused even
//! beside a typed question, since its sender believes that something can be heard in it.

use msao_models::Prompt;
use msao_models::preprocess::decode::{ImageBudget, decode_image};
use msao_models::preprocess::{AudioBudget, MediaError, Pcm, RgbImage, read_wav};
use msao_protocol::{Ask, ErrorCode, Limits};

use crate::engine::EngineInfo;

/// Seconds that a recording may run over: recorders stop at the end of a buffer, not on the dot. The model
/// does not hear what runs over.
const AUDIO_TOLERANCE_S: f64 = 0.25;

/// Why a question is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// For programs.
    pub code: ErrorCode,
    /// For people: value, limit and remedy.
    pub message: String,
}

/// What is configured, lowered to what the engine can take.
///
/// A recording is cut by preprocessing to what the model hears at once, and nobody would be told; so a longer
/// one is refused instead.
pub(crate) fn effective_limits(configured: Limits, engine: &EngineInfo) -> Limits {
    Limits {
        audio_s: engine.audio_window_s.map_or(0.0, |window_s| configured.audio_s.min(window_s as f32)),
        max_new_tokens: configured.max_new_tokens.min(engine.max_new_tokens),
        question_chars: configured.question_chars.min(engine.question_chars),
        ..configured
    }
}

/// Holds counts and sizes against the limits; nothing is decoded.
///
/// # Errors
/// The first limit that is exceeded.
pub(crate) fn check(ask: &Ask, limits: &Limits) -> Result<(), Refusal> {
    // The length in bytes bounds the characters, so most questions are not walked.
    if ask.question.len() > limits.question_chars as usize {
        let chars = ask.question.chars().count();
        within(chars, limits.question_chars, ErrorCode::QuestionTooLong, |limit| {
            format!("the question has {chars} characters; at most {limit} are accepted: shorten it")
        })?;
    }
    if ask.question.trim().is_empty() && ask.audio.is_none() {
        let message = "there is no question: type one or record one".to_owned();
        return Err(Refusal { code: ErrorCode::EmptyQuestion, message });
    }
    within(ask.images.len(), limits.images, ErrorCode::TooManyImages, |limit| {
        format!("{} images were sent; at most {limit} are accepted: send fewer frames", ask.images.len())
    })?;
    for image in &ask.images {
        let bytes = image.bytes.len();
        within(bytes, limits.image_bytes, ErrorCode::TooLarge, |limit| {
            format!("the image has {bytes} bytes; at most {limit} are accepted: scale it down")
        })?;
    }
    if let Some(audio) = &ask.audio {
        if limits.audio_s <= 0.0 {
            let message = "the model of this server cannot hear: leave the recording out and type".to_owned();
            return Err(Refusal { code: ErrorCode::Unsupported, message });
        }
        let bytes = audio.bytes.len();
        within(bytes, limits.audio_bytes, ErrorCode::TooLarge, |limit| {
            format!("the recording has {bytes} bytes; at most {limit} are accepted: record less")
        })?;
    }
    Ok(())
}

fn within(
    value: usize,
    limit: u32,
    code: ErrorCode,
    message: impl FnOnce(u32) -> String,
) -> Result<(), Refusal> {
    if value > limit as usize { Err(Refusal { code, message: message(limit) }) } else { Ok(()) }
}

/// Decodes a checked question's media.
///
/// # Errors
/// The first file that cannot be used.
pub(crate) fn decode(ask: &Ask, limits: &Limits) -> Result<Prompt, Refusal> {
    let image_budget = ImageBudget {
        max_bytes: limits.image_bytes.into(),
        max_side: RgbImage::MAX_SIDE,
        max_pixels: limits.image_pixels.into(),
    };
    let mut images = Vec::with_capacity(ask.images.len());
    for image in &ask.images {
        images.push(decode_image(&image.bytes, &image_budget)?);
    }
    let audio = match &ask.audio {
        None => None,
        Some(audio) => Some(decode_audio(&audio.bytes, limits)?),
    };
    Ok(Prompt { question: ask.question.clone(), images, audio, ..Prompt::default() })
}

fn decode_audio(bytes: &[u8], limits: &Limits) -> Result<Pcm, MediaError> {
    let limit_s = f64::from(limits.audio_s);
    let budget =
        AudioBudget { max_bytes: limits.audio_bytes.into(), max_seconds: limit_s + AUDIO_TOLERANCE_S };
    let recording = read_wav(bytes, &budget).map_err(|error| match error {
        // The tolerance is ours alone; people are told the limit.
        MediaError::AudioTooLong { seconds, .. } => {
            MediaError::AudioTooLong { seconds, max_seconds: (limit_s * 10.0).round() / 10.0 }
        }
        other => other,
    })?;
    recording.require_audible()?;
    Ok(recording)
}

impl From<MediaError> for Refusal {
    fn from(error: MediaError) -> Self {
        let code = match &error {
            MediaError::FileTooLarge { .. } => ErrorCode::TooLarge,
            MediaError::ImageTooLarge { .. } => ErrorCode::TooManyPixels,
            MediaError::TruncatedImage | MediaError::TruncatedWav => ErrorCode::Truncated,
            MediaError::AudioTooLong { .. } => ErrorCode::AudioTooLong,
            MediaError::SilentAudio { .. } | MediaError::EmptyAudio => ErrorCode::AudioSilent,
            MediaError::NotWav
            | MediaError::UnsupportedWav { .. }
            | MediaError::UnsupportedSampleRate { .. }
            | MediaError::ChannelLayout { .. }
            | MediaError::NonFiniteSample { .. } => ErrorCode::NotAudio,
            _ => ErrorCode::NotAnImage,
        };
        Refusal { code, message: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use msao_protocol::{Media, MediaKind, ModelInfo};

    use super::*;

    fn ask(question: &str) -> Ask {
        Ask { request_id: 1, question: question.into(), images: vec![], audio: None, max_new_tokens: 8 }
    }

    fn media(kind: MediaKind, bytes: Vec<u8>) -> Media {
        Media { kind, bytes }
    }

    fn engine(audio_window_s: Option<f64>) -> EngineInfo {
        let model = ModelInfo { name: "test".into(), parameters: 1, device: "cpu".into() };
        EngineInfo { model, audio_window_s, max_new_tokens: 128, question_chars: 2_000 }
    }

    #[test]
    fn a_limit_counts_characters_not_bytes() {
        let limits = Limits { question_chars: 4, ..Limits::default() };
        assert_eq!(check(&ask("äöüß"), &limits), Ok(()));
        let refused = check(&ask("äöüßa"), &limits).unwrap_err();
        assert_eq!(refused.code, ErrorCode::QuestionTooLong);
        assert_eq!(refused.message, "the question has 5 characters; at most 4 are accepted: shorten it");
    }

    #[test]
    fn counts_and_sizes_are_checked() {
        let limits = Limits { images: 1, image_bytes: 10, audio_bytes: 10, ..Limits::default() };
        let with_images = |sizes: &[usize]| Ask {
            images: sizes.iter().map(|&size| media(MediaKind::Png, vec![0; size])).collect(),
            ..ask("what?")
        };
        let with_audio = |size: usize| Ask { audio: Some(media(MediaKind::Wav, vec![0; size])), ..ask("") };
        let code = |ask: &Ask| check(ask, &limits).map_err(|refusal| refusal.code);
        assert_eq!(code(&ask(" \n")), Err(ErrorCode::EmptyQuestion));
        assert_eq!(code(&with_images(&[10])), Ok(()));
        assert_eq!(code(&with_images(&[11])), Err(ErrorCode::TooLarge));
        assert_eq!(code(&with_images(&[1, 1])), Err(ErrorCode::TooManyImages));
        assert_eq!(code(&with_audio(10)), Ok(()));
        assert_eq!(code(&with_audio(11)), Err(ErrorCode::TooLarge));
        let deaf = effective_limits(limits, &engine(None));
        assert_eq!(check(&with_audio(1), &deaf).unwrap_err().code, ErrorCode::Unsupported);
    }

    #[test]
    fn the_window_of_the_model_bounds_recordings() {
        let limits = effective_limits(Limits::default(), &engine(Some(4.8)));
        assert!((limits.audio_s - 4.8).abs() < 1e-6);
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
            let ask = Ask { images: vec![media(MediaKind::Png, png(width, height))], ..ask("what?") };
            assert_eq!(decode(&ask, &limits).unwrap_err().code, ErrorCode::TooManyPixels, "{width}x{height}");
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
