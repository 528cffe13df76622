//! `POST /v1/chat/completions`: from a request's body to an answer, whole or streamed.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use actix_web::{HttpRequest, HttpResponse, web};
use msao_protocol::{Ask, AudioInput, Clip, ImageInput, Limits, RequestId, Speculation, Turn};

use super::Underway;
use super::answering::{Answering, Counts, End, Step};
use super::error::ApiError;
use super::media::ImageSource;
use super::messages::{Conversation, Question, conversation};
use super::models;
use super::prediction::Prediction;
use super::reply::{Answer, Choice, Completion, FINGERPRINT, Head, Logprobs};
use super::request::ChatRequest;
use super::sse::{self, Streaming};
use super::visible::Visible;
use super::watch::Watch;
use crate::access::Caller;
use crate::app::AppState;
use crate::engine::{Owner, job};
use crate::intake;

/// All of a prediction is there when the question is, so nothing is waited for.
const AT_ONCE: Speculation = Speculation::Distributed { patience_ms: 0 };

/// Answers a request.
pub(super) async fn complete(
    http: HttpRequest,
    caller: web::ReqData<Caller>,
    payload: web::Payload,
    state: web::Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let taken = take(&http, &caller, payload, &state).await;
    let Taken { request, head, mut answering, underway } =
        taken.inspect_err(|error| state.metrics.count_refusal(error.code()))?;
    // What can be refused is refused with a status, before a stream begins.
    let first = answering.next().await?;
    let with_logprobs = request.top_logprobs()?.is_some();
    if request.streams() {
        let with_usage = request.includes_usage();
        let streaming = Streaming { head, answering, with_usage, with_logprobs, _underway: underway };
        return Ok(sse::respond(streaming, first));
    }
    whole(&head, answering, first, with_logprobs, underway).await
}

/// A request that the engine has taken.
struct Taken {
    request: ChatRequest,
    head: Head,
    answering: Answering,
    underway: Underway,
}

async fn take(
    http: &HttpRequest,
    caller: &Caller,
    payload: web::Payload,
    state: &web::Data<AppState>,
) -> Result<Taken, ApiError> {
    // Entered before it is asked, so that whoever waits for the last request does not miss this one.
    let underway = state.api.enter().ok_or_else(ApiError::crowded)?;
    if state.drain.has_begun() {
        return Err(ApiError::stopping());
    }
    let body = state.api.bodies.read(http, payload).await?;
    let (model, limits) = (state.engine.info().model.name.clone(), state.limits);
    // Megabytes of base64 take their time, which sockets of the same thread should not have to wait.
    let reading = web::block(move || {
        let mut request = ChatRequest::from_json(&body.bytes)?;
        models::check(&request.model, &model)?;
        let conversation = conversation(&request.messages.0, &limits)?;
        // What stays are the media, decoded; the text of their base64 is let go of here.
        request.messages.0.clear();
        Ok::<_, ApiError>((request, conversation))
    });
    let (request, conversation) = reading.await.map_err(|_stopping| ApiError::stopping())??;
    let head = Head {
        id: format!("chatcmpl-{:016x}", random()),
        object: if request.streams() { "chat.completion.chunk" } else { "chat.completion" },
        created: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        model: state.engine.info().model.name.clone(),
        system_fingerprint: FINGERPRINT,
    };
    let owner = state.api.owners.of(caller);
    let answering = begin(&request, conversation, owner, &head.id, state).await?;
    Ok(Taken { request, head, answering, underway })
}

/// Reads a body as [`complete`] does up to where an engine is needed: nothing is fetched, decoded from its media or asked. For
/// tools that want to know what a server would say of a request, and for fuzzing.
///
/// # Errors
/// What the server would answer instead: a refusal with a status of 400 to 499.
pub fn check_chat_request(body: &[u8], limits: &Limits) -> Result<(), ApiError> {
    let request = ChatRequest::from_json(body)?;
    conversation(&request.messages.0, limits)?;
    request.max_new_tokens()?;
    request.top_logprobs()?;
    request.stops()?;
    request.sampling(0)?;
    request.prediction()?;
    Ok(())
}

