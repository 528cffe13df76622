//! One rate: visitors arrive, sessions play their requests, and what came of it is counted.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Barrier, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{
    arrivals::{Arrival, poisson},
    outcome::Trial,
    script::Script,
    session::{Ended, LoadSession},
    stage::SERVER,
};
use crate::{
    clock::ms_since,
    run,
    summary::{Summary, nearest_rank},
};

/// Share of what reaches the server that has to be answered.
const LEAST_ANSWERED: f64 = 0.95;
/// Requests that reach the server at each rate, in the mean: fewer say nothing about a 95th percentile. Slow servers are
/// given more time for it, up to so many times what was asked for.
const LEAST_REACHING: f64 = 40.0;
/// The same past saturation, where the count of answers itself is the figure: a tenth of it has to be seen.
const LEAST_PAST: f64 = 400.0;
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
    /// After so many requests a session is closed and another opened; `None` if sessions stay.
    pub(super) session_requests: Option<usize>,
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
    /// Seconds since the beginning.
    at_s: f64,
    request: usize,
}

/// What became of one.
#[derive(Debug, Clone, Copy)]
struct Visit {
    at_s: f64,
    ended: Ended,
    /// From arrival to the end.
    ms: f64,
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
        let seconds = self.seconds_at(rate_per_s, LEAST_REACHING);
        self.try_for(repeat, rate_per_s, seconds, &AtomicBool::new(false))
    }

    /// The same at so many times the rate at saturation, for as long as it takes to see a tenth of the answers there.
    ///
    /// # Errors
    /// As [`Self::try_rate`].
    pub(super) fn try_past(&self, repeat: u32, saturation_per_s: f64, times: f64) -> Result<Trial> {
        let seconds = self.seconds_at(saturation_per_s, LEAST_PAST);
        self.try_for(repeat, times * saturation_per_s, seconds, &AtomicBool::new(false))
    }

    /// The same for so many seconds, or until `stop`.
    ///
    /// # Errors
    /// As [`Self::try_rate`].
    pub(super) fn try_for(
        &self,
        repeat: u32,
        rate_per_s: f64,
        seconds: f64,
        stop: &AtomicBool,
    ) -> Result<Trial> {
        // Once one request has its answer the server is done with what an earlier rate has left.
        let reaching = self.scripts.iter().find(|script| script.reaches_server());
        let reaching = reaching.context("a request that reaches the server is needed")?;
        alone_ms(&mut LoadSession::open(self.server)?, reaching)?;
        let arrivals = poisson(repeat, rate_per_s, seconds, self.scripts.len());
        let (waiting, open) = (Waiting::default(), Barrier::new(self.sessions + 1));
        let (mut arrived, mut stood, mut server_resident_bytes) = (0, 0, None);
        let visits = thread::scope(|scope| -> Result<Vec<Visit>> {
            let served: Vec<_> =
                (0..self.sessions).map(|_| scope.spawn(|| self.serve(&waiting, &open))).collect();
            open.wait();
            let begin = Instant::now();
            for &Arrival { at_s, request } in &arrivals {
                let at = begin + Duration::from_secs_f64(at_s);
                thread::sleep(at.saturating_duration_since(Instant::now()));
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                arrived += 1;
                if self.scripts[request].reaches_server() {
                    waiting.push(Visitor { arrived: at, at_s, request });
                } else {
                    stood += 1;
                }
            }
            server_resident_bytes = run::child_resident_bytes(SERVER);
            waiting.close();
            let mut visits = Vec::new();
            for session in served {
                visits.extend(session.join().ok().context("a session's thread panicked")??);
            }
            Ok(visits)
        })?;
        let trial = self.count(rate_per_s, seconds, &visits);
        Ok(Trial { arrivals: arrived, stood, server_resident_bytes, ..trial })
    }

    fn seconds_at(&self, rate_per_s: f64, least_reaching: f64) -> f64 {
        let needed = least_reaching / (rate_per_s * self.reaching_share);
        needed.clamp(self.seconds, self.seconds * MOST_LONGER)
    }

    /// One session, until there are no more visitors.
    fn serve(&self, waiting: &Waiting, open: &Barrier) -> Result<Vec<Visit>> {
        let session = LoadSession::open(self.server);
        open.wait();
        let mut session = Some(session?);
        let patience = Duration::from_secs_f64(self.bound_ms * PATIENCE_OVER_BOUND / 1e3);
        let (mut visits, mut asked) = (Vec::new(), 0);
        loop {
            let visitor = match waiting.pop(LISTEN_EVERY) {
                Next::Visitor(visitor) => visitor,
                Next::Over => return Ok(visits),
                Next::Nobody => {
                    session = session.take().and_then(LoadSession::listen);
                    continue;
                }
            };
            let deadline = visitor.arrived + patience;
            if self.session_requests.is_some_and(|most| asked >= most) {
                session = None;
            }
            if session.is_none() {
                asked = 0;
                session = LoadSession::open(self.server).ok();
            }
            asked += 1;
            let ended = match &mut session {
                Some(session) if Instant::now() < deadline => {
                    session.play(&self.scripts[visitor.request], deadline)
                }
                _ => Ended::Failed,
            };
            if ended == Ended::Failed {
                // Whatever the server still has to say about it is not waited for.
                session = None;
            }
            visits.push(Visit { at_s: visitor.at_s, ended, ms: ms_since(visitor.arrived) });
        }
    }

    /// What the visits come to, but for what only who lets visitors in can know.
    fn count(&self, rate_per_s: f64, seconds: f64, visits: &[Visit]) -> Trial {
        let of = |which: Ended| visits.iter().filter(move |visit| visit.ended == which);
        let mut times: Vec<f64> = of(Ended::Answered).map(|visit| visit.ms).collect();
        times.sort_by(f64::total_cmp);
        let rank = |share: f64| nearest_rank(&times, share);
        let (answered, busy, failed) = (times.len(), of(Ended::Busy).count(), of(Ended::Failed).count());
        let p95_ms = rank(0.95);
        let keeps_up = answered as f64 >= LEAST_ANSWERED * visits.len() as f64;
        // What has no answer came later than any that has one.
        let place = (0.99 * (answered + failed) as f64).ceil() as usize;
        // A rush hour that is over says nothing of the rate: answers to it after the last visitor do not count.
        let is_good = |visit: &&Visit| visit.ms <= self.bound_ms && visit.at_s + visit.ms / 1e3 <= seconds;
        Trial {
            rate_per_s,
            seconds,
            arrivals: visits.len(),
            stood: 0,
            answered,
            busy,
            failed,
            p50_ms: rank(0.5),
            p95_ms,
            p99_ms: place.checked_sub(1).and_then(|place| times.get(place).copied()),
            within_bound: Some(of(Ended::Answered).filter(is_good).count()),
            server_resident_bytes: None,
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

    fn crowd(scripts: &[Script]) -> Crowd<'_> {
        Crowd {
            server: (Ipv4Addr::LOCALHOST, 1).into(),
            scripts,
            sessions: 1,
            reaching_share: 0.5,
            seconds: 1.0,
            bound_ms: 100.0,
            session_requests: None,
        }
    }

    fn trial(ended: &[(Ended, f64)]) -> Trial {
        let visits: Vec<Visit> = ended.iter().map(|&(ended, ms)| Visit { at_s: 0.0, ended, ms }).collect();
        crowd(&[]).count(10.0, 8.0, &visits)
    }

    #[test]
    fn a_rate_is_sustained_by_latency_and_by_completions() {
        let mut ended = vec![(Ended::Answered, 50.0); 95];
        ended.extend([(Ended::Answered, 500.0); 4]);
        ended.push((Ended::Busy, 1.0));
        let good = trial(&ended);
        assert!(good.is_sustained, "{good:?}");
        assert_eq!((good.arrivals, good.answered, good.busy, good.failed), (100, 99, 1, 0));
        assert_eq!((good.p50_ms, good.p95_ms, good.p99_ms), (50.0, 50.0, Some(500.0)));
        ended.extend([(Ended::Answered, 500.0); 2]);
        assert!(!trial(&ended).is_sustained, "the slow ones are more than 5 %");
        let mut refused = vec![(Ended::Answered, 50.0); 94];
        refused.extend([(Ended::Busy, 1.0); 3]);
        refused.extend([(Ended::Failed, 200.0); 3]);
        assert!(!trial(&refused).is_sustained, "more than 5 % have no answer");
        assert!(!trial(&[]).is_sustained, "nothing was seen of the server");
        assert_eq!(crowd(&[]).seconds_at(10.0, LEAST_REACHING), 8.0, "half of 10 a second reach it");
        assert_eq!(crowd(&[]).seconds_at(1.0, LEAST_REACHING), 10.0, "nobody waits for ever");
    }

    #[test]
    fn what_has_no_answer_is_slower_than_any_and_refusals_have_no_latency() {
        let mut ended = vec![(Ended::Answered, 50.0); 98];
        ended.push((Ended::Answered, 90.0));
        ended.extend([(Ended::Busy, 1.0); 300]);
        ended.push((Ended::Failed, 200.0));
        let found = trial(&ended);
        assert_eq!((found.p99_ms, found.p50_ms), (Some(90.0), 50.0));
        assert_eq!((found.busy_share(), found.failed_share()), (0.75, 0.0025));
        ended.push((Ended::Failed, 200.0));
        assert_eq!(trial(&ended).p99_ms, None, "2 of 101 have no answer");
        assert_eq!(trial(&[]).p99_ms, None);
    }

    #[test]
    fn goodput_counts_answers_in_time_while_visitors_come() {
        let visit = |at_s, ended, ms| Visit { at_s, ended, ms };
        let visits = [
            visit(0.0, Ended::Answered, 100.0),
            visit(7.0, Ended::Answered, 101.0),
            visit(7.9, Ended::Answered, 90.0),
            visit(7.95, Ended::Answered, 90.0),
            visit(1.0, Ended::Busy, 1.0),
            visit(1.0, Ended::Failed, 1.0),
        ];
        let found = crowd(&[]).count(10.0, 8.0, &visits);
        assert_eq!((found.within_bound, found.goodput_per_s()), (Some(2), Some(0.25)));
    }

    #[test]
    fn visitors_are_served_in_order_until_nobody_comes() {
        let waiting = Waiting::default();
        assert!(matches!(waiting.pop(Duration::ZERO), Next::Nobody));
        let arrived = Instant::now();
        for request in 0..3 {
            waiting.push(Visitor { arrived, at_s: 0.0, request });
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
