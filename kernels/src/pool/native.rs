//! Threads of the operating system, as many as there are cores unless told otherwise, begun with the first product.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::{Shared, Work, alone, is_new};
use crate::attention::Scratch;

/// How long a thread stays awake after its last work: longer than what lies between two products of a pass.
const AWAKE: Duration = Duration::from_micros(100);

static WANTED: AtomicUsize = AtomicUsize::new(0);
static POOL: OnceLock<Pool> = OnceLock::new();

/// Sets how many threads a product may use, the caller's included; 0 stands for one a core. Has no effect after the first
/// product.
pub fn set_threads(threads: usize) {
    WANTED.store(threads, Ordering::Relaxed);
}

/// How many threads a product may use, the caller's included.
pub fn threads() -> usize {
    pool().helpers.len() + 1
}

fn pool() -> &'static Pool {
    POOL.get_or_init(|| {
        let wanted = match WANTED.load(Ordering::Relaxed) {
            0 => thread::available_parallelism().map_or(1, usize::from),
            wanted => wanted,
        };
        Pool::new(wanted - 1)
    })
}

/// Calls `work` with each number below `tasks`, on as many threads as have time for it; returns when all have been done.
pub(crate) fn share(tasks: usize, work: &Work<'_>) {
    pool().share(tasks, work);
}

struct Pool {
    shared: &'static Shared,
    /// Which of the helpers are asleep.
    asleep: &'static [AtomicBool],
    helpers: Vec<Thread>,
}

impl Pool {
    fn new(helpers: usize) -> Self {
        let shared: &'static Shared = Box::leak(Box::new(Shared::new()));
        let asleep: &'static [AtomicBool] =
            (0..helpers).map(|_| AtomicBool::new(false)).collect::<Vec<_>>().leak();
        let begin = |(index, asleep)| {
            let named = thread::Builder::new().name(format!("product-{index}"));
            // Without a thread the others do its work.
            named.spawn(move || help(shared, asleep)).ok().map(|handle| handle.thread().clone())
        };
        Self { shared, asleep, helpers: asleep.iter().enumerate().map_while(begin).collect() }
    }

    fn share(&self, tasks: usize, work: &Work<'_>) {
        if self.helpers.is_empty() {
            return alone(tasks, work);
        }
        self.shared.share(tasks, work, || {
            for (helper, asleep) in self.helpers.iter().zip(self.asleep) {
                if asleep.load(Ordering::SeqCst) {
                    helper.unpark();
                }
            }
        });
    }
}

/// The life of a helper.
fn help(shared: &Shared, asleep: &AtomicBool) {
    let mut scratch = Scratch::new();
    let mut done = 0;
    loop {
        let state = wait(shared, asleep, done);
        done = shared.join(state, &mut scratch).unwrap_or(done);
    }
}

/// Until there is a product other than `done` to join: the state that says so.
fn wait(shared: &Shared, asleep: &AtomicBool, done: u64) -> u64 {
    let mut since = Instant::now();
    loop {
        if let Some(state) = shared.look(done) {
            return state;
        }
        if since.elapsed() < AWAKE {
            continue;
        }
        asleep.store(true, Ordering::SeqCst);
        // Looked at once more after saying so, since else both sides might miss each other.
        if !is_new(shared.state.load(Ordering::SeqCst), done) {
            thread::park();
        }
        asleep.store(false, Ordering::SeqCst);
        // Though too late for the product that woke it, it will be there for those that follow.
        since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    fn counted(pool: &Pool, tasks: usize) {
        let counts: Vec<AtomicU32> = (0..tasks).map(|_| AtomicU32::new(0)).collect();
        pool.share(tasks, &|task, _| {
            counts[task].fetch_add(1, Ordering::Relaxed);
        });
        assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1), "{tasks} tasks");
    }

    #[test]
    fn every_task_is_done_once_whoever_is_awake() {
        for helpers in [0, 1, 3] {
            let pool = Pool::new(helpers);
            for round in 0..2_000 {
                counted(&pool, round % 40);
                if round % 200 == 0 {
                    thread::sleep(2 * AWAKE);
                }
            }
        }
    }

    #[test]
    fn many_callers_at_once_all_get_their_work_done() {
        let pool = Pool::new(2);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..500).for_each(|round| counted(&pool, round % 20)));
            }
        });
    }

    #[test]
    fn a_task_that_panics_is_the_callers_panic_and_the_pool_goes_on() {
        let pool = Pool::new(2);
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            pool.share(64, &|task, _| assert!(task != 40, "as wanted"));
        }));
        assert!(caught.is_err());
        assert!(pool.shared.try_own().is_some(), "products are shared as before");
        (0..100).for_each(|_| counted(&pool, 16));
    }
}
