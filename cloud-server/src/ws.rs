//! The WebSocket at `/v1/session`: actix on one side, [`Session`] on the other, and nothing else.
//!
//! Two tasks serve a client. One reads frames and watches the clock; the other writes what the session's
//! queue holds and gives up on a client that does not read. Each way out ends both.

use std::str::Utf8Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::Payload;
use actix_web::web::{self, Bytes, BytesMut};
use actix_web::{FromRequest, HttpRequest, HttpResponse, rt};
use actix_ws::{CloseCode, CloseReason, Item, Message, MessageStream, ProtocolError};
use msao_protocol::{ErrorCode, ErrorReport, ServerMessage, frame};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::Instrument as _;

use crate::access::{Caller, SUBPROTOCOL, TokenBucket};
use crate::app::AppState;
use crate::config::Timeouts;
use crate::frame_guard::{FrameGuard, Observed};
use crate::outgoing::{Closing, Farewell, Outbox, Outgoing, outbox, send};
use crate::session::{Session, report, shutting_down};

/// How long, and how many times the limit, a refused message is read and thrown away. A client that is still
/// sending would otherwise see a broken connection instead of the reason.
const SKIP_TIME: Duration = Duration::from_secs(5);
const SKIP_LIMITS: usize = 4;

/// Opens a session.
pub(crate) async fn open(
    request: HttpRequest,
    payload: web::Payload,
    caller: web::ReqData<Caller>,
    state: web::Data<AppState>,
) -> actix_web::Result<HttpResponse> {
    let message_bytes = state.limits.message_bytes as usize;
    let (guard, observed) = FrameGuard::new(payload.into_inner(), message_bytes as u64);
    let guarded =
        web::Payload::from_request(&request, &mut Payload::Stream { payload: Box::pin(guard) }).await?;
    let (response, socket, stream) = actix_ws::handle_with_protocols(&request, guarded, &[SUBPROTOCOL])?;
    let stream = stream.max_frame_size(message_bytes);
    let session = serve(state.into_inner(), caller.into_inner(), socket, stream, observed);
    rt::spawn(session.in_current_span());
    Ok(response)
}

async fn serve(
    state: Arc<AppState>,
    caller: Caller,
    socket: actix_ws::Session,
    stream: MessageStream,
    observed: Observed,
) {
    let (outbox, queue) = outbox();
    let writer = rt::spawn(write(socket, queue, state.timeouts.write));
    // Held until the last byte is written: a server that stops waits for that.
    let opened = state.open_session();
    let farewell = match &opened {
        _ if state.drain.has_begun() => {
            let report = shutting_down(None, "connect again in a moment");
            Farewell::because(report, Closing::Away)
        }
        Some((id, _slot)) => {
            let session = Session::new(id.clone(), caller, Arc::clone(&state), outbox.clone());
            converse(&state, stream, &observed, session, &outbox).await
        }
        None => {
            let message = "the server has as many sessions as it takes: try again in a moment".to_owned();
            let report =
                ErrorReport { retry_after_ms: Some(5_000), ..report(None, ErrorCode::Busy, message) };
            Farewell::because(report, Closing::TryAgain)
        }
    };
    // Sending fails only where there is nobody left to tell.
    if let Some(report) = farewell.report {
        let _ = send(&outbox, ServerMessage::Error(report)).await;
    }
    if observed.refused().is_some() {
        let enough = SKIP_LIMITS * state.limits.message_bytes as usize;
        let _ = timeout(SKIP_TIME, skip(&observed, enough)).await;
    }
    let _ = outbox.send(Outgoing::Close(farewell.closing)).await;
    drop(outbox);
    let _ = writer.await;
    drop(opened);
}

async fn skip(observed: &Observed, enough: usize) {
    let mut skipped = 0;
    while let Some(bytes) = observed.skip().await {
        skipped += bytes;
        if skipped > enough {
            return;
        }
    }
}

