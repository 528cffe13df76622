//! One clock for everything that is timed here.

use std::{sync::LazyLock, time::Instant};

/// Milliseconds since this clock was first read, as a browser's clock tells them.
pub(crate) fn now_ms() -> f64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    ms_since(*START)
}

/// Milliseconds that have passed since `start`.
pub(crate) fn ms_since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}
