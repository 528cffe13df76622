//! A server in this process on a port of its own, and a client that is another implementation than ours.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::web::Data;
use futures_util::{SinkExt as _, StreamExt as _};
use msao_models::{CheckpointFiles, DeviceKind};
use msao_protocol::{
    Ask, AudioInput, ClientMessage, ErrorCode, ErrorReport, FinishReason, ImageInput, Limits, Media,
    MediaKind, Receipt, ServerMessage, SettledToken, Token, frame,
};
use msao_server::engine::{Checkpoints, EmbeddedConfig, EmbeddedEngine};
use msao_server::{Access, AppState, Assets, EdgeModels, Origins, Timeouts, listen};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::checkpoint::checkpoint;

/// Longest wait for anything; only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Options {
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
    pub(crate) places: usize,
    pub(crate) max_batch: usize,
    pub(crate) attach_wait: Duration,
    pub(crate) kv_budget_bytes: u64,
    pub(crate) memory_wait: Duration,
    /// Whether the model drafts for itself.
    pub(crate) co_located_draft: bool,
    pub(crate) max_sessions: usize,
    pub(crate) page: PathBuf,
    pub(crate) access: Access,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            places: 8,
            max_batch: 8,
            attach_wait: PATIENCE,
            kv_budget_bytes: 64 << 20,
            memory_wait: PATIENCE,
            co_located_draft: true,
            max_sessions: 8,
            page: "no such page".into(),
            access: Access::of_this_machine(),
        }
    }
}

pub(crate) fn state(options: Options) -> Data<AppState> {
    let Options { limits, timeouts, places, max_batch, attach_wait, kv_budget_bytes, memory_wait, .. } =
        options;
    let Options { co_located_draft, max_sessions, page, access, .. } = options;
    let path = checkpoint();
    let (name, device) = ("tiny".into(), DeviceKind::Cpu);
    let max_wait = Duration::MAX;
    let config = EmbeddedConfig {
        name,
        device,
        limits,
        places,
        max_wait,
        max_batch,
        attach_wait,
        kv_budget_bytes,
        memory_wait,
        prunes_tiles: false,
    };
    let files = || CheckpointFiles::from_dir(&path).unwrap();
    let checkpoints = Checkpoints { target: files(), draft: co_located_draft.then(files) };
    let engine = Arc::new(EmbeddedEngine::start(&checkpoints, &config).unwrap());
    let assets = Assets { page, edge_models: EdgeModels::new([("tiny".into(), path)]) };
    let origins = Origins::new(vec!["https://friend.test".into()]);
    let mut state = AppState::new(engine, limits, timeouts, origins, assets, max_sessions);
    state.access = access;
    Data::new(state)
}

pub(crate) struct TestServer {
    pub(crate) state: Data<AppState>,
    pub(crate) address: std::net::SocketAddr,
}

impl TestServer {
    pub(crate) fn start(options: Options) -> Self {
        let state = state(options);
        let (server, address) = listen(state.clone(), ([127, 0, 0, 1], 0).into()).unwrap();
        actix_web::rt::spawn(server);
        Self { state, address }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/v1/session", self.address)
    }

    pub(crate) async fn connect(&self) -> Client {
        let (socket, _response) = connect_async(self.url()).await.unwrap();
        Client::new(socket)
    }

    /// A session that is open.
    pub(crate) async fn session(&self) -> Client {
        let mut client = self.connect().await;
        client.send(&ClientMessage::Hello { client: "test".into() }).await;
        let welcome = client.next().await;
        assert!(matches!(welcome, ServerMessage::Welcome { .. }), "{welcome:?}");
        client
    }

    /// Waits until nobody is connected and nothing runs.
    pub(crate) async fn settle(&self) {
        self.wait_for("sessions end", || self.state.open_sessions() == 0).await;
        self.settle_requests().await;
    }

    /// Waits until a session was opened, and then as [`Self::settle`].
    pub(crate) async fn settle_after_one(&self) {
        self.wait_for("a session opens", || self.state.open_sessions() > 0).await;
        self.settle().await;
    }

    /// Waits until nothing runs.
    pub(crate) async fn settle_requests(&self) {
        self.wait_for("requests end", || self.state.engine.occupancy() == 0).await;
    }