/// Serves one client until something ends the session.
async fn converse(
    state: &AppState,
    mut stream: MessageStream,
    observed: &Observed,
    mut session: Session,
    outbox: &Outbox,
) -> Farewell {
    let mut assembly = Assembly::new(state.limits.message_bytes as usize);
    let mut clock = Clock::new(state.timeouts);
    let mut pace = Pace::new(state.access.messages_per_s());
    let mut ticks = interval(state.timeouts.tick());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let outcome = tokio::select! {
            frame = stream.recv() => match frame {
                None => Err(Farewell::silent(Closing::Normal)),
                Some(Err(error)) => Err(broken(&error, observed, state.limits.message_bytes)),
                Some(Ok(frame)) => match assembly.push(frame) {
                    Err(farewell) => Err(farewell),
                    Ok(Incoming::Nothing) => Ok(()),
                    // A client that does not read its pongs does not get them.
                    Ok(Incoming::Ping(bytes)) => {
                        pace.keep().await;
                        let _ = outbox.try_send(Outgoing::Pong(bytes.to_vec()));
                        Ok(())
                    }
                    Ok(Incoming::Message(bytes)) => {
                        pace.keep().await;
                        clock.last_message = Instant::now();
                        session.receive(&bytes).await
                    }
                },
            },
            _ = ticks.tick() => clock.check(&session, observed, outbox),
            () = outbox.closed() => Err(Farewell::silent(Closing::Normal)),
        };
        if let Err(farewell) = outcome {
            return farewell;
        }
        if state.drain.has_begun() && session.is_idle() {
            return Farewell::silent(Closing::Away);
        }
    }
}

/// How fast messages are taken in. Nothing more is read meanwhile, so a client that sends faster is held up by TCP, and
/// one that only had a burst to send notices nothing.
struct Pace {
    per_s: f64,
    bucket: TokenBucket,
}

impl Pace {
    fn new(messages_per_s: u32) -> Self {
        let per_s = f64::from(messages_per_s);
        Self { per_s, bucket: TokenBucket::full(per_s, Instant::now()) }
    }

    /// Waits until one more message may be taken in.
    async fn keep(&mut self) {
        while let Err(wait) = self.bucket.take(self.per_s, self.per_s, Instant::now()) {
            sleep(wait).await;
        }
    }
}

/// What the reading task keeps of time.
struct Clock {
    timeouts: Timeouts,
    opened: Instant,
    last_message: Instant,
    last_ping: Instant,
}

impl Clock {
    fn new(timeouts: Timeouts) -> Self {
        let now = Instant::now();
        Self { timeouts, opened: now, last_message: now, last_ping: now }
    }

    fn check(&mut self, session: &Session, observed: &Observed, outbox: &Outbox) -> Result<(), Farewell> {
        let Timeouts { hello, ping, silence, idle, .. } = self.timeouts;
        let timed_out = |after: Duration, what: &str, remedy: &str| {
            let message = format!("{what} for {} s: {remedy}", after.as_secs_f32());
            Err(Farewell::because(report(None, ErrorCode::TimedOut, message), Closing::Policy))
        };
        if !session.is_greeted() && self.opened.elapsed() > hello {
            return timed_out(hello, "no Hello came", "send it as the first message");
        }
        if let Err(denial) = session.caller().check() {
            let report = report(None, ErrorCode::Unauthorized, denial.to_string());
            return Err(Farewell::because(report, Closing::Policy));
        }
        if observed.last_byte().elapsed() > silence {
            return timed_out(silence, "nothing was heard of the client", "connect again");
        }
        if session.is_idle() && self.last_message.elapsed() > idle {
            return timed_out(idle, "nothing was asked", "connect again when there is a question");
        }
        if self.last_ping.elapsed() > ping {
            self.last_ping = Instant::now();
            // A full queue is a sign of life under way already.
            let _ = outbox.try_send(Outgoing::Ping);
        }
        Ok(())
    }
}

/// Puts fragmented messages together, byte by byte into one buffer, so that tiny fragments cost nothing more.
struct Assembly {
    message: BytesMut,
    limit: usize,
}

enum Incoming {
    Message(Bytes),
    Ping(Bytes),
    Nothing,
}

impl Assembly {
    fn new(limit: usize) -> Self {
        Self { message: BytesMut::new(), limit }
    }

