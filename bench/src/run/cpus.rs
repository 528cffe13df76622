//! Processors for the server and for the edge, so that one does not take the other's time.

use std::process::{Command, Stdio};

use anyhow::{Result, ensure};

/// Holds this process, and what it starts from now on, to processors such as `0,2-3`. `false` where this system has no
/// `taskset`.
///
/// # Errors
/// If there are no such processors.
pub(crate) fn pin(processors: &str) -> Result<bool> {
    let mut command = Command::new("taskset");
    command.args(["--all-tasks", "--cpu-list", "--pid", processors, &std::process::id().to_string()]);
    let Ok(done) = command.stdin(Stdio::null()).output() else { return Ok(false) };
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(
        done.status.success(),
        "cannot use the processors {processors:?}: {}; name some of this machine's, such as 0 or 0-3",
        said.trim()
    );
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_that_are_not_there_are_refused() {
        // Without taskset nothing is checked, and nothing pinned.
        if let Err(error) = pin("99999") {
            assert!(error.to_string().contains("99999"), "{error}");
        } else {
            assert!(!pin("99999").unwrap());
        }
    }
}
