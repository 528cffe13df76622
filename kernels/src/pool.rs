//! A pool for products of tens of microseconds: its threads stay awake between the products of a pass and sleep between
//! passes.
//!
//! One product at a time is shared; a second caller meanwhile does its own work alone, so nobody waits for the pool. A thread
//! that is too late to a product misses it, and the caller never waits for one that has not begun: waking a sleeper costs more
//! than most products.

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, TryLockError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// How long a thread stays awake after its last work: longer than what lies between two products of a pass.
const AWAKE: Duration = Duration::from_micros(100);
/// Multiplications that one part has at least.
const WORTH_SHARING: usize = 1 << 16;
/// Parts a thread at most, so that one that began late leaves some to the others.
const TASKS_A_THREAD: usize = 4;
/// Turns of a waiting loop between two looks at the clock.
const TURNS: u32 = 64;
/// Lowest bit of the number of the product in [`Shared::state`]; below lie the flag and the count.
const ONE_PRODUCT: u64 = 1 << 32;
const IS_OPEN: u64 = 1 << 31;
const COUNT: u64 = IS_OPEN - 1;

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

/// Into how many parts a product of so many multiplications is best divided.
pub(crate) fn parts(multiplications: usize) -> usize {
    match threads() {
        1 => 1,
        threads => (multiplications / WORTH_SHARING).clamp(1, TASKS_A_THREAD * threads),
    }
}

/// Calls `work` with each number below `tasks`, on as many threads as have time for it; returns when all have been done.
pub(crate) fn share(tasks: usize, work: &(dyn Fn(usize) + Sync)) {
    pool().share(tasks, work);
}

/// Does the task of this number.
type Work = dyn Fn(usize) + Sync;

/// What the threads see.
struct Shared {
    /// Number of the product, whether it may still be joined, and how many helpers are at it.
    state: AtomicU64,
    /// The first task that nobody has taken.
    next: AtomicUsize,
    tasks: AtomicUsize,
    /// Where the owner keeps its reference to the work; of use only while the product is open or somebody is at it.
    work: AtomicPtr<&'static Work>,
    /// A task panicked.
    is_broken: AtomicBool,
    asleep: Vec<AtomicBool>,
}

struct Pool {
    shared: &'static Shared,
    helpers: Vec<Thread>,
    /// Whoever holds it shares a product.
    owner: Mutex<()>,
}

impl Pool {
    fn new(helpers: usize) -> Self {
        let asleep = (0..helpers).map(|_| AtomicBool::new(false)).collect();
        let shared: &'static Shared = Box::leak(Box::new(Shared {
            state: AtomicU64::new(0),
            next: AtomicUsize::new(0),
            tasks: AtomicUsize::new(0),
            work: AtomicPtr::new(ptr::null_mut()),
            is_broken: AtomicBool::new(false),
            asleep,
        }));
        let begin = |index: usize| {
            let named = thread::Builder::new().name(format!("product-{index}"));
            // Without a thread the others do its work.
            named.spawn(move || shared.help(index)).ok().map(|handle| handle.thread().clone())
        };
        Self { shared, helpers: (0..helpers).map_while(begin).collect(), owner: Mutex::new(()) }
    }

    /// The right to share a product, unless another caller has it. A product that failed leaves nothing behind, so a
    /// poisoned lock is as good as any.
    fn try_own(&self) -> Option<MutexGuard<'_, ()>> {
        match self.owner.try_lock() {
            Ok(owner) => Some(owner),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn share(&self, tasks: usize, work: &(dyn Fn(usize) + Sync)) {
        let owner = if tasks > 1 && !self.helpers.is_empty() { self.try_own() } else { None };
        if owner.is_none() {
            return (0..tasks).for_each(work);
        }
        let shared = self.shared;
        shared.work.store(ptr::from_ref(&work).cast_mut().cast(), Ordering::Relaxed);
        shared.tasks.store(tasks, Ordering::Relaxed);
        shared.next.store(0, Ordering::Relaxed);
        shared.is_broken.store(false, Ordering::Relaxed);
        let product = (shared.state.load(Ordering::Relaxed) & !(ONE_PRODUCT - 1)).wrapping_add(ONE_PRODUCT);
        // Whoever sees this sees what was stored before.
        shared.state.store(product | IS_OPEN, Ordering::SeqCst);
        for (helper, asleep) in self.helpers.iter().zip(&shared.asleep) {
            if asleep.load(Ordering::SeqCst) {
                helper.unpark();
            }
        }
        // On unwinding, too, `work` must outlive everybody who has joined.
        let closing = Closing(shared);
        shared.take_tasks(tasks, work);
        drop(closing);
        assert!(!shared.is_broken.swap(false, Ordering::Relaxed), "a part of a product failed");
    }
}

/// Lets nobody join any more, and waits for those who have.
struct Closing(&'static Shared);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.state.fetch_and(!IS_OPEN, Ordering::AcqRel);
        let mut turns = 0_u32;
        while self.0.state.load(Ordering::Acquire) & COUNT > 0 {
            turns += 1;
            if turns.is_multiple_of(TURNS) {
                // Whoever is at it may have lost its core to somebody else.
                thread::yield_now();
            }
            std::hint::spin_loop();
        }
    }
}

impl Shared {
    fn take_tasks(&self, tasks: usize, work: &(dyn Fn(usize) + Sync)) {
        loop {
            let task = self.next.fetch_add(1, Ordering::Relaxed);
            if task >= tasks {
                return;
            }
            work(task);
        }
    }

    /// The life of a helper.
    fn help(&self, index: usize) {
        let mut done = 0;
        loop {
            let state = self.wait(index, done);
            let joined = self.state.compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Relaxed);
            if joined.is_err() {
                continue;
            }
            done = state & !(ONE_PRODUCT - 1);
            // SAFETY: this points to a reference that its owner keeps alive until the count is back at 0: it was joined
            // while open, and the owner closes it and then waits.
            let work: &Work = unsafe { *self.work.load(Ordering::Relaxed) };
            let tasks = self.tasks.load(Ordering::Relaxed);
            let caught = std::panic::AssertUnwindSafe(|| self.take_tasks(tasks, work));
            if std::panic::catch_unwind(caught).is_err() {
                self.is_broken.store(true, Ordering::Relaxed);
            }
            self.state.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Until there is a product other than `done` to join: the state that says so.
    fn wait(&self, index: usize, done: u64) -> u64 {
        let is_new = |state: u64| state & IS_OPEN != 0 && state & !(ONE_PRODUCT - 1) != done;
        let mut since = Instant::now();
        loop {
            for _ in 0..TURNS {
                let state = self.state.load(Ordering::Acquire);
                if is_new(state) {
                    return state;
                }
                std::hint::spin_loop();
            }
            if since.elapsed() < AWAKE {
                continue;
            }
            let asleep = &self.asleep[index];
            asleep.store(true, Ordering::SeqCst);
            // Looked at once more after saying so, since else both sides might miss each other.
            if !is_new(self.state.load(Ordering::SeqCst)) {
                thread::park();
            }
            asleep.store(false, Ordering::SeqCst);
            // Though too late for the product that woke it, it will be there for those that follow.
            since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    fn counted(pool: &Pool, tasks: usize) {
        let counts: Vec<AtomicU32> = (0..tasks).map(|_| AtomicU32::new(0)).collect();
        pool.share(tasks, &|task| {
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
            pool.share(64, &|task| assert!(task != 40, "as wanted"));
        }));
        assert!(caught.is_err());
        assert!(pool.try_own().is_some(), "products are shared as before");
        (0..100).for_each(|_| counted(&pool, 16));
    }
}
