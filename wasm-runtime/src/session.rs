//! A session with the cloud as a state machine: what to send, what to tell, what to do after a cut.
//!
//! It knows no socket, clock or browser: frames, cuts and the time come in as arguments, events and frames go
//! out as values, so that every course of events can be played through in a test.
//!
//! Nothing is lost: an [`Ask`] is kept until its answer is complete, and media that are attached later become part of
//! it. If the session is cut before anything was settled, the ask is sent once more in the next session; if something
//! was, or it was the second time, the request fails as retryable. A request that waits for a server that stays away
//! fails after [`ATTEMPTS_BEFORE_GIVING_UP`] attempts, while connecting goes on. Drafts are worth something only to
//! the session they were written for: they are never kept.

use std::collections::VecDeque;

use msao_protocol::{
    Ask, Attach, ClientMessage, Draft, ErrorCode, ErrorReport, FrameError, Limits, RequestId, ServerMessage,
    Speculation, frame,
};

use crate::{
    ask_check::{check_ask, with_media},
    cloud_events::{CloudEvent, CloudFailure, CloudFailureCause, Traffic},
    frame_log::{FrameKind, FrameLog, FrameRecord, Gist, GivenBytes, gist_of_received, gist_of_sent},
};

/// Failed attempts to connect after which waiting requests are given up.
pub const ATTEMPTS_BEFORE_GIVING_UP: u32 = 4;
/// Pause before the first new attempt; doubled each time.
const FIRST_PAUSE_MS: u32 = 500;
/// Longest pause between attempts.
const LONGEST_PAUSE_MS: u32 = 15_000;
/// Pings without any sign of life after which the session counts as cut.
const UNANSWERED_PINGS: u32 = 2;

/// State of the session. See the module's description.
#[derive(Debug)]
pub struct Session {
    client: String,
    phase: Phase,
    pending: Vec<Pending>,
    outbox: VecDeque<Queued>,
    traffic: Traffic,
    /// Frames that nobody has taken note of yet.
    crossed: FrameLog,
    /// Connection attempts since the session was last open.
    attempts: u32,
    ping: Ping,
}

/// A frame to be handed to the socket, and what that means for the page.
#[derive(Debug)]
pub struct Outgoing {
    /// The frame.
    pub bytes: Vec<u8>,
    /// To be told once the frame was handed over.
    pub event: Option<CloudEvent>,
}

#[derive(Debug)]
struct Queued {
    bytes: Vec<u8>,
    cargo: Cargo,
    gist: Gist,
}

/// What a frame carries, as far as measuring is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cargo {
    /// A question or media.
    Media(RequestId),
    /// Answered by the server at once.
    Echoed,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Closed,
    /// `Hello` is sent, `Welcome` has not come.
    Greeting,
    Open(Limits),
}

#[derive(Debug)]
struct Pending {
    ask: Ask,
    sent: bool,
    resent: bool,
    /// Something of the answer is settled.
    answering: bool,
}

#[derive(Debug, Default)]
struct Ping {
    nonce: u32,
    /// When the last greeting or ping was handed over; `None` if its answer says nothing about the round trip.
    sent_at_ms: Option<f64>,
    unanswered: u32,
}

impl Session {
    /// A closed session; `client` is the name and version told to the server.
    pub fn new(client: impl Into<String>) -> Self {
        Self {
            client: client.into(),
            phase: Phase::Closed,
            pending: Vec::new(),
            outbox: VecDeque::new(),
            traffic: Traffic::default(),
            crossed: FrameLog::default(),
            attempts: 0,
            ping: Ping::default(),
        }
    }

    /// Whether the server has welcomed this client.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// Bytes so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// The next frame that crossed, in order; each is told once. Those that nobody takes are forgotten in the end.
    pub fn take_crossed(&mut self) -> Option<FrameRecord> {
        self.crossed.take_first()
    }

    /// Takes a question: sends it if the session is open, else keeps it for when it is.
    ///
    /// # Errors
    /// A report if it exceeds the limits of the server, or the defaults while those are unknown.
    pub fn ask(&mut self, ask: Ask) -> Result<(), ErrorReport> {
        check_ask(&ask, &self.limits())?;
        self.pending.push(Pending { ask, sent: false, resent: false, answering: false });
        if self.is_open() {
            self.send_waiting();
        }
        Ok(())
    }

    /// Takes the media that a question announced as pending: sends them if the question was sent in this session,
    /// else they go with it. Returns `false` if nobody waits for them, because the request is over.
    ///
    /// # Errors
    /// A report if they are not what was announced, or if question and media together, which is what a resend carries,
    /// exceed the limits of the server.
    pub fn attach(&mut self, attach: Attach) -> Result<bool, ErrorReport> {
        let limits = self.limits();
        let Some(pending) = self.pending(attach.request_id).filter(|pending| !pending.ask.pending.is_empty())
        else {
            return Ok(false);
        };
        pending.ask = with_media(&pending.ask, attach.clone(), &limits)?;
        if pending.sent {
            let cargo = Cargo::Media(attach.request_id);
            self.send(&ClientMessage::Attach(attach), cargo);
        }
        Ok(true)
    }

