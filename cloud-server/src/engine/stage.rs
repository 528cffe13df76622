//! A stage of an engine: one OS thread that survives its own bugs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use super::EngineError;

/// Starts a thread.
///
/// # Errors
/// When the operating system gives no thread.
pub(super) fn spawn_stage(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
}

/// Runs work for requests; a panic in it becomes the error of these requests and nobody else's.
///
/// The work must leave nothing behind that a panic could break: here, a checkpoint is never written to after
/// loading, and a generation that took part in a failed pass is thrown away.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_panic| {
        // The panic hook has already printed message and place.
        tracing::error!("a panic ended a request; the engine goes on");
        Err(EngineError::Panicked)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_fails_one_item_and_the_stage_goes_on() {
        let (results, answers) = std::sync::mpsc::channel();
        spawn_stage("test", move || {
            for item in 1..=3 {
                let result = guarded(|| if item == 2 { panic!("item {item}") } else { Ok(item) });
                results.send(result.map_err(|error| error.code())).unwrap();
            }
        })
        .unwrap();
        let answers: Vec<_> = answers.iter().collect();
        assert_eq!(answers, [Ok(1), Err(msao_protocol::ErrorCode::Internal), Ok(3)]);
    }
}
