//! `cargo xtask probe`: trains a MAS probe for a pair of published checkpoints, in the Python that the reference runs in.

use std::process::Command;

use anyhow::Result;

use crate::{progress, reference, workspace};

const SCRIPT: &str = "models/training/published_probe.py";
/// The same on random checkpoints and drawn pictures, in half a minute.
const DRY_RUN: &str = "models/training/test_published_probe.py";

/// Trains with the script's own flags, from where the command was called.
///
/// # Errors
/// If Python or one of its packages is missing, or the script fails.
pub(crate) fn probe(arguments: &[String]) -> Result<()> {
    let mut python = script(SCRIPT)?;
    progress::run_visibly("training a probe", "", python.args(arguments))
}

/// Runs all of it small, as a test; left out, loudly, where there is no Python.
///
/// # Errors
/// If something is not as it should be.
pub(crate) fn dry_run() -> Result<()> {
    if reference::is_skipped() {
        progress::loudly_skipped(
            "the probe's dry run",
            &format!("Unset {} to run it.", reference::SKIP_VARIABLE),
        );
        return Ok(());
    }
    match script(DRY_RUN) {
        Ok(mut python) => {
            progress::run_visibly("training a probe of random checkpoints", "half a minute", &mut python)
        }
        Err(error) => {
            progress::loudly_skipped("the probe's dry run", &format!("{error:#}"));
            Ok(())
        }
    }
}

fn script(name: &str) -> Result<Command> {
    let mut python = Command::new(reference::python()?);
    python.arg(workspace::root().join(name)).env("HF_HUB_OFFLINE", "1");
    Ok(python)
}
