//! A recording, window by window: language, tokens, another attempt where one went wrong, segments.
//!
//! Windows follow the last time that was written, as in OpenAI's and transformers' long form. Everything is deterministic: draws at
//! higher temperatures come from a fixed seed.

use std::io::Write as _;
use std::ops::ControlFlow;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::config::WhisperTokens;
use super::error::SpeechError;
use super::languages;
use super::rules;
use super::segments;
use super::transcript::{Segment, Transcript};
use super::whisper::Whisper;
use crate::device::Heard;
use crate::generation::most_likely;
use crate::preprocess::{Pcm, Resampler};

/// Samples of a mel frame at 16 kHz.
const HOP: usize = 160;
const RATE_HZ: u32 = 16_000;
/// Seconds of a position, which is what times count.
const POSITION_S: f64 = 0.02;
const FRAME_S: f64 = 0.01;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Task {
    /// What is said, in its language.
    #[default]
    Transcribe,
    /// The same in English.
    Translate,
}

/// How a recording is written down.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The language spoken, by code or English name; found out where it is left out.
    pub language: Option<String>,
    /// What is written.
    pub task: Task,
    /// Whether segments have times of their own; without, each window is one.
    pub has_times: bool,
    /// A text to go on from, for names and spelling.
    pub prompt: Option<String>,
    /// Temperatures of the attempts at a window, 0 for the likeliest tokens.
    pub temperatures: Vec<f32>,
    /// A window that repeats itself more is tried again.
    pub compression_ratio_threshold: f32,
    /// A window that is less likely is tried again.
    pub logprob_threshold: f32,
    /// A window less likely than that is silence if nobody speaks with this probability.
    pub no_speech_threshold: f32,
    /// Longest recording accepted, in seconds.
    pub max_seconds: f64,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for Options {
    /// OpenAI's own thresholds; up to ten minutes.
    fn default() -> Self {
        Self {
            language: None,
            task: Task::Transcribe,
            has_times: true,
            prompt: None,
            temperatures: vec![0.0, 0.2, 0.4, 0.6, 0.8, 1.0],
            compression_ratio_threshold: 2.4,
            logprob_threshold: -1.0,
            no_speech_threshold: 0.6,
            max_seconds: Pcm::MAX_SECONDS,
            seed: 0,
        }
    }
}

impl Options {
    /// One attempt at a window, whatever comes of it.
    #[must_use]
    pub fn greedy_once(mut self) -> Self {
        self.temperatures = vec![0.0];
        self.no_speech_threshold = f32::INFINITY;
        self
    }
}

/// How far a transcription is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Seconds that are written down.
    pub seconds_done: f64,
    /// Seconds of the recording.
    pub seconds: f64,
    /// Tokens written so far.
    pub tokens_written: usize,
}

/// One attempt at a window.
struct Attempt {
    /// Tokens without the end.
    written: Vec<u32>,
    avg_logprob: f32,
    compression_ratio: f32,
    no_speech_prob: f32,
    temperature: f32,
}

impl Whisper {
    /// Writes a recording down. `watch` hears of every window and every token, and may end it.
    ///
    /// # Errors
    /// [`SpeechError`] for a recording or an option that is refused before any work, [`SpeechError::Cancelled`] where `watch`
    /// says so.
    pub fn transcribe(
        &self,
        recording: &Pcm,
        options: &Options,
        watch: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<Transcript, SpeechError> {
        let written = pin!(self.transcribe_awaiting(recording, options, async |progress| watch(progress)));
        match written.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(written) => written,
            Poll::Pending => unreachable!("only `watch` is waited for, and it is done when it returns"),
        }
    }

