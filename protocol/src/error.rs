//! Errors as they cross the wire, and those of the wire itself.

use serde::{Deserialize, Serialize};

use crate::RequestId;

/// A failure told to the other side: what happened and what to do about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorReport {
    /// The request that failed; `None` when the whole session has.
    pub request_id: Option<RequestId>,
    /// For programs.
    pub code: ErrorCode,
    /// For people: what is wrong, with the measured value and the limit, and the remedy.
    pub message: String,
    /// When trying again makes sense, in milliseconds from now.
    pub retry_after_ms: Option<u32>,
}

/// Every way a request or a session can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// The bytes are no frame of this protocol.
    MalformedFrame,
    /// The frame speaks another protocol version.
    UnsupportedVersion,
    /// A request came before `Hello`, or `Hello` came twice; media or drafts came for a request that waits for none.
    OutOfOrder,
    /// A message, image or recording has more bytes than allowed.
    TooLarge,
    /// The image decodes to more pixels than allowed.
    TooManyPixels,
    /// More frames than allowed.
    TooManyImages,
    /// The bytes are no image of a supported format.
    NotAnImage,
    /// The bytes are no recording of a supported format.
    NotAudio,
    /// The file ends before its header says.
    Truncated,
    /// The recording is longer than allowed.
    AudioTooLong,
    /// Nothing can be heard in the recording.
    AudioSilent,
    /// The question is empty and there is no recording either.
    EmptyQuestion,
    /// The question has more characters or tokens than allowed.
    QuestionTooLong,
    /// The server has as many requests as it can take.
    Busy,
    /// The server is shutting down.
    ShuttingDown,
    /// A fault of the server's own; its log says more.
    Internal,
    /// A request carries the id of another one that is not over yet.
    DuplicateRequest,
    /// The model cannot take this kind of input.
    Unsupported,
    /// The other side kept silent for longer than allowed.
    TimedOut,
    /// A mask and the parts that come with it do not fit each other, or not the grid that the server told.
    KeptMismatch,
    /// The earlier turns are more, or have more characters or images, than allowed.
    HistoryTooLong,
    /// The request to go on from is not one of this session, is not over, or the server has given it up.
    Forgotten,
    /// The engines that this server asks are down, or one of them broke off.
    Unavailable,
    /// The key or token does not let this in, or does no longer.
    Unauthorized,
    /// The times of a video's frames are not one for each, rising, and within the video.
    ClipMismatch,
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Fewer bytes than the header or its length field promise.
    #[error("the frame has {actual} bytes where {expected} were announced; send each frame as one message")]
    Truncated {
        /// Bytes that should be there.
        expected: usize,
        /// Bytes that are.
        actual: usize,
    },
    /// More bytes than the header announces.
    #[error("the frame has {actual} bytes where {expected} were announced; send one frame a message")]
    TrailingBytes {
        /// Bytes that should be there.
        expected: usize,
        /// Bytes that are.
        actual: usize,
    },
    /// Does not begin with the magic bytes.
    #[error("this is no MSAO frame; speak the protocol of docs/protocol.md")]
    BadMagic,
    /// Another protocol version.
    #[error("protocol version {0} is not supported; this side speaks version {current}", current = crate::PROTOCOL_VERSION)]
    UnsupportedVersion(u8),
    /// The payload does not decode.
    #[error("the frame's payload is damaged: {0}")]
    Payload(#[from] postcard::Error),
}

impl FrameError {
    /// The code that tells this error to the other side.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::UnsupportedVersion(_) => ErrorCode::UnsupportedVersion,
            _ => ErrorCode::MalformedFrame,
        }
    }
}
