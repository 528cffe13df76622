//! One rate: visitors arrive, sessions play their requests, and what came of it is counted.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Barrier, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{
    arrivals::poisson,
    outcome::Trial,
    script::Script,
    session::{Ended, LoadSession},
};
use crate::{
    clock::ms_since,
    summary::{Summary, nearest_rank},
};

/// Share of what reaches the server that has to be answered.
const LEAST_ANSWERED: f64 = 0.95;
/// Requests that reach the server at each rate, in the mean: fewer say nothing about a 95th percentile. Slow servers are
/// given more time for it, up to so many times what was asked for.
const LEAST_REACHING: f64 = 40.0;
const MOST_LONGER: f64 = 10.0;
/// A session without a visitor listens this often, or the server would take it for gone.
const LISTEN_EVERY: Duration = Duration::from_secs(5);
/// A request is waited for so many times the latency bound.
const PATIENCE_OVER_BOUND: f64 = 2.0;
/// A request alone on the server takes less on any machine, and so does what a rate before has left to do.
const UNLOADED_PATIENCE: Duration = Duration::from_secs(60);
/// Requests that the unloaded latency is measured on.
const UNLOADED_REQUESTS: usize = 24;

/// Who may come, and to whom.
pub(super) struct Crowd<'a> {
    pub(super) server: SocketAddr,
    pub(super) scripts: &'a [Script],
    pub(super) sessions: usize,
    /// Share of requests that reach the server.
    pub(super) reaching_share: f64,
    /// Seconds of arrivals, longer where these are few.
    pub(super) seconds: f64,
    pub(super) bound_ms: f64,
}

/// Visitors who wait for a free session. It fills as visitors come: their number is bounded by that of the arrivals.
#[derive(Default)]
struct Waiting {
    visitors: Mutex<(VecDeque<Visitor>, bool)>,
    wake: Condvar,
}

/// Who comes next.
enum Next {
    Visitor(Visitor),
    /// Nobody for a while.
    Nobody,
    /// Nobody any more.
    Over,
}

#[derive(Clone, Copy)]
struct Visitor {
    arrived: Instant,
    request: usize,
}

/// Latency of requests one at a time.
pub(super) struct Unloaded {
    pub(super) median_ms: f64,
    pub(super) p95_ms: f64,
}

/// Asks one at a time.
///
/// # Errors
/// If one fails.
pub(super) fn unloaded(server: SocketAddr, scripts: &[Script]) -> Result<Unloaded> {
    let mut session = LoadSession::open(server)?;
    let mut times = Vec::new();
    let reaching = scripts.iter().filter(|script| script.reaches_server()).take(UNLOADED_REQUESTS);
    // The first is asked twice: it warms the server up.
    for script in reaching.clone().take(1).chain(reaching) {
        times.push(alone_ms(&mut session, script)?);
    }
    let mut times = times.split_off(1.min(times.len()));
    times.sort_by(f64::total_cmp);
    let summary =
        Summary::of(times.iter().copied()).context("a request that reaches the server is needed")?;
    Ok(Unloaded { median_ms: summary.median, p95_ms: nearest_rank(&times, 0.95) })
}

fn alone_ms(session: &mut LoadSession, script: &Script) -> Result<f64> {
    let start = Instant::now();
    let ended = session.play(script, start + UNLOADED_PATIENCE);
    ensure!(ended == Ended::Answered, "a request alone on the server has no answer: {ended:?}");
    Ok(ms_since(start))
}

