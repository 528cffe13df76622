//! The thread that writes recordings down, apart from the model that answers.
//!
//! There are two lines: questions, which are short and somebody waits for, and files, which may last ten minutes. A file gives way to
//! questions before its next token, so neither holds the other up for long. What nobody waits for any more ends before its
//! next token. It knows nothing of prompts and of HTTP.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use msao_models::Pcm;
use msao_models::speech::{Options, SpeechError, Transcript, Whisper};
use msao_protocol::ErrorCode;
use tokio::sync::oneshot;

use super::EngineError;
use super::stage::{guarded, spawn_stage};
use crate::intake::Refusal;

/// Files that may wait or be written down at a time: each is held in memory.
const MOST_FILES: usize = 8;
/// When to come back to a full line.
pub const RETRY_MS: u32 = 5_000;
/// How often it is looked whether sound that was announced has come.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A hold on the thread; clones hold the same one, and it ends with the last of them.
#[derive(Debug, Clone)]
pub struct Speech {
    name: Arc<str>,
    window_s: f64,
    parameters: usize,
    lines: Arc<Lines>,
    _hold: Arc<Hold>,
}

/// What is done on the thread, with what is there.
pub(super) type Question = Box<dyn FnOnce(&Writer) + Send>;
/// What waits for something else; it is asked now and then, and becomes a question.
pub(super) type Parked = Box<dyn FnMut() -> Option<Question> + Send>;
type File = Box<dyn FnOnce(&Writer) + Send>;

#[derive(Default)]
struct Lines {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    questions: VecDeque<Question>,
    files: VecDeque<File>,
    parked: Vec<Parked>,
    /// Those that wait and the one under way.
    num_files: usize,
    has_stopped: bool,
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.lock();
        let mut lines = formatter.debug_struct("Lines");
        lines.field("questions", &state.questions.len()).field("files", &state.files.len()).finish()
    }
}

#[derive(Debug)]
struct Hold(Arc<Lines>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.lock().has_stopped = true;
        self.0.news.notify_all();
    }
}

/// No more files are taken for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MOST_FILES} recordings wait to be written down: try again in a moment")]
pub struct Full;

/// The model, on its own thread.
pub(super) struct Writer {
    pub(super) whisper: Whisper,
    lines: Arc<Lines>,
}

impl Speech {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the operating system gives none.
    pub fn start(name: &str, whisper: Whisper) -> std::io::Result<Self> {
        let lines = Arc::new(Lines::default());
        let writer = Writer { whisper, lines: Arc::clone(&lines) };
        let (window_s, parameters) = (writer.whisper.window_s(), writer.whisper.num_parameters());
        spawn_stage("speech", move || writer.run())?;
        let _hold = Arc::new(Hold(Arc::clone(&lines)));
        Ok(Self { name: name.into(), window_s, parameters, lines, _hold })
    }

    /// The checkpoint's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Seconds of one window, which is what a question may last.
    pub fn window_s(&self) -> f64 {
        self.window_s
    }

    /// Weights in the model.
    pub fn num_parameters(&self) -> usize {
        self.parameters
    }

    /// Files that wait or are written down.
    pub fn occupancy(&self) -> usize {
        self.lines.lock().num_files
    }

    /// Writes a recording down, behind all questions; when the future is dropped it ends.
    ///
    /// # Errors
    /// [`Full`] when too many wait.
    pub fn write_down(
        &self,
        recording: Pcm,
        options: Options,
    ) -> Result<impl Future<Output = Result<Transcript, EngineError>> + use<>, Full> {
        let (done, outcome) = oneshot::channel();
        let lines = Arc::clone(&self.lines);
        let share = {
            let mut state = self.lines.lock();
            if state.num_files >= MOST_FILES {
                return Err(Full);
            }
            state.num_files += 1;
            FileShare(lines)
        };
        let file = Box::new(move |writer: &Writer| {
            let _share = share;
            let written = writer.write(&recording, &options, &|| done.is_closed(), true);
            // Who went away needs no word.
            let _ = done.send(written);
        });
        self.lines.lock().files.push_back(file);
        self.lines.news.notify_one();
        Ok(async { outcome.await.unwrap_or(Err(EngineError::Stopped)) })
    }

    /// Puts a question into its line, which is bounded by the places of the engine behind it.
    pub(super) fn ask(&self, question: Question) {
        self.lines.lock().questions.push_back(question);
        self.lines.news.notify_one();
    }

    /// Keeps something until it becomes a question.
    pub(super) fn park(&self, parked: Parked) {
        self.lines.lock().parked.push(parked);
        self.lines.news.notify_one();
    }
}

/// One of the files that are held; given back whatever becomes of it.
struct FileShare(Arc<Lines>);

impl Drop for FileShare {
    fn drop(&mut self) {
        self.0.lock().num_files -= 1;
    }
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next question, among them those that were parked and are complete.
    fn next_question(&self) -> Option<Question> {
        let mut state = self.lock();
        let mut index = 0;
        while index < state.parked.len() {
            match state.parked[index]() {
                Some(question) => {
                    drop(state.parked.swap_remove(index));
                    state.questions.push_back(question);
                }
                None => index += 1,
            }
        }
        state.questions.pop_front()
    }
}

impl Writer {
    /// Works until nobody holds it.
    fn run(&self) {
        loop {
            while let Some(question) = self.lines.next_question() {
                question(self);
            }
            let file = {
                let mut state = self.lines.lock();
                if state.has_stopped {
                    return;
                }
                let file = state.files.pop_front();
                if file.is_none() && state.questions.is_empty() {
                    if state.parked.is_empty() {
                        drop(self.lines.news.wait(state));
                    } else {
                        drop(self.lines.news.wait_timeout(state, LOOK_INTERVAL));
                    }
                }
                file
            };
            if let Some(file) = file {
                file(self);
            }
        }
    }

    /// Writes a recording down on this thread; a file gives way to questions.
    pub(super) fn write(
        &self,
        recording: &Pcm,
        options: &Options,
        is_unwanted: &dyn Fn() -> bool,
        gives_way: bool,
    ) -> Result<Transcript, EngineError> {
        let began = Instant::now();
        let written = guarded(|| {
            let mut watch = |_: &_| {
                while let Some(question) = gives_way.then(|| self.lines.next_question()).flatten() {
                    question(self);
                }
                if is_unwanted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            self.whisper.transcribe(recording, options, &mut watch).map_err(EngineError::from)
        });
        if let Ok(transcript) = &written {
            // Not what was said: that belongs to whoever said it.
            let (seconds, windows) = (transcript.duration_s, transcript.windows);
            let took_ms = began.elapsed().as_millis() as u64;
            tracing::info!(
                seconds,
                windows,
                tokens = transcript.tokens_written,
                took_ms,
                "wrote a recording down"
            );
        }
        written
    }
}

impl From<SpeechError> for EngineError {
    fn from(error: SpeechError) -> Self {
        let code = match error {
            SpeechError::Model(error) => return error.into(),
            SpeechError::Media(error) => return Self::Refused(error.into()),
            SpeechError::TooLong { .. } => ErrorCode::AudioTooLong,
            SpeechError::PromptTooLong { .. } => ErrorCode::QuestionTooLong,
            SpeechError::Cancelled => return Self::Stopped,
            _ => ErrorCode::Unsupported,
        };
        Self::Refused(Refusal::new(code, error.to_string()))
    }
}
