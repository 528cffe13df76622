//! A stage of an engine: one OS thread that works through a queue and survives its own bugs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use tokio::sync::mpsc;

use super::EngineError;

/// Starts a thread that calls `work` on each item until all senders are gone.
///
/// # Errors
/// When the operating system gives no thread.
pub(super) fn spawn_stage<T: Send + 'static>(
    name: &str,
    mut queue: mpsc::Receiver<T>,
    mut work: impl FnMut(T) + Send + 'static,
) -> std::io::Result<()> {
    let run = move || {
        while let Some(item) = queue.blocking_recv() {
            work(item);
        }
    };
    thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
}

/// Runs one request's work; a panic in it becomes that request's error and nobody else's.
///
/// The work must leave nothing behind that a panic could break: here, a checkpoint is never written to after
/// loading and each generation owns its state.
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
        let (queue, items) = mpsc::channel(4);
        let (results, answers) = std::sync::mpsc::channel();
        spawn_stage("test", items, move |item: i32| {
            let result = guarded(|| if item == 2 { panic!("item {item}") } else { Ok(item) });
            results.send(result.map_err(|error| error.code())).unwrap();
        })
        .unwrap();
        for item in 1..=3 {
            queue.try_send(item).unwrap();
        }
        let answers: Vec<_> = answers.iter().take(3).collect();
        assert_eq!(answers, [Ok(1), Err(msao_protocol::ErrorCode::Internal), Ok(3)]);
    }
}