    async fn wait_for(&self, what: &str, holds: impl Fn() -> bool) {
        let started = Instant::now();
        while !holds() {
            assert!(started.elapsed() < PATIENCE, "waited in vain: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The server answers a new client as if nothing had happened.
    pub(crate) async fn assert_alive(&self) {
        let mut client = self.session().await;
        client.send(&ClientMessage::Ask(ask(99, "what is this?"))).await;
        client.answer(99).await;
    }
}

pub(crate) struct Client {
    /// What was said about other requests while one was read.
    aside: VecDeque<ServerMessage>,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// A whole answer as it came in.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) tokens: u32,
    pub(crate) settled: Vec<SettledToken>,
    /// What came before it was settled.
    pub(crate) proposed: Vec<Token>,
    /// Corrections.
    pub(crate) revision: u32,
    pub(crate) finish_reason: FinishReason,
    pub(crate) receipt: Receipt,
}

impl Client {
    pub(crate) fn new(socket: WebSocketStream<MaybeTlsStream<TcpStream>>) -> Self {
        Self { socket, aside: VecDeque::new() }
    }

    pub(crate) async fn send(&mut self, message: &ClientMessage) {
        self.send_raw(Message::Binary(frame::encode(message).unwrap().into())).await.unwrap();
    }

    pub(crate) async fn send_raw(
        &mut self,
        message: Message,
    ) -> Result<(), tokio_tungstenite::tungstenite::Error> {
        timeout(PATIENCE, self.socket.send(message)).await.expect("the server reads")
    }

    /// The next message about a request, those about others being set aside.
    async fn next_about(&mut self, expected: u32) -> ServerMessage {
        let is_about = |message: &ServerMessage| match message {
            ServerMessage::Settled { request_id, .. }
            | ServerMessage::Proposed { request_id, .. }
            | ServerMessage::Done { request_id, .. } => *request_id == expected,
            _ => true,
        };
        if let Some(at) = self.aside.iter().position(is_about) {
            return self.aside.remove(at).unwrap();
        }
        loop {
            let message = self.next().await;
            if is_about(&message) {
                return message;
            }
            self.aside.push_back(message);
        }
    }

    /// The next message; pings are answered on the way.
    pub(crate) async fn next(&mut self) -> ServerMessage {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("the server says something") {
                Some(Ok(Message::Binary(bytes))) => return frame::decode(&bytes).unwrap(),
                Some(Ok(Message::Ping(_))) => {}
                other => panic!("not a message: {other:?}"),
            }
        }
    }

    pub(crate) async fn error(&mut self) -> ErrorReport {
        match self.next().await {
            ServerMessage::Error(report) => report,
            other => panic!("not an error: {other:?}"),
        }
    }

    /// How the server closes the connection.
    pub(crate) async fn close_code(&mut self) -> Option<CloseCode> {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("the server closes") {
                Some(Ok(Message::Close(close))) => return close.map(|close| close.code),
                Some(Ok(Message::Ping(_))) => {}
                None => return None,
                other => panic!("not a close: {other:?}"),
            }
        }
    }

    /// Reads one answer and checks the order of its tokens.
    pub(crate) async fn answer(&mut self, expected: u32) -> Answer {
        let (mut settled, mut proposed) = (Vec::<SettledToken>::new(), Vec::new());
        let mut last_revision = 0;
        loop {
            match self.next_about(expected).await {
                ServerMessage::Settled { request_id, start, tokens, revision } => {
                    assert_eq!((request_id, start as usize), (expected, settled.len()));
                    assert!(!tokens.is_empty() && revision >= last_revision);
                    settled.extend(tokens);
                    last_revision = revision;
                }
                ServerMessage::Proposed { request_id, start, tokens } => {
                    assert_eq!((request_id, start as usize), (expected, proposed.len()));
                    assert!(settled.is_empty(), "proposed after something was settled");
                    proposed.extend(tokens);
                }
                ServerMessage::Done { request_id, text, finish_reason, receipt } => {
                    let so_far: String = settled.iter().map(|one| one.token.text.as_str()).collect();
                    assert_eq!((request_id, &text), (expected, &so_far));
                    assert!(settled.iter().all(|one| (0.0..=1.0).contains(&one.token.probability)));
                    let tokens = settled.len() as u32;
                    assert_eq!(receipt.completion_tokens, tokens);
                    let origins: Vec<_> = settled.iter().map(|one| one.origin).collect();
                    assert_eq!(receipt.tokens, origins);
                    let revision = last_revision;
                    return Answer { text, tokens, settled, proposed, revision, finish_reason, receipt };
                }
                other => panic!("not part of an answer: {other:?}"),
            }
        }
    }

    /// Asks, expects a refusal of this one question, and that the session goes on.
    pub(crate) async fn refused(&mut self, ask: Ask) -> ErrorReport {
        self.send(&ClientMessage::Ask(ask.clone())).await;
        self.failure(ask.request_id).await
    }

    /// Expects the failure of this one request, and that the session goes on.
    pub(crate) async fn failure(&mut self, id: u32) -> ErrorReport {
        let report = self.error().await;
        assert_eq!(report.request_id, Some(id), "{report:?}");
        self.send(&ClientMessage::Ping { nonce: id }).await;
        assert_eq!(self.next().await, ServerMessage::Pong { nonce: id });
        report
    }

    pub(crate) async fn refused_with(&mut self, ask: Ask, code: ErrorCode, words: &[&str]) {
        let report = self.refused(ask).await;
        assert_eq!(report.code, code, "{report:?}");
        for word in words {
            assert!(report.message.contains(word), "no `{word}` in {report:?}");
        }
    }
}

pub(crate) fn ask(request_id: u32, question: &str) -> Ask {
    Ask::new(request_id, question, 16)
}

pub(crate) fn with_image(ask: Ask, bytes: Vec<u8>) -> Ask {
    Ask { images: vec![ImageInput::Whole(Media { kind: MediaKind::Png, bytes })], ..ask }
}

pub(crate) fn with_audio(ask: Ask, bytes: Vec<u8>) -> Ask {
    Ask { audio: Some(AudioInput::Whole(Media { kind: MediaKind::Wav, bytes })), ..ask }
}

/// A PNG with a gradient, so that it does not shrink to nothing.
pub(crate) fn png(width: u32, height: u32) -> Vec<u8> {
    let image = image::RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, (x * y) as u8]));
    let mut bytes = Vec::new();
    image.write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
    bytes
}

/// A mono WAV of 8-bit samples: a square tone of this height, 0 for silence.
pub(crate) fn wav(seconds: u32, rate_hz: u32, height: u8) -> Vec<u8> {
    let samples = seconds * rate_hz;
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + samples).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(rate_hz.to_le_bytes());
    bytes.extend(rate_hz.to_le_bytes());
    bytes.extend(b"\x01\0\x08\0data");
    bytes.extend(samples.to_le_bytes());
    bytes.extend((0..samples).map(|n| if n % 16 < 8 { 128 + height } else { 128 - height }));
    bytes
}
