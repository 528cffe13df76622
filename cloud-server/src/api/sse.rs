//! A streamed answer: chunks as server-sent events, pulled by the client's own pace.
//!
//! Whoever does not read holds up nobody: the engine's events of a whole answer fit their queue. While nothing is written
//! a comment now and then keeps proxies from hanging up.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_ENCODING};
use actix_web::web::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Serialize;
use tokio::time::timeout;

use super::Underway;
use super::answering::{Answering, End, Step};
use super::reply::{Chunk, Delta, Head, Logprobs, Part};
use super::visible::Piece;

/// Silence after which a comment is sent.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
const COMMENT: &[u8] = b": still writing\n\n";
const DONE: &[u8] = b"data: [DONE]\n\n";

/// What a stream is made of.
pub(super) struct Streaming {
    pub(super) head: Head,
    pub(super) answering: Answering,
    pub(super) with_usage: bool,
    pub(super) with_logprobs: bool,
    /// Lets the server stop only once the stream has ended.
    pub(super) _underway: Underway,
}

enum Next {
    /// What was waited for before the response began.
    First(Box<Step>),
    Wait,
    Over,
}

/// Answers with a stream that begins with `first`.
pub(super) fn respond(streaming: Streaming, first: Step) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/event-stream; charset=utf-8")
        .insert_header((CACHE_CONTROL, "no-store"))
        // Compression would hold chunks back; proxies do so unless told.
        .insert_header((CONTENT_ENCODING, "identity"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(events(streaming, first))
}

fn events(streaming: Streaming, first: Step) -> impl Stream<Item = Result<Bytes, actix_web::Error>> {
    unfold((streaming, Next::First(Box::new(first))), |(mut streaming, next)| async move {
        let (bytes, next) = match next {
            Next::Over => return None,
            Next::First(step) => {
                let mut bytes = Vec::new();
                let opening = Delta { role: Some("assistant"), content: Some("") };
                streaming.push(&mut bytes, opening, None, None);
                let next = streaming.take(&mut bytes, *step);
                (bytes, next)
            }
            Next::Wait => match timeout(SIGN_OF_LIFE, streaming.answering.next()).await {
                Err(_elapsed) => (COMMENT.to_vec(), Next::Wait),
                Ok(Ok(step)) => {
                    let mut bytes = Vec::new();
                    let next = streaming.take(&mut bytes, step);
                    (bytes, next)
                }
                // Too late for a status; OpenAI's clients raise what they find under `error`.
                Ok(Err(error)) => (format!("data: {}\n\n", error.to_json()).into_bytes(), Next::Over),
            },
        };
        Some((Ok(Bytes::from(bytes)), (streaming, next)))
    })
}

impl Streaming {
    fn take(&self, bytes: &mut Vec<u8>, step: Step) -> Next {
        match step {
            Step::Piece(piece) => {
                self.push_piece(bytes, piece);
                Next::Wait
            }
            Step::End(end) => {
                let End { rest, finish_reason, usage, receipt } = *end;
                self.push_piece(bytes, rest);
                self.push(bytes, Delta::default(), None, Some(finish_reason));
                if self.with_usage {
                    let (usage, receipt) = (Some(Some(&usage)), Some(&receipt));
                    push_event(bytes, &Chunk { head: &self.head, choices: vec![], usage, receipt });
                }
                bytes.extend_from_slice(DONE);
                Next::Over
            }
        }
    }

    fn push_piece(&self, bytes: &mut Vec<u8>, piece: Piece) {
        let Piece { text, logprobs } = piece;
        if text.is_empty() && logprobs.is_empty() {
            return;
        }
        let logprobs = self.with_logprobs.then(|| Logprobs::new(logprobs));
        let delta = Delta { role: None, content: Some(&text) };
        self.push(bytes, delta, logprobs, None);
    }

    fn push(
        &self,
        bytes: &mut Vec<u8>,
        delta: Delta<'_>,
        logprobs: Option<Logprobs>,
        finish_reason: Option<&'static str>,
    ) {
        let choices = vec![Part { index: 0, delta, logprobs, finish_reason }];
        let usage = self.with_usage.then_some(None);
        push_event(bytes, &Chunk { head: &self.head, choices, usage, receipt: None });
    }
}

fn push_event(bytes: &mut Vec<u8>, chunk: &impl Serialize) {
    bytes.extend_from_slice(b"data: ");
    if let Err(error) = serde_json::to_writer(&mut *bytes, chunk) {
        tracing::error!(%error, "a chunk of ours does not encode");
    }
    bytes.extend_from_slice(b"\n\n");
}
