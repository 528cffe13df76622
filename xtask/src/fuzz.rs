//! `cargo xtask fuzz`: one fuzz target, guided by which branches its inputs take.
//!
//! libFuzzer comes from crates.io and links statically; the counters are compiled into this workspace's crates alone
//! (`fuzz/instrument`), with the stable compiler. So there is nothing to install but a C++ compiler.

use std::{fs, process::Command};

use anyhow::{Context, Result, bail};

use crate::{progress, workspace};

const TARGETS: [&str; 5] = ["wire", "image", "audio", "json", "chat"];
const DEFAULT_MINUTES: u32 = 10;

/// What one input may cost, and how large inputs get.
const BUDGETS: [&str; 4] = ["-max_len=65536", "-timeout=5", "-rss_limit_mb=512", "-malloc_limit_mb=256"];

/// Builds a target and lets the fuzzer loose on it. What it learns is kept in `target/fuzz/<target>/corpus` for the next
/// time; an input that fails is written beside it, and named.
///
/// # Errors
/// If the target does not build, or an input makes it panic, or take more time or memory than it may.
pub(crate) fn fuzz(arguments: &[String]) -> Result<()> {
    let (target, minutes) = match arguments {
        [target] => (target.as_str(), DEFAULT_MINUTES),
        [target, flag, minutes] if flag == "--minutes" => {
            let minutes = minutes.parse().with_context(|| format!("`{minutes}` is no number of minutes"))?;
            (target.as_str(), minutes)
        }
        _ => bail!("`fuzz` takes a target and `--minutes N`; see `cargo xtask help`"),
    };
    if !TARGETS.contains(&target) {
        bail!("there is no target `{target}`; there are {}", TARGETS.join(", "));
    }
    let (root, binary) = (workspace::root(), format!("fuzz-{target}"));
    let mut build = Command::new("cargo");
    build.current_dir(&root).env("RUSTC_WORKSPACE_WRAPPER", root.join("fuzz/instrument"));
    build.args(["build", "--package", "msao-fuzz", "--features", "libfuzzer", "--bin", &binary]);
    progress::run_visibly("building the target", "a minute", &mut build)?;

    let folder = workspace::target_folder().join("fuzz").join(target);
    let learnt = folder.join("corpus");
    fs::create_dir_all(&learnt).with_context(|| format!("cannot make {}", learnt.display()))?;
    let mut run = Command::new(workspace::target_folder().join("debug").join(&binary));
    run.args([&learnt, &root.join("fuzz/corpus").join(target)]).args(BUDGETS);
    run.arg(format!("-artifact_prefix={}/", folder.display()));
    run.arg(format!("-max_total_time={}", minutes * 60)).arg("-print_final_stats=1");
    progress::run_visibly(&format!("fuzzing {target}"), &format!("{minutes} min"), &mut run)
}
