//! The standard library's allocator behind a lock of our own, since its own ones are none (see the crate's documentation).

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

#[global_allocator]
static ALLOCATOR: Locked = Locked(AtomicBool::new(false));

struct Locked(AtomicBool);

impl Locked {
    fn with<T>(&self, call: impl FnOnce() -> T) -> T {
        // Held for as long as finding a piece of memory takes, and nothing in there panics.
        while self.0.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            std::hint::spin_loop();
        }
        let result = call();
        self.0.store(false, Ordering::Release);
        result
    }
}

// SAFETY: all calls go to the system's allocator as they are, one at a time.
unsafe impl GlobalAlloc for Locked {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's.
        self.with(|| unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's.
        self.with(|| unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        self.with(|| unsafe { System.dealloc(start, layout) });
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's.
        self.with(|| unsafe { System.realloc(start, layout, new_size) })
    }
}
