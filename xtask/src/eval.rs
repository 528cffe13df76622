//! `cargo xtask eval`: makes the held-out evaluation set and lets the bench measure on it.
//!
//! The set is drawn and spoken by the training code from seeds and voices that training never saw, so the same
//! command makes the same files everywhere; they are kept under `target/eval`.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};

use crate::{progress, reference, workspace};

/// Scenes and clips of the set: some 2,800 questions.
const SCENES: u32 = 170;
const CLIPS: u32 = 30;

/// Makes the set if it is not there, and measures.
///
/// # Errors
/// If Python or one of its packages is missing, or anything fails.
pub(crate) fn eval(arguments: &[String]) -> Result<()> {
    let questions = match arguments {
        [] => None,
        [flag, count] if flag == "--questions" => {
            Some(count.parse::<usize>().with_context(|| format!("`{count}` is no number of questions"))?)
        }
        _ => bail!("`eval` takes `--questions N` only; see `cargo xtask help`"),
    };
    let set = make_set()?;
    let mut command = Command::new("cargo");
    command.current_dir(workspace::root());
    command.args(["run", "--package", "msao-bench", "--", "eval", "--set"]).arg(set);
    if let Some(questions) = questions {
        command.args(["--questions", &questions.to_string()]);
    }
    progress::run_visibly("measuring on held-out questions", "some 20 min", &mut command)
}

/// Draws and speaks the set, once.
fn make_set() -> Result<PathBuf> {
    let folder = workspace::target_folder().join(format!("eval/v1-{SCENES}-{CLIPS}"));
    if folder.is_dir() {
        return Ok(folder);
    }
    let python =
        reference::python().context("the evaluation set is made by Python; install Python 3.10 or newer")?;
    fs::create_dir_all(folder.parent().context("a folder below target")?)?;
    workspace::install_whole(&folder, |partial| {
        let mut command = Command::new(python);
        command
            .current_dir(workspace::root().join("models/training"))
            .arg("make_eval.py")
            .arg("--to")
            .arg(partial);
        command.args(["--scenes", &SCENES.to_string(), "--clips", &CLIPS.to_string(), "--per-scene", "20"]);
        progress::run_visibly("drawing and speaking the evaluation set", "about 1 min", &mut command)
    })?;
    Ok(folder)
}
