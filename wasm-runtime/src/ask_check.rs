//! Holds a question to the server's budgets before it is sent, so that a refusal costs no upload.
//!
//! The server checks the same limits again, and the media's content too; nothing here is trusted by it.

use msao_protocol::{
    Ask, Attach, AudioInput, Clip, ErrorCode, ErrorReport, ImageInput, KeepMask, Limits, MediaKind, Modality,
    Speculation,
};

/// Bytes of a message beside its media: header, question and field lengths.
const MESSAGE_OVERHEAD_BYTES: u64 = 1024;
/// Draft tokens a round that a server may be asked for.
const DRAFT_TOKENS: std::ops::RangeInclusive<u8> = 1..=32;

/// Checks what can be told without decoding. A question with its attached media, as a resend carries it, is checked
/// the same way.
///
/// # Errors
/// The report that the server would send.
pub fn check_ask(ask: &Ask, limits: &Limits) -> Result<(), ErrorReport> {
    check_question(ask, limits)
        .and_then(|()| check_images((&ask.images, ask.clip.as_ref()), limits))
        .and_then(|()| ask.audio.as_ref().map_or(Ok(()), |audio| check_audio(audio, limits)))
        .and_then(|()| check_pending(ask))
        .and_then(|()| check_bytes(ask, limits))
        .map_err(|refusal| refusal.report(ask))
}

/// The question with the media that it announced, as a resend carries it.
///
/// # Errors
/// The report that the server would send for the media, or for the question with them.
pub fn with_media(ask: &Ask, attach: Attach, limits: &Limits) -> Result<Ask, ErrorReport> {
    let Attach { images, clip, audio, .. } = attach;
    let given = [(Modality::Vision, !images.is_empty()), (Modality::Audio, audio.is_some())];
    for (modality, is_given) in given {
        if ask.pending.contains(&modality) != is_given {
            let message = format!("{modality:?} must be attached if and only if it was announced as pending");
            return Err(Refusal { code: ErrorCode::OutOfOrder, message }.report(ask));
        }
    }
    let mut whole = Ask { pending: Vec::new(), ..ask.clone() };
    whole.images.extend(images);
    whole.clip = clip.or(whole.clip);
    whole.audio = audio.or(whole.audio);
    check_ask(&whole, limits)?;
    Ok(whole)
}

struct Refusal {
    code: ErrorCode,
    message: String,
}

impl Refusal {
    fn report(self, ask: &Ask) -> ErrorReport {
        let Self { code, message } = self;
        ErrorReport { request_id: Some(ask.request_id), code, message, retry_after_ms: None }
    }
}

fn refuse(code: ErrorCode, message: impl Into<String>) -> Result<(), Refusal> {
    Err(Refusal { code, message: message.into() })
}

fn check_question(ask: &Ask, limits: &Limits) -> Result<(), Refusal> {
    let is_spoken = ask.audio.is_some() || ask.pending.contains(&Modality::Audio);
    if ask.question.trim().is_empty() && !is_spoken {
        return refuse(ErrorCode::EmptyQuestion, "type a question or record one");
    }
    let (chars, limit) = (ask.question.chars().count(), limits.question_chars);
    if chars > limit as usize {
        let message = format!("the question has {chars} characters, the limit is {limit}; shorten it");
        return refuse(ErrorCode::QuestionTooLong, message);
    }
    match ask.speculation {
        Speculation::CoLocated { draft_tokens } if !DRAFT_TOKENS.contains(&draft_tokens) => {
            let (least, most) = (DRAFT_TOKENS.start(), DRAFT_TOKENS.end());
            let message = format!("{draft_tokens} draft tokens a round; ask for {least} to {most}");
            refuse(ErrorCode::Unsupported, message)
        }
        _ => Ok(()),
    }
}