/// Hands a request to the engine, as somebody's if it is known whose it is.
async fn begin(
    request: &ChatRequest,
    conversation: Conversation,
    owner: Option<Owner>,
    id: &str,
    state: &web::Data<AppState>,
) -> Result<Answering, ApiError> {
    let (limits, engine) = (&state.limits, state.engine.info());
    let max_new_tokens = request.max_new_tokens()?.unwrap_or(u32::MAX).min(limits.max_new_tokens);
    let top_logprobs = request.top_logprobs()?;
    if top_logprobs.is_some() && !state.engine.gives_logprobs() {
        let message = "the engine behind this server tells no log-probabilities: leave logprobs out";
        return Err(ApiError::unsupported("logprobs", message));
    }
    let visible = Visible::new(request.stops()?);
    let request_id = state.api.owners.next_request_id();
    let prediction = prediction(request, request_id, max_new_tokens, state)?;
    let sampling = request.sampling(random())?;
    let Conversation { earlier, question } = conversation;
    let mut history = Vec::with_capacity(earlier.len());
    for (asked, answer) in earlier {
        let Asked { question, images, clip, audio } = fetch(asked, state).await?;
        // The answer as the model wrote it: with the blank that clients are not shown.
        let answer = format!(" {}", answer.trim_start());
        history.push(Turn { images, clip, audio, question, answer });
    }
    let Asked { question, images, clip, audio } = fetch(question, state).await?;
    let speculation = if prediction.is_some() { AT_ONCE } else { Speculation::None };
    let asked = Ask::new(request_id, question, max_new_tokens);
    let ask = Ask { images, clip, audio, history, sampling, speculation, ..asked };
    intake::check_ask(&ask, limits, engine).map_err(|refusal| ApiError::from(refusal).about("messages"))?;
    let (mut job, handle, events) = job(ask, max_new_tokens);
    job.top_logprobs = top_logprobs;
    job.prunes_tiles = request.prunes_tiles();
    let place = match owner {
        Some(owner) => {
            job = job.owned_by(owner);
            state.engine.reserve_for(owner)?
        }
        None => state.engine.reserve()?,
    };
    if let Some(prediction) = &prediction {
        handle.draft(prediction.whole());
    }
    let watch = Watch::new(&state.metrics, &job.ask);
    state.engine.submit(place, job);
    let (id, counts, state) = (id.to_owned(), Counts::default(), Arc::clone(state));
    Ok(Answering { state, events, handle, watch, visible, prediction, id, counts })
}

/// What the request predicts, as tokens; `None` also where the engine keeps no tokenizer, since a prediction that nobody
/// looks at changes nothing.
fn prediction(
    request: &ChatRequest,
    request_id: RequestId,
    max_new_tokens: u32,
    state: &AppState,
) -> Result<Option<Prediction>, ApiError> {
    let Some(text) = request.prediction()? else { return Ok(None) };
    let text = text.trim_start();
    if text.is_empty() {
        return Ok(None);
    }
    // With the blank that an answer begins with, and that clients are not shown.
    let text = format!(" {text}");
    let Some(mut tokens) = state.engine.tokenize(&text) else { return Ok(None) };
    tokens.truncate(max_new_tokens as usize);
    let prediction = Prediction::new(request_id, tokens);
    let (limits, engine) = (&state.limits, state.engine.info());
    intake::check_draft(&prediction.whole(), AT_ONCE, limits, engine)
        .map_err(|refusal| ApiError::from(refusal).about("prediction"))?;
    Ok(Some(prediction))
}

/// A question with its pictures at hand.
struct Asked {
    question: String,
    images: Vec<ImageInput>,
    clip: Option<Clip>,
    audio: Option<AudioInput>,
}

async fn fetch(question: Question, state: &AppState) -> Result<Asked, ApiError> {
    let Question { text: question, images, video, audio } = question;
    let audio = audio.map(AudioInput::Whole);
    if let Some(video) = video {
        let (images, clip) = video.sampled(&state.limits, state.engine.info());
        return Ok(Asked { question, images, clip, audio });
    }
    let mut fetched = Vec::with_capacity(images.len());
    for image in images {
        let media = match image {
            ImageSource::Inline(media) => media,
            ImageSource::Remote(url) => state.api.images.fetch(&url, &state.limits).await?,
        };
        fetched.push(ImageInput::Whole(media));
    }
    Ok(Asked { question, images: fetched, clip: None, audio })
}

/// Waits for all of an answer. When the client goes away, this is dropped half-way, and the request cancelled by it.
async fn whole(
    head: &Head,
    mut answering: Answering,
    first: Step,
    with_logprobs: bool,
    _underway: Underway,
) -> Result<HttpResponse, ApiError> {
    let (mut text, mut logprobs, mut step) = (String::new(), Vec::new(), first);
    let End { rest, finish_reason, usage, receipt } = loop {
        match step {
            Step::End(end) => break *end,
            Step::Piece(piece) => {
                text.push_str(&piece.text);
                logprobs.extend(piece.logprobs);
            }
        }
        step = answering.next().await?;
    };
    text.push_str(&rest.text);
    logprobs.extend(rest.logprobs);
    let message = Answer { role: "assistant", content: &text, refusal: None };
    let logprobs = with_logprobs.then(|| Logprobs::new(logprobs));
    let choices = [Choice { index: 0, message, logprobs, finish_reason }];
    Ok(HttpResponse::Ok().json(Completion { head, choices, usage: &usage, receipt: &receipt }))
}

/// A number that nobody can guess, for names and for seeds: a hash with keys of the operating system's randomness.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
