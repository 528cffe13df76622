//! Which upstream answers, and which are out.
//!
//! Of those that are up the one with the fewest requests of ours goes first, then the one whose first words came soonest
//! of late. One that broke is out until a health check passes; one that fails on request after request without
//! breaking is too. Checks of one that is out come ever more rarely, so that an engine that starts is not pestered.
//! Time comes in as an argument.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::error::{Blame, UpstreamError};
use super::kind::Kind;

/// Failures in a row, each perhaps a request's fault, that are an upstream's.
const MAX_DOUBTFUL_FAILURES: u32 = 3;
/// Weight of the latest time to a first word in their average.
const AVERAGE_STEP: f64 = 0.25;
/// Between two checks of one that is up.
const CHECK_UP: Duration = Duration::from_secs(5);
/// Before the first check of one that is out; doubled for each that fails.
const CHECK_OUT: Duration = Duration::from_millis(250);
const MAX_CHECK_OUT: Duration = Duration::from_secs(10);

/// What a health check found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checked {
    /// The model to ask for.
    pub(super) model: String,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
struct State {
    /// What it is; `None` while it is out.
    up: Option<Checked>,
    in_flight: u32,
    ttft_ms: Option<f64>,
    doubtful_failures: u32,
    /// Failures and failed checks since the last answer.
    setbacks: u32,
}

/// The upstreams of one engine.
#[derive(Debug)]
pub(super) struct Pool {
    states: Mutex<Vec<State>>,
    /// Rung for each upstream that has gone out.
    pub(super) went_out: Vec<Notify>,
}

/// What is known of one upstream at this moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UpstreamStatus {
    /// Whether it is asked.
    pub is_up: bool,
    /// Requests of this server that it is answering.
    pub in_flight: u32,
    /// How long its first words took of late, in milliseconds.
    pub ttft_ms: Option<f64>,
}

/// One request's hold on an upstream.
#[derive(Debug)]
pub(super) struct Lease {
    pool: Arc<Pool>,
    /// Which upstream.
    pub(super) index: usize,
    pub(super) checked: Checked,
}

impl Pool {
    pub(super) fn new(count: usize) -> Self {
        let state = State { up: None, in_flight: 0, ttft_ms: None, doubtful_failures: 0, setbacks: 0 };
        Self { states: Mutex::new(vec![state; count]), went_out: (0..count).map(|_| Notify::new()).collect() }
    }

