//! A client that writes frames byte by byte, right ones and wrong ones, and holds the server's to the rules.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest wait for anything; only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const FIN: u8 = 0x80;
pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// What the server sends.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Received {
    Message(Vec<u8>),
    Pong(Vec<u8>),
    Ping,
    /// With its code, if it has one.
    Close(Option<u16>),
    /// The connection is over.
    End,
}

/// A frame with these flags and opcode in its first byte.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    framed(first, payload, true)
}

pub(crate) fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    framed(first, payload, false)
}

fn framed(first: u8, payload: &[u8], is_masked: bool) -> Vec<u8> {
    let mask_bit = if is_masked { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..126 => bytes.push(mask_bit | short as u8),
        middle @ 126..65_536 => {
            bytes.push(mask_bit | 126);
            bytes.extend((middle as u16).to_be_bytes());
        }
        long => {
            bytes.push(mask_bit | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    if is_masked {
        bytes.extend(MASK);
        bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    } else {
        bytes.extend(payload);
    }
    bytes
}

/// A message in fragments of at most so many bytes.
pub(crate) fn fragments(opcode: u8, payload: &[u8], most: usize) -> Vec<u8> {
    let count = payload.len().div_ceil(most);
    let pieces = payload.chunks(most).enumerate().flat_map(|(index, piece)| {
        let fin = if index + 1 == count { FIN } else { 0 };
        frame(fin | if index == 0 { opcode } else { CONTINUATION }, piece)
    });
    pieces.collect()
}

/// The payload of a close frame.
pub(crate) fn close_payload(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), reason].concat()
}

/// A connection that has been upgraded.
pub(crate) struct Peer {
    socket: TcpStream,
    /// What the server answered to the handshake.
    pub(crate) handshake: String,
}

impl Peer {
    pub(crate) async fn connect(address: SocketAddr, more_headers: &str) -> Self {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let request = format!(
            "GET /v1/session HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more_headers}\r\n"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut reply = Vec::new();
        while !reply.ends_with(b"\r\n\r\n") {
            reply.push(timeout(PATIENCE, socket.read_u8()).await.unwrap().unwrap());
        }
        Self { socket, handshake: String::from_utf8(reply).unwrap() }
    }

    /// Writes in pieces of at most so many bytes. A server that has closed already takes no more, which is its right.
    pub(crate) async fn write(&mut self, bytes: &[u8], most: usize) {
        for piece in bytes.chunks(most) {
            match timeout(PATIENCE, self.socket.write_all(piece)).await.expect("the server reads") {
                Ok(()) => {}
                Err(_closed) => return,
            }
        }
    }

    /// The next thing the server says.
    ///
    /// # Panics
    /// If a frame of the server's breaks a rule.
    pub(crate) async fn receive(&mut self) -> Received {
        timeout(PATIENCE, self.read_frame()).await.expect("the server says something or closes")
    }

    async fn read_frame(&mut self) -> Received {
        let Ok(first) = self.socket.read_u8().await else { return Received::End };
        let Ok(second) = self.socket.read_u8().await else { return Received::End };
        assert_eq!(first & 0x70, 0, "reserved bits");
        assert_eq!(second & 0x80, 0, "a server does not mask");
        assert_eq!(first & FIN, FIN, "this server does not fragment");
        let length = match second {
            126 => u64::from(self.socket.read_u16().await.unwrap()),
            127 => self.socket.read_u64().await.unwrap(),
            short => u64::from(short),
        };
        let mut payload = vec![0; length as usize];
        self.socket.read_exact(&mut payload).await.unwrap();
        let opcode = first & 0xF;
        assert!(opcode < CLOSE || length <= 125, "a control frame of {length} bytes");
        match opcode {
            BINARY => Received::Message(payload),
            PING => Received::Ping,
            PONG => Received::Pong(payload),
            CLOSE => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                assert!(code.is_some() || payload.is_empty(), "a close frame of one byte");
                assert!(std::str::from_utf8(payload.get(2..).unwrap_or_default()).is_ok());
                Received::Close(code)
            }
            other => panic!("opcode {other}"),
        }
    }
}
