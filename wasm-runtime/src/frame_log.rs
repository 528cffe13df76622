//! What crossed the network in a session, frame by frame: kinds and sizes, never contents.
//!
//! Pages show it to their users. It is bounded: of a long session the oldest frames are forgotten, which are counted.

use std::collections::VecDeque;

use msao_protocol::{ClientMessage, Modality, RequestId, ServerMessage};

/// Frames that a log holds at most.
pub const MOST_FRAMES: usize = 500;

/// A frame that was handed to the browser, or came from it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameRecord {
    /// When, in milliseconds of the clock that the session was given.
    pub at_ms: f64,
    /// What it was.
    pub kind: FrameKind,
    /// The request it belongs to; `None` for upkeep.
    pub request_id: Option<RequestId>,
    /// Bytes of the frame, its header included.
    pub bytes: u64,
    /// Bytes in it of words, pictures and sound that the user gave.
    pub given_bytes: GivenBytes,
}

/// Bytes of each modality in a frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GivenBytes {
    /// The question, and the words of turns before.
    pub text: u64,
    /// Pictures.
    pub vision: u64,
    /// Recordings.
    pub audio: u64,
}

/// Kinds of frames, by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// To the server: the greeting.
    Hello,
    /// To the server: a question with its media.
    Question,
    /// To the server: media that follow a question.
    Media,
    /// To the server: tokens that this device drafted, or some to be judged.
    Draft,
    /// To the server: who drafts from now on.
    Steer,
    /// To the server: no answer is wanted any more.
    Cancel,
    /// To the server: whether it is there.
    Ping,
    /// From the server: its greeting.
    Welcome,
    /// From the server: tokens that stand, or a verdict on some.
    Settled,
    /// From the server: tokens that it proposes.
    Proposed,
    /// From the server: the end of an answer, with its receipt.
    Done,
    /// From the server: a refusal or a failure.
    Refusal,
    /// From the server: that it is there.
    Pong,
    /// From the server: a frame that could not be read.
    Unreadable,
}

impl FrameKind {
    /// Whether it left the device.
    pub fn is_sent(self) -> bool {
        matches!(
            self,
            Self::Hello
                | Self::Question
                | Self::Media
                | Self::Draft
                | Self::Steer
                | Self::Cancel
                | Self::Ping
        )
    }
}

/// What a message is, the request it belongs to, and what the user gave of it.
pub(crate) type Gist = (FrameKind, Option<RequestId>, GivenBytes);

/// The gist of a message to the server.
pub(crate) fn gist_of_sent(message: &ClientMessage) -> Gist {
    let nothing = GivenBytes::default();
    match message {
        ClientMessage::Hello { .. } => (FrameKind::Hello, None, nothing),
        ClientMessage::Ask(ask) => {
            let given = GivenBytes {
                text: ask.bytes(Modality::Text),
                vision: ask.bytes(Modality::Vision),
                audio: ask.bytes(Modality::Audio),
            };
            (FrameKind::Question, Some(ask.request_id), given)
        }
        ClientMessage::Attach(attach) => {
            let given = GivenBytes {
                text: 0,
                vision: attach.bytes(Modality::Vision),
                audio: attach.bytes(Modality::Audio),
            };
            (FrameKind::Media, Some(attach.request_id), given)
        }
        ClientMessage::Draft(draft) => (FrameKind::Draft, Some(draft.request_id), nothing),
        ClientMessage::Verify(verify) => (FrameKind::Draft, Some(verify.request_id), nothing),
        ClientMessage::Steer { request_id, .. } => (FrameKind::Steer, Some(*request_id), nothing),
        ClientMessage::Cancel { request_id } => (FrameKind::Cancel, Some(*request_id), nothing),
        ClientMessage::Ping { .. } => (FrameKind::Ping, None, nothing),
    }
}

