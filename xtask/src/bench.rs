//! `cargo xtask bench`: compares MSAO with its baselines, through the real server and the real edge engine; then how many
//! sessions a second the server bears under each, and the page with all of it.
//!
//! Models of one's own (`--model` and its kin) go through all of it; their page is written beside their journal, not into `bench/`.
//!
//! Without `--quick` or `--set` the requests are a held-out set of its own: drawn from other seeds than training, the
//! gallery and the set of `cargo xtask eval`, which risk control is calibrated on.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::{eval, progress, workspace};

/// Scenes and clips of the set, and the first of their seeds: some 1,000 requests.
const SET: eval::Set =
    eval::Set { name: "bench-set", first_seed: 7_000_000, scenes: 220, clips: 30, per_scene: 4 };

/// Flags that say which models are measured; each takes a value.
const MODEL_FLAGS: [&str; 5] =
    ["--model", "--upstream-model", "--upstream-key-env", "--draft-model", "--edge-model"];

/// Builds what is needed, makes the set if one is wanted, and compares; `arguments` are those of `msao-bench run`.
///
/// # Errors
/// If something cannot be built, or the run fails; a quick run fails if an ordering does not hold.
pub(crate) fn bench(arguments: &[String]) -> Result<()> {
    let has = |flag: &str| {
        arguments.iter().any(|argument| argument == flag || argument.starts_with(&format!("{flag}=")))
    };
    // In one invocation, so that both are built with the same features and burn is compiled once.
    let mut build = Command::new("cargo");
    build.current_dir(workspace::root());
    build.args(["build", "--package", "msao-server", "--package", "msao-bench"]);
    progress::run_visibly("building the server and the bench", "about 15 min the first time", &mut build)?;

    let mut command = Command::new(program(&workspace::target_folder()));
    command.current_dir(workspace::root()).arg("run").args(arguments);
    if has("--quick") && !has("--out") {
        // Of its own each time: what an earlier build measured says nothing about this one.
        let folder = workspace::target_folder().join(format!("bench/quick-{}", std::process::id()));
        command.arg("--out").arg(folder);
    }
    if !has("--quick") && !has("--set") {
        command.arg("--set").arg(eval::make_set(&SET)?);
    }
    let quick = has("--quick");
    let (models, others) = split(arguments);
    let folder =
        workspace::target_folder().join(if models.is_empty() { "bench/run" } else { "bench/own-models" });
    if !quick && !has("--out") {
        command.arg("--out").arg(&folder);
    }
    let estimate = if quick { "about 2 min" } else { "hours; a run that was cut goes on" };
    progress::run_visibly("comparing MSAO with its baselines", estimate, &mut command)?;
    // A part of the comparison is no base for the page, and a folder of one's own is somebody's own.
    if quick || !others.is_empty() {
        return Ok(());
    }
    let mut load = Command::new(program(&workspace::target_folder()));
    load.current_dir(workspace::root())
        .args(["load", "--past", "--set"])
        .arg(eval::make_set(&SET)?)
        .args(&models)
        .arg("--out")
        .arg(&folder);
    progress::run_visibly("loading the server", "about 2 hours; a test that was cut goes on", &mut load)?;
    let mut report = Command::new(program(&workspace::target_folder()));
    report.current_dir(workspace::root()).arg("report").arg("--in").arg(&folder);
    if models.is_empty() {
        return progress::run_visibly("writing bench/RESULTS.md", "", &mut report);
    }
    report.arg("--out").arg(&folder);
    progress::run_visibly(&format!("writing {}", folder.join("RESULTS.md").display()), "", &mut report)
}

/// The arguments that say which models are measured, with their values, and all others.
fn split(arguments: &[String]) -> (Vec<String>, Vec<String>) {
    let (mut models, mut others) = (Vec::new(), Vec::new());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if MODEL_FLAGS.contains(&argument.as_str()) {
            models.extend([Some(argument), rest.next()].into_iter().flatten().cloned());
        } else if argument.split_once('=').is_some_and(|(flag, _)| MODEL_FLAGS.contains(&flag)) {
            models.push(argument.clone());
        } else {
            others.push(argument.clone());
        }
    }
    (models, others)
}

/// The bench in the profile that `cargo build` has without flags.
fn program(target: &Path) -> PathBuf {
    target.join("debug").join(format!("msao-bench{}", env::consts::EXE_SUFFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_told_from_other_arguments() {
        let of = |text: &str| split(&text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let (models, others) = of("--model ckpt/big --requests 20 --edge-model=small --replay");
        assert_eq!(
            (models.join(" "), others.join(" ")),
            ("--model ckpt/big --edge-model=small".to_owned(), "--requests 20 --replay".to_owned(),)
        );
        assert_eq!(of("--model").0, ["--model"], "the bench says what is missing");
    }
}
