//! The form of a transcription: its fields, each within its budget, and what they may say.

use std::convert::Infallible;

use actix_web::HttpRequest;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::Bytes;
use futures_util::stream;
use msao_models::speech::{Options, Task};
use multer::Multipart;

use super::error::ApiError;

/// Bytes of a field that is text.
const MAX_TEXT_BYTES: usize = 4 << 10;
/// Fields of a form.
const MAX_FIELDS: usize = 32;

/// How the transcript is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Format {
    #[default]
    Json,
    Text,
    VerboseJson,
    Srt,
    Vtt,
}

/// What was asked for.
#[derive(Debug, Default)]
pub(super) struct Form {
    pub(super) file: Bytes,
    pub(super) model: String,
    pub(super) format: Format,
    language: Option<String>,
    prompt: Option<String>,
    temperature: Option<f32>,
}

impl Form {
    /// Reads a body that is at hand.
    ///
    /// # Errors
    /// When it is no form, lacks a file or a model, or asks for what is not supported.
    pub(super) async fn read(http: &HttpRequest, body: Bytes) -> Result<Self, ApiError> {
        let kind = http.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let boundary = multer::parse_boundary(kind).map_err(|_other| {
            let message =
                "the body is not multipart/form-data: send the recording as the form's field `file`";
            ApiError::invalid("body", "invalid_form", message)
        })?;
        let mut parts = Multipart::new(stream::iter([Ok::<_, Infallible>(body)]), boundary);
        let (mut form, mut file) = (Self::default(), None);
        let damaged = |error: multer::Error| {
            ApiError::invalid("body", "invalid_form", format!("the form is damaged: {error}"))
        };
        let mut count = 0;
        while let Some(part) = parts.next_field().await.map_err(damaged)? {
            count += 1;
            if count > MAX_FIELDS {
                let message = format!("the form has more than {MAX_FIELDS} fields: send fewer");
                return Err(ApiError::too_large("body", message));
            }
            let name = part.name().unwrap_or_default().to_owned();
            let content = part.bytes().await.map_err(damaged)?;
            if name == "file" {
                file = Some(content);
                continue;
            }
            if content.len() > MAX_TEXT_BYTES {
                let name: String = name.chars().take(40).collect();
                let message = format!(
                    "the field `{name}` has {} bytes; at most {MAX_TEXT_BYTES} are read",
                    content.len()
                );
                return Err(ApiError::too_large(name, message));
            }
            let text = std::str::from_utf8(&content)
                .map_err(|_not| ApiError::invalid(&name, "invalid_value", "the field is not UTF-8"))?;
            form.set(&name, text.trim())?;
        }
        form.file = file.ok_or_else(|| missing("file", "the recording, as a WAV file"))?;
        if form.model.is_empty() {
            return Err(missing("model", "the model's name, as GET /v1/models tells it"));
        }
        Ok(form)
    }

    /// Fields that mean something in other places only are ignored, as in chat completions.
    fn set(&mut self, name: &str, text: &str) -> Result<(), ApiError> {
        match name {
            "model" => text.clone_into(&mut self.model),
            "language" => self.language = Some(text.to_owned()).filter(|text| !text.is_empty()),
            "prompt" => self.prompt = Some(text.to_owned()),
            "response_format" => self.format = format(text)?,
            "temperature" => {
                let value = text.parse().ok().filter(|value| (0.0..=1.0).contains(value));
                let message = "temperature must be a number from 0 to 1";
                self.temperature =
                    Some(value.ok_or_else(|| ApiError::invalid(name, "invalid_value", message))?);
            }
            "timestamp_granularities" | "timestamp_granularities[]" if text != "segment" => {
                let message = "times are known of segments only: ask for `segment`";
                return Err(ApiError::unsupported(name, message));
            }
            "stream" if text == "true" => {
                return Err(ApiError::unsupported(name, "a transcript comes as a whole: leave stream out"));
            }
            "include" | "include[]" => {
                let message = "nothing can be included: ask for verbose_json, which tells probabilities";
                return Err(ApiError::unsupported(name, message));
            }
            _ => {}
        }
        Ok(())
    }

    /// What the speech model is told.
    pub(super) fn options(&self, task: Task) -> Options {
        let (language, prompt) = (self.language.clone(), self.prompt.clone());
        let asked = Options { language, prompt, task, ..Options::default() };
        // As OpenAI's: 0 is the likeliest, and other attempts where that goes wrong.
        match self.temperature.filter(|temperature| *temperature > 0.0) {
            Some(temperature) => Options { temperatures: vec![temperature], ..asked },
            None => asked,
        }
    }
}

fn format(name: &str) -> Result<Format, ApiError> {
    Ok(match name {
        "json" => Format::Json,
        "text" => Format::Text,
        "verbose_json" => Format::VerboseJson,
        "srt" => Format::Srt,
        "vtt" => Format::Vtt,
        _ => {
            let message = "response_format must be json, text, verbose_json, srt or vtt";
            return Err(ApiError::invalid("response_format", "invalid_value", message));
        }
    })
}

fn missing(field: &str, what: &str) -> ApiError {
    ApiError::invalid(field, "missing_field", format!("the form has no field `{field}`: send {what}"))
}
