//! The page: Trunk builds it into `dist/`, with the engines, the gallery and the cards beside it.

use std::{fs, path::Path, time::UNIX_EPOCH};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::{
    engines, offline,
    precompress::{self, Sizes},
    progress::Step,
    tools::Tools,
    workspace,
};

/// What the page is made from.
const INPUTS: [&str; 15] = [
    "index.html",
    "Trunk.toml",
    "Cargo.toml",
    "Cargo.lock",
    ".cargo/config.toml",
    "protocol",
    "planner",
    "web-app",
    "wasm-runtime/Cargo.toml",
    "wasm-runtime/src",
    "wasm-runtime/pkg",
    "models/eval/gallery",
    "models/eval/cards",
    "bench/plots",
    "bench/results.json",
];
/// Folders that Trunk copies, and which it misses if they are not there.
const COPIED: [&str; 3] = ["wasm-runtime/pkg", "models/eval/gallery", "models/eval/cards"];
/// Says in `dist/` what it was made from; Trunk itself removes it with every build.
const STAMP: &str = ".made-from";

/// Builds the engines and the page, unless `dist/` is up to date.
///
/// # Errors
/// If a build or a tool fails.
pub(crate) fn build(tools: &Tools) -> Result<()> {
    let root = workspace::root();
    for folder in COPIED {
        fs::create_dir_all(root.join(folder))?;
    }
    engines::build(tools)?;

    let dist = root.join("dist");
    let stamp = fingerprint(&root, tools)?;
    if fs::read_to_string(dist.join(STAMP)).is_ok_and(|old| old == stamp) {
        println!("==> the page is up to date");
        return Ok(());
    }
    // Trunk runs wasm-opt in release mode only; the cargo profile is the same either way.
    let release = if tools.has_wasm_opt() { "--release=true" } else { "--release=false" };
    Step {
        title: "building the page",
        estimate: "about 4 min",
        remedy: "mend what the compiler names; `cargo xtask check` shows it with colours",
    }
    .run(tools.trunk()?.args(["build", "--offline", release]).env("NO_COLOR", "true"))?;
    offline::write_service_worker(&dist)?;
    precompress::compress(&dist)?;
    report_sizes(&dist)?;
    Ok(fs::write(dist.join(STAMP), stamp)?)
}

/// A hash over the names, lengths and times of all inputs.
fn fingerprint(root: &Path, tools: &Tools) -> Result<String> {
    let mut hash = Sha256::new_with_prefix(tools.summary());
    for input in INPUTS {
        for file in workspace::files_under(&root.join(input))? {
            let data = fs::metadata(&file)?;
            let modified = data.modified()?.duration_since(UNIX_EPOCH)?;
            hash.update(format!("{} {} {modified:?}\n", file.display(), data.len()));
        }
    }
    Ok(engines::hex(&hash.finalize()))
}

/// Prints what a visitor downloads before choosing an engine.
fn report_sizes(dist: &Path) -> Result<()> {
    let mut total = Sizes { raw_bytes: 0, gzip_bytes: 0, brotli_bytes: 0 };
    for entry in fs::read_dir(dist).context("Trunk left no dist/")? {
        let path = entry?.path();
        let compressed_copy = path.extension().is_some_and(|is| is == "gz" || is == "br");
        if path.is_file() && !compressed_copy {
            total = total.plus(Sizes::of(&path)?);
        }
    }
    println!("    page    {total}");
    Ok(())
}
