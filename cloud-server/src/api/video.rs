//! A video of a request: its frames as pictures, in the form that vLLM takes frames in.
//!
//! `data:video/jpeg;base64,F1,F2,…` are frames, each a JPEG, PNG or WebP file in base64 of its own, and `fps` says how many a
//! second there are. Containers and codecs are not read here: whoever has the file has a decoder for it too, and what
//! a model looks at are a few frames.

use msao_protocol::{Clip, ClipSampling, ErrorCode, ImageInput, Limits, Media};

use super::error::ApiError;
use super::fetch::kind_of;
use super::media::decode;
use super::request::VideoUrl;
use crate::engine::EngineInfo;
use crate::intake::Refusal;

/// Most frames of a request, of which a model looks at fewer.
const MAX_FRAMES: usize = 1_024;
/// Frames a second where nothing is said.
const DEFAULT_FPS: f64 = 1.0;
const FASTEST_FPS: f64 = 1_000.0;
/// Longest video in seconds: a day.
const LONGEST_S: f64 = 86_400.0;

/// A video's frames, all that came.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Video {
    pub(super) frames: Vec<Media>,
    pub(super) clip: Clip,
}

/// Reads a video; `param` names it in errors.
///
/// # Errors
/// For addresses of other kinds, more frames than make sense, frames over the budget, and a rate that is none.
pub(super) fn video(video: &VideoUrl, param: &str, limits: &Limits) -> Result<Video, ApiError> {
    let place = format!("{param}.url");
    let data = frames_of(&video.url, &place)?;
    let count = data.split(',').count();
    if count > MAX_FRAMES {
        let message = format!("the video has {count} frames; at most {MAX_FRAMES} are read: choose fewer");
        return Err(ApiError::from(Refusal::new(ErrorCode::TooManyImages, message)).about(&place));
    }
    let fps = video.fps.unwrap_or(DEFAULT_FPS);
    // Written so that what is no number fails.
    if !(fps > 0.0 && fps <= FASTEST_FPS && count as f64 / fps <= LONGEST_S) {
        let message = format!(
            "fps is {fps}; it must be above 0 and at most {FASTEST_FPS}, and {count} frames must last at most {LONGEST_S} s"
        );
        return Err(ApiError::invalid(format!("{param}.fps"), "invalid_value", message));
    }
    let frame = |data: &str| {
        let bytes = decode(data.trim(), limits.image_bytes, "a frame of the video", &place)?;
        Ok(Media { kind: kind_of(&bytes), bytes })
    };
    let frames = data.split(',').map(frame).collect::<Result<Vec<Media>, ApiError>>()?;
    let at_ms = |frame: usize| (frame as f64 * 1e3 / fps) as u32;
    let clip = Clip { duration_ms: at_ms(count), times_ms: (0..count).map(at_ms).collect() };
    Ok(Video { frames, clip })
}

/// What stands behind the head of a `data:` address of frames.
fn frames_of<'a>(url: &'a str, param: &str) -> Result<&'a str, ApiError> {
    const REMEDY: &str = "send the frames to look at as data:video/jpeg;base64,F1,F2,… (each a JPEG or PNG in base64), and how many a second they are as fps";
    let refused = |what: String| ApiError::invalid(param, "unsupported_video", format!("{what}: {REMEDY}"));
    let (scheme, content) = url.split_once(':').unwrap_or_default();
    if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") {
        return Err(refused("videos are not fetched".to_owned()));
    }
    let parts = content.split_once(',').filter(|_| scheme.eq_ignore_ascii_case("data"));
    let Some((head, data)) = parts else {
        return Err(refused("this is no data: address of a video".to_owned()));
    };
    let head = head.to_ascii_lowercase();
    let kind = head.split(';').next().unwrap_or_default();
    if !head.ends_with(";base64") {
        return Err(refused("the video's data is not base64".to_owned()));
    }
    match kind {
        "video/jpeg" | "video/png" | "video/webp" => Ok(data),
        other => {
            let other: String = other.chars().take(40).collect();
            Err(refused(format!("this server decodes no `{other}`")))
        }
    }
}

impl Video {
    /// The frames that the engine's model looks at, with their times where it reads those; else they are pictures, spread over
    /// the video.
    pub(super) fn sampled(self, limits: &Limits, engine: &EngineInfo) -> (Vec<ImageInput>, Option<Clip>) {
        let Self { frames, clip } = self;
        // As many as there may be, however fast they followed each other.
        let spread = ClipSampling { fps: f32::MAX, max_frames: limits.images, longest_edge_px: 0 };
        let sampling = engine
            .model
            .clips
            .map_or(spread, |clips| ClipSampling { max_frames: limits.clip_frames, ..clips });
        let chosen = sampling.choose(&clip);
        let clip = engine.model.clips.map(|_| clip.only(chosen.iter().copied()));
        let mut next = chosen.into_iter().peekable();
        let is_chosen = |(index, frame)| next.next_if_eq(&index).map(|_| ImageInput::Whole(frame));
        (frames.into_iter().enumerate().filter_map(is_chosen).collect(), clip)
    }
}

#[cfg(test)]
mod tests {
    use actix_web::ResponseError as _;
    use msao_protocol::MediaKind;

    use super::*;

    fn read(url: &str, fps: Option<f64>) -> Result<Video, (u16, String)> {
        let limits = Limits { image_bytes: 6, ..Limits::default() };
        video(&VideoUrl { url: url.to_owned(), fps }, "v", &limits)
            .map_err(|error| (error.status_code().as_u16(), error.to_json()))
    }

    #[test]
    fn frames_are_read_with_their_times() {
        let film = read("data:video/jpeg;base64,/9j/,AQID, /9gA", Some(4.0)).unwrap();
        let kinds: Vec<MediaKind> = film.frames.iter().map(|frame| frame.kind).collect();
        assert_eq!(kinds, [MediaKind::Jpeg, MediaKind::Png, MediaKind::Jpeg]);
        assert_eq!(film.clip, Clip { duration_ms: 750, times_ms: vec![0, 250, 500] });
        let slow = read("data:video/png;base64,AQID,AQID", None).unwrap();
        assert_eq!(slow.clip, Clip { duration_ms: 2_000, times_ms: vec![0, 1_000] });
    }

    #[test]
    fn what_is_no_list_of_frames_is_refused_with_what_to_send() {
        for (url, fps, status, word) in [
            ("https://x/y.mp4", None, 400, "not fetched"),
            ("data:video/mp4;base64,AQID", None, 400, "decodes no `video/mp4`"),
            ("data:video/jpeg,AQID", None, 400, "not base64"),
            ("file:///x.mp4", None, 400, "no data: address"),
            ("", None, 400, "data:video/jpeg"),
            ("data:video/jpeg;base64,AQID,A*", None, 400, "damaged"),
            ("data:video/jpeg;base64,AQID,AQIDBAUGBwgJ", None, 413, "at most 6"),
            ("data:video/jpeg;base64,AQID", Some(0.0), 400, "fps"),
            ("data:video/jpeg;base64,AQID", Some(f64::NAN), 400, "fps"),
            ("data:video/jpeg;base64,AQID", Some(1e-9), 400, "fps"),
        ] {
            let (actual, message) = read(url, fps).unwrap_err();
            assert_eq!(actual, status, "{url}: {message}");
            assert!(message.contains(word), "{message}");
        }
        let many = format!("data:video/jpeg;base64,{}", "AQID,".repeat(MAX_FRAMES));
        assert!(read(&many, None).unwrap_err().1.contains("at most 1024"));
    }
}
