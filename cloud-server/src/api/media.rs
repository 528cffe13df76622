//! Pictures and recordings of a request: base64 in its body, each held against its budget before it is decoded.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use msao_protocol::{Limits, Media, MediaKind};

use super::error::ApiError;
use super::request::InputAudio;

/// With or without padding: both are around.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Where a picture is.
#[derive(Debug, PartialEq)]
pub(super) enum ImageSource {
    /// In the request.
    Inline(Media),
    /// On another server.
    Remote(String),
}

/// Reads the address of a picture; `param` names it in errors.
///
/// # Errors
/// For addresses of other kinds, and pictures over the budget or of other formats.
pub(super) fn image_source(url: &str, param: &str, limits: &Limits) -> Result<ImageSource, ApiError> {
    let scheme = url.split(':').next().unwrap_or_default().to_ascii_lowercase();
    match scheme.as_str() {
        "data" => inline_image(url, param, limits).map(ImageSource::Inline),
        "http" | "https" => Ok(ImageSource::Remote(url.to_owned())),
        _ => {
            let message = "a picture's address begins with data:, https: or http: send the picture as data:image/png;base64,…";
            Err(ApiError::invalid(param, "invalid_image_url", message))
        }
    }
}

fn inline_image(url: &str, param: &str, limits: &Limits) -> Result<Media, ApiError> {
    let invalid = |message: String| ApiError::invalid(param, "invalid_image_url", message);
    let content = &url["data:".len()..];
    let Some((head, data)) = content.split_once(',') else {
        return Err(invalid("the picture's data: address has no comma before its data".to_owned()));
    };
    let head = head.to_ascii_lowercase();
    let Some(kind) = head.strip_suffix(";base64") else {
        return Err(invalid("the picture's data is not base64: write data:image/png;base64,…".to_owned()));
    };
    let kind = match kind.split(';').next().unwrap_or_default() {
        "image/png" => MediaKind::Png,
        "image/jpeg" | "image/jpg" => MediaKind::Jpeg,
        "image/webp" => MediaKind::Webp,
        other => {
            let other: String = other.chars().take(40).collect();
            let message = format!("`{other}` is no kind of picture that is read: send PNG, JPEG or WebP");
            return Err(invalid(message));
        }
    };
    let bytes = decode(data, limits.image_bytes, "the picture", param)?;
    Ok(Media { kind, bytes })
}

/// Reads a recording; `param` names it in errors.
///
/// # Errors
/// For other formats than WAV, and recordings over the budget.
pub(super) fn recording(audio: &InputAudio, param: &str, limits: &Limits) -> Result<Media, ApiError> {
    if !audio.format.eq_ignore_ascii_case("wav") {
        let format: String = audio.format.chars().take(20).collect();
        let message = format!("recordings of format `{format}` are not read: send WAV");
        return Err(ApiError::unsupported(&format!("{param}.format"), message));
    }
    let bytes = decode(&audio.data, limits.audio_bytes, "the recording", param)?;
    Ok(Media { kind: MediaKind::Wav, bytes })
}

pub(super) fn decode(data: &str, limit: u32, what: &str, param: &str) -> Result<Vec<u8>, ApiError> {
    let most = data.len() / 4 * 3 + 3;
    // Three bytes of slack: how many there are is known only once they are decoded, and counted then.
    if most > limit as usize + 3 {
        let message =
            format!("{what} has about {most} bytes; at most {limit} are accepted: send a smaller one");
        return Err(ApiError::too_large(param, message));
    }
    BASE64.decode(data).map_err(|error| {
        let message = format!("the base64 of {what} is damaged: {error}");
        ApiError::invalid(param, "invalid_base64", message)
    })
}

#[cfg(test)]
mod tests {
    use actix_web::ResponseError as _;

    use super::*;

    fn read(url: &str) -> Result<ImageSource, (u16, String)> {
        let limits = Limits { image_bytes: 6, ..Limits::default() };
        image_source(url, "url", &limits).map_err(|error| (error.status_code().as_u16(), error.to_string()))
    }

    #[test]
    fn addresses_of_pictures_are_read_strictly() {
        let png = |bytes: &[u8]| ImageSource::Inline(Media { kind: MediaKind::Png, bytes: bytes.to_vec() });
        assert_eq!(read("data:image/png;base64,AQID"), Ok(png(&[1, 2, 3])));
        assert_eq!(read("DATA:image/PNG;charset=x;base64,AQ"), Ok(png(&[1])));
        assert_eq!(read("https://x/y.png"), Ok(ImageSource::Remote("https://x/y.png".into())));
        for (url, status, word) in [
            ("data:image/png;base64,AQIDBAUGBwgJ", 413, "at most 6"),
            ("data:image/png;base64,A*ID", 400, "base64"),
            ("data:image/png,AQID", 400, "base64"),
            ("data:image/svg+xml;base64,AQID", 400, "svg"),
            ("data:", 400, "comma"),
            ("file:///etc/passwd", 400, "data:"),
            ("", 400, "data:"),
        ] {
            let (actual, message) = read(url).unwrap_err();
            assert_eq!(actual, status, "{url}");
            assert!(message.contains(word), "{message}");
        }
    }

    #[test]
    fn recordings_are_wav() {
        let limits = Limits { audio_bytes: 3, ..Limits::default() };
        let read = |data: &str, format: &str| {
            let audio = InputAudio { data: data.into(), format: format.into() };
            recording(&audio, "audio", &limits).map_err(|error| error.status_code().as_u16())
        };
        assert_eq!(read("AQID", "WAV").unwrap().bytes, [1, 2, 3]);
        assert_eq!(read("AQID", "mp3"), Err(400));
        assert_eq!(read("AQIDBAUG", "wav"), Err(413));
    }
}