    fn push(&mut self, frame: Message) -> Result<Incoming, Farewell> {
        match frame {
            Message::Binary(bytes) => Ok(Incoming::Message(bytes)),
            Message::Ping(bytes) => Ok(Incoming::Ping(bytes)),
            Message::Pong(_) | Message::Nop => Ok(Incoming::Nothing),
            Message::Close(reason) => Err(Farewell::silent(
                reason.map_or(Closing::Normal, |reason| Closing::Echo(reason.code.into())),
            )),
            Message::Text(_) | Message::Continuation(Item::FirstText(_)) => {
                let message = "a text message came: this protocol is binary, see docs/protocol.md".to_owned();
                Err(Farewell::because(report(None, ErrorCode::MalformedFrame, message), Closing::Unsupported))
            }
            Message::Continuation(Item::FirstBinary(bytes) | Item::Continue(bytes)) => {
                self.append(&bytes)?;
                Ok(Incoming::Nothing)
            }
            Message::Continuation(Item::Last(bytes)) => {
                self.append(&bytes)?;
                Ok(Incoming::Message(self.message.split().freeze()))
            }
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Farewell> {
        let total = self.message.len() + bytes.len();
        if total > self.limit {
            return Err(too_large(total as u64, self.limit as u64));
        }
        self.message.extend_from_slice(bytes);
        Ok(())
    }
}

fn too_large(bytes: u64, limit: u64) -> Farewell {
    let message =
        format!("the message has {bytes} bytes or more; at most {limit} are accepted: send less at once");
    Farewell::because(report(None, ErrorCode::TooLarge, message), Closing::TooLarge)
}

fn broken(error: &ProtocolError, observed: &Observed, message_bytes: u32) -> Farewell {
    if let Some(announced) = observed.refused() {
        return too_large(announced, message_bytes.into());
    }
    match error {
        ProtocolError::Io(error) if error.kind() != std::io::ErrorKind::InvalidData => {
            Farewell::silent(Closing::Normal)
        }
        error => {
            let message = format!("the WebSocket stream is damaged: {error}");
            let closing = if is_not_utf8(error) { Closing::NotUtf8 } else { Closing::Protocol };
            Farewell::because(report(None, ErrorCode::MalformedFrame, message), closing)
        }
    }
}

/// Whether a text message failed on its encoding. It would be refused anyway, but RFC 6455 has a code for it.
fn is_not_utf8(error: &ProtocolError) -> bool {
    matches!(error, ProtocolError::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<Utf8Error>()))
}

/// Writes what the queue holds until the session ends or the client stops reading.
async fn write(mut socket: actix_ws::Session, mut queue: mpsc::Receiver<Outgoing>, patience: Duration) {
    while let Some(outgoing) = queue.recv().await {
        let written = match outgoing {
            Outgoing::Message(message) => match frame::encode(&message) {
                Ok(bytes) => timeout(patience, socket.binary(bytes)).await,
                Err(error) => {
                    tracing::error!(%error, "a message of ours does not encode");
                    break;
                }
            },
            Outgoing::Ping => timeout(patience, socket.ping(b"")).await,
            Outgoing::Pong(bytes) => timeout(patience, socket.pong(&bytes)).await,
            Outgoing::Close(closing) => {
                let _ = timeout(patience, socket.close(Some(close_reason(closing)))).await;
                return;
            }
        };
        match written {
            Ok(Ok(())) => {}
            Ok(Err(_closed)) => return,
            Err(_elapsed) => {
                tracing::info!(?patience, "a client does not read; its session ends");
                return;
            }
        }
    }
}

fn close_reason(closing: Closing) -> CloseReason {
    let (code, description) = match closing {
        Closing::Normal => (CloseCode::Normal, "bye"),
        Closing::Echo(code) => (CloseCode::from(code), "bye"),
        Closing::Away => (CloseCode::Away, "the server is shutting down"),
        Closing::Protocol => (CloseCode::Protocol, "not this protocol"),
        Closing::Unsupported => (CloseCode::Unsupported, "binary messages only"),
        Closing::NotUtf8 => (CloseCode::Invalid, "text that is not UTF-8"),
        Closing::TooLarge => (CloseCode::Size, "message too large"),
        Closing::Policy => (CloseCode::Policy, "against the session's rules"),
        Closing::TryAgain => (CloseCode::Again, "busy"),
    };
    CloseReason { code, description: Some(description.to_owned()) }
}
