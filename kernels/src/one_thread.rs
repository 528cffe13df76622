//! In place of the pool where there is one thread.

/// All of a product is one part.
pub(crate) fn parts(_multiplications: usize) -> usize {
    1
}

/// Calls `work` with each number below `tasks`.
pub(crate) fn share(tasks: usize, work: &dyn Fn(usize)) {
    (0..tasks).for_each(work);
}
