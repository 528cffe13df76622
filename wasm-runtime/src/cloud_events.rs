//! What the session with the cloud tells the page.

use msao_protocol::{ErrorCode, FinishReason, Limits, ModelInfo, Receipt, RequestId, SettledToken, Token};

/// Something happened in the session.
#[derive(Debug, Clone, PartialEq)]
pub enum CloudEvent {
    /// A connection is being made.
    Connecting {
        /// Attempts since the session was last open, from 1.
        attempt: u32,
    },
    /// The session is open.
    Connected {
        /// Its name in the server's log.
        session_id: String,
        /// The model that answers, and the grids that media are cut on for it.
        model: ModelInfo,
        /// What the server takes.
        limits: Limits,
    },
    /// The session was cut, or the server is away. It is tried again by itself.
    Disconnected {
        /// What happened, for people.
        reason: String,
        /// Time until the next attempt.
        retry_in_ms: u32,
    },
    /// The round-trip time of a small message was measured: greeting or ping, with nothing else under way that
    /// could have held it up.
    RoundTrip {
        /// In milliseconds.
        rtt_ms: f64,
    },
    /// A question or its media were handed to the browser, which goes on sending by itself. When they have left the
    /// device no page can see; the server's answer tells that they have arrived.
    Sent {
        /// The request they belong to.
        request_id: RequestId,
        /// Bytes of the frame, its header included.
        frame_bytes: u64,
    },
    /// Tokens of an answer that stand, in order, each position once.
    Settled {
        /// The request they answer.
        request_id: RequestId,
        /// Position in the answer of the first one, from 0.
        start: u32,
        /// The tokens.
        tokens: Vec<SettledToken>,
        /// Corrections so far: what a further [`Draft`](msao_protocol::Draft) must know.
        revision: u32,
    },
    /// Tokens that the target proposes before all media are there; a later proposal or what is settled replaces
    /// them.
    Proposed {
        /// The request they answer.
        request_id: RequestId,
        /// Position in the answer of the first one, from 0.
        start: u32,
        /// The tokens.
        tokens: Vec<Token>,
    },
    /// An answer is complete.
    Done {
        /// The request it answers.
        request_id: RequestId,
        /// The whole answer.
        text: String,
        /// Why it ended.
        finish_reason: FinishReason,
        /// What it took on the server.
        receipt: Receipt,
    },
    /// A request was sent a second time, because the session was cut before anything of its answer was settled. Media
    /// that had been attached went with it; drafts did not, and its revisions begin again at 0.
    Resent {
        /// The request.
        request_id: RequestId,
    },
    /// A request, or without one the session, has failed.
    Failed(CloudFailure),
}

/// Why a request has no answer from the cloud.
#[derive(Debug, Clone, PartialEq)]
pub struct CloudFailure {
    /// The request; `None` if the whole session is concerned.
    pub request_id: Option<RequestId>,
    /// For programs.
    pub cause: CloudFailureCause,
    /// For people.
    pub message: String,
    /// Whether asking again may succeed as things are.
    pub retryable: bool,
    /// When that makes sense, in milliseconds from now.
    pub retry_after_ms: Option<u32>,
}

/// Where a failure comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloudFailureCause {
    /// The server refused or failed, or would refuse by the limits it announced.
    Server(ErrorCode),
    /// The connection was cut in the middle of the answer, or could not be had.
    ConnectionLost,
    /// The server sent what this client cannot read.
    UnreadableReply,
}

/// Bytes that crossed the network since the client was made, frames with their headers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// To the server.
    pub sent_bytes: u64,
    /// From the server.
    pub received_bytes: u64,
}
