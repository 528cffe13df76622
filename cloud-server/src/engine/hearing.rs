//! An engine that cannot hear, with ears: what is said becomes text before the engine reads the question.
//!
//! The text stands behind the typed one, in a form that docs/api.md tells; it goes through the tokenizer like anything that people
//! type, so nothing that is said becomes a special token. Late sound is waited for here, since the engine behind takes none.

use std::sync::Arc;
use std::time::{Duration, Instant};

use msao_models::speech::{Options, Transcript, question_of};
use msao_protocol::{
    Ask, AudioGrid, AudioInput, ErrorCode, Limits, Modality, Span, SpanKind, SpeechReceipt, TokenId,
};

use super::speech::{Question, Speech, Writer};
use super::{
    Busy, Engine, EngineError, EngineEvent, EngineInfo, EngineStatistics, Job, Owner, Place, Readiness,
    VerifyJob,
};
use crate::intake::{self, Refusal};

/// Parts of a recording that may be left out, each of half a second.
const WINDOWS_PER_S: u32 = 2;
const RATE_HZ: u32 = 16_000;

/// An engine behind a speech model.
pub struct Hearing {
    engine: Arc<dyn Engine>,
    ears: Arc<Ears>,
    /// How long sound that was announced is waited for.
    attach_wait: Duration,
    speech: Speech,
}

/// What questions need on the speech thread.
struct Ears {
    engine: Arc<dyn Engine>,
    info: EngineInfo,
    limits: Limits,
    model: String,
}

impl Hearing {
    /// Gives an engine ears; one that hears by itself keeps its own.
    pub fn before(
        engine: Arc<dyn Engine>,
        speech: &Speech,
        limits: Limits,
        attach_wait: Duration,
    ) -> Arc<dyn Engine> {
        if engine.info().audio_window_s.is_some() {
            return engine;
        }
        let mut info = engine.info().clone();
        let window_s = speech.window_s();
        info.audio_window_s = Some(window_s);
        info.model.audio = Some(AudioGrid {
            sample_rate_hz: RATE_HZ,
            window_samples: RATE_HZ / WINDOWS_PER_S,
            tokens: (window_s * f64::from(WINDOWS_PER_S)) as u32,
        });
        let limits = intake::effective_limits(limits, &info);
        let ears = Ears { engine: Arc::clone(&engine), info, limits, model: speech.name().to_owned() };
        Arc::new(Self { engine, ears: Arc::new(ears), attach_wait, speech: speech.clone() })
    }
}

impl Engine for Hearing {
    fn info(&self) -> &EngineInfo {
        &self.ears.info
    }

    fn reserve(&self) -> Result<Place, Busy> {
        self.engine.reserve()
    }

    fn reserve_for(&self, owner: Owner) -> Result<Place, Busy> {
        self.engine.reserve_for(owner)
    }

    fn submit(&self, place: Place, mut job: Job) {
        if job.ask.pending.contains(&Modality::Audio) && !job.complete() {
            let (ears, until) = (Arc::clone(&self.ears), Instant::now() + self.attach_wait);
            let mut waiting = Some((place, job));
            return self.speech.park(Box::new(move || {
                let (_, job) = waiting.as_mut()?;
                let is_over =
                    job.complete() || job.is_cancelled() || job.is_refused() || Instant::now() > until;
                let (place, job) = if is_over { waiting.take()? } else { return None };
                Some(question(Arc::clone(&ears), place, job))
            }));
        }
        if is_heard(&job.ask) {
            self.speech.ask(question(Arc::clone(&self.ears), place, job));
        } else {
            self.engine.submit(place, job);
        }
    }

    fn verify(&self, place: Place, job: VerifyJob) {
        self.engine.verify(place, job);
    }

    fn forget(&self, owner: Owner) {
        self.engine.forget(owner);
    }

    fn occupancy(&self) -> usize {
        self.engine.occupancy()
    }

    fn statistics(&self) -> EngineStatistics {
        self.engine.statistics()
    }

    fn tokenize(&self, text: &str) -> Option<Vec<TokenId>> {
        self.engine.tokenize(text)
    }