fn check_images((images, clip): (&[ImageInput], Option<&Clip>), limits: &Limits) -> Result<(), Refusal> {
    let count = images.len();
    let limit = if clip.is_some() { limits.clip_frames } else { limits.images };
    if count > limit as usize {
        let message = format!("{count} pictures were given, the limit is {limit}; send fewer");
        return refuse(ErrorCode::TooManyImages, message);
    }
    if let Some(clip) = clip {
        clip.check(count).or_else(|error| refuse(ErrorCode::ClipMismatch, error.to_string()))?;
    }
    for image in images {
        for file in image.files() {
            if file.kind == MediaKind::Wav {
                return refuse(ErrorCode::NotAnImage, "a recording was given as a picture");
            }
            if file.bytes.len() > limits.image_bytes as usize {
                return too_large("the picture", file.bytes.len(), limits.image_bytes);
            }
        }
        match image {
            ImageInput::Whole(_) => {}
            ImageInput::Kept(kept) => check_mask(&kept.mask, "picture")?,
            ImageInput::Tiles(tiled) => check_mask(&tiled.mask, "picture")?,
        }
    }
    Ok(())
}

fn check_audio(audio: &AudioInput, limits: &Limits) -> Result<(), Refusal> {
    let media = audio.media();
    if media.kind != MediaKind::Wav {
        return refuse(ErrorCode::NotAudio, "a picture was given as a recording");
    }
    if media.bytes.len() > limits.audio_bytes as usize {
        return too_large("the recording", media.bytes.len(), limits.audio_bytes);
    }
    match audio {
        AudioInput::Kept(kept) => check_mask(&kept.mask, "recording"),
        AudioInput::Whole(_) => Ok(()),
    }
}

fn check_mask(mask: &KeepMask, what: &str) -> Result<(), Refusal> {
    if mask.kept() == 0 {
        return refuse(
            ErrorCode::KeptMismatch,
            format!("nothing of the {what} is kept; leave the {what} out instead"),
        );
    }
    Ok(())
}

/// What is announced is announced once, and cannot be there already.
fn check_pending(ask: &Ask) -> Result<(), Refusal> {
    for (index, modality) in ask.pending.iter().enumerate() {
        let is_here = match modality {
            Modality::Text => true,
            Modality::Vision => !ask.images.is_empty(),
            Modality::Audio => ask.audio.is_some(),
        };
        if is_here || ask.pending[..index].contains(modality) {
            let message = format!(
                "{modality:?} cannot be announced as pending; announce pictures or sound once, and send them later"
            );
            return refuse(ErrorCode::Unsupported, message);
        }
    }
    Ok(())
}

fn check_bytes(ask: &Ask, limits: &Limits) -> Result<(), Refusal> {
    let media = ask.bytes(Modality::Vision) + ask.bytes(Modality::Audio);
    if media + ask.bytes(Modality::Text) + MESSAGE_OVERHEAD_BYTES > u64::from(limits.message_bytes) {
        return too_large("question and media", media as usize, limits.message_bytes);
    }
    Ok(())
}

fn too_large(what: &str, bytes: usize, limit: u32) -> Result<(), Refusal> {
    let message = format!("{what}: {bytes} bytes, the limit is {limit}; make it smaller or shorter");
    refuse(ErrorCode::TooLarge, message)
}

#[cfg(test)]
mod tests {
    use msao_protocol::{KeptAudio, KeptImage, Media};

    use super::*;

    fn media(kind: MediaKind, bytes: usize) -> Media {
        Media { kind, bytes: vec![0; bytes] }
    }

    fn picture(bytes: usize) -> ImageInput {
        ImageInput::Whole(media(MediaKind::Jpeg, bytes))
    }

    fn squares(kept: &[bool]) -> ImageInput {
        ImageInput::Kept(KeptImage { mask: KeepMask::new(kept), tiles: media(MediaKind::Png, 100) })
    }

    fn windows(kind: MediaKind, kept: &[bool]) -> AudioInput {
        AudioInput::Kept(KeptAudio { mask: KeepMask::new(kept), windows: media(kind, 100) })
    }

