//! Counts, sizes, masks and what may be asked for; nothing is decoded here.

use msao_protocol::{Ask, Attach, AudioInput, Clip, ErrorCode, ImageInput, KeepMask, Limits, Modality};

use super::Refusal;
use super::drafting::{check_sampling, check_speculation};
use super::history::check_history;
use super::tiled::check_tiled;
use crate::engine::EngineInfo;

/// What is configured, lowered to what the engine can take.
///
/// A recording is cut by preprocessing to what the model hears at once, and nobody would be told; so a longer
/// one is refused instead.
pub(crate) fn effective_limits(configured: Limits, engine: &EngineInfo) -> Limits {
    Limits {
        images: if engine.sees { configured.images } else { 0 },
        clip_frames: engine.model.clips.map_or(0, |clips| configured.clip_frames.min(clips.max_frames)),
        audio_s: engine.audio_window_s.map_or(0.0, |window_s| configured.audio_s.min(window_s as f32)),
        max_new_tokens: configured.max_new_tokens.min(engine.max_new_tokens),
        question_chars: configured.question_chars.min(engine.question_chars),
        ..configured
    }
}

/// Holds a question against the limits and what the engine can do.
///
/// # Errors
/// The first limit that is exceeded.
pub(crate) fn check_ask(ask: &Ask, limits: &Limits, engine: &EngineInfo) -> Result<(), Refusal> {
    check_question(&ask.question, limits)?;
    let is_spoken = ask.audio.is_some() || ask.pending.contains(&Modality::Audio);
    if ask.question.trim().is_empty() && !is_spoken {
        let message = "there is no question: type one or record one";
        return Err(Refusal::new(ErrorCode::EmptyQuestion, message));
    }
    check_media((&ask.images, ask.clip.as_ref()), ask.audio.as_ref(), limits, engine)?;
    if ask.continues.is_some() && !ask.history.is_empty() {
        let message = "a question continues a finished one and carries a history as well: send one of both";
        return Err(Refusal::new(ErrorCode::Unsupported, message));
    }
    check_history(&ask.history, limits, engine)?;
    check_pending(ask, limits)?;
    ask.sampling.as_ref().map_or(Ok(()), check_sampling)?;
    check_speculation(ask.speculation, engine)
}

/// Holds late media against what was announced, and against the limits of a question's own.
///
/// # Errors
/// The first rule or limit that is broken.
pub(crate) fn check_attach(
    attach: &Attach,
    announced: &[Modality],
    limits: &Limits,
    engine: &EngineInfo,
) -> Result<(), Refusal> {
    let given = [(Modality::Vision, !attach.images.is_empty()), (Modality::Audio, attach.audio.is_some())];
    for (modality, is_given) in given {
        let name = name_of(modality);
        match (announced.contains(&modality), is_given) {
            (true, false) => {
                let message =
                    format!("{name} was announced as pending and is missing: send all that was announced");
                return Err(Refusal::new(ErrorCode::OutOfOrder, message));
            }
            (false, true) => {
                let message =
                    format!("{name} was attached but not announced: name it in the question's pending");
                return Err(Refusal::new(ErrorCode::OutOfOrder, message));
            }
            _ => {}
        }
    }
    if announced.is_empty() {
        let message = "nothing was announced as pending: send media with the question, or announce them";
        return Err(Refusal::new(ErrorCode::OutOfOrder, message));
    }
    check_media((&attach.images, attach.clip.as_ref()), attach.audio.as_ref(), limits, engine)
}

