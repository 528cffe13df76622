//! `POST /v1/audio/transcriptions` and `/v1/audio/translations`: OpenAI's, by the server's speech model.

use actix_web::{HttpRequest, HttpResponse, web};
use msao_models::speech::Task;

use super::error::ApiError;
use super::transcript_formats::respond;
use super::transcription_form::Form;
use crate::app::AppState;
use crate::intake;

/// What OpenAI calls its own, for clients that can say nothing else.
const ALIAS: &str = "whisper-1";

/// Writes a recording down in its language.
pub(super) async fn transcribe(
    http: HttpRequest,
    payload: web::Payload,
    state: web::Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    answer(&http, payload, &state, Task::Transcribe, "transcribe").await
}

/// Writes a recording down in English.
pub(super) async fn translate(
    http: HttpRequest,
    payload: web::Payload,
    state: web::Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    answer(&http, payload, &state, Task::Translate, "translate").await
}

async fn answer(
    http: &HttpRequest,
    payload: web::Payload,
    state: &AppState,
    task: Task,
    name: &str,
) -> Result<HttpResponse, ApiError> {
    let written = write_down(http, payload, state, task, name).await;
    written.inspect_err(|error| state.metrics.count_refusal(error.code()))
}

/// When the client goes away this is dropped, and the transcription ends with it.
async fn write_down(
    http: &HttpRequest,
    payload: web::Payload,
    state: &AppState,
    task: Task,
    name: &str,
) -> Result<HttpResponse, ApiError> {
    let _underway = state.api.enter().ok_or_else(ApiError::crowded)?;
    if state.drain.has_begun() {
        return Err(ApiError::stopping());
    }
    let speech = state.speech.as_ref().ok_or_else(ApiError::no_speech)?;
    let body = state.api.bodies.read(http, payload).await?;
    let form = Form::read(http, body.bytes.clone()).await?;
    if form.model != speech.name() && form.model != ALIAS {
        return Err(ApiError::no_model(&form.model, speech.name()));
    }
    let (file, limits) = (form.file.clone(), state.limits);
    // The body counts against the common budget until its samples are there.
    let decoding = web::block(move || {
        let recording = intake::decode_sound(&file, &limits);
        drop((file, body));
        recording
    });
    let recording = decoding.await.map_err(|_stopping| ApiError::stopping())?;
    let recording = recording.map_err(|refusal| ApiError::from(refusal).about("file"))?;
    let format = form.format;
    let writing = speech.write_down(recording, form.options(task)).map_err(ApiError::full_of_speech)?;
    drop(form);
    let transcript = tokio::select! {
        transcript = writing => transcript?,
        () = state.drain.handed_back() => return Err(ApiError::stopping()),
    };
    state.metrics.note_transcription(transcript.duration_s);
    Ok(respond(&transcript, format, name))
}
