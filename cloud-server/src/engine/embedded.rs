//! The model in this process: a thread that decodes media and one that runs the model, first come, first
//! served.
//!
//! The two form a pipeline one job deep. While the model writes one answer, the next job's media are decoded,
//! and never more than three jobs are decoded at a time: one here, one between, one there. So memory is
//! bounded by `image_pixels`, however long the queue is.

use std::sync::Arc;
use std::time::Instant;

use msao_models::device::{self, DeviceKind};
use msao_models::text::PromptTemplate;
use msao_models::{Assistant, CheckpointFiles, DEFAULT_MAX_NEW_TOKENS, ModelError, Prompt, TokenProposal};
use msao_protocol::{Ask, FinishReason, Limits, Modality, ModalityReceipt, ModelInfo, Span, SpanKind, Token};
use tokio::sync::mpsc;

use super::admission::Admission;
use super::stage::{guarded, spawn_stage};
use super::{Answer, Busy, Engine, EngineError, EngineEvent, EngineInfo, Job, Place};
use crate::intake;

/// Seconds between two frames of a Whisper-style encoder.
const ENCODER_FRAME_S: f64 = 0.02;

/// What an [`EmbeddedEngine`] is made of.
#[derive(Debug, Clone)]
pub struct EmbeddedConfig {
    /// Name told to clients, such as `pocket-cloud`.
    pub name: String,
    /// Where the model runs.
    pub device: DeviceKind,
    /// Budgets that media are decoded under.
    pub limits: Limits,
    /// Requests that may wait or run.
    pub places: usize,
}

/// A checkpoint that answers in this process.
pub struct EmbeddedEngine {
    info: EngineInfo,
    admission: Arc<Admission>,
    queue: mpsc::Sender<Queued>,
}

struct Queued {
    place: Place,
    job: Job,
    since: Instant,
}

/// A job whose media are decoded.
struct Decoded {
    place: Place,
    job: Job,
    prompt: Prompt,
    spans: Vec<Span>,
    since: Instant,
}

impl EmbeddedEngine {
    /// Loads a checkpoint, warms it up and starts the threads.
    ///
    /// # Errors
    /// When the device or the checkpoint cannot be used, or no thread can be started.
    pub fn start(files: &CheckpointFiles, config: &EmbeddedConfig) -> Result<Self, ModelError> {
        let device = pollster::block_on(device::open(config.device))?;
        let assistant = Assistant::load(files, &device)?;
        pollster::block_on(assistant.warm_up())?;
        let audio = assistant.config().audio_config.as_ref();
        let audio_window_s = audio.map(|audio| audio.max_source_positions as f64 * ENCODER_FRAME_S);
        let model = ModelInfo {
            name: config.name.clone(),
            parameters: assistant.num_parameters() as u64,
            device: config.device.to_string(),
        };
        let info = EngineInfo {
            model,
            audio_window_s,
            max_new_tokens: DEFAULT_MAX_NEW_TOKENS as u32,
            question_chars: PromptTemplate::MAX_QUESTION_CHARS as u32,
        };
        let limits = intake::effective_limits(config.limits, &info);
        let admission = Arc::new(Admission::new(config.places));
        // As many as there are places, so handing in never waits.
        let (queue, queued) = mpsc::channel(config.places.max(1));
        let (hand_over, decoded) = mpsc::channel(1);
        let service = Arc::clone(&admission);
        let no_thread = |error: std::io::Error| ModelError::Device {
            device: config.device.to_string(),
            reason: format!("no thread for the engine: {error}; raise the limit on threads"),
        };
        spawn_stage("media", queued, move |queued| decode_media(queued, &limits, &hand_over))
            .map_err(no_thread)?;
        spawn_stage("model", decoded, move |decoded| run_model(&assistant, decoded, &service))
            .map_err(no_thread)?;
        Ok(Self { info, admission, queue })
    }
}

impl Engine for EmbeddedEngine {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn reserve(&self) -> Result<Place, Busy> {
        self.admission.reserve()
    }

    fn submit(&self, place: Place, job: Job) {
        if let Err(error) = self.queue.try_send(Queued { place, job, since: Instant::now() }) {
            let queued = error.into_inner();
            queued.job.report(EngineEvent::Failed(EngineError::Stopped));
        }
    }

    fn occupancy(&self) -> usize {
        self.admission.occupancy()
    }
}

