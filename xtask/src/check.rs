//! `cargo xtask check`: formatting, lints and dependencies.

use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

use crate::{
    ci::Timings,
    progress,
    test::NATIVE_FEATURES,
    tools::{CrateTool, Tools},
    wasm_toolchain, workspace,
};

const CARGO_DENY: CrateTool = CrateTool {
    package: "cargo-deny",
    command: "cargo-deny",
    version: "0.20.2",
    flags: &["--locked"],
    estimate: "about 5 min",
};

/// Everything at once, with times.
///
/// # Errors
/// If anything is amiss.
pub(crate) fn check(tools: &Tools) -> Result<()> {
    let mut timings = Timings::default();
    let result = lint(tools, &mut timings).and_then(|()| timings.time("cargo-deny", deny));
    timings.print();
    result
}

/// Formatting and clippy, native and for Wasm.
///
/// # Errors
/// If anything is amiss.
pub(crate) fn lint(tools: &Tools, timings: &mut Timings) -> Result<()> {
    timings.time("formatting", || {
        progress::run_visibly("checking the formatting", "", cargo().args(["fmt", "--all", "--check"]))
    })?;
    timings.time("clippy, native", || {
        progress::run_visibly(
            "clippy, native",
            "about 6 min",
            cargo()
                .args(["clippy", "--workspace", "--all-targets", "--features", NATIVE_FEATURES])
                .args(["--", "--deny", "warnings"]),
        )
    })?;
    timings.time("clippy, wasm32", || {
        // The page takes the runtime without an engine, so it is looked at both ways.
        clippy_wasm(
            tools,
            &[
                "--package",
                "msao-runtime",
                "--package",
                "msao-runtime-threads",
                "--features",
                "engine-flex,engine-webgpu,session",
            ],
        )?;
        clippy_wasm(tools, &["--package", "msao-runtime", "--package", "msao-web"])
    })
}

fn clippy_wasm(tools: &Tools, packages: &[&str]) -> Result<()> {
    progress::run_visibly(
        &format!("clippy, wasm32: {}", packages.join(" ")),
        "about 5 min",
        tools
            .wasm_cargo()
            .args(["clippy", "--target", wasm_toolchain::TARGET])
            .args(packages)
            .args(["--", "--deny", "warnings"]),
    )
}

/// Licences, sources and duplicates always; advisories where their database can be reached.
fn deny() -> Result<()> {
    let binary = CARGO_DENY.ensure()?;
    let deny = |checks: &[&str]| {
        let mut command = Command::new(&binary);
        command.current_dir(workspace::root()).args(["--all-features", "check"]).args(checks);
        command
    };
    progress::run_visibly(
        "checking licences and sources of all dependencies",
        "",
        &mut deny(&["bans", "licenses", "sources"]),
    )?;
    progress::announce("checking for known vulnerabilities", "");
    let Output { status, stderr, .. } = deny(&["advisories"]).output().context("cannot start cargo-deny")?;
    let report = String::from_utf8_lossy(&stderr);
    if status.success() {
        return Ok(());
    }
    if report.contains("failed to fetch advisory database") {
        progress::loudly_skipped(
            "known vulnerabilities",
            "The advisory database cannot be reached from here; run this again where it can.",
        );
        return Ok(());
    }
    bail!("cargo-deny found known vulnerabilities:\n{report}")
}

fn cargo() -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(workspace::root());
    command
}
