//! A listener on the line between browser and server: passes every byte on, and keeps what the browser sends in
//! WebSocket messages.
//!
//! It can cut the line too, in the middle of a question or of an answer. What it has heard has really crossed the wire.
//! (DevTools would tell frames too, but leaves their content out where a page hands it over as a `Blob`.)

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::Instant,
};

use anyhow::{Result, ensure};
use msao_protocol::{ClientMessage, ServerMessage, frame};

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
    /// Messages with settled tokens after which the line is cut; 0 for never.
    cuts_after_settled: AtomicU32,
    is_down: AtomicBool,
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
                if !ears.is_down.load(Ordering::SeqCst) {
                    thread::spawn(move || pass_on(browser, server, &ears));
                }
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

    /// Cuts the line for good once so many messages with settled tokens have passed; nothing that follows them does.
    pub fn go_down_after_settled(&self, messages: u32) {
        self.ears.cuts_after_settled.store(messages, Ordering::SeqCst);
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        self.ears.is_down.store(false, Ordering::SeqCst);
    }
}

/// What the server says on one connection, until either side ends it or the line goes down.
fn pass_back(mut server: TcpStream, mut browser: TcpStream, ears: &Ears) {
    let mut line = Line::default();
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = server.read(&mut buffer) {
        let mut passes = 0;
        // Byte by byte, so that nothing behind the message passes which is the last.
        let is_last = ears.cuts_after_settled.load(Ordering::SeqCst) > 0
            && buffer[..count].iter().any(|byte| {
                passes += 1;
                line.take(&[*byte]).is_ok_and(|messages| messages.iter().any(|bytes| is_settled(bytes)))
                    && ears.cuts_after_settled.fetch_sub(1, Ordering::SeqCst) == 1
            });
        if is_last {
            ears.is_down.store(true, Ordering::SeqCst);
            let _ = browser.write_all(&buffer[..passes]);
            break;
        }
        if passes == 0 {
            let _ = line.take(&buffer[..count]);
        }
        if browser.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = (browser.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
}

fn is_settled(bytes: &[u8]) -> bool {
    matches!(frame::decode(bytes), Ok(ServerMessage::Settled { .. }))
}

/// One connection, until either side ends it.
fn pass_on(mut browser: TcpStream, server: SocketAddr, ears: &Arc<Ears>) {
    // A server that is away, or a side that goes: the browser sees the same as without us.
    let Ok(mut server) = TcpStream::connect(server) else { return };
    let (Ok(from_server), Ok(to_browser)) = (server.try_clone(), browser.try_clone()) else { return };
    let _ = (server.set_nodelay(true), browser.set_nodelay(true));
    let all_ears = Arc::clone(ears);
    thread::spawn(move || pass_back(from_server, to_browser, &all_ears));
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
                // Requests and replies say it alike.
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
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        // Browsers mask their frames, servers do not.
        let mask_bytes = if second & 0x80 == 0 { 0 } else { 4 };
        let start = 2 + extended + mask_bytes;
        if bytes.len() < start {
            return Ok(None);
        }
        let length = match extended {
            0 => usize::from(second & 0x7f),
            _ => bytes[2..2 + extended].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
        };
        let Some(masked) = bytes.get(start..start + length) else { return Ok(None) };
        let mask = if mask_bytes == 0 { &[0][..] } else { &bytes[start - mask_bytes..start] };
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
