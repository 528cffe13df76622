//! The bottleneck of one direction: a bounded queue, and one chunk after the other at the rate of the moment.
//!
//! A chunk departs at `max(arrival, departure of the one before) + bytes / rate`, and is due a one-way delay later.
//! These times are computed, not slept, so a thread that wakes late delays nothing that is not due yet.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    clock::Clock,
    line::{Line, Payload},
    shape::Way,
};

/// A chunk leaves the queue so much before it has passed, so that a fast link does not wake a thread for every chunk.
/// It is due no earlier for that.
const AHEAD: Duration = Duration::from_millis(1);

/// One direction of a link.
pub(super) struct Pipe {
    way: Way,
    clock: Arc<Clock>,
    queue: Mutex<Queue>,
    changed: Condvar,
    passed_bytes: AtomicU64,
}

struct Queue {
    waiting: VecDeque<Packet>,
    bytes: usize,
    /// When the last chunk has passed.
    free_at: Instant,
}

struct Packet {
    arrived: Instant,
    payload: Payload,
    line: Arc<Line>,
}

impl Pipe {
    pub(super) fn new(way: Way, clock: Arc<Clock>) -> Self {
        let queue = Queue { waiting: VecDeque::new(), bytes: 0, free_at: Instant::now() };
        Self {
            way,
            clock,
            queue: Mutex::new(queue),
            changed: Condvar::new(),
            passed_bytes: AtomicU64::new(0),
        }
    }

    /// Bytes to read from a sender at a time.
    pub(super) fn chunk_bytes(&self) -> usize {
        self.clock.budgets(self.way).0
    }

    /// Bytes that have passed.
    pub(super) fn passed_bytes(&self) -> u64 {
        self.passed_bytes.load(Ordering::Relaxed)
    }

    /// Queues what a sender gave, as soon as there is room; false if the line or the link ended before.
    pub(super) fn push(&self, payload: Payload, line: &Arc<Line>) -> bool {
        let mut queue = self.lock();
        loop {
            if line.is_closed() || self.clock.is_stopped() {
                return false;
            }
            let room = self.clock.budgets(self.way).1;
            if queue.waiting.is_empty() || queue.bytes + payload.len() <= room {
                break;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.bytes += payload.len();
        queue.waiting.push_back(Packet { arrived: Instant::now(), payload, line: Arc::clone(line) });
        self.changed.notify_all();
        true
    }

    /// Lets chunks pass, until the link ends.
    pub(super) fn run(&self) {
        let mut queue = self.lock();
        while !self.clock.is_stopped() {
            let Some(packet) = queue.waiting.front() else {
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let ready = packet.arrived.max(queue.free_at);
            let Some(departure) = self.clock.departure(self.way, ready, packet.payload.len()) else {
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = departure.at.saturating_duration_since(Instant::now() + AHEAD);
            if !left.is_zero() {
                queue = self.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let Some(Packet { payload, line, .. }) = queue.waiting.pop_front() else { continue };
            queue.bytes -= payload.len();
            queue.free_at = departure.at;
            self.passed_bytes.fetch_add(payload.len() as u64, Ordering::Relaxed);
            line.take(departure.due, payload);
            self.changed.notify_all();
        }
    }

    /// Wakes whoever waits, because the clock or a line changed.
    pub(super) fn wake(&self) {
        // Under the lock, so that no one is between looking and waiting.
        let _queue = self.lock();
        self.changed.notify_all();
    }

    /// Throws away what waits.
    pub(super) fn clear(&self) {
        let mut queue = self.lock();
        queue.waiting.clear();
        queue.bytes = 0;
        self.changed.notify_all();
    }

    #[cfg(test)]
    pub(super) fn queued_bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