    fn ask() -> Ask {
        let audio = Some(AudioInput::Whole(media(MediaKind::Wav, 100)));
        Ask { images: vec![picture(100)], audio, ..Ask::new(1, "what is it?", 8) }
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
        assert_eq!(refusal(|ask| ask.images = vec![picture(1); 9]), Some(ErrorCode::TooManyImages));
        assert_eq!(refusal(|ask| ask.images = vec![picture(3_001)]), Some(ErrorCode::TooLarge));
        let wav = || ImageInput::Whole(media(MediaKind::Wav, 1));
        assert_eq!(refusal(|ask| ask.images = vec![wav()]), Some(ErrorCode::NotAnImage));
        let png = || AudioInput::Whole(media(MediaKind::Png, 1));
        assert_eq!(refusal(|ask| ask.audio = Some(png())), Some(ErrorCode::NotAudio));
        assert_eq!(refusal(|ask| ask.images = vec![picture(2_000); 2]), Some(ErrorCode::TooLarge));
    }

    #[test]
    fn frames_of_a_video_have_a_limit_of_their_own_and_a_time_each() {
        let film = |frames: usize, times: u32| {
            refusal(move |ask| {
                ask.images = vec![picture(1); frames];
                ask.clip = Some(Clip { duration_ms: 90_000, times_ms: (0..times).collect() });
            })
        };
        assert_eq!(film(64, 64), None);
        assert_eq!(film(65, 65), Some(ErrorCode::TooManyImages));
        assert_eq!(film(3, 2), Some(ErrorCode::ClipMismatch));
    }

    #[test]
    fn kept_parts_must_keep_something() {
        assert_eq!(refusal(|ask| ask.images = vec![squares(&[false, true])]), None);
        assert_eq!(refusal(|ask| ask.images = vec![squares(&[false; 4])]), Some(ErrorCode::KeptMismatch));
        assert_eq!(refusal(|ask| ask.audio = Some(windows(MediaKind::Wav, &[true]))), None);
        let nothing = |ask: &mut Ask| ask.audio = Some(windows(MediaKind::Wav, &[]));
        assert_eq!(refusal(nothing), Some(ErrorCode::KeptMismatch));
        let picture = |ask: &mut Ask| ask.audio = Some(windows(MediaKind::Png, &[true]));
        assert_eq!(refusal(picture), Some(ErrorCode::NotAudio));
    }

    #[test]
    fn what_is_announced_comes_later() {
        let announce = |ask: &mut Ask| {
            (ask.question, ask.images, ask.audio) = (String::new(), vec![], None);
            ask.pending = vec![Modality::Vision, Modality::Audio];
        };
        assert_eq!(refusal(announce), None, "a spoken question may be on its way");
        assert_eq!(refusal(|ask| ask.pending = vec![Modality::Vision]), Some(ErrorCode::Unsupported));
        assert_eq!(refusal(|ask| ask.pending = vec![Modality::Audio]), Some(ErrorCode::Unsupported));
        assert_eq!(refusal(|ask| ask.pending = vec![Modality::Text]), Some(ErrorCode::Unsupported));
        let twice = |ask: &mut Ask| (ask.images, ask.pending) = (vec![], vec![Modality::Vision; 2]);
        assert_eq!(refusal(twice), Some(ErrorCode::Unsupported));
    }

    #[test]
    fn all_that_was_announced_is_attached_and_nothing_else() {
        let waiting = Ask { audio: None, pending: vec![Modality::Audio], ..ask() };
        let attach = Attach { request_id: 1, images: vec![], clip: None, audio: ask().audio };
        let limits = Limits::default();
        assert_eq!(with_media(&waiting, attach.clone(), &limits), Ok(ask()));
        let without = Attach { audio: None, ..attach.clone() };
        let other = Attach { images: vec![picture(1)], ..attach };
        for attach in [without, other] {
            assert_eq!(with_media(&waiting, attach, &limits).unwrap_err().code, ErrorCode::OutOfOrder);
        }
    }

    #[test]
    fn drafts_a_round_are_bounded() {
        let drafts =
            |draft_tokens| refusal(move |ask| ask.speculation = Speculation::CoLocated { draft_tokens });
        assert_eq!([1, 32].map(drafts), [None; 2]);
        assert_eq!([0, 33].map(drafts), [Some(ErrorCode::Unsupported); 2]);
    }
}
