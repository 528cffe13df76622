//! `cargo xtask eval`: makes the held-out evaluation set and lets the bench measure on it.
//!
//! The set is drawn and spoken by the training code from seeds and voices that training never saw, so the same
//! command makes the same files everywhere; they are kept under `target/eval`.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};

use crate::{progress, reference, workspace};

/// Some 2,800 questions.
const SET: Set = Set { name: "eval", first_seed: 5_000_000, scenes: 170, clips: 30, per_scene: 20 };

/// A set of held-out questions. Sets of different seeds share no scene.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Set {
    /// Its folder below the target folder.
    pub(crate) name: &'static str,
    /// Of its first scene; each further one has the next.
    pub(crate) first_seed: u32,
    /// Scenes with a picture, a recording or both.
    pub(crate) scenes: u32,
    /// Scenes with a film.
    pub(crate) clips: u32,
    /// At most so many questions a scene.
    pub(crate) per_scene: u32,
}

/// Makes the set if it is not there, and measures.
///
/// # Errors
/// If Python or one of its packages is missing, or anything fails.
pub(crate) fn eval(arguments: &[String]) -> Result<()> {
    let (questions, calibrate) = match arguments {
        [] => (None, false),
        [flag] if flag == "--calibrate" => (None, true),
        [flag, count] if flag == "--questions" => {
            let count =
                count.parse::<usize>().with_context(|| format!("`{count}` is no number of questions"));
            (Some(count?), false)
        }
        _ => bail!("`eval` takes `--questions N` or `--calibrate`; see `cargo xtask help`"),
    };
    let set = make_set(&SET)?;
    let mut command = Command::new("cargo");
    command.current_dir(workspace::root());
    command.args(["run", "--package", "msao-bench", "--", "eval", "--set"]).arg(set);
    if let Some(questions) = questions {
        command.args(["--questions", &questions.to_string()]);
    }
    if calibrate {
        command.arg("--calibrate");
    }
    progress::run_visibly("measuring on held-out questions", "some 20 min", &mut command)
}

/// Draws and speaks a set, once; returns its folder.
///
/// # Errors
/// If Python or one of its packages is missing.
pub(crate) fn make_set(set: &Set) -> Result<PathBuf> {
    let folder = workspace::target_folder().join(format!("{}/v1-{}-{}", set.name, set.scenes, set.clips));
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
        let counts = [
            ("--first", set.first_seed),
            ("--scenes", set.scenes),
            ("--clips", set.clips),
            ("--per-scene", set.per_scene),
        ];
        for (flag, count) in counts {
            command.arg(flag).arg(count.to_string());
        }
        progress::run_visibly("drawing and speaking the evaluation set", "about 1 min", &mut command)
    })?;
    Ok(folder)
}