    /// Sends a draft. Returns `false`, and forgets it, if the server does not work on its request at the moment.
    pub fn draft(&mut self, draft: Draft) -> bool {
        let is_worked_on =
            self.is_open() && self.pending(draft.request_id).is_some_and(|pending| pending.sent);
        if is_worked_on {
            self.send(&ClientMessage::Draft(draft), Cargo::Other);
        }
        is_worked_on
    }

    /// Lets drafts of a request come from elsewhere from now on. Returns `false`, and forgets it, if the server does not
    /// work on the request at the moment; a resend asks for them as well.
    pub fn steer(&mut self, request_id: RequestId, speculation: Speculation) -> bool {
        let is_open = self.is_open();
        let Some(pending) = self.pending(request_id) else { return false };
        pending.ask.speculation = speculation;
        let is_worked_on = is_open && pending.sent;
        if is_worked_on {
            self.send(&ClientMessage::Steer { request_id, speculation }, Cargo::Other);
        }
        is_worked_on
    }

    /// Stops a request. One that the server knows ends with its `Done`; one that was never sent is forgotten.
    /// Returns whether the page must expect an end.
    pub fn cancel(&mut self, request_id: RequestId) -> bool {
        let Some(position) = self.pending.iter().position(|pending| pending.ask.request_id == request_id)
        else {
            return false;
        };
        if self.is_open() && self.pending[position].sent {
            self.send(&ClientMessage::Cancel { request_id }, Cargo::Other);
            return true;
        }
        self.pending.remove(position);
        false
    }

    /// A connection is being made.
    pub fn connecting(&mut self) -> CloudEvent {
        self.attempts += 1;
        CloudEvent::Connecting { attempt: self.attempts }
    }

    /// The connection stands: greets the server.
    pub fn connected(&mut self) {
        self.phase = Phase::Greeting;
        self.ping.unanswered = 0;
        self.send(&ClientMessage::Hello { client: self.client.clone() }, Cargo::Echoed);
    }

    /// The next frame, which is handed to a socket that stands at `now_ms`.
    pub fn next_frame(&mut self, now_ms: f64) -> Option<Outgoing> {
        let Queued { bytes, cargo, gist } = self.outbox.pop_front()?;
        let frame_bytes = bytes.len() as u64;
        self.crossed.push(FrameRecord::new(gist, bytes.len(), now_ms));
        self.traffic.sent_bytes += frame_bytes;
        let event = match cargo {
            Cargo::Media(request_id) => {
                self.ping.sent_at_ms = None;
                Some(CloudEvent::Sent { request_id, frame_bytes })
            }
            Cargo::Echoed => {
                // Behind an upload, or beside the server's work, the echo would measure those.
                let is_idle = self.pending.iter().all(|pending| !pending.sent);
                self.ping.sent_at_ms = is_idle.then_some(now_ms);
                None
            }
            Cargo::Other => None,
        };
        Some(Outgoing { bytes, event })
    }

