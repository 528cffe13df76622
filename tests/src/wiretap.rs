//! A listener on the line between browser and server: passes every byte on, and keeps what the browser sends in
//! WebSocket messages.
//!
//! It can cut the line too, in the middle of a question. What it has heard has really crossed the wire. (DevTools would tell frames too, but leaves their content out where a
//! page hands it over as a `Blob`.)

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

use anyhow::{Result, ensure};
use msao_protocol::{ClientMessage, frame};

/// What WebSocket frames begin with: opcodes of frames that carry binary data.
const CONTINUATION: u8 = 0;
const BINARY: u8 = 2;

/// A binary message that the browser sent.
#[derive(Debug, Clone, PartialEq)]
pub struct HeardMessage {
    /// When its last byte passed.
    pub at: Instant,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// A listener, as long as the test lives.
pub struct Wiretap {
    address: SocketAddr,
    ears: Arc<Ears>,
}

#[derive(Default)]
struct Ears {
    heard: Mutex<Vec<HeardMessage>>,
    cuts_question: AtomicBool,
}

impl Wiretap {
    /// Listens on the line to a server.
    ///
    /// # Errors
    /// If this machine gives no port.
    pub fn to(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let ears = Arc::<Ears>::default();
        let all_ears = Arc::clone(&ears);
        thread::spawn(move || {
            for browser in listener.incoming().flatten() {
                let ears = Arc::clone(&all_ears);
                thread::spawn(move || pass_on(browser, server, &ears));
            }
        });
        Ok(Self { address, ears })
    }

    /// The address of the server behind it, for a browser.
    pub fn site(&self) -> String {
        format!("http://localhost:{}", self.address.port())
    }

    /// All messages so far.
    pub fn heard(&self) -> Vec<HeardMessage> {
        self.ears.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Cuts the connection with the end of the next question, which is heard and never arrives.
    pub fn cut_the_next_question(&self) {
        self.ears.cuts_question.store(true, Ordering::SeqCst);
    }
}

/// One connection, until either side ends it.
fn pass_on(mut browser: TcpStream, server: SocketAddr, ears: &Ears) {
    // A server that is away, or a side that goes: the browser sees the same as without us.
    let Ok(mut server) = TcpStream::connect(server) else { return };
    let (Ok(mut from_server), Ok(mut to_browser)) = (server.try_clone(), browser.try_clone()) else { return };
    let _ = (server.set_nodelay(true), browser.set_nodelay(true));
    thread::spawn(move || {
        let _ = std::io::copy(&mut from_server, &mut to_browser);
        let _ = to_browser.shutdown(Shutdown::Both);
    });
    let mut line = Line::default();
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count) = browser.read(&mut buffer) {
        if count == 0 {
            break;
        }
        let messages = line.take(&buffer[..count]).expect("the browser speaks WebSocket");
        let is_cut = messages.iter().any(|bytes| is_question(bytes))
            && ears.cuts_question.swap(false, Ordering::SeqCst);
        let at = Instant::now();
        let messages = messages.into_iter().map(|bytes| HeardMessage { at, bytes });
        ears.heard.lock().unwrap_or_else(PoisonError::into_inner).extend(messages);
        if is_cut || server.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = browser.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

fn is_question(bytes: &[u8]) -> bool {
    matches!(frame::decode(bytes), Ok(ClientMessage::Ask(_)))
}

/// What a browser says on one connection.
#[derive(Default)]
enum Line {
    /// The head of a request has begun.
    Head(Vec<u8>),
    /// Requests of no interest.
    Http,
    /// After the head of a WebSocket.
    Socket {
        /// Bytes of frames that are not complete.
        rest: Vec<u8>,
        /// A message of several frames, as far as it has come.
        message: Vec<u8>,
    },
    #[default]
    Silent,
}

impl Line {
    /// Hears some bytes; returns the binary messages that they complete.
    fn take(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        if matches!(self, Self::Silent) {
            *self = Self::Head(Vec::new());
        }
        match self {
            Self::Silent | Self::Http => Ok(Vec::new()),
            Self::Head(head) => {
                head.extend(bytes);
                let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else {
                    return Ok(Vec::new());
                };
                let rest = head.split_off(end + 4);
                let is_socket =
                    String::from_utf8_lossy(head).to_ascii_lowercase().contains("upgrade: websocket");
                *self = if is_socket {
                    Self::Socket { rest: Vec::new(), message: Vec::new() }
                } else {
                    Self::Http
                };
                self.take(&rest)
            }
            Self::Socket { rest, message } => {
                rest.extend(bytes);
                let mut complete = Vec::new();
                while let Some((frame, length)) = Frame::first_of(rest)? {
                    rest.drain(..length);
                    if matches!(frame.opcode, CONTINUATION | BINARY) {
                        message.extend(frame.payload);
                        if frame.is_last {
                            complete.push(std::mem::take(message));
                        }
                    }
                }
                Ok(complete)
            }
        }
    }
}

/// A frame of RFC 6455, unmasked.
struct Frame {
    opcode: u8,
    is_last: bool,
    payload: Vec<u8>,
}

impl Frame {
    /// The first frame of `bytes` and its length, if all of it is there.
    fn first_of(bytes: &[u8]) -> Result<Option<(Self, usize)>> {
        let [first, second, ..] = *bytes else { return Ok(None) };
        ensure!(first & 0x70 == 0, "compressed frames cannot be read");
        ensure!(second & 0x80 != 0, "a browser masks its frames");
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let start = 2 + extended + 4;
        if bytes.len() < start {
            return Ok(None);
        }
        let length = match extended {
            0 => usize::from(second & 0x7f),
            _ => bytes[2..2 + extended].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
        };
        let Some(masked) = bytes.get(start..start + length) else { return Ok(None) };
        let mask = &bytes[start - 4..start];
        let payload = masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        Ok(Some((Self { opcode: first & 0x0f, is_last: first & 0x80 != 0, payload }, start + length)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message in two frames, the first of the long form, behind the head, and heard byte by byte.
    #[test]
    fn messages_are_heard_however_they_are_cut() {
        let mask = [1, 2, 3, 4];
        let masked = |bytes: &[u8]| -> Vec<u8> {
            bytes.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
        };
        let (long, short) = (vec![7; 300], vec![9; 5]);
        let line = [
            &b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"[..],
            &[0x02, 0x80 | 126, 1, 44],
            &mask,
            &masked(&long),
            &[0x80, 0x80 | 5],
            &mask,
            &masked(&short),
        ]
        .concat();
        let mut ears = Line::default();
        let heard: Vec<_> = line.iter().flat_map(|byte| ears.take(&[*byte]).unwrap()).collect();
        assert_eq!(heard, [[long, short].concat()]);
        assert_eq!(Line::default().take(&line).unwrap(), heard);
        assert!(Line::default().take(b"GET / HTTP/1.1\r\n\r\n\x82\x80").unwrap().is_empty());
    }
}