pub(super) fn check_media(
    (images, clip): (&[ImageInput], Option<&Clip>),
    audio: Option<&AudioInput>,
    limits: &Limits,
    engine: &EngineInfo,
) -> Result<(), Refusal> {
    let count = images.len();
    if count > 0 && !engine.sees {
        let message = "this model cannot see: leave the pictures out";
        return Err(Refusal::new(ErrorCode::Unsupported, message));
    }
    match clip {
        Some(_) if images.iter().any(|image| matches!(image, ImageInput::Tiles(_))) => {
            let message = "frames of a video came in tiles, of which this model makes none: send them whole";
            return Err(Refusal::new(ErrorCode::KeptMismatch, message));
        }
        Some(clip) => check_clip(clip, count, limits, engine)?,
        None => within(count, limits.images, ErrorCode::TooManyImages, |limit| {
            format!("{count} images were sent; at most {limit} are accepted: send fewer frames")
        })?,
    }
    for image in images {
        for file in image.files() {
            let bytes = file.bytes.len();
            within(bytes, limits.image_bytes, ErrorCode::TooLarge, |limit| {
                format!("the image has {bytes} bytes; at most {limit} are accepted: scale it down")
            })?;
        }
        match image {
            ImageInput::Whole(_) => {}
            ImageInput::Kept(kept) => check_mask(&kept.mask, engine.model.image.tokens(), "picture")?,
            ImageInput::Tiles(tiled) => check_tiled(tiled, &engine.model)?,
        }
    }
    let Some(audio) = audio else { return Ok(()) };
    let Some(grid) = engine.model.audio.filter(|_| limits.audio_s > 0.0) else {
        return Err(deaf());
    };
    let bytes = audio.media().bytes.len();
    within(bytes, limits.audio_bytes, ErrorCode::TooLarge, |limit| {
        format!("the recording has {bytes} bytes; at most {limit} are accepted: record less")
    })?;
    match audio {
        AudioInput::Whole(_) => Ok(()),
        AudioInput::Kept(kept) => check_mask(&kept.mask, grid.tokens, "recording"),
    }
}

fn check_clip(clip: &Clip, frames: usize, limits: &Limits, engine: &EngineInfo) -> Result<(), Refusal> {
    if engine.model.clips.is_none() {
        let message = "this model reads no times of frames: leave the times out, and the frames are pictures";
        return Err(Refusal::new(ErrorCode::Unsupported, message));
    }
    within(frames, limits.clip_frames, ErrorCode::TooManyImages, |limit| {
        format!("{frames} frames of a video were sent; at most {limit} are accepted: choose fewer of them")
    })?;
    clip.check(frames).map_err(|error| Refusal::new(ErrorCode::ClipMismatch, error.to_string()))
}

pub(super) fn check_question(question: &str, limits: &Limits) -> Result<(), Refusal> {
    // The length in bytes bounds the characters, so most questions are not walked.
    if question.len() <= limits.question_chars as usize {
        return Ok(());
    }
    let chars = question.chars().count();
    within(chars, limits.question_chars, ErrorCode::QuestionTooLong, |limit| {
        format!("the question has {chars} characters; at most {limit} are accepted: shorten it")
    })
}

pub(super) fn check_mask(mask: &KeepMask, tokens: u32, what: &str) -> Result<(), Refusal> {
    let parts = mask.parts();
    if parts != tokens {
        let message = format!(
            "the mask of a {what} has {parts} parts; this model divides a {what} into {tokens}: cut it along the grid told in Welcome"
        );
        return Err(Refusal::new(ErrorCode::KeptMismatch, message));
    }
    if mask.kept() == 0 {
        let message =
            format!("0 of {parts} parts of a {what} are kept; at least 1 is needed: leave the {what} out");
        return Err(Refusal::new(ErrorCode::KeptMismatch, message));
    }
    Ok(())
}

fn check_pending(ask: &Ask, limits: &Limits) -> Result<(), Refusal> {
    for (index, &modality) in ask.pending.iter().enumerate() {
        let name = name_of(modality);
        let given = match modality {
            Modality::Text => {
                let message = "text is announced as pending: only pictures and recordings can follow later";
                return Err(Refusal::new(ErrorCode::Unsupported, message));
            }
            Modality::Vision => !ask.images.is_empty(),
            Modality::Audio if limits.audio_s <= 0.0 => return Err(deaf()),
            Modality::Audio => ask.audio.is_some(),
        };
        if ask.pending[..index].contains(&modality) {
            let message = format!("{name} is announced as pending twice: announce it once");
            return Err(Refusal::new(ErrorCode::Unsupported, message));
        }
        if given {
            let message =
                format!("{name} is announced as pending and sent as well: send all of it at one time");
            return Err(Refusal::new(ErrorCode::Unsupported, message));
        }
    }
    Ok(())
}

