//! The time that processors worked for this process, whoever else used them meanwhile.

use std::time::Duration;

/// All threads together, since the start of the process.
pub(crate) fn time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock is one that every Unix has, and `time` is there to be written to.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(status, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
