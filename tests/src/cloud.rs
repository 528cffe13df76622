//! A native client of the wire protocol: one session over one WebSocket, blocking.

use std::{
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use msao_protocol::{
    Ask, ClientMessage, ErrorReport, FinishReason, Limits, ModelInfo, Receipt, RequestId, ServerMessage,
    Token, frame,
};
use serde::Serialize;
use tungstenite::{Message, WebSocket};

/// The longest silence of a server that is not stuck, even on a busy machine.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);

/// An open session.
pub struct CloudClient {
    socket: WebSocket<TcpStream>,
    /// The model that answers.
    pub model: ModelInfo,
    /// The budgets of the server.
    pub limits: Limits,
}

/// A complete answer.
#[derive(Debug, Clone, PartialEq)]
pub struct CloudAnswer {
    /// The text.
    pub text: String,
    /// Its tokens, in order; the receipt says where each came from.
    pub tokens: Vec<Token>,
    /// What was proposed before all media were there.
    pub proposed: Vec<Token>,
    /// How often the target corrected a draft.
    pub revision: u32,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// What it took.
    pub receipt: Receipt,
}

impl CloudClient {
    /// Opens a session.
    ///
    /// # Errors
    /// If the server is away or does not welcome us.
    pub fn connect(server: SocketAddr) -> Result<Self> {
        let mut socket = Self::open_socket(server)?;
        send(&mut socket, &ClientMessage::Hello { client: "msao-tests".into() })?;
        match receive(&mut socket)? {
            ServerMessage::Welcome { model, limits, .. } => Ok(Self { socket, model, limits }),
            other => bail!("expected a welcome, got {other:?}"),
        }
    }

    /// A connection on which nothing has been said yet.
    ///
    /// # Errors
    /// If the server is away.
    pub fn open_socket(server: SocketAddr) -> Result<WebSocket<TcpStream>> {
        let stream = TcpStream::connect(server).context("the server is away")?;
        stream.set_read_timeout(Some(SILENCE_TIMEOUT))?;
        stream.set_nodelay(true)?;
        let (socket, _) = tungstenite::client(format!("ws://{server}/v1/session"), stream)
            .context("the server opens no session")?;
        Ok(socket)
    }

    /// Asks and waits for the answer, or for the server's refusal.
    ///
    /// # Errors
    /// If the session breaks, or the server does not keep to the protocol.
    pub fn ask(&mut self, ask: Ask) -> Result<Result<CloudAnswer, ErrorReport>> {
        let asked = ask.request_id;
        self.send(&ClientMessage::Ask(ask))?;
        self.answer(asked)
    }

    /// Waits for the answer to what was asked, the only request under way.
    ///
    /// # Errors
    /// If the session breaks, or the server does not keep to the protocol.
    pub fn answer(&mut self, asked: RequestId) -> Result<Result<CloudAnswer, ErrorReport>> {
        let (mut tokens, mut proposed, mut last_revision) = (Vec::new(), Vec::new(), 0);
        loop {
            match self.receive()? {
                ServerMessage::Settled { request_id, start, tokens: settled, revision }
                    if request_id == asked =>
                {
                    if start as usize != tokens.len() {
                        bail!("token {start} came where {} was due", tokens.len());
                    }
                    last_revision = revision;
                    tokens.extend(settled.into_iter().map(|settled| settled.token));
                }
                ServerMessage::Proposed { request_id, start, tokens: more } if request_id == asked => {
                    if start as usize != proposed.len() || !tokens.is_empty() {
                        bail!("proposal {start} came where {} was due", proposed.len());
                    }
                    proposed.extend(more);
                }
                ServerMessage::Done { request_id, text, finish_reason, receipt } if request_id == asked => {
                    let revision = last_revision;
                    return Ok(Ok(CloudAnswer { text, tokens, proposed, revision, finish_reason, receipt }));
                }
                ServerMessage::Error(report) if report.request_id == Some(asked) => return Ok(Err(report)),
                other => bail!("nobody asked for {other:?}"),
            }
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// If the session is gone.
    pub fn send(&mut self, message: &ClientMessage) -> Result<()> {
        send(&mut self.socket, message)
    }

    /// Sends bytes that need not be a frame.
    ///
    /// # Errors
    /// If the session is gone.
    pub fn send_bytes(&mut self, bytes: Vec<u8>) -> Result<()> {
        Ok(self.socket.send(Message::binary(bytes))?)
    }

    /// The next message.
    ///
    /// # Errors
    /// If the session is gone or the server silent for a minute.
    pub fn receive(&mut self) -> Result<ServerMessage> {
        receive(&mut self.socket)
    }
}

/// A question about nothing but itself, to be filled in.
pub fn question(request_id: RequestId, question: &str) -> Ask {
    Ask::new(request_id, question, 128)
}

/// Sends one message on a bare connection.
///
/// # Errors
/// If the connection is gone.
pub fn send(socket: &mut WebSocket<TcpStream>, message: &impl Serialize) -> Result<()> {
    Ok(socket.send(Message::binary(frame::encode(message)?))?)
}

/// The next message on a bare connection.
///
/// # Errors
/// If the connection is gone, silent for a minute, or says what is no frame.
pub fn receive(socket: &mut WebSocket<TcpStream>) -> Result<ServerMessage> {
    loop {
        match socket.read().context("the server said nothing more")? {
            Message::Binary(bytes) => return Ok(frame::decode(&bytes)?),
            Message::Ping(_) | Message::Pong(_) => {}
            other => bail!("expected a frame, got {other:?}"),
        }
    }
}
