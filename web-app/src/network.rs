//! What crossed the network, for people: which frames of a request, how many bytes, in plain words.

use msao_protocol::RequestId;
use msao_runtime::frame_log::{FrameKind, FrameLog, FrameRecord};

use crate::format;

/// Bytes and frames in both directions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Crossed {
    /// Frames that left.
    pub sent_frames: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Frames that came.
    pub received_frames: u64,
    /// Their bytes.
    pub received_bytes: u64,
}

impl Crossed {
    /// The sums of some frames.
    pub fn of<'a>(frames: impl IntoIterator<Item = &'a FrameRecord>) -> Self {
        frames.into_iter().fold(Self::default(), |mut crossed, frame| {
            let (frames, bytes) = if frame.kind.is_sent() {
                (&mut crossed.sent_frames, &mut crossed.sent_bytes)
            } else {
                (&mut crossed.received_frames, &mut crossed.received_bytes)
            };
            *frames += 1;
            *bytes += frame.bytes;
            crossed
        })
    }

    /// Both directions in a sentence.
    pub fn sentence(&self) -> String {
        if self.sent_frames == 0 {
            return "Nothing was sent.".to_owned();
        }
        format!(
            "{} sent in {}, {} received in {}.",
            format::bytes(self.sent_bytes),
            format::count(self.sent_frames, "message"),
            format::bytes(self.received_bytes),
            format::count(self.received_frames, "message")
        )
    }
}

/// The frames of one request, in order.
pub fn of_request(log: &FrameLog, request_id: RequestId) -> Vec<FrameRecord> {
    log.frames().filter(|frame| frame.request_id == Some(request_id)).copied().collect()
}

/// What a frame is, in plain words.
pub fn kind_words(kind: FrameKind) -> &'static str {
    match kind {
        FrameKind::Hello => "Greeting",
        FrameKind::Question => "Question",
        FrameKind::Media => "Pictures or sound, after the question",
        FrameKind::Draft => "Draft words of this device, as numbers",
        FrameKind::Steer => "Who is to draft from now on",
        FrameKind::Cancel => "No answer is wanted any more",
        FrameKind::Ping => "Are you there?",
        FrameKind::Welcome => "The server's greeting",
        FrameKind::Settled => "Words of the answer that stand",
        FrameKind::Proposed => "Words of the answer, proposed",
        FrameKind::Done => "End of the answer, with its receipt",
        FrameKind::Refusal => "The server refuses, or failed",
        FrameKind::Pong => "I am there",
        FrameKind::Unreadable => "Something that this page cannot read",
    }
}

/// A kind's name for tests and files.
pub fn kind_name(kind: FrameKind) -> &'static str {
    match kind {
        FrameKind::Hello => "hello",
        FrameKind::Question => "question",
        FrameKind::Media => "media",
        FrameKind::Draft => "draft",
        FrameKind::Steer => "steer",
        FrameKind::Cancel => "cancel",
        FrameKind::Ping => "ping",
        FrameKind::Welcome => "welcome",
        FrameKind::Settled => "settled",
        FrameKind::Proposed => "proposed",
        FrameKind::Done => "done",
        FrameKind::Refusal => "refusal",
        FrameKind::Pong => "pong",
        FrameKind::Unreadable => "unreadable",
    }
}

/// What of the user's own is in a frame: `words 24 B, picture 1.2 kB`; empty if nothing.
pub fn given_words(frame: &FrameRecord) -> String {
    let given = frame.given_bytes;
    let parts = [("words", given.text), ("picture", given.vision), ("sound", given.audio)];
    let parts = parts.into_iter().filter(|(_, bytes)| *bytes > 0);
    parts.map(|(what, bytes)| format!("{what} {}", format::bytes(bytes))).collect::<Vec<_>>().join(", ")
}

/// When it crossed, in seconds since the page was opened: `12.345 s`.
pub fn when(frame: &FrameRecord) -> String {
    format!("{:.3} s", frame.at_ms / 1e3)
}

#[cfg(test)]
mod tests {
    use msao_runtime::frame_log::GivenBytes;

    use super::*;

    fn frame(kind: FrameKind, request_id: Option<RequestId>, bytes: u64) -> FrameRecord {
        FrameRecord { at_ms: 12_345.6, kind, request_id, bytes, given_bytes: GivenBytes::default() }
    }

    #[test]
    fn the_frames_of_a_request_are_summed_by_direction() {
        let mut log = FrameLog::default();
        for one in [
            frame(FrameKind::Hello, None, 20),
            frame(FrameKind::Question, Some(1), 900),
            frame(FrameKind::Draft, Some(1), 30),
            frame(FrameKind::Done, Some(1), 70),
            frame(FrameKind::Question, Some(2), 5),
        ] {
            log.push(one);
        }
        let crossed = Crossed::of(&of_request(&log, 1));
        assert_eq!((crossed.sent_bytes, crossed.sent_frames, crossed.received_bytes), (930, 2, 70));
        assert_eq!(crossed.sentence(), "930 B sent in 2 messages, 70 B received in 1 message.");
        assert_eq!(Crossed::of(&of_request(&log, 3)).sentence(), "Nothing was sent.");
        assert_eq!(Crossed::of(log.frames()).sent_bytes, 955);
    }

    #[test]
    fn what_is_the_users_own_in_a_frame_is_said() {
        let given_bytes = GivenBytes { text: 24, vision: 1_200, audio: 0 };
        let question = FrameRecord { given_bytes, ..frame(FrameKind::Question, Some(1), 1_300) };
        assert_eq!(given_words(&question), "words 24 B, picture 1.2 kB");
        assert_eq!(given_words(&frame(FrameKind::Ping, None, 13)), "");
        assert_eq!(when(&question), "12.346 s");
    }
}
