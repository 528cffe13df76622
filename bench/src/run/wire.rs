//! One WebSocket to the server, with a thread for each direction: a slow upload must not hold up what is heard.

use std::{
    net::{Shutdown, SocketAddr, TcpStream},
    sync::mpsc::{self, Receiver, SyncSender},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use tungstenite::{Bytes, Message, WebSocket, protocol::Role};

use super::inbox::Heard;

/// Longest wait for a connection, as on the page.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Frames that may wait to be written.
const WAITING_FRAMES: usize = 256;

/// What is heard of a connection.
#[derive(Debug)]
pub(super) enum WireEvent {
    /// It stands.
    Connected(Wire),
    /// A frame came.
    Frame(Bytes),
    /// The server wants the same back.
    Ping(Bytes),
    /// It is gone, or could not be had.
    Closed(String),
}

/// A connection that stands; closed when dropped.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    outgoing: SyncSender<Message>,
}

impl Wire {
    /// Connects in the background; `inbox` hears what comes of it under `number`, and [`WireEvent::Closed`] last.
    ///
    /// # Errors
    /// If this machine gives no thread.
    pub(super) fn open(server: SocketAddr, number: u32, inbox: SyncSender<Heard>) -> Result<()> {
        thread::Builder::new().name("from server".to_owned()).spawn(move || {
            let end = match connect(server) {
                Ok((wire, socket)) => {
                    let is_heard = inbox.send(Heard::Wire(number, WireEvent::Connected(wire))).is_ok();
                    if is_heard { read(socket, number, &inbox) } else { String::new() }
                }
                Err(error) => format!("{error:#}"),
            };
            // A client that has gone wants to know nothing.
            let _ = inbox.send(Heard::Wire(number, WireEvent::Closed(end)));
        })?;
        Ok(())
    }

    /// Hands over a frame. One that a broken connection no longer takes is lost; its end is heard soon.
    pub(super) fn send(&self, frame: Vec<u8>) {
        let _ = self.outgoing.send(Message::binary(frame));
    }

    /// Answers a ping.
    pub(super) fn pong(&self, payload: Bytes) {
        let _ = self.outgoing.send(Message::Pong(payload));
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // Also wakes the thread that reads; a connection that is gone already is as well.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// The half that is written to, and the half that is read from.
fn connect(server: SocketAddr) -> Result<(Wire, WebSocket<ReadHalf>)> {
    let stream = TcpStream::connect_timeout(&server, CONNECT_TIMEOUT).context("the server is away")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(CONNECT_TIMEOUT))?;
    let (socket, _) = tungstenite::client(format!("ws://{server}/v1/session"), stream.try_clone()?)
        .map_err(|error| anyhow::anyhow!("the server opens no session: {error}"))?;
    stream.set_read_timeout(None)?;
    let from_server = WebSocket::from_raw_socket(ReadHalf(stream.try_clone()?), Role::Client, None);
    let (outgoing, waiting) = mpsc::sync_channel(WAITING_FRAMES);
    thread::Builder::new().name("to server".to_owned()).spawn(move || write(socket, &waiting))?;
    Ok((Wire { stream, outgoing }, from_server))
}

fn write(mut socket: WebSocket<TcpStream>, waiting: &Receiver<Message>) {
    while let Ok(message) = waiting.recv() {
        if socket.send(message).is_err() {
            // Reading ends then as well, and says why.
            let _ = socket.get_ref().shutdown(Shutdown::Both);
            return;
        }
    }
}

/// Reads until the end; says why it came.
fn read(mut socket: WebSocket<ReadHalf>, number: u32, inbox: &SyncSender<Heard>) -> String {
    loop {
        let event = match socket.read() {
            Ok(Message::Binary(frame)) => WireEvent::Frame(frame),
            Ok(Message::Ping(payload)) => WireEvent::Ping(payload),
            Ok(Message::Close(_)) => return "the server closed the connection".to_owned(),
            Ok(_) => continue,
            Err(error) => return error.to_string(),
        };
        if inbox.send(Heard::Wire(number, event)).is_err() {
            return String::new();
        }
    }
}

/// Reads from the connection, and writes nothing: the protocol's own replies go out where all else does, or frames of
/// two threads would mix.
struct ReadHalf(TcpStream);

impl std::io::Read for ReadHalf {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl std::io::Write for ReadHalf {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
