//! `cargo xtask bench`: compares MSAO with its baselines, through the real server and the real edge engine; then how many
//! sessions a second the server bears under each, and the page with all of it.
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
    let estimate = if quick { "about 2 min" } else { "hours; a run that was cut goes on" };
    progress::run_visibly("comparing MSAO with its baselines", estimate, &mut command)?;
    // A part of the comparison is no base for the page, and a folder of one's own is somebody's own.
    if quick || !arguments.is_empty() {
        return Ok(());
    }
    let folder = workspace::target_folder().join("bench/run");
    let mut load = Command::new(program(&workspace::target_folder()));
    load.current_dir(workspace::root())
        .arg("load")
        .arg("--set")
        .arg(eval::make_set(&SET)?)
        .arg("--out")
        .arg(&folder);
    progress::run_visibly("loading the server", "about 30 min", &mut load)?;
    let mut report = Command::new(program(&workspace::target_folder()));
    report.current_dir(workspace::root()).arg("report").arg("--in").arg(&folder);
    progress::run_visibly("writing bench/RESULTS.md", "", &mut report)
}

/// The bench in the profile that `cargo build` has without flags.
fn program(target: &Path) -> PathBuf {
    target.join("debug").join(format!("msao-bench{}", env::consts::EXE_SUFFIX))
}
