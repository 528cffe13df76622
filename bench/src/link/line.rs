//! What is under way behind the bottleneck, in one direction of one connection, until it is due at the other end.

use std::{
    collections::VecDeque,
    io::Write,
    net::{Shutdown, TcpStream},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// Bytes of one connection and direction that may be anywhere between its ends, as a receive window bounds them: room
/// for 400 Mbit/s at an RTT of 150 ms.
const WINDOW_BYTES: usize = 8 << 20;

/// Sleeps end late by about so much; the rest of a wait yields the processor again and again.
const SLEEP_SLACK: Duration = Duration::from_micros(100);

/// What travels.
#[derive(Debug)]
pub(super) enum Payload {
    /// Some bytes.
    Bytes(Vec<u8>),
    /// The sender says no more.
    End,
}

impl Payload {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::End => 0,
        }
    }
}

/// Bytes on their way to one end of a connection.
pub(super) struct Line {
    under_way: Mutex<UnderWay>,
    changed: Condvar,
    to: TcpStream,
}

#[derive(Default)]
struct UnderWay {
    due: VecDeque<(Instant, Payload)>,
    /// In the queue before the bottleneck, in `due`, or being written.
    bytes: usize,
    is_closed: bool,
}

impl Line {
    pub(super) fn new(to: TcpStream) -> Self {
        Self { under_way: Mutex::default(), changed: Condvar::new(), to }
    }

    /// Waits until `bytes` more fit into the window; false if the line is closed.
    pub(super) fn reserve(&self, bytes: usize) -> bool {
        let mut under_way = self.lock();
        while !under_way.is_closed && under_way.bytes + bytes > WINDOW_BYTES {
            under_way = self.changed.wait(under_way).unwrap_or_else(PoisonError::into_inner);
        }
        under_way.bytes += bytes;
        !under_way.is_closed
    }

    /// Takes what has passed the bottleneck.
    pub(super) fn take(&self, due: Instant, payload: Payload) {
        let mut under_way = self.lock();
        under_way.due.push_back((due, payload));
        self.changed.notify_all();
    }

    /// Writes what is due when it is due, in order, until the end or until the line is closed; true at the end.
    pub(super) fn deliver(&self) -> bool {
        while let Some(payload) = self.next_due() {
            match payload {
                Payload::Bytes(bytes) => {
                    if (&self.to).write_all(&bytes).is_err() {
                        return false;
                    }
                    self.lock().bytes -= bytes.len();
                    self.changed.notify_all();
                }
                Payload::End => return self.to.shutdown(Shutdown::Write).is_ok(),
            }
        }
        false
    }

    /// The next payload, not before it is due; `None` once the line is closed.
    fn next_due(&self) -> Option<Payload> {
        let mut under_way = self.lock();
        loop {
            if under_way.is_closed {
                return None;
            }
            let Some((due, _)) = under_way.due.front() else {
                under_way = self.changed.wait(under_way).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return under_way.due.pop_front().map(|(_, payload)| payload);
            }
            if left > SLEEP_SLACK {
                let wait = self.changed.wait_timeout(under_way, left - SLEEP_SLACK);
                under_way = wait.unwrap_or_else(PoisonError::into_inner).0;
            } else {
                drop(under_way);
                thread::yield_now();
                under_way = self.lock();
            }
        }
    }

    /// Waits, unless the line is closed before; false if it is.
    pub(super) fn pause(&self, length: Duration) -> bool {
        let until = Instant::now() + length;
        let mut under_way = self.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if under_way.is_closed || left.is_zero() {
                return !under_way.is_closed;
            }
            under_way = self.changed.wait_timeout(under_way, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(super) fn close(&self) {
        let mut under_way = self.lock();
        under_way.is_closed = true;
        under_way.due.clear();
        self.changed.notify_all();
        // Fails only where the other end has gone already.
        let _ = self.to.shutdown(Shutdown::Both);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
