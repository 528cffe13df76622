//! A pool for products of tens of microseconds: its threads stay awake between the products of a pass and sleep between
//! passes.
//!
//! One product at a time is shared; a second caller meanwhile does its own work alone, so nobody waits for the pool. A thread
//! that is too late to a product misses it, and the caller never waits for one that has not begun: waking a sleeper costs more
//! than most products.
//!
//! How threads begin, sleep and are woken is the platform's: `native` starts them itself; in Wasm (`workers`) they are Workers that
//! whoever runs the module sends in, and without them there is one thread.

use std::cell::RefCell;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::thread;

use crate::attention::Scratch;

#[cfg(not(target_family = "wasm"))]
mod native;
#[cfg(target_family = "wasm")]
mod workers;

#[cfg(not(target_family = "wasm"))]
pub(crate) use native::share;
#[cfg(not(target_family = "wasm"))]
pub use native::{set_threads, threads};
#[cfg(target_family = "wasm")]
pub(crate) use workers::share;
#[cfg(target_family = "wasm")]
pub use workers::{MOST_HELPERS, help, helper_failed, on_wake, threads};

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

thread_local! {
    /// Of threads that share their work, and of those that have nobody to share it with.
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch::new()) };
}

/// Into how many parts a product of so many multiplications is best divided.
pub(crate) fn parts(multiplications: usize) -> usize {
    match threads() {
        1 => 1,
        threads => (multiplications / WORTH_SHARING).clamp(1, TASKS_A_THREAD * threads),
    }
}

/// Calls `work` with each number below `tasks`, on this thread.
pub(crate) fn alone(tasks: usize, work: &Work<'_>) {
    SCRATCH.with_borrow_mut(|scratch| (0..tasks).for_each(|task| work(task, scratch)));
}

/// Does the task of this number, with what the thread keeps for its tasks.
type Work<'a> = dyn Fn(usize, &mut Scratch) + Sync + 'a;

/// What the threads see.
struct Shared {
    /// Number of the product, whether it may still be joined, and how many helpers are at it.
    state: AtomicU64,
    /// The first task that nobody has taken.
    next: AtomicUsize,
    tasks: AtomicUsize,
    /// Where the owner keeps its reference to the work; of use only while the product is open or somebody is at it.
    work: AtomicPtr<&'static Work<'static>>,
    /// A task panicked.
    is_broken: AtomicBool,
    /// Whoever holds it shares a product.
    owner: Mutex<()>,
}

impl Shared {
    const fn new() -> Self {
        Self {
            state: AtomicU64::new(0),
            next: AtomicUsize::new(0),
            tasks: AtomicUsize::new(0),
            work: AtomicPtr::new(ptr::null_mut()),
            is_broken: AtomicBool::new(false),
            owner: Mutex::new(()),
        }
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

    /// Opens a product, calls `wake`, and returns when all tasks have been done.
    fn share(&self, tasks: usize, work: &Work<'_>, wake: impl FnOnce()) {
        let owner = if tasks > 1 { self.try_own() } else { None };
        if owner.is_none() {
            return alone(tasks, work);
        }
        self.work.store(ptr::from_ref(&work).cast_mut().cast(), Ordering::Relaxed);
        self.tasks.store(tasks, Ordering::Relaxed);
        self.next.store(0, Ordering::Relaxed);
        self.is_broken.store(false, Ordering::Relaxed);
        let product = number_of(self.state.load(Ordering::Relaxed)).wrapping_add(ONE_PRODUCT);
        // Whoever sees this sees what was stored before.
        self.state.store(product | IS_OPEN, Ordering::SeqCst);
        wake();
        // On unwinding, too, `work` must outlive everybody who has joined.
        let closing = Closing(self);
        SCRATCH.with_borrow_mut(|scratch| self.take_tasks(tasks, work, scratch));
        drop(closing);
        assert!(!self.is_broken.swap(false, Ordering::Relaxed), "a part of a product failed");
    }

    fn take_tasks(&self, tasks: usize, work: &Work<'_>, scratch: &mut Scratch) {
        loop {
            let task = self.next.fetch_add(1, Ordering::Relaxed);
            if task >= tasks {
                return;
            }
            work(task, scratch);
        }
    }

    /// Joins the product of this state, unless that is past. Returns its number if it was joined.
    fn join(&self, state: u64, scratch: &mut Scratch) -> Option<u64> {
        self.state.compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Relaxed).ok()?;
        // SAFETY: this points to a reference that its owner keeps alive until the count is back at 0: it was joined
        // while open, and the owner closes it and then waits.
        let work: &Work<'_> = unsafe { *self.work.load(Ordering::Relaxed) };
        let tasks = self.tasks.load(Ordering::Relaxed);
        let caught = std::panic::AssertUnwindSafe(|| self.take_tasks(tasks, work, scratch));
        if std::panic::catch_unwind(caught).is_err() {
            self.is_broken.store(true, Ordering::Relaxed);
        }
        self.leave();
        Some(number_of(state))
    }

    /// Whoever has joined is at it no more.
    fn leave(&self) {
        self.state.fetch_sub(1, Ordering::AcqRel);
    }

    /// Looks a few times for a product other than `done` to join: the state that says so.
    fn look(&self, done: u64) -> Option<u64> {
        for _ in 0..TURNS {
            let state = self.state.load(Ordering::Acquire);
            if is_new(state, done) {
                return Some(state);
            }
            std::hint::spin_loop();
        }
        None
    }
}

fn number_of(state: u64) -> u64 {
    state & !(ONE_PRODUCT - 1)
}

fn is_new(state: u64, done: u64) -> bool {
    state & IS_OPEN != 0 && number_of(state) != done
}

/// Lets nobody join any more, and waits for those who have.
struct Closing<'a>(&'a Shared);

impl Drop for Closing<'_> {
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
