//! What a session has to say to its client, and the one queue that it goes through.
//!
//! Every sender waits when the queue is full, so a client that does not read holds up its own answers only;
//! whoever empties the queue gives up on such a client after a while.

use msao_protocol::{ErrorReport, ServerMessage};
use tokio::sync::mpsc;

/// Messages that may wait to be written to one client.
const QUEUE_LENGTH: usize = 64;

/// Something to write to the client.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// A message of the protocol.
    Message(ServerMessage),
    /// Asks for a sign of life.
    Ping,
    /// Answers the client's own ping.
    Pong(Vec<u8>),
    /// Ends the session; nothing is written after it.
    Close(Closing),
}

/// Why a session ends, as the WebSocket's close code and reason say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    /// The client asked for it.
    Normal,
    /// The client asked for it with this code, which is sent back.
    Echo(u16),
    /// The server stops.
    Away,
    /// The bytes are not the protocol's.
    Protocol,
    /// A text message; the protocol is binary.
    Unsupported,
    /// A text message that is none either.
    NotUtf8,
    /// A message was too large.
    TooLarge,
    /// The client broke a rule of the session.
    Policy,
    /// All sessions are taken; another time may do.
    TryAgain,
}

pub(crate) type Outbox = mpsc::Sender<Outgoing>;

pub(crate) fn outbox() -> (Outbox, mpsc::Receiver<Outgoing>) {
    mpsc::channel(QUEUE_LENGTH)
}

/// The client is gone, or does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client is gone")]
pub(crate) struct Gone;

/// The end of a session: what to tell the client, then how to close.
#[derive(Debug)]
pub(crate) struct Farewell {
    pub(crate) report: Option<ErrorReport>,
    pub(crate) closing: Closing,
}

impl Farewell {
    pub(crate) fn silent(closing: Closing) -> Self {
        Self { report: None, closing }
    }

    pub(crate) fn because(report: ErrorReport, closing: Closing) -> Self {
        Self { report: Some(report), closing }
    }
}

impl From<Gone> for Farewell {
    fn from(_: Gone) -> Self {
        Self::silent(Closing::Normal)
    }
}

pub(crate) async fn send(outbox: &Outbox, message: ServerMessage) -> Result<(), Gone> {
    outbox.send(Outgoing::Message(message)).await.map_err(|_closed| Gone)
}