/// What people call a modality's media.
pub(crate) fn name_of(modality: Modality) -> &'static str {
    match modality {
        Modality::Text => "text",
        Modality::Vision => "a picture",
        Modality::Audio => "a recording",
    }
}

fn deaf() -> Refusal {
    let message = "the model of this server cannot hear: leave the recording out and type";
    Refusal::new(ErrorCode::Unsupported, message)
}

pub(super) fn within(
    value: usize,
    limit: u32,
    code: ErrorCode,
    message: impl FnOnce(u32) -> String,
) -> Result<(), Refusal> {
    if value > limit as usize { Err(Refusal { code, message: message(limit) }) } else { Ok(()) }
}

#[cfg(test)]
pub(super) mod tests {
    use msao_protocol::{
        AudioGrid, ClipSampling, ImageGrid, KeptAudio, KeptImage, Media, MediaKind, ModelInfo, PictureSize,
        TiledImage, Vocabulary,
    };

    use super::*;

    pub(in crate::intake) fn ask(question: &str) -> Ask {
        Ask::new(1, question, 8)
    }

    fn media(kind: MediaKind, size: usize) -> Media {
        Media { kind, bytes: vec![0; size] }
    }

    pub(in crate::intake) fn engine() -> EngineInfo {
        let model = ModelInfo {
            name: "test".into(),
            parameters: 1,
            device: "cpu".into(),
            image: ImageGrid { side_px: 64, tokens_per_side: 2 },
            audio: Some(AudioGrid { sample_rate_hz: 16_000, window_samples: 7_680, tokens: 10 }),
            co_located_draft: false,
            vocabulary: Vocabulary::default(),
            pictures: PictureSize::default(),
            clips: None,
        };
        EngineInfo {
            model,
            sees: true,
            audio_window_s: Some(4.8),
            max_new_tokens: 128,
            question_chars: 2_000,
            vocab_size: 100,
        }
    }

    fn refused(ask: &Ask, limits: &Limits) -> Option<ErrorCode> {
        check_ask(ask, limits, &engine()).err().map(|refusal| refusal.code)
    }

    #[test]
    fn a_limit_counts_characters_not_bytes() {
        let limits = Limits { question_chars: 4, ..Limits::default() };
        assert_eq!(refused(&ask("äöüß"), &limits), None);
        let refused = check_ask(&ask("äöüßa"), &limits, &engine()).unwrap_err();
        assert_eq!(refused.code, ErrorCode::QuestionTooLong);
        assert_eq!(refused.message, "the question has 5 characters; at most 4 are accepted: shorten it");
    }

    #[test]
    fn counts_and_sizes_are_checked() {
        let limits = Limits { images: 1, image_bytes: 10, audio_bytes: 10, ..Limits::default() };
        let whole = |&size: &usize| ImageInput::Whole(media(MediaKind::Png, size));
        let with_images = |sizes: &[usize]| Ask { images: sizes.iter().map(whole).collect(), ..ask("what?") };
        let with_audio =
            |size: usize| Ask { audio: Some(AudioInput::Whole(media(MediaKind::Wav, size))), ..ask("") };
        assert_eq!(refused(&ask(" \n"), &limits), Some(ErrorCode::EmptyQuestion));
        assert_eq!(refused(&with_images(&[10]), &limits), None);
        assert_eq!(refused(&with_images(&[11]), &limits), Some(ErrorCode::TooLarge));
        assert_eq!(refused(&with_images(&[1, 1]), &limits), Some(ErrorCode::TooManyImages));
        assert_eq!(refused(&with_audio(10), &limits), None);
        assert_eq!(refused(&with_audio(11), &limits), Some(ErrorCode::TooLarge));
        let deaf = effective_limits(limits, &EngineInfo { audio_window_s: None, ..engine() });
        assert_eq!(refused(&with_audio(1), &deaf), Some(ErrorCode::Unsupported));
    }

