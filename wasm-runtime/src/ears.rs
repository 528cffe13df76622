//! Ears for an edge model that cannot hear: what is said becomes text on the device, and no sound is needed any more.
//!
//! The text stands in the prompt as the server would put it ([`question_of`]), and goes through the tokenizer like anything that people type.

use std::borrow::Cow;
use std::ops::ControlFlow;

use msao_models::speech::{Options, SpeechError, Transcript, Whisper, WhisperFiles, question_of};
use msao_models::{ModelError, Pcm, Prompt};
use msao_protocol::{Receipt, SpanKind, SpeechReceipt};

use crate::accounting::Stopwatch;

/// A speech model beside the edge's own.
#[derive(Debug)]
pub(crate) struct Ears {
    name: String,
    whisper: Whisper,
}

impl Ears {
    pub(crate) fn load(name: &str, files: &WhisperFiles) -> Result<Self, ModelError> {
        Ok(Self { name: name.to_owned(), whisper: Whisper::load(files)? })
    }

    /// The prompt with what is said in the place of its recording; notes what that took.
    pub(crate) fn hear<'a>(
        &self,
        prompt: &'a Prompt,
        receipt: &mut Receipt,
        mut watch: Stopwatch,
    ) -> Result<Cow<'a, Prompt>, ModelError> {
        let Some(recording) = &prompt.audio else { return Ok(Cow::Borrowed(prompt)) };
        let transcript = self.write_down(recording)?;
        receipt.spans.push(watch.lap(SpanKind::Transcribe));
        receipt.speech = Some(SpeechReceipt {
            model: self.name.clone(),
            language: transcript.language.clone(),
            confidence: transcript.confidence(),
            seconds: transcript.duration_s,
            // It never left.
            bytes: 0,
            tokens: transcript.segments.iter().map(|segment| segment.tokens.len() as u32).sum(),
        });
        let question = question_of(&prompt.question, &transcript.text());
        if question.trim().is_empty() {
            let reason = "no words were understood in the recording; speak up, or type".to_owned();
            return Err(ModelError::Prompt { reason });
        }
        Ok(Cow::Owned(Prompt { question, audio: None, ..prompt.clone() }))
    }

    fn write_down(&self, recording: &Pcm) -> Result<Transcript, ModelError> {
        let mut go_on = |_: &_| ControlFlow::Continue(());
        self.whisper.transcribe(recording, &Options::default(), &mut go_on).map_err(|error| match error {
            SpeechError::Model(error) => error,
            error => ModelError::Prompt { reason: error.to_string() },
        })
    }
}