    /// The upstream to ask next, none of `tried`.
    pub(super) fn lease(self: &Arc<Self>, tried: &[usize]) -> Option<Lease> {
        let mut states = self.lock();
        let candidates = states.iter().enumerate().filter(|(index, _)| !tried.contains(index));
        let load = |state: &State| (state.in_flight, state.ttft_ms.unwrap_or(0.0));
        let (index, checked) = candidates
            .filter_map(|(index, state)| Some((index, load(state), state.up.clone()?)))
            .min_by(|(_, a, _), (_, b, _)| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)))
            .map(|(index, _, checked)| (index, checked))?;
        states[index].in_flight += 1;
        drop(states);
        Some(Lease { pool: Arc::clone(self), index, checked })
    }

    /// What is known of each.
    pub(super) fn status(&self) -> Vec<UpstreamStatus> {
        let status = |state: &State| {
            let State { in_flight, ttft_ms, .. } = *state;
            UpstreamStatus { is_up: state.up.is_some(), in_flight, ttft_ms }
        };
        self.lock().iter().map(status).collect()
    }

    /// Whether one is up and has requests of ours.
    pub(super) fn is_answering(&self, index: usize) -> bool {
        let state = &self.lock()[index];
        state.up.is_some() && state.in_flight > 0
    }

    /// A health check has ended; says whether the upstream has come up or gone out by it.
    pub(super) fn note_check(&self, index: usize, checked: Option<Checked>) -> bool {
        let state = &mut self.lock()[index];
        let changes = state.up.is_some() != checked.is_some();
        match checked {
            Some(checked) => state.up = Some(checked),
            None => {
                state.up = None;
                state.setbacks = state.setbacks.saturating_add(1);
            }
        }
        changes
    }

    /// When the next check is due, before chance is added.
    pub(super) fn check_after(&self, index: usize) -> Duration {
        let state = &self.lock()[index];
        if state.up.is_some() {
            return CHECK_UP;
        }
        let doublings = state.setbacks.saturating_sub(1).min(8);
        (CHECK_OUT * 2_u32.pow(doublings)).min(MAX_CHECK_OUT)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// The first word has come.
    pub(super) fn note_first_word(&self, ttft_ms: f64) {
        let state = &mut self.pool.lock()[self.index];
        let average = state.ttft_ms.unwrap_or(ttft_ms);
        state.ttft_ms = Some(average + AVERAGE_STEP * (ttft_ms - average));
    }

    /// It answered to the end.
    pub(super) fn succeeded(&self) {
        let state = &mut self.pool.lock()[self.index];
        (state.doubtful_failures, state.setbacks) = (0, 0);
    }

    /// It did not; says whether it is out because of that.
    pub(super) fn failed(&self, error: &UpstreamError) -> bool {
        let state = &mut self.pool.lock()[self.index];
        let is_out = match error.blame() {
            Blame::Nobody => false,
            Blame::Upstream => true,
            Blame::Perhaps => {
                state.doubtful_failures += 1;
                state.doubtful_failures >= MAX_DOUBTFUL_FAILURES
            }
        };
        if is_out {
            state.up = None;
            state.doubtful_failures = 0;
            state.setbacks = state.setbacks.saturating_add(1);
            self.pool.went_out[self.index].notify_one();
        }
        is_out
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let state = &mut self.pool.lock()[self.index];
        state.in_flight = state.in_flight.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked() -> Option<Checked> {
        Some(Checked { model: "m".into(), kind: Kind::OpenAi })
    }

    fn pool(count: usize) -> Arc<Pool> {
        let pool = Arc::new(Pool::new(count));
        for index in 0..count {
            pool.note_check(index, checked());
        }
        pool
    }

    #[test]
    fn the_fewest_requests_go_first_then_the_soonest_words() {
        let pool = pool(3);
        let leases: Vec<_> = (0..3).map(|_| pool.lease(&[]).unwrap()).collect();
        let mut used: Vec<_> = leases.iter().map(|lease| lease.index).collect();
        used.sort_unstable();
        assert_eq!(used, [0, 1, 2], "load is spread");
        for lease in &leases {
            lease.note_first_word([300.0, 100.0, 200.0][lease.index]);
        }
        drop(leases);
        let first = pool.lease(&[]).unwrap();
        assert_eq!(first.index, 1);
        assert_eq!(pool.lease(&[]).unwrap().index, 2, "the quickest one has a request already");
        assert_eq!(pool.lease(&[1, 2]).unwrap().index, 0);
        assert!(pool.lease(&[0, 1, 2]).is_none());
    }

    #[test]
    fn one_that_broke_is_out_until_a_check_passes() {
        let pool = pool(2);
        let lease = pool.lease(&[1]).unwrap();
        assert!(lease.failed(&UpstreamError::Cut));
        drop(lease);
        assert_eq!(pool.status().iter().map(|one| one.is_up).collect::<Vec<_>>(), [false, true]);
        assert_eq!((0..4).map(|_| pool.lease(&[]).unwrap().index).max(), Some(1));
        assert_eq!(pool.lease(&[1]).map(|lease| lease.index), None);
        assert!(!pool.note_check(0, None));
        assert!(pool.note_check(0, checked()));
        assert_eq!(pool.lease(&[1]).unwrap().index, 0);
    }

    #[test]
    fn one_bad_request_takes_no_upstream_out_but_failure_after_failure_does() {
        let pool = pool(1);
        let failed = UpstreamError::Failed { status: 500 };
        for _ in 0..3 {
            let lease = pool.lease(&[]).unwrap();
            assert!(!lease.failed(&failed));
            assert!(!lease.failed(&failed));
            lease.succeeded();
            assert!(!lease.failed(&UpstreamError::Overloaded));
        }
        let lease = pool.lease(&[]).unwrap();
        assert_eq!([0; 3].map(|_| lease.failed(&failed)), [false, false, true]);
        assert!(pool.lease(&[]).is_none());
    }

    #[test]
    fn checks_come_ever_more_rarely_until_an_answer_succeeds() {
        let pool = pool(1);
        assert_eq!(pool.check_after(0), CHECK_UP);
        let lease = pool.lease(&[]).unwrap();
        lease.failed(&UpstreamError::Cut);
        let mut waits = Vec::new();
        for _ in 0..10 {
            waits.push(pool.check_after(0));
            pool.note_check(0, None);
        }
        assert_eq!((waits[0], waits[1], waits[9]), (CHECK_OUT, CHECK_OUT * 2, MAX_CHECK_OUT));
        // It comes up and fails at once: no check after a moment.
        pool.note_check(0, checked());
        lease.failed(&UpstreamError::Cut);
        assert_eq!(pool.check_after(0), MAX_CHECK_OUT);
        pool.note_check(0, checked());
        lease.succeeded();
        lease.failed(&UpstreamError::Cut);
        assert_eq!(pool.check_after(0), CHECK_OUT);
    }
}
