//! Ears for an edge model that cannot hear: what is said becomes text on the device, and no sound is needed any more.
//!
//! The text stands in the prompt as the server would put it ([`question_of`]), and goes through the tokenizer like anything that people
//! type. In a browser ears have a Worker of their own (`js/ears.js`), so that they serve whichever engine answers.

use std::borrow::Cow;
use std::ops::ControlFlow;

use msao_models::speech::{Options, Progress, SpeechError, Transcript, Whisper, WhisperFiles, question_of};
use msao_models::{ModelError, Pcm, Prompt};
use msao_protocol::{Receipt, SpanKind, SpeechReceipt};

use crate::accounting::Stopwatch;
use crate::ears_messages::Heard;

/// A speech model.
#[derive(Debug)]
pub struct Ears {
    name: String,
    whisper: Whisper,
}

impl Ears {
    /// Loads a speech model, which runs on the CPU.
    ///
    /// # Errors
    /// As [`Whisper::load`].
    pub fn load(name: &str, files: &WhisperFiles) -> Result<Self, ModelError> {
        Ok(Self { name: name.to_owned(), whisper: Whisper::load(files)? })
    }

    /// Writes down what is said. `on_progress` hears between windows and tokens how many seconds are done, may await, and answers
    /// whether to go on; where it said no, there is nothing.
    ///
    /// # Errors
    /// A [`ModelError`] for a recording that is refused, or a checkpoint that fails.
    pub async fn write_down(
        &self,
        recording: &Pcm,
        mut on_progress: impl AsyncFnMut(f64) -> bool,
    ) -> Result<Option<Heard>, ModelError> {
        let watch = async |progress: &Progress| match on_progress(progress.seconds_done).await {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        };
        match self.whisper.transcribe_awaiting(recording, &Options::default(), watch).await {
            Ok(transcript) => Ok(Some(Heard { text: transcript.text(), speech: self.receipt(&transcript) })),
            Err(SpeechError::Cancelled) => Ok(None),
            Err(SpeechError::Model(error)) => Err(error),
            Err(error) => Err(ModelError::Prompt { reason: error.to_string() }),
        }
    }

    /// Weights in the model.
    pub fn num_parameters(&self) -> usize {
        self.whisper.num_parameters()
    }

    fn receipt(&self, transcript: &Transcript) -> SpeechReceipt {
        SpeechReceipt {
            model: self.name.clone(),
            language: transcript.language.clone(),
            confidence: transcript.confidence(),
            seconds: transcript.duration_s,
            // It never left.
            bytes: 0,
            tokens: transcript.segments.iter().map(|segment| segment.tokens.len() as u32).sum(),
        }
    }

    /// The prompt with what is said in the place of its recording; notes what that took.
    pub(crate) async fn hear<'a>(
        &self,
        prompt: &'a Prompt,
        receipt: &mut Receipt,
        mut watch: Stopwatch,
    ) -> Result<Cow<'a, Prompt>, ModelError> {
        let Some(recording) = &prompt.audio else { return Ok(Cow::Borrowed(prompt)) };
        let Some(Heard { text, speech }) = self.write_down(recording, async |_| true).await? else {
            return Ok(Cow::Borrowed(prompt));
        };
        receipt.spans.push(watch.lap(SpanKind::Transcribe));
        receipt.speech = Some(speech);
        let question = question_of(&prompt.question, &text);
        if question.trim().is_empty() {
            let reason = "no words were understood in the recording; speak up, or type".to_owned();
            return Err(ModelError::Prompt { reason });
        }
        Ok(Cow::Owned(Prompt { question, audio: None, ..prompt.clone() }))
    }
}
