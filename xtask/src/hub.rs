//! `cargo xtask hub`: fetches published checkpoints, and compares what the server answers with `transformers`.

use std::process::Command;

use anyhow::{Context, Result};

use crate::progress::{self, Step};
use crate::{reference, workspace};

/// The comparison; it exits non-zero when an answer differs or a checkpoint cannot be had.
const SCRIPT: &str = "models/tests/hub_check.py";

/// Runs the comparison with the checkpoints that are named, else with its own list.
///
/// # Errors
/// If there is no Python, no hub, too little memory, or an answer differs.
pub(crate) fn hub(arguments: &[String]) -> Result<()> {
    let python =
        reference::python().context("the answers are compared by Python; install Python 3.10 or newer")?;
    let root = workspace::root();
    Step {
        title: "building the server",
        estimate: "minutes the first time",
        remedy: "look at what cargo says",
    }
    .run(Command::new("cargo").args(["build", "--package", "msao-server"]).current_dir(&root))?;
    let server = workspace::target_folder().join("debug").join("msao-server");
    let mut command = Command::new(python);
    command.arg(SCRIPT).arg(server).args(arguments).current_dir(root);
    progress::run_visibly(
        "comparing published checkpoints with transformers",
        "5 GB to fetch once",
        &mut command,
    )
}