/// The gist of a message from the server.
pub(crate) fn gist_of_received(message: &ServerMessage) -> Gist {
    let (kind, request_id) = match message {
        ServerMessage::Welcome { .. } => (FrameKind::Welcome, None),
        ServerMessage::Settled { request_id, .. } => (FrameKind::Settled, Some(*request_id)),
        ServerMessage::Proposed { request_id, .. } => (FrameKind::Proposed, Some(*request_id)),
        ServerMessage::Done { request_id, .. } => (FrameKind::Done, Some(*request_id)),
        ServerMessage::Verified(verified) => (FrameKind::Settled, Some(verified.request_id)),
        ServerMessage::Error(report) => (FrameKind::Refusal, report.request_id),
        ServerMessage::Pong { .. } => (FrameKind::Pong, None),
    };
    (kind, request_id, GivenBytes::default())
}

impl FrameRecord {
    pub(crate) fn new((kind, request_id, given_bytes): Gist, bytes: usize, at_ms: f64) -> Self {
        Self { at_ms, kind, request_id, bytes: bytes as u64, given_bytes }
    }
}

/// The last [`MOST_FRAMES`] frames.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FrameLog {
    frames: VecDeque<FrameRecord>,
    forgotten: u64,
}

impl FrameLog {
    /// Adds a frame; of too many the oldest goes.
    pub fn push(&mut self, frame: FrameRecord) {
        if self.frames.len() == MOST_FRAMES {
            self.frames.pop_front();
            self.forgotten += 1;
        }
        self.frames.push_back(frame);
    }

    /// The oldest frame, taken out.
    pub fn take_first(&mut self) -> Option<FrameRecord> {
        self.frames.pop_front()
    }

    /// The frames, in order.
    pub fn frames(&self) -> impl DoubleEndedIterator<Item = &FrameRecord> + ExactSizeIterator {
        self.frames.iter()
    }

    /// Frames that are no longer listed, since there were too many.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use msao_protocol::{Ask, Draft, ErrorCode, ErrorReport, ImageInput, Media, MediaKind, Speculation};

    use super::*;

    fn ping(at_ms: f64) -> FrameRecord {
        FrameRecord::new(gist_of_sent(&ClientMessage::Ping { nonce: 1 }), 13, at_ms)
    }

    #[test]
    fn a_long_session_keeps_its_last_frames_and_counts_the_others() {
        let mut log = FrameLog::default();
        for at_ms in 0..MOST_FRAMES + 7 {
            log.push(ping(at_ms as f64));
        }
        let kept: Vec<_> = log.frames().map(|frame| frame.at_ms).collect();
        assert_eq!((kept.len(), kept[0], log.forgotten()), (MOST_FRAMES, 7.0, 7));
        assert_eq!(log.take_first().map(|frame| frame.at_ms), Some(7.0));
        assert_eq!(log.frames().len(), MOST_FRAMES - 1);
    }

    #[test]
    fn a_question_tells_its_bytes_by_modality_and_nothing_else_of_it() {
        let media = Media { kind: MediaKind::Png, bytes: vec![0; 90] };
        let ask = Ask {
            request_id: 4,
            question: "what?".into(),
            images: vec![ImageInput::Whole(media)],
            clip: None,
            audio: None,
            history: Vec::new(),
            continues: None,
            pending: Vec::new(),
            max_new_tokens: 9,
            sampling: None,
            speculation: Speculation::None,
        };
        let record = FrameRecord::new(gist_of_sent(&ClientMessage::Ask(ask)), 130, 2.0);
        assert_eq!((record.kind, record.request_id, record.bytes), (FrameKind::Question, Some(4), 130));
        assert_eq!(record.given_bytes, GivenBytes { text: 5, vision: 90, audio: 0 });
        assert!(!format!("{record:?}").contains("what?"));
    }

    #[test]
    fn frames_know_their_direction_and_request() {
        let draft = Draft {
            request_id: 3,
            revision: 0,
            start: 0,
            tokens: Vec::new(),
            distributions: Vec::new(),
            is_last: true,
        };
        let (kind, request_id, _) = gist_of_sent(&ClientMessage::Draft(draft));
        assert!(kind.is_sent() && request_id == Some(3));
        let report = ErrorReport {
            code: ErrorCode::Busy,
            message: String::new(),
            request_id: None,
            retry_after_ms: None,
        };
        let (kind, request_id, _) = gist_of_received(&ServerMessage::Error(report));
        assert!(!kind.is_sent() && request_id.is_none());
    }
}