    #[test]
    fn frames_of_a_video_are_bounded_by_the_model_and_have_a_time_each() {
        let clips = Some(ClipSampling { fps: 1.0, max_frames: 12, longest_edge_px: 64 });
        let sees_clips = EngineInfo { model: ModelInfo { clips, ..engine().model }, ..engine() };
        let image = ImageInput::Whole(media(MediaKind::Jpeg, 9));
        let film = |frames: usize, times: u32| Ask {
            images: vec![image.clone(); frames],
            clip: Some(Clip { duration_ms: 20_000, times_ms: (0..times).map(|n| n * 1_000).collect() }),
            ..ask("what happens?")
        };
        let code = |ask: &Ask, engine: &EngineInfo| {
            let limits = effective_limits(Limits::default(), engine);
            check_ask(ask, &limits, engine).err().map(|refusal| refusal.code)
        };
        assert_eq!(code(&film(12, 12), &sees_clips), None, "more than pictures may be");
        assert_eq!(code(&film(13, 13), &sees_clips), Some(ErrorCode::TooManyImages));
        assert_eq!(code(&film(3, 2), &sees_clips), Some(ErrorCode::ClipMismatch));
        assert_eq!(code(&film(0, 0), &sees_clips), Some(ErrorCode::ClipMismatch), "times of nothing");
        assert_eq!(code(&film(2, 2), &engine()), Some(ErrorCode::Unsupported));
        let tiled = TiledImage {
            rows: 1,
            columns: 2,
            mask: KeepMask::new(&[true, false]),
            picture: media(MediaKind::Png, 9),
            whole: media(MediaKind::Png, 9),
        };
        let in_tiles = Ask { images: vec![ImageInput::Tiles(tiled)], ..film(1, 1) };
        assert_eq!(code(&in_tiles, &sees_clips), Some(ErrorCode::KeptMismatch));
        let pictures = Ask { clip: None, ..film(12, 12) };
        assert_eq!(
            code(&pictures, &sees_clips),
            Some(ErrorCode::TooManyImages),
            "pictures have a limit of their own"
        );
    }

    #[test]
    fn masks_must_fit_the_grid_and_keep_something() {
        let kept = |mask: &[bool]| Ask {
            images: vec![ImageInput::Kept(KeptImage {
                mask: KeepMask::new(mask),
                tiles: media(MediaKind::Png, 1),
            })],
            ..ask("what?")
        };
        let heard = |parts: usize| Ask {
            audio: Some(AudioInput::Kept(KeptAudio {
                mask: KeepMask::new(&vec![true; parts]),
                windows: media(MediaKind::Wav, 1),
            })),
            ..ask("what?")
        };
        let limits = Limits::default();
        assert_eq!(refused(&kept(&[false, true, false, false]), &limits), None);
        for mask in [&[true; 3][..], &[true; 5], &[], &[false; 4]] {
            assert_eq!(refused(&kept(mask), &limits), Some(ErrorCode::KeptMismatch), "{mask:?}");
        }
        assert_eq!(refused(&heard(10), &limits), None);
        assert_eq!(refused(&heard(11), &limits), Some(ErrorCode::KeptMismatch));
    }

    #[test]
    fn what_is_announced_follows_once_and_whole() {
        use Modality::{Audio, Text, Vision};
        let limits = Limits::default();
        let pending = |pending: &[Modality]| Ask { pending: pending.to_vec(), ..ask("what?") };
        assert_eq!(refused(&pending(&[Audio, Vision]), &limits), None);
        for wrong in [&[Text][..], &[Vision, Vision]] {
            assert_eq!(refused(&pending(wrong), &limits), Some(ErrorCode::Unsupported), "{wrong:?}");
        }
        let image = ImageInput::Whole(media(MediaKind::Png, 1));
        let both = Ask { images: vec![image.clone()], ..pending(&[Vision]) };
        assert_eq!(refused(&both, &limits), Some(ErrorCode::Unsupported));
        // A spoken question may follow.
        assert_eq!(refused(&Ask { question: String::new(), ..pending(&[Audio]) }, &limits), None);

        let attach = Attach { request_id: 1, images: vec![image], clip: None, audio: None };
        let code = |announced: &[Modality]| {
            check_attach(&attach, announced, &limits, &engine()).err().map(|refusal| refusal.code)
        };
        assert_eq!(code(&[Vision]), None);
        for announced in [&[][..], &[Audio], &[Vision, Audio]] {
            assert_eq!(code(announced), Some(ErrorCode::OutOfOrder), "{announced:?}");
        }
    }
}
