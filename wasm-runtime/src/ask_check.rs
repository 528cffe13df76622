//! Holds a question to the server's budgets before it is sent, so that a refusal costs no upload.
//!
//! The server checks the same limits again, and the media's content too; nothing here is trusted by it.

use msao_protocol::{Ask, ErrorCode, ErrorReport, Limits, MediaKind};

/// Bytes of a message beside its media: header, question and field lengths.
const MESSAGE_OVERHEAD_BYTES: u64 = 1024;

/// Checks what can be told without decoding.
///
/// # Errors
/// The report that the server would send.
pub fn check_ask(ask: &Ask, limits: &Limits) -> Result<(), ErrorReport> {
    let refuse = |code, message| {
        Err(ErrorReport { request_id: Some(ask.request_id), code, message, retry_after_ms: None })
    };
    if ask.question.trim().is_empty() && ask.audio.is_none() {
        return refuse(ErrorCode::EmptyQuestion, "type a question or record one".to_owned());
    }
    let chars = ask.question.chars().count();
    if chars > limits.question_chars as usize {
        let message = format!(
            "the question has {chars} characters, the limit is {}; shorten it",
            limits.question_chars
        );
        return refuse(ErrorCode::QuestionTooLong, message);
    }
    if ask.images.len() > limits.images as usize {
        let message =
            format!("{} pictures were given, the limit is {}; send fewer", ask.images.len(), limits.images);
        return refuse(ErrorCode::TooManyImages, message);
    }
    for image in &ask.images {
        if image.kind == MediaKind::Wav {
            return refuse(ErrorCode::NotAnImage, "a recording was given as a picture".to_owned());
        }
        if image.bytes.len() > limits.image_bytes as usize {
            return refuse(
                ErrorCode::TooLarge,
                too_large("the picture", image.bytes.len(), limits.image_bytes),
            );
        }
    }
    if let Some(audio) = &ask.audio {
        if audio.kind != MediaKind::Wav {
            return refuse(ErrorCode::NotAudio, "a picture was given as a recording".to_owned());
        }
        if audio.bytes.len() > limits.audio_bytes as usize {
            return refuse(
                ErrorCode::TooLarge,
                too_large("the recording", audio.bytes.len(), limits.audio_bytes),
            );
        }
    }
    let media: usize = ask.images.iter().chain(&ask.audio).map(|media| media.bytes.len()).sum();
    let message_bytes = media as u64 + ask.question.len() as u64 + MESSAGE_OVERHEAD_BYTES;
    if message_bytes > u64::from(limits.message_bytes) {
        return refuse(ErrorCode::TooLarge, too_large("question and media", media, limits.message_bytes));
    }
    Ok(())
}

fn too_large(what: &str, bytes: usize, limit: u32) -> String {
    format!("{what}: {bytes} bytes, the limit is {limit}; make it smaller or shorter")
}

#[cfg(test)]
mod tests {
    use msao_protocol::Media;

    use super::*;

    fn ask() -> Ask {
        Ask {
            request_id: 1,
            question: "what is it?".into(),
            images: vec![Media { kind: MediaKind::Jpeg, bytes: vec![0; 100] }],
            audio: Some(Media { kind: MediaKind::Wav, bytes: vec![0; 100] }),
            max_new_tokens: 8,
        }
    }

    fn refusal(change: impl FnOnce(&mut Ask)) -> Option<ErrorCode> {
        let mut ask = ask();
        change(&mut ask);
        let limits =
            Limits { message_bytes: 1 << 12, image_bytes: 3_000, audio_bytes: 2_000, ..Limits::default() };
        check_ask(&ask, &limits).err().map(|report| report.code)
    }

    #[test]
    fn each_budget_has_its_code() {
        assert_eq!(refusal(|_| ()), None);
        assert_eq!(
            refusal(|ask| (ask.question, ask.audio) = ("  ".into(), None)),
            Some(ErrorCode::EmptyQuestion)
        );
        assert_eq!(refusal(|ask| ask.question.clear()), None, "a spoken question needs no text");
        assert_eq!(refusal(|ask| ask.question = "é".repeat(4_001)), Some(ErrorCode::QuestionTooLong));
        assert_eq!(
            refusal(|ask| ask.images = vec![ask.images[0].clone(); 9]),
            Some(ErrorCode::TooManyImages)
        );
        assert_eq!(refusal(|ask| ask.images[0].bytes = vec![0; 3_001]), Some(ErrorCode::TooLarge));
        assert_eq!(refusal(|ask| ask.images[0].kind = MediaKind::Wav), Some(ErrorCode::NotAnImage));
        let swapped = |ask: &mut Ask| ask.audio = Some(ask.images[0].clone());
        assert_eq!(refusal(swapped), Some(ErrorCode::NotAudio));
        assert_eq!(
            refusal(|ask| ask.images = vec![Media { kind: MediaKind::Png, bytes: vec![0; 2_000] }; 2]),
            Some(ErrorCode::TooLarge)
        );
    }
}