impl Crowd<'_> {
    /// Lets visitors come at a rate, in the `repeat`-th draw of their arrivals.
    ///
    /// # Errors
    /// If a session cannot be opened.
    pub(super) fn try_rate(&self, repeat: u32, rate_per_s: f64) -> Result<Trial> {
        // Once one request has its answer the server is done with what an earlier rate has left.
        let reaching = self.scripts.iter().find(|script| script.reaches_server());
        let reaching = reaching.context("a request that reaches the server is needed")?;
        alone_ms(&mut LoadSession::open(self.server)?, reaching)?;
        let arrivals = poisson(repeat, rate_per_s, self.seconds_at(rate_per_s), self.scripts.len());
        let (waiting, open) = (Waiting::default(), Barrier::new(self.sessions + 1));
        let mut stood = 0;
        let ended = thread::scope(|scope| -> Result<Vec<(Ended, f64)>> {
            let served: Vec<_> =
                (0..self.sessions).map(|_| scope.spawn(|| self.serve(&waiting, &open))).collect();
            open.wait();
            let begin = Instant::now();
            for arrival in &arrivals {
                let arrived = begin + Duration::from_secs_f64(arrival.at_s);
                thread::sleep(arrived.saturating_duration_since(Instant::now()));
                if self.scripts[arrival.request].reaches_server() {
                    waiting.push(Visitor { arrived, request: arrival.request });
                } else {
                    stood += 1;
                }
            }
            waiting.close();
            let mut ended = Vec::new();
            for session in served {
                ended.extend(session.join().ok().context("a session's thread panicked")??);
            }
            Ok(ended)
        })?;
        Ok(self.count(rate_per_s, arrivals.len(), stood, &ended))
    }

    fn seconds_at(&self, rate_per_s: f64) -> f64 {
        let needed = LEAST_REACHING / (rate_per_s * self.reaching_share);
        needed.clamp(self.seconds, self.seconds * MOST_LONGER)
    }

    /// One session, until there are no more visitors.
    fn serve(&self, waiting: &Waiting, open: &Barrier) -> Result<Vec<(Ended, f64)>> {
        let session = LoadSession::open(self.server);
        open.wait();
        let mut session = Some(session?);
        let patience = Duration::from_secs_f64(self.bound_ms * PATIENCE_OVER_BOUND / 1e3);
        let mut ended = Vec::new();
        loop {
            let visitor = match waiting.pop(LISTEN_EVERY) {
                Next::Visitor(visitor) => visitor,
                Next::Over => return Ok(ended),
                Next::Nobody => {
                    session = session.take().and_then(LoadSession::listen);
                    continue;
                }
            };
            let deadline = visitor.arrived + patience;
            if session.is_none() {
                session = LoadSession::open(self.server).ok();
            }
            let end = match &mut session {
                Some(session) if Instant::now() < deadline => {
                    session.play(&self.scripts[visitor.request], deadline)
                }
                _ => Ended::Failed,
            };
            if end == Ended::Failed {
                // Whatever the server still has to say about it is not waited for.
                session = None;
            }
            ended.push((end, ms_since(visitor.arrived)));
        }
    }

    fn count(&self, rate_per_s: f64, arrivals: usize, stood: usize, ended: &[(Ended, f64)]) -> Trial {
        let of = |which: Ended| ended.iter().filter(move |(end, _)| *end == which);
        let mut times: Vec<f64> = of(Ended::Answered).map(|(_, ms)| *ms).collect();
        times.sort_by(f64::total_cmp);
        let rank = |share: f64| nearest_rank(&times, share);
        let (answered, p95_ms) = (times.len(), rank(0.95));
        let keeps_up = answered as f64 >= LEAST_ANSWERED * ended.len() as f64;
        Trial {
            rate_per_s,
            seconds: self.seconds_at(rate_per_s),
            arrivals,
            stood,
            answered,
            busy: of(Ended::Busy).count(),
            failed: of(Ended::Failed).count(),
            p50_ms: rank(0.5),
            p95_ms,
            is_sustained: answered > 0 && keeps_up && p95_ms <= self.bound_ms,
        }
    }
}

impl Waiting {
    fn push(&self, visitor: Visitor) {
        self.lock().0.push_back(visitor);
        self.wake.notify_one();
    }

    /// Nobody comes any more.
    fn close(&self) {
        self.lock().1 = true;
        self.wake.notify_all();
    }

    /// The visitor who has waited longest, waited for as long as `most`.
    fn pop(&self, most: Duration) -> Next {
        let waits = |(visitors, is_over): &mut (VecDeque<Visitor>, bool)| visitors.is_empty() && !*is_over;
        let waited = self.wake.wait_timeout_while(self.lock(), most, waits);
        let (mut visitors, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match (visitors.0.pop_front(), visitors.1) {
            (Some(visitor), _) => Next::Visitor(visitor),
            (None, true) => Next::Over,
            (None, false) => Next::Nobody,
        }
    }

    fn lock(&self) -> MutexGuard<'_, (VecDeque<Visitor>, bool)> {
        self.visitors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn trial(ended: &[(Ended, f64)]) -> Trial {
        let crowd = Crowd {
            server: (Ipv4Addr::LOCALHOST, 1).into(),
            scripts: &[],
            sessions: 1,
            reaching_share: 0.5,
            seconds: 1.0,
            bound_ms: 100.0,
        };
        crowd.count(10.0, ended.len() + 3, 3, ended)
    }

    #[test]
    fn a_rate_is_sustained_by_latency_and_by_completions() {
        let mut ended = vec![(Ended::Answered, 50.0); 95];
        ended.extend([(Ended::Answered, 500.0); 4]);
        ended.push((Ended::Busy, 1.0));
        let good = trial(&ended);
        assert!(good.is_sustained, "{good:?}");
        assert_eq!((good.arrivals, good.stood, good.answered, good.busy, good.failed), (103, 3, 99, 1, 0));
        assert_eq!((good.p50_ms, good.p95_ms), (50.0, 50.0));
        ended.extend([(Ended::Answered, 500.0); 2]);
        assert!(!trial(&ended).is_sustained, "the slow ones are more than 5 %");
        let mut refused = vec![(Ended::Answered, 50.0); 94];
        refused.extend([(Ended::Busy, 1.0); 3]);
        refused.extend([(Ended::Failed, 200.0); 3]);
        assert!(!trial(&refused).is_sustained, "more than 5 % have no answer");
        assert!(!trial(&[]).is_sustained, "nothing was seen of the server");
        assert_eq!(trial(&[]).seconds, 8.0, "40 requests take so long at 10/s of which half reach it");
    }

    #[test]
    fn visitors_are_served_in_order_until_nobody_comes() {
        let waiting = Waiting::default();
        assert!(matches!(waiting.pop(Duration::ZERO), Next::Nobody));
        let arrived = Instant::now();
        for request in 0..3 {
            waiting.push(Visitor { arrived, request });
        }
        waiting.close();
        let served: Vec<usize> = std::iter::from_fn(|| match waiting.pop(Duration::ZERO) {
            Next::Visitor(visitor) => Some(visitor.request),
            Next::Nobody | Next::Over => None,
        })
        .collect();
        assert_eq!(served, [0, 1, 2]);
    }
}
