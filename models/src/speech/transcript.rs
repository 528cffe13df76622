//! What comes out: text with times, and how sure the model was.

use serde::Serialize;

/// One stretch of speech.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Segment {
    /// Where it begins, in seconds from the recording's start.
    pub start_s: f64,
    /// Where it ends.
    pub end_s: f64,
    /// What is said, usually with a space before it.
    pub text: String,
    /// Its tokens, times included.
    pub tokens: Vec<u32>,
    /// Where its window begins, in seconds.
    pub window_s: f64,
    /// At which temperature its window was written.
    pub temperature: f32,
    /// Mean natural logarithm of the probabilities of its window's tokens.
    pub avg_logprob: f32,
    /// Bytes of its window's text by bytes of the same compressed; high where it repeats itself.
    pub compression_ratio: f32,
    /// Probability that nobody speaks in its window.
    pub no_speech_prob: f32,
}

/// A recording, written down.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Transcript {
    /// The code of its language; `en` for a checkpoint that knows no other.
    pub language: String,
    /// How probable the language is among all; 1 where it was told.
    pub language_probability: f32,
    /// Length of the recording in seconds.
    pub duration_s: f64,
    /// What is said, in order.
    pub segments: Vec<Segment>,
    /// Windows that were listened to.
    pub windows: usize,
    /// Tokens that were written, those of abandoned attempts included.
    pub tokens_written: usize,
}

impl Transcript {
    /// All that is said, without space around it.
    pub fn text(&self) -> String {
        let text: String = self.segments.iter().map(|segment| segment.text.as_str()).collect();
        text.trim().to_owned()
    }

    /// How sure the model was, 0 to 1: the geometric mean of its tokens' probabilities. It is not calibrated against errors of
    /// words: that takes real speech. 0 where nothing was heard.
    pub fn confidence(&self) -> f32 {
        let tokens: usize = self.segments.iter().map(|segment| segment.tokens.len()).sum();
        if tokens == 0 {
            return 0.0;
        }
        let total: f32 =
            self.segments.iter().map(|segment| segment.avg_logprob * segment.tokens.len() as f32).sum();
        (total / tokens as f32).exp().clamp(0.0, 1.0)
    }
}