fn decode_media(queued: Queued, limits: &Limits, hand_over: &mpsc::Sender<Decoded>) {
    let Queued { place, job, since } = queued;
    let mut spans = vec![span(SpanKind::Queue, since)];
    if job.is_cancelled() {
        drop(place);
        return job.report(EngineEvent::Done(unread(&job, spans)));
    }
    let started = Instant::now();
    match guarded(|| Ok(intake::decode(&job.ask, limits)?)) {
        Err(error) => {
            drop(place);
            job.report(EngineEvent::Failed(error));
        }
        Ok(prompt) => {
            spans.push(span(SpanKind::DecodeMedia, started));
            let decoded = Decoded { place, job, prompt, spans, since: Instant::now() };
            if let Err(error) = hand_over.blocking_send(decoded) {
                error.0.job.report(EngineEvent::Failed(EngineError::Stopped));
            }
        }
    }
}

fn run_model(assistant: &Assistant, decoded: Decoded, admission: &Admission) {
    let Decoded { place, job, prompt, mut spans, since } = decoded;
    spans.push(span(SpanKind::Queue, since));
    let started = Instant::now();
    let event = match guarded(|| pollster::block_on(write_answer(assistant, &job, prompt, spans))) {
        Ok(answer) => EngineEvent::Done(answer),
        Err(error) => EngineEvent::Failed(error),
    };
    admission.record_service(started.elapsed());
    // The place is free before the client hears of the end, so its next question finds it.
    drop(place);
    job.report(event);
}

async fn write_answer(
    assistant: &Assistant,
    job: &Job,
    prompt: Prompt,
    mut spans: Vec<Span>,
) -> Result<Answer, EngineError> {
    if job.is_cancelled() {
        return Ok(unread(job, spans));
    }
    let started = Instant::now();
    let encoded = assistant.encode(&prompt)?;
    drop(prompt);
    spans.push(span(SpanKind::Encode, started));
    let started = Instant::now();
    let generation = assistant.prefill(&encoded).await?;
    spans.push(span(SpanKind::Prefill, started));

    let started = Instant::now();
    let mut generation = generation.with_max_new_tokens(job.max_new_tokens as usize);
    let mut text = String::new();
    let mut completion_tokens = 0;
    let finish_reason = loop {
        if job.is_cancelled() {
            break FinishReason::Cancelled;
        }
        if generation.is_finished() {
            break FinishReason::Length;
        }
        let Some(TokenProposal { token_id, text: piece, probability }) = generation.next_token().await?
        else {
            break FinishReason::Stop;
        };
        text.push_str(&piece);
        completion_tokens += 1;
        job.report(EngineEvent::Token(Token { id: token_id, text: piece, probability }));
    };
    spans.push(span(SpanKind::Decode, started));
    let prompt_tokens = encoded.num_tokens();
    Ok(Answer {
        text,
        finish_reason,
        prompt_tokens: prompt_tokens as u32,
        completion_tokens,
        modalities: modalities(&job.ask, |modality| attributed(assistant, &job.ask, prompt_tokens, modality)),
        spans,
    })
}

/// The end of a job that was cancelled before the model read it.
fn unread(job: &Job, spans: Vec<Span>) -> Answer {
    Answer {
        text: String::new(),
        finish_reason: FinishReason::Cancelled,
        prompt_tokens: 0,
        completion_tokens: 0,
        modalities: modalities(&job.ask, |_| 0),
        spans,
    }
}

fn modalities(ask: &Ask, tokens_of: impl Fn(Modality) -> usize) -> Vec<ModalityReceipt> {
    let given = [Modality::Text, Modality::Vision, Modality::Audio]
        .into_iter()
        .filter(|&modality| ask.bytes(modality) > 0);
    given
        .map(|modality| ModalityReceipt {
            modality,
            bytes: ask.bytes(modality),
            prompt_tokens: tokens_of(modality) as u32,
        })
        .collect()
}

/// Counts the embeddings of media as theirs and everything else, the template included, as text.
fn attributed(assistant: &Assistant, ask: &Ask, prompt_tokens: usize, modality: Modality) -> usize {
    let config = assistant.config();
    let vision = ask.images.len() * config.num_image_tokens();
    let audio = match (&ask.audio, &config.audio_config) {
        (Some(_), Some(audio)) => audio.num_audio_tokens(),
        _ => 0,
    };
    match modality {
        Modality::Text => prompt_tokens - vision - audio,
        Modality::Vision => vision,
        Modality::Audio => audio,
    }
}

fn span(kind: SpanKind, since: Instant) -> Span {
    Span { kind, ms: since.elapsed().as_secs_f64() * 1000.0 }
}
