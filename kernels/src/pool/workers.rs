//! Helpers in Wasm: Workers that run the same module on the same, shared memory.
//!
//! Nothing here can start, stop or wait for a Worker: whoever runs the module does. A helper calls [`help`]; when that returns, it
//! waits at the given place while 1 stands there, and calls again. While no helper has come, there is one thread.
//!
//! Helpers run tasks of products and nothing else. The standard library that they are linked with was compiled for one
//! thread, so its thread-local values and locks are the engine's alone; tasks use neither. What they allocate asks for an allocator
//! that may be called from several threads.

use std::cell::UnsafeCell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

use super::{Shared, TURNS, Work, alone, is_new};
use crate::attention::Scratch;

/// More are refused.
pub const MOST_HELPERS: usize = 15;
/// Looks for work, each of [`TURNS`], before a helper sleeps: some 100 us, longer than what lies between two products of a pass.
/// (There is no clock that all may read.)
const AWAKE_LOOKS: u32 = 100_000 / TURNS;

static SHARED: Shared = Shared::new();
static HELPERS: [Helper; MOST_HELPERS] = [const { Helper::new() }; MOST_HELPERS];
/// How many have come.
static JOINED: AtomicUsize = AtomicUsize::new(0);
/// Read by the engine's thread only.
static WAKE: OnceLock<fn(*const i32)> = OnceLock::new();

struct Helper {
    /// 1 while it sleeps, else 0.
    asleep: AtomicI32,
    has_come: AtomicBool,
    /// Whether it is at a product.
    is_busy: AtomicBool,
    own: UnsafeCell<Own>,
}

/// What no other thread touches.
struct Own {
    done: u64,
    scratch: Scratch,
}

// SAFETY: `own` is touched by the helper of that number only, as `help` demands.
unsafe impl Sync for Helper {}

impl Helper {
    const fn new() -> Self {
        let own = Own { done: 0, scratch: Scratch::new() };
        Self {
            asleep: AtomicI32::new(0),
            has_come: AtomicBool::new(false),
            is_busy: AtomicBool::new(false),
            own: UnsafeCell::new(own),
        }
    }
}

/// How many threads a product may use, the caller's included.
pub fn threads() -> usize {
    JOINED.load(Ordering::Relaxed) + 1
}

/// Sets what wakes the helper that waits at a place; called once, before any helper comes.
pub fn on_wake(wake: fn(*const i32)) {
    // A second call changes nothing.
    let _ = WAKE.set(wake);
}

/// Calls `work` with each number below `tasks`, on as many threads as have time for it; returns when all have been done.
pub(crate) fn share(tasks: usize, work: &Work<'_>) {
    if threads() == 1 {
        return alone(tasks, work);
    }
    SHARED.share(tasks, work, || {
        for helper in &HELPERS {
            if helper.asleep.load(Ordering::SeqCst) == 1
                && helper.asleep.swap(0, Ordering::SeqCst) == 1
                && let Some(wake) = WAKE.get()
            {
                wake(helper.asleep.as_ptr());
            }
        }
    });
}

/// The work of a helper, until there has been none for a while. Returns where it is to wait while 1 stands there, before it
/// calls this again.
///
/// # Safety
/// One thread at a time may be the helper of this number.
///
/// # Panics
/// If the number is not below [`MOST_HELPERS`].
pub unsafe fn help(number: usize) -> *const i32 {
    let helper = &HELPERS[number];
    if !helper.has_come.swap(true, Ordering::Relaxed) {
        JOINED.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the caller's.
    let own = unsafe { &mut *helper.own.get() };
    loop {
        helper.asleep.store(0, Ordering::SeqCst);
        let mut looks = 0;
        while looks < AWAKE_LOOKS {
            looks += 1;
            if let Some(state) = SHARED.look(own.done) {
                looks = 0;
                helper.is_busy.store(true, Ordering::Relaxed);
                own.done = SHARED.join(state, &mut own.scratch).unwrap_or(own.done);
                helper.is_busy.store(false, Ordering::Relaxed);
            }
        }
        helper.asleep.store(1, Ordering::SeqCst);
        // Looked at once more after saying so, since else both sides might miss each other.
        if !is_new(SHARED.state.load(Ordering::SeqCst), own.done) {
            return helper.asleep.as_ptr();
        }
    }
}

/// A helper was thrown out of [`help`] and comes no more: what it was at has failed.
///
/// # Panics
/// If the number is not below [`MOST_HELPERS`].
pub fn helper_failed(number: usize) {
    let helper = &HELPERS[number];
    if helper.has_come.swap(false, Ordering::Relaxed) {
        JOINED.fetch_sub(1, Ordering::Relaxed);
    }
    if helper.is_busy.swap(false, Ordering::Relaxed) {
        SHARED.is_broken.store(true, Ordering::Relaxed);
        SHARED.leave();
    }
}
