//! The trace that holds now: shared by all threads of a link, and changed while they run.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    shape::Way,
    trace::{Segment, State, Trace},
};

/// Chunks are what passes in a millisecond, within these bounds: at least a packet, as on a real link, and on a fast one
/// no more than makes a smooth stream.
const LEAST_CHUNK_BYTES: usize = 1448;
pub(super) const MOST_CHUNK_BYTES: usize = 16 << 10;

/// A trace and when it began.
pub(super) struct Clock {
    running: Mutex<Running>,
    changed: Condvar,
}

struct Running {
    trace: Trace,
    origin: Instant,
    /// Counts changes.
    generation: u64,
    is_stopped: bool,
}

/// When a chunk has passed the bottleneck, and when it is there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Departure {
    pub(super) at: Instant,
    pub(super) due: Instant,
}

/// Why a wait for the next cut ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Woken {
    Cut,
    Stopped,
}

impl Clock {
    pub(super) fn new(trace: Trace) -> Self {
        let running = Running { trace, origin: Instant::now(), generation: 0, is_stopped: false };
        Self { running: Mutex::new(running), changed: Condvar::new() }
    }

    /// Puts another trace in place, or the same anew, beginning now.
    pub(super) fn begin(&self, trace: Option<Trace>) {
        let mut running = self.lock();
        if let Some(trace) = trace {
            running.trace = trace;
        }
        running.origin = Instant::now();
        running.generation += 1;
        self.changed.notify_all();
    }

    pub(super) fn stop(&self) {
        self.lock().is_stopped = true;
        self.changed.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.lock().is_stopped
    }

    /// What becomes of `bytes` that could pass from `ready` on; `None` if the trace never lets them.
    pub(super) fn departure(&self, way: Way, ready: Instant, bytes: usize) -> Option<Departure> {
        let running = self.lock();
        // What happened under an earlier trace gives no credit under this one.
        let at_ms = running.trace.departure_ms(way, running.ms(ready), bytes)?;
        let delay_ms = running.trace.at(at_ms).0.shape.direction(way).delay_ms;
        let instant = |ms: f64| running.origin + Duration::from_secs_f64(ms / 1e3);
        Some(Departure { at: instant(at_ms), due: instant(at_ms + delay_ms) })
    }

    /// Bytes to read at a time, and bytes that may wait.
    pub(super) fn budgets(&self, way: Way) -> (usize, usize) {
        let running = self.lock();
        let direction = running.now().shape.direction(way);
        let chunk = ((direction.rate_bits_per_s / 8e3) as usize).clamp(LEAST_CHUNK_BYTES, MOST_CHUNK_BYTES);
        let queue = usize::try_from(direction.queue_bytes).unwrap_or(usize::MAX);
        (chunk.min(queue), queue)
    }

    /// What a handshake takes now; `None` while connections are refused.
    pub(super) fn handshake(&self) -> Option<Duration> {
        let running = self.lock();
        let segment = running.now();
        (segment.state != State::Cut).then(|| Duration::from_secs_f64(segment.shape.rtt_ms() / 1e3))
    }

    /// Waits until a cut begins. `seen` is the last one that was, and the trace of it.
    pub(super) fn wait_for_cut(&self, seen: &mut (u64, f64)) -> Woken {
        let mut running = self.lock();
        loop {
            if running.is_stopped {
                return Woken::Stopped;
            }
            if seen.0 != running.generation {
                *seen = (running.generation, -1.0);
            }
            let now_ms = running.ms(Instant::now());
            running = match running.trace.next_cut_ms(seen.1) {
                Some(cut_ms) if cut_ms <= now_ms => {
                    seen.1 = cut_ms;
                    return Woken::Cut;
                }
                Some(cut_ms) => {
                    let wait = Duration::from_secs_f64((cut_ms - now_ms) / 1e3);
                    self.changed.wait_timeout(running, wait).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(running).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// Milliseconds from the origin; 0 for what was before it.
    fn ms(&self, instant: Instant) -> f64 {
        instant.saturating_duration_since(self.origin).as_secs_f64() * 1e3
    }

    fn now(&self) -> &Segment {
        self.trace.at(self.ms(Instant::now())).0
    }
}