    /// As [`Self::transcribe`], with a `watch` that may await, for example to let other messages in.
    ///
    /// # Errors
    /// As [`Self::transcribe`].
    pub async fn transcribe_awaiting(
        &self,
        recording: &Pcm,
        options: &Options,
        watch: impl AsyncFnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<Transcript, SpeechError> {
        let duration_s = recording.seconds();
        if duration_s > options.max_seconds {
            return Err(SpeechError::TooLong { seconds: duration_s, max_seconds: options.max_seconds });
        }
        let language = self.language_asked(options)?;
        let previous = self.previous(options)?;
        let (mel, frames) = self.spectrogram(recording);
        let window_frames = 2 * self.parts.config.max_source_positions;
        let mut watcher = Watcher {
            progress: Progress { seconds_done: 0.0, seconds: duration_s, tokens_written: 0 },
            watch,
        };
        let mut transcript = Transcript {
            language: language.map_or("en", |(code, _)| code).to_owned(),
            language_probability: 1.0,
            duration_s,
            segments: Vec::new(),
            windows: 0,
            tokens_written: 0,
        };
        let mut prompt = None;
        let mut draws = Draws(options.seed);
        // A model that hardly goes on would take a window for every position.
        let enough_windows = 4 + 4 * frames.div_ceil(window_frames);
        let mut from = 0;
        while from < frames {
            watcher.look().await?;
            let heard = self.hear(&mel, from)?;
            let prompt = match &prompt {
                Some(prompt) => prompt,
                None => {
                    let language = match language {
                        Some((_, token)) => Some(token),
                        None if self.is_multilingual() => {
                            let (code, token, probability) = self.detect_language(&heard)?;
                            (transcript.language, transcript.language_probability) = (code, probability);
                            Some(token)
                        }
                        None => None,
                    };
                    prompt.insert(self.prompt(&previous, language, options))
                }
            };
            let attempt =
                self.attempts(&heard, prompt, previous.len(), options, &mut draws, &mut watcher).await?;
            transcript.windows += 1;
            let count = window_frames.min(frames - from);
            let is_silence = attempt.no_speech_prob > options.no_speech_threshold
                && attempt.avg_logprob < options.logprob_threshold;
            let done = if is_silence {
                count
            } else {
                let first_time = self.parts.tokens.first_time();
                let (stretches, done) = segments::split(&attempt.written, first_time, count);
                for stretch in stretches {
                    transcript.segments.push(self.segment(&attempt, &stretch, from));
                }
                if done == 0 || transcript.windows >= enough_windows { count } else { done }
            };
            from += done;
            watcher.progress.seconds_done = (from as f64 * FRAME_S).min(duration_s);
        }
        watcher.look().await?;
        transcript.tokens_written = watcher.progress.tokens_written;
        Ok(transcript)
    }

    /// The language that was asked for, with its token.
    fn language_asked(&self, options: &Options) -> Result<Option<(&'static str, u32)>, SpeechError> {
        let tokens = &self.parts.tokens;
        if options.task == Task::Translate && tokens.translate.is_none() {
            return Err(SpeechError::CannotTranslate);
        }
        let Some(language) = options.language.as_deref() else { return Ok(None) };
        let refused = || SpeechError::Language { language: language.chars().take(40).collect() };
        let code = languages::code_of(language).ok_or_else(refused)?;
        match tokens.languages.get(code) {
            Some(token) => Ok(Some((code, *token))),
            None if code == "en" && !self.is_multilingual() => Ok(None),
            None => Err(refused()),
        }
    }

    /// The tokens of a text to go on from.
    fn previous(&self, options: &Options) -> Result<Vec<u32>, SpeechError> {
        let Some(text) = options.prompt.as_deref().map(str::trim).filter(|text| !text.is_empty()) else {
            return Ok(Vec::new());
        };
        let text = self.parts.tokenizer.encode(&format!(" {text}"))?;
        let limit = self.parts.config.max_target_positions / 2 - 1;
        match self.parts.tokens.start_of_previous {
            Some(start) if text.len() < limit => Ok(std::iter::once(start).chain(text).collect()),
            _ => Err(SpeechError::PromptTooLong { tokens: text.len(), limit }),
        }
    }

    fn prompt(&self, previous: &[u32], language: Option<u32>, options: &Options) -> Vec<u32> {
        let tokens = &self.parts.tokens;
        let task = match options.task {
            Task::Transcribe => tokens.transcribe,
            Task::Translate => tokens.translate,
        };
        let no_times = (!options.has_times).then_some(tokens.no_timestamps);
        let rest = [Some(tokens.start), language, task.filter(|_| language.is_some()), no_times];
        previous.iter().copied().chain(rest.into_iter().flatten()).collect()
    }

    /// The spectrogram of a recording, and how many of its frames have sound; a short one is filled with silence first.
    pub(super) fn spectrogram(&self, recording: &Pcm) -> (Vec<f32>, usize) {
        let resampler = Resampler::new(recording.sample_rate_hz(), RATE_HZ);
        let mut samples = resampler.resample(recording.samples(), usize::MAX);
        let window = 2 * self.parts.config.max_source_positions * HOP;
        let frames = if samples.len() <= window { samples.len().div_ceil(HOP) } else { samples.len() / HOP };
        samples.resize(samples.len().max(window), 0.0);
        (self.parts.mel.log_mel(&samples), frames)
    }

    /// The likeliest language of a window, its token, and its probability among all.
    fn detect_language(&self, heard: &Heard) -> Result<(String, u32, f32), SpeechError> {
        let (decoder, tokens) = (&self.parts.decoder, &self.parts.tokens);
        let hidden = decoder.forward(&[tokens.start], heard, &mut decoder.begin(1));
        let scores = decoder.scores(&hidden);
        let known: Vec<(&String, u32)> =
            tokens.languages.iter().map(|(code, token)| (code, *token)).collect();
        let of_languages: Vec<f32> = known.iter().map(|(_, token)| scores[*token as usize]).collect();
        let best = most_likely(&of_languages)? as usize;
        let probability = (of_languages[best] - rules::log_sum_exp(&of_languages)).exp();
        let (code, token) = known[best];
        Ok((code.clone(), token, probability))
    }

    /// Tries a window until an attempt is good enough, or the last one is made.
    async fn attempts(
        &self,
        heard: &Heard,
        prompt: &[u32],
        start: usize,
        options: &Options,
        draws: &mut Draws,
        watcher: &mut Watcher<impl AsyncFnMut(&Progress) -> ControlFlow<()>>,
    ) -> Result<Attempt, SpeechError> {
        let mut temperatures = options.temperatures.iter().copied();
        let mut temperature = temperatures.next().unwrap_or(0.0);
        loop {
            let attempt =
                self.attempt(heard, prompt, start, (options.has_times, temperature), draws, watcher).await?;
            let repeats = attempt.compression_ratio > options.compression_ratio_threshold;
            let is_unlikely = attempt.avg_logprob < options.logprob_threshold;
            let is_silence = is_unlikely && attempt.no_speech_prob > options.no_speech_threshold;
            match temperatures.next() {
                Some(next) if (repeats || is_unlikely) && !is_silence => temperature = next,
                _ => return Ok(attempt),
            }
        }
    }

    /// Writes about a window. `start` is where the transcript's own prompt begins.
    async fn attempt(
        &self,
        heard: &Heard,
        prompt: &[u32],
        start: usize,
        (has_times, temperature): (bool, f32),
        draws: &mut Draws,
        watcher: &mut Watcher<impl AsyncFnMut(&Progress) -> ControlFlow<()>>,
    ) -> Result<Attempt, SpeechError> {
        let decoder = &self.parts.decoder;
        let WhisperTokens { end, .. } = self.parts.tokens;
        let room = self.parts.config.max_target_positions;
        let mut cache = decoder.begin(room);
        let hidden = decoder.forward(prompt, heard, &mut cache);
        let width = self.parts.config.d_model;
        let at_start = decoder.scores(&hidden[start * width..][..width]);
        let no_speech = at_start[self.parts.tokens.no_speech() as usize];
        let no_speech_prob = (no_speech - rules::log_sum_exp(&at_start)).exp();
        let mut scores = decoder.scores(&hidden[hidden.len() - width..]);
        let (mut written, mut log_probability, mut count) = (Vec::new(), 0.0, 0);
        loop {
            watcher.look().await?;
            rules::apply(&self.parts.tokens, &written, has_times, &mut scores);
            let best = most_likely(&scores)?;
            let token = if temperature > 0.0 { draws.draw(&scores, temperature) } else { best };
            log_probability += scores[token as usize] - rules::log_sum_exp(&scores);
            count += 1;
            watcher.progress.tokens_written += 1;
            if token == end {
                break;
            }
            written.push(token);
            if prompt.len() + written.len() == room {
                break;
            }
            let hidden = decoder.forward(&[token], heard, &mut cache);
            scores = decoder.scores(&hidden);
        }
        let compression_ratio = compression_ratio(self.text(&written).as_bytes());
        let avg_logprob = log_probability / count as f32;
        Ok(Attempt { written, avg_logprob, compression_ratio, no_speech_prob, temperature })
    }

    /// The text of tokens without times and other special ones.
    fn text(&self, tokens: &[u32]) -> String {
        let texts: Vec<u32> = tokens.iter().copied().filter(|token| *token < self.parts.tokens.end).collect();
        self.parts.tokenizer.decode(&texts)
    }

    fn segment(&self, attempt: &Attempt, stretch: &segments::Stretch, from: usize) -> Segment {
        let tokens = &attempt.written[stretch.tokens.clone()];
        let window_s = from as f64 * FRAME_S;
        let at = |position: u32| window_s + f64::from(position) * POSITION_S;
        Segment {
            start_s: at(stretch.positions.start),
            end_s: at(stretch.positions.end),
            text: self.text(tokens),
            tokens: tokens.to_vec(),
            window_s,
            temperature: attempt.temperature,
            avg_logprob: attempt.avg_logprob,
            compression_ratio: attempt.compression_ratio,
            no_speech_prob: attempt.no_speech_prob,
        }
    }
}

/// Who looks on, and how far it is.
struct Watcher<W> {
    progress: Progress,
    watch: W,
}

impl<W: AsyncFnMut(&Progress) -> ControlFlow<()>> Watcher<W> {
    async fn look(&mut self) -> Result<(), SpeechError> {
        match (self.watch)(&self.progress).await {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(SpeechError::Cancelled),
        }
    }
}

/// Bytes of a text by bytes of the same compressed; 0 without a text.
fn compression_ratio(text: &[u8]) -> f32 {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    let compressed = encoder.write_all(text).and_then(|()| encoder.finish());
    let compressed = compressed.expect("memory can be written to");
    text.len() as f32 / compressed.len() as f32
}

/// Numbers that look random and are not: SplitMix64.
struct Draws(u64);

impl Draws {
    /// From 0 up to 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A token by its probability at a temperature above zero.
    fn draw(&mut self, scores: &[f32], temperature: f32) -> u32 {
        let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weight = |score: f32| f64::from((score - highest) / temperature).exp();
        let mut left = self.next() * scores.iter().map(|&score| weight(score)).sum::<f64>();
        let mut last = 0;
        for (token, &score) in scores.iter().enumerate().filter(|(_, score)| score.is_finite()) {
            last = token as u32;
            left -= weight(score);
            if left < 0.0 {
                break;
            }
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_itself_compresses_well() {
        assert!(compression_ratio("thank you ".repeat(40).as_bytes()) > 2.4);
        assert!(compression_ratio("Mr Quilter is the apostle of the middle classes".as_bytes()) < 2.4);
        assert_eq!(compression_ratio(b""), 0.0);
    }

    #[test]
    fn draws_follow_the_probabilities_and_never_take_what_is_forbidden() {
        let scores = [f32::NEG_INFINITY, 0.0, 2.0_f32.ln(), f32::NEG_INFINITY];
        let mut draws = Draws(1);
        let mut counts = [0; 4];
        for _ in 0..3_000 {
            counts[draws.draw(&scores, 1.0) as usize] += 1;
        }
        assert_eq!((counts[0], counts[3]), (0, 0));
        assert!((1_850..2_150).contains(&counts[2]), "{counts:?}");
    }
}
