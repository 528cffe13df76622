//! One connection through the link: two sockets, and four threads while it is open.

use std::{
    io::Read,
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use super::{
    clock::MOST_CHUNK_BYTES,
    line::{Line, Payload},
    pipe::Pipe,
};

/// The server is near: if it does not take the connection soon, it is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Threads only pass bytes on.
pub(super) const STACK_BYTES: usize = 128 << 10;

/// An open connection.
pub(super) struct Connection {
    client: TcpStream,
    server: TcpStream,
    up: Arc<Line>,
    down: Arc<Line>,
}

impl Connection {
    /// Connects a client that was accepted to the server at `to`.
    ///
    /// # Errors
    /// If the server is away.
    pub(super) fn open(client: TcpStream, to: SocketAddr) -> std::io::Result<Self> {
        let server = TcpStream::connect_timeout(&to, CONNECT_TIMEOUT)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let up = Arc::new(Line::new(server.try_clone()?));
        let down = Arc::new(Line::new(client.try_clone()?));
        Ok(Self { client, server, up, down })
    }

    /// Passes bytes on both ways, after a `handshake`, until either side breaks it off or both have ended.
    pub(super) fn run(&self, handshake: Duration, up: &Pipe, down: &Pipe) {
        if !self.up.pause(handshake) {
            return;
        }
        let ways = [(&self.client, up, &self.up), (&self.server, down, &self.down)];
        thread::scope(|scope| {
            let builder = || thread::Builder::new().stack_size(STACK_BYTES);
            let mut writers = Vec::new();
            for (from, pipe, line) in ways {
                let reader = builder().spawn_scoped(scope, move || self.read(from, pipe, line));
                let deliver = move || {
                    if !line.deliver() {
                        self.end(up, down);
                    }
                };
                match (reader, builder().spawn_scoped(scope, deliver)) {
                    (Ok(_), Ok(writer)) => writers.push(writer),
                    // A machine without threads to spare ends this connection, not the link.
                    _ => self.end(up, down),
                }
            }
            for writer in writers {
                // A panic in a thread of ours is a bug, and ends the connection like any other failure.
                let _ = writer.join();
            }
            self.end(up, down);
        });
    }

    /// Closes both ways and wakes who waits to send on them.
    fn end(&self, up: &Pipe, down: &Pipe) {
        self.close();
        up.wake();
        down.wake();
    }

    fn read(&self, mut from: &TcpStream, pipe: &Pipe, line: &Arc<Line>) {
        let mut buffer = [0; MOST_CHUNK_BYTES];
        loop {
            let payload = match from.read(&mut buffer[..pipe.chunk_bytes()]) {
                Ok(0) => Payload::End,
                Ok(count) => Payload::Bytes(buffer[..count].to_vec()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => return self.close(),
            };
            let is_end = matches!(payload, Payload::End);
            if !line.reserve(payload.len()) || !pipe.push(payload, line) || is_end {
                return;
            }
        }
    }

    /// Ends both directions at once; what is under way is lost.
    pub(super) fn close(&self) {
        self.up.close();
        self.down.close();
    }
}
