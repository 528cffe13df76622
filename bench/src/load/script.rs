//! What one request says to the server, and when.

use std::time::Instant;

use anyhow::Result;
use msao_protocol::{ClientMessage, RequestId, frame};
use msao_tests::wiretap::HeardMessage;

/// A request as it was recorded.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Script {
    /// In order, the question first; none where the edge's answer stood and nobody verified it.
    pub(super) lines: Vec<Line>,
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    /// When it was said, from the question on.
    pub(super) after_ms: f64,
    /// Corrections that have to be known first: a draft that goes on from one cannot come before it.
    pub(super) revision: u32,
    message: ClientMessage,
}

impl Script {
    /// From all that was heard while a request was answered. What keeps the session up is left out.
    ///
    /// # Errors
    /// If something heard is no message.
    pub(super) fn of(heard: &[HeardMessage]) -> Result<Self> {
        let mut asked: Option<Instant> = None;
        let mut lines = Vec::new();
        for one in heard {
            let message: ClientMessage = frame::decode(&one.bytes)?;
            let revision = match &message {
                ClientMessage::Hello { .. } | ClientMessage::Ping { .. } => continue,
                ClientMessage::Draft(draft) => draft.revision,
                _ => 0,
            };
            let asked = *asked.get_or_insert(one.at);
            let after_ms = one.at.saturating_duration_since(asked).as_secs_f64() * 1e3;
            lines.push(Line { after_ms, revision, message });
        }
        Ok(Self { lines })
    }

    /// Whether the server has anything to do with it.
    pub(super) fn reaches_server(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Whether the client gives the cloud's answer up at some point, since it has one by then.
    pub(super) fn gives_up(&self) -> bool {
        self.lines.iter().any(|line| matches!(line.message, ClientMessage::Cancel { .. }))
    }
}

impl Line {
    /// The message as a frame, under another name of the request.
    ///
    /// # Errors
    /// As [`frame::encode`].
    pub(super) fn frame(&self, request_id: RequestId) -> Result<Vec<u8>> {
        let mut message = self.message.clone();
        match &mut message {
            ClientMessage::Ask(ask) => ask.request_id = request_id,
            ClientMessage::Attach(attach) => attach.request_id = request_id,
            ClientMessage::Draft(draft) => draft.request_id = request_id,
            ClientMessage::Verify(verify) => verify.request_id = request_id,
            ClientMessage::Steer { request_id: named, .. } | ClientMessage::Cancel { request_id: named } => {
                *named = request_id;
            }
            ClientMessage::Hello { .. } | ClientMessage::Ping { .. } => (),
        }
        Ok(frame::encode(&message)?)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use msao_protocol::Draft;
    use msao_tests::cloud::question;

    use super::*;

    fn heard(start: Instant, at_ms: u64, message: &ClientMessage) -> HeardMessage {
        HeardMessage { at: start + Duration::from_millis(at_ms), bytes: frame::encode(message).unwrap() }
    }

    fn draft(revision: u32) -> ClientMessage {
        ClientMessage::Draft(Draft {
            request_id: 7,
            revision,
            start: 0,
            tokens: vec![1, 2],
            distributions: Vec::new(),
            is_last: true,
        })
    }

    #[test]
    fn times_count_from_the_question_and_names_can_be_changed() {
        let start = Instant::now();
        let script = Script::of(&[
            heard(start, 0, &ClientMessage::Hello { client: "a client".into() }),
            heard(start, 5, &ClientMessage::Ping { nonce: 1 }),
            heard(start, 10, &ClientMessage::Ask(question(7, "what?"))),
            heard(start, 40, &draft(0)),
            heard(start, 90, &draft(1)),
        ])
        .unwrap();
        let times: Vec<(f64, u32)> = script.lines.iter().map(|line| (line.after_ms, line.revision)).collect();
        assert_eq!(times, [(0.0, 0), (30.0, 0), (80.0, 1)]);
        assert!(script.reaches_server() && !script.gives_up());
        let renamed: ClientMessage = frame::decode(&script.lines[0].frame(9).unwrap()).unwrap();
        assert_eq!(renamed, ClientMessage::Ask(question(9, "what?")));
    }

    #[test]
    fn a_request_that_only_kept_the_session_up_does_not_reach_the_server() {
        let ping = heard(Instant::now(), 0, &ClientMessage::Ping { nonce: 1 });
        assert!(!Script::of(&[ping]).unwrap().reaches_server());
        assert!(Script::of(&[HeardMessage { at: Instant::now(), bytes: vec![1] }]).is_err());
    }
}
