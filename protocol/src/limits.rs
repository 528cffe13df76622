//! Budgets for inputs, told to the client at the start of a session so that it can refuse early and kindly.

use serde::{Deserialize, Serialize};

/// The most a server takes. Every field is checked before the input it bounds is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of one WebSocket message, media included.
    pub message_bytes: u32,
    /// Bytes of one encoded image.
    pub image_bytes: u32,
    /// Pixels of a question's decoded images together, those of earlier turns included, width times height.
    pub image_pixels: u32,
    /// Pictures of a question that says of no times when they were.
    pub images: u32,
    /// Frames of a video of which it is said when they were; of all earlier turns' videos together as well.
    pub clip_frames: u32,
    /// Bytes of one encoded recording.
    pub audio_bytes: u32,
    /// Seconds of one recording.
    pub audio_s: f32,
    /// Characters of a question.
    pub question_chars: u32,
    /// Earlier turns of a conversation.
    pub history_turns: u32,
    /// Characters of all earlier questions and answers together.
    pub history_chars: u32,
    /// Images of all earlier turns together, those of videos aside.
    pub history_images: u32,
    /// Tokens of an answer.
    pub max_new_tokens: u32,
    /// Requests of one session that may wait or run at a time.
    pub requests_in_flight: u32,
}

impl Default for Limits {
    /// Roomy for a phone photograph and half a minute of speech.
    fn default() -> Self {
        Self {
            message_bytes: 16 << 20,
            image_bytes: 8 << 20,
            image_pixels: 40_000_000,
            images: 8,
            clip_frames: 64,
            audio_bytes: 8 << 20,
            audio_s: 30.0,
            question_chars: 4_000,
            history_turns: 16,
            history_chars: 16_000,
            history_images: 8,
            max_new_tokens: 256,
            requests_in_flight: 4,
        }
    }
}
