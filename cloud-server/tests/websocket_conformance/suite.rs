//! Runs a case: opens a session, sends its bytes, and holds what comes to what must.

use actix_web::rt::{spawn, task::JoinHandle};
use msao_protocol::{ClientMessage, ServerMessage, frame as wire};

use crate::peer::{BINARY, CLOSE, FIN, Peer, Received, close_payload, frame};
use crate::support::TestServer;

/// The nonce of the message that shows whether a session still lives.
const ALIVE: u32 = 0xA11FE;

/// What must come of the bytes sent.
#[derive(Debug, Clone)]
pub(crate) enum Expect {
    /// The session goes on, after these pongs and these messages.
    Alive {
        /// In order.
        pongs: Vec<Vec<u8>>,
        /// In order.
        messages: Vec<ServerMessage>,
    },
    /// The server fails the connection with one of these codes.
    Failed(&'static [u16]),
    /// The server answers our close frame with this code.
    Closed(Option<u16>),
}

impl Expect {
    pub(crate) fn alive() -> Self {
        Self::Alive { pongs: Vec::new(), messages: Vec::new() }
    }

    pub(crate) fn pongs<const N: usize>(payloads: [&[u8]; N]) -> Self {
        Self::Alive { pongs: payloads.map(<[u8]>::to_vec).into(), messages: Vec::new() }
    }

    /// Answers to the protocol's own pings.
    pub(crate) fn replies<const N: usize>(nonces: [u32; N]) -> Self {
        let messages = nonces.map(|nonce| ServerMessage::Pong { nonce }).into();
        Self::Alive { pongs: Vec::new(), messages }
    }
}

/// A message of the protocol as the payload of a WebSocket message.
pub(crate) fn payload(message: &ClientMessage) -> Vec<u8> {
    wire::encode(message).unwrap()
}

/// A small message with a sure answer.
pub(crate) fn ping(nonce: u32) -> Vec<u8> {
    payload(&ClientMessage::Ping { nonce })
}

/// Cases of one group; it counts them, so that none is lost unseen.
pub(crate) struct Suite {
    server: TestServer,
    cases: usize,
    /// Wait for the server to end connections that it has closed, which it leaves open a moment longer on purpose: its
    /// last words are still on their way.
    ends: Vec<JoinHandle<()>>,
}

impl Suite {
    pub(crate) fn new(server: TestServer) -> Self {
        Self { server, cases: 0, ends: Vec::new() }
    }

    /// Sends bytes at once.
    pub(crate) async fn case(&mut self, name: &str, bytes: Vec<u8>, expect: Expect) {
        self.chopped(name, bytes, usize::MAX, expect).await;
    }

    /// Sends bytes in pieces of at most so many.
    pub(crate) async fn chopped(&mut self, name: &str, bytes: Vec<u8>, most: usize, expect: Expect) {
        let mut peer = self.open().await;
        peer.write(&bytes, most).await;
        self.judge(name, peer, expect).await;
    }

    /// An open session.
    pub(crate) async fn open(&self) -> Peer {
        let mut peer = Peer::connect(self.server.address, "").await;
        let hello = payload(&ClientMessage::Hello { client: "conformance".into() });
        peer.write(&frame(FIN | BINARY, &hello), usize::MAX).await;
        let Received::Message(bytes) = peer.receive().await else { panic!("no welcome") };
        assert!(matches!(wire::decode(&bytes), Ok(ServerMessage::Welcome { .. })));
        peer
    }

    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.server.address
    }

    /// Holds what a peer receives to what it must.
    pub(crate) async fn judge(&mut self, name: &str, mut peer: Peer, expect: Expect) {
        self.cases += 1;
        match expect {
            Expect::Alive { pongs, messages } => {
                peer.write(&frame(FIN | BINARY, &ping(ALIVE)), usize::MAX).await;
                let (mut pongs_got, mut messages_got) = (Vec::new(), Vec::new());
                loop {
                    match peer.receive().await {
                        Received::Pong(bytes) => pongs_got.push(bytes),
                        Received::Message(bytes) => match wire::decode(&bytes).unwrap() {
                            ServerMessage::Pong { nonce: ALIVE } => break,
                            message => messages_got.push(message),
                        },
                        Received::Ping => {}
                        other => panic!("{name}: {other:?}"),
                    }
                }
                assert_eq!(pongs_got, pongs, "{name}");
                assert_eq!(messages_got, messages, "{name}");
                peer.write(&frame(FIN | CLOSE, &close_payload(1_000, b"done")), usize::MAX).await;
                assert_eq!(self.close_code(name, peer).await, Some(1_000), "{name}");
            }
            Expect::Failed(codes) => match self.close_code(name, peer).await {
                Some(code) => assert!(codes.contains(&code), "{name}: closed with {code}, not {codes:?}"),
                None => panic!("{name}: closed without a code"),
            },
            Expect::Closed(code) => assert_eq!(self.close_code(name, peer).await, code, "{name}"),
        }
    }

    /// Reads to the close frame and returns its code; the connection has to end behind it.
    async fn close_code(&mut self, name: &str, mut peer: Peer) -> Option<u16> {
        let code = loop {
            match peer.receive().await {
                Received::Close(code) => break code,
                Received::End => panic!("{name}: ended without a close frame"),
                _ => {}
            }
        };
        let name = name.to_owned();
        self.ends.push(spawn(async move { assert_eq!(peer.receive().await, Received::End, "{name}") }));
        code
    }

    /// Every case has passed; the server is none the worse for it.
    pub(crate) async fn finish(self, cases: usize) {
        assert_eq!(self.cases, cases, "cases of this group");
        for end in self.ends {
            end.await.unwrap();
        }
        self.server.settle().await;
        self.server.assert_alive().await;
    }
}