    /// Asks for a sign of life; call it regularly while connected.
    ///
    /// # Errors
    /// A reason to cut the connection, if the last signs stayed away.
    pub fn tick(&mut self) -> Result<(), &'static str> {
        if self.ping.unanswered >= UNANSWERED_PINGS {
            return Err("the server has gone silent");
        }
        self.ping.unanswered += 1;
        if self.is_open() {
            self.ping.nonce = self.ping.nonce.wrapping_add(1);
            self.send(&ClientMessage::Ping { nonce: self.ping.nonce }, Cargo::Echoed);
        }
        Ok(())
    }

    /// A frame came at `now_ms`; returns what it means for the page.
    pub fn received(&mut self, bytes: &[u8], now_ms: f64) -> Vec<CloudEvent> {
        self.traffic.received_bytes += bytes.len() as u64;
        self.ping.unanswered = 0;
        let message = frame::decode(bytes);
        let unread = (FrameKind::Unreadable, None, GivenBytes::default());
        let gist = message.as_ref().map_or(unread, gist_of_received);
        self.crossed.push(FrameRecord::new(gist, bytes.len(), now_ms));
        match message {
            Ok(message) => self.message(message, now_ms),
            Err(error) => vec![CloudEvent::Failed(unreadable(&error))],
        }
    }

    /// The connection was cut, or could not be had. Returns what to tell and the pause before the next attempt.
    pub fn closed(&mut self, reason: &str) -> (Vec<CloudEvent>, u32) {
        self.phase = Phase::Closed;
        self.outbox.clear();
        let retry_in_ms = pause_ms(self.attempts);
        let mut events = vec![CloudEvent::Disconnected { reason: reason.to_owned(), retry_in_ms }];
        let give_up = self.attempts >= ATTEMPTS_BEFORE_GIVING_UP;
        self.pending.retain_mut(|pending| {
            let keep = !give_up && !(pending.sent && (pending.answering || pending.resent));
            if keep {
                pending.resent |= pending.sent;
                pending.sent = false;
            } else {
                events.push(CloudEvent::Failed(lost(pending, reason)));
            }
            keep
        });
        (events, retry_in_ms)
    }

    fn message(&mut self, message: ServerMessage, now_ms: f64) -> Vec<CloudEvent> {
        match message {
            ServerMessage::Welcome { session_id, model, limits } => {
                self.phase = Phase::Open(limits);
                self.attempts = 0;
                let mut events = vec![CloudEvent::Connected { session_id, model, limits }];
                events.extend(self.round_trip(now_ms));
                events.extend(self.send_waiting());
                events
            }
            ServerMessage::Settled { request_id, start, tokens, revision } => {
                let Some(pending) = self.pending(request_id) else { return Vec::new() };
                pending.answering = true;
                vec![CloudEvent::Settled { request_id, start, tokens, revision }]
            }
            ServerMessage::Proposed { request_id, start, tokens } => {
                let is_known = self.pending(request_id).is_some();
                is_known.then_some(CloudEvent::Proposed { request_id, start, tokens }).into_iter().collect()
            }
            ServerMessage::Done { request_id, text, finish_reason, receipt } => {
                if !self.forget(request_id) {
                    return Vec::new();
                }
                vec![CloudEvent::Done { request_id, text, finish_reason, receipt }]
            }
            ServerMessage::Error(report) => {
                if report.request_id.is_some_and(|request_id| !self.forget(request_id)) {
                    return Vec::new();
                }
                vec![CloudEvent::Failed(refused(report))]
            }
            ServerMessage::Pong { nonce } if nonce == self.ping.nonce => {
                self.round_trip(now_ms).into_iter().collect()
            }
            // Nothing here asks for a verification by itself.
            ServerMessage::Pong { .. } | ServerMessage::Verified(_) => Vec::new(),
        }
    }

    fn round_trip(&mut self, now_ms: f64) -> Option<CloudEvent> {
        let sent_at_ms = self.ping.sent_at_ms.take()?;
        Some(CloudEvent::RoundTrip { rtt_ms: now_ms - sent_at_ms })
    }

    /// The server's limits, or the defaults while those are unknown.
    fn limits(&self) -> Limits {
        if let Phase::Open(limits) = self.phase { limits } else { Limits::default() }
    }

    fn pending(&mut self, request_id: RequestId) -> Option<&mut Pending> {
        self.pending.iter_mut().find(|pending| pending.ask.request_id == request_id)
    }

    fn forget(&mut self, request_id: RequestId) -> bool {
        let before = self.pending.len();
        self.pending.retain(|pending| pending.ask.request_id != request_id);
        self.pending.len() < before
    }

    /// Sends every ask that has not been sent in this session.
    fn send_waiting(&mut self) -> Vec<CloudEvent> {
        let mut events = Vec::new();
        for pending in self.pending.iter_mut().filter(|pending| !pending.sent) {
            pending.sent = true;
            if pending.resent {
                events.push(CloudEvent::Resent { request_id: pending.ask.request_id });
            }
            let cargo = Cargo::Media(pending.ask.request_id);
            self.outbox.extend(queued(&ClientMessage::Ask(pending.ask.clone()), cargo));
        }
        events
    }

    fn send(&mut self, message: &ClientMessage, cargo: Cargo) {
        self.outbox.extend(queued(message, cargo));
    }
}

/// `None` never comes, since `encode` cannot fail for the protocol's own types; it would be a missing frame.
fn queued(message: &ClientMessage, cargo: Cargo) -> Option<Queued> {
    Some(Queued { bytes: frame::encode(message).ok()?, cargo, gist: gist_of_sent(message) })
}

/// `min(first * 2^(attempts - 1), longest)`; the first attempt after a working session waits the least.
fn pause_ms(attempts: u32) -> u32 {
    let doublings = attempts.saturating_sub(1).min(16);
    FIRST_PAUSE_MS.saturating_mul(1 << doublings).min(LONGEST_PAUSE_MS)
}

fn lost(pending: &Pending, reason: &str) -> CloudFailure {
    let message = if pending.answering {
        format!("the connection was cut in the middle of the answer ({reason}); ask again")
    } else {
        format!("the server could not be reached ({reason}); ask again when it is back")
    };
    CloudFailure {
        request_id: Some(pending.ask.request_id),
        cause: CloudFailureCause::ConnectionLost,
        message,
        retryable: true,
        retry_after_ms: None,
    }
}

fn refused(report: ErrorReport) -> CloudFailure {
    let retryable = matches!(
        report.code,
        ErrorCode::Busy | ErrorCode::ShuttingDown | ErrorCode::Internal | ErrorCode::Unavailable
    );
    CloudFailure {
        request_id: report.request_id,
        cause: CloudFailureCause::Server(report.code),
        message: report.message,
        retryable,
        retry_after_ms: report.retry_after_ms,
    }
}

fn unreadable(error: &FrameError) -> CloudFailure {
    CloudFailure {
        request_id: None,
        cause: CloudFailureCause::UnreadableReply,
        message: format!("the server's reply cannot be read: {error}; reload the page"),
        retryable: false,
        retry_after_ms: None,
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