    fn gives_logprobs(&self) -> bool {
        self.engine.gives_logprobs()
    }

    fn readiness(&self) -> Readiness {
        self.engine.readiness()
    }
}

/// Whether there is something to listen to.
fn is_heard(ask: &Ask) -> bool {
    ask.audio.is_some() || ask.history.iter().any(|turn| turn.audio.is_some())
}

/// What the speech thread does for a question.
fn question(ears: Arc<Ears>, place: Place, mut job: Job) -> Question {
    let since = Instant::now();
    Box::new(move |writer| match ears.hear(&mut job, writer, since) {
        // A cancelled one goes on to the engine as well, which has the last word about it.
        Ok(()) => ears.engine.submit(place, job),
        Err(error) => {
            drop(place);
            job.report(EngineEvent::Failed(error));
        }
    })
}

impl Ears {
    /// Puts what is said in the place of the sound.
    fn hear(&self, job: &mut Job, writer: &Writer, since: Instant) -> Result<(), EngineError> {
        let began = Instant::now();
        let ask = Arc::clone(&job.ask);
        let mut heard = SpeechReceipt { model: self.model.clone(), ..nothing_heard() };
        let mut logprobs = 0.0;
        let mut texts = Vec::with_capacity(ask.history.len() + 1);
        let spoken = ask.history.iter().map(|turn| (&turn.question, &turn.audio));
        for (typed, audio) in spoken.chain([(&ask.question, &ask.audio)]) {
            let Some(audio) = audio.as_ref().filter(|_| !job.is_cancelled()) else {
                texts.push(typed.clone());
                continue;
            };
            let Some(transcript) = self.listen(audio, job, writer)? else { continue };
            heard.bytes += audio.media().bytes.len() as u64;
            heard.seconds += transcript.duration_s;
            let tokens = transcript.segments.iter().map(|segment| segment.tokens.len()).sum::<usize>();
            logprobs += f64::from(transcript.confidence().ln()).max(-1e6) * tokens as f64;
            heard.tokens += tokens as u32;
            heard.language.clone_from(&transcript.language);
            texts.push(self.joined(typed, &transcript)?);
        }
        if job.is_cancelled() {
            return Ok(());
        }
        if heard.tokens > 0 {
            heard.confidence = (logprobs / f64::from(heard.tokens)).exp() as f32;
        }
        let ms = |from: Instant, to: Instant| (to - from).as_secs_f64() * 1_000.0;
        let spans = [
            Span { kind: SpanKind::Queue, ms: ms(since, began) },
            Span { kind: SpanKind::Transcribe, ms: ms(began, Instant::now()) },
        ];
        job.hear(texts, heard, spans);
        Ok(())
    }

    /// What is said in one recording; `None` for a job that nobody wants any more.
    fn listen(
        &self,
        audio: &AudioInput,
        job: &Job,
        writer: &Writer,
    ) -> Result<Option<Transcript>, EngineError> {
        let recording = intake::decode_recording(audio, &self.limits, &self.info.model)?;
        let written = writer.write(&recording, &Options::default(), &|| job.is_cancelled(), false);
        if job.is_cancelled() { Ok(None) } else { written.map(Some) }
    }

    /// The typed text and what was said, as one question.
    fn joined(&self, typed: &str, transcript: &Transcript) -> Result<String, Refusal> {
        let question = question_of(typed, &transcript.text());
        if question.is_empty() {
            let message = "no words were understood in the recording: speak up, or type";
            return Err(Refusal::new(ErrorCode::AudioSilent, message));
        }
        let (chars, limit) = (question.chars().count(), self.limits.question_chars);
        if chars > limit as usize {
            let message = format!(
                "the question has {chars} characters with what is said in its recording; at most {limit} are accepted: shorten one of both"
            );
            return Err(Refusal::new(ErrorCode::QuestionTooLong, message));
        }
        Ok(question)
    }
}

fn nothing_heard() -> SpeechReceipt {
    SpeechReceipt {
        model: String::new(),
        language: String::new(),
        confidence: 0.0,
        seconds: 0.0,
        bytes: 0,
        tokens: 0,
    }
}
