//! What the edge says to the cloud.

use serde::{Deserialize, Serialize};

use crate::{Modality, RequestId};

/// A message from the edge to the cloud.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ClientMessage {
    /// First message of a session; the server answers with [`ServerMessage::Welcome`](crate::ServerMessage::Welcome).
    Hello {
        /// Name and version of the client, for the server's log.
        client: String,
    },
    /// Answer this question.
    Ask(Ask),
    /// Stop working on a request. The server ends it with
    /// [`FinishReason::Cancelled`](crate::FinishReason::Cancelled); an unknown id is ignored, since the answer
    /// may have crossed this message.
    Cancel {
        /// The request to stop.
        request_id: RequestId,
    },
    /// Asks for a [`ServerMessage::Pong`](crate::ServerMessage::Pong) with the same nonce: the round-trip time
    /// of an idle session.
    Ping {
        /// Returned unchanged.
        nonce: u32,
    },
}

/// One question with the media it is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// Chosen by the client; every message about this question carries it.
    pub request_id: RequestId,
    /// The typed question. May be empty when [`Self::audio`] holds a spoken one.
    pub question: String,
    /// A single picture, or the frames of a clip in order of time.
    pub images: Vec<Media>,
    /// One recording.
    pub audio: Option<Media>,
    /// Most tokens the answer may have; the server lowers it to its own limit.
    pub max_new_tokens: u32,
}

impl Ask {
    /// Media bytes of `modality` that this message carries; for text, the bytes of the question.
    pub fn bytes(&self, modality: Modality) -> u64 {
        match modality {
            Modality::Text => self.question.len() as u64,
            Modality::Vision => self.images.iter().map(|image| image.bytes.len() as u64).sum(),
            Modality::Audio => self.audio.iter().map(|audio| audio.bytes.len() as u64).sum(),
        }
    }
}

/// An encoded image or recording, as a file would hold it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Media {
    /// The format the sender says it is. The server trusts only what it finds in the bytes.
    pub kind: MediaKind,
    /// The file's content.
    pub bytes: Vec<u8>,
}

/// Media formats of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MediaKind {
    /// `image/png`
    Png,
    /// `image/jpeg`
    Jpeg,
    /// `image/webp`
    Webp,
    /// `audio/wav`, 16-bit or float PCM
    Wav,
}
