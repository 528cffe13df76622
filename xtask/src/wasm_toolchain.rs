//! A compiler for `wasm32-unknown-unknown`.
//!
//! The plain way is `rustup target add`. Where rustup cannot download (a closed network with a Debian mirror),
//! Debian's packages of a compiler for the web are unpacked into the tools' folder, nothing being installed,
//! and given to rustup under a name of their own; the default toolchain stays untouched. Debian ships that
//! compiler without the target's standard library but with its source, so that library is compiled once.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{debian, progress::Step, workspace};

/// The target all Wasm code is built for.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";
/// What rustup calls the fallback.
const FALLBACK_NAME: &str = "msao-wasm";
/// The fallback's folder among the tools; its number changes when the recipe below does.
const FALLBACK_FOLDER: &str = "rust-web-1";
const PLAIN_REMEDY: &str = "run `rustup target add wasm32-unknown-unknown`, then this again";
const PACKAGES: [&str; 7] = [
    "rustc-web",
    "rust-web-clippy",
    "libstd-rust-web-1.96",
    "libstd-rust-web-dev",
    "rust-web-src",
    "libllvm22",
    "lld-22",
];

/// The toolchain that Wasm code is built with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WasmToolchain {
    /// The toolchain that runs natively, too.
    Default,
    /// Debian's, under [`FALLBACK_NAME`].
    Fallback,
}

impl WasmToolchain {
    /// Finds the toolchain, or installs it.
    ///
    /// # Errors
    /// If neither way works; the message names the plain one.
    pub(crate) fn ensure() -> Result<Self> {
        let forced = env::var("MSAO_WASM_TOOLCHAIN").is_ok_and(|value| value == "debian");
        if !forced {
            if default_has_target() {
                return Ok(Self::Default);
            }
            if !fallback_prefix()?.is_dir() {
                match add_target() {
                    Ok(()) => return Ok(Self::Default),
                    Err(error) => println!("    rustup could not add the target: {}", last_line(&error)),
                }
            }
        }
        ensure_fallback().map(|()| Self::Fallback)
    }

    /// Makes a cargo command, or one that calls cargo, use this toolchain.
    pub(crate) fn apply(&self, command: &mut Command) {
        if *self == Self::Fallback {
            command.env("RUSTUP_TOOLCHAIN", FALLBACK_NAME);
        }
    }
}

fn default_has_target() -> bool {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", TARGET]);
    workspace::output_of(&mut rustc).is_some_and(|folder| {
        fs::read_dir(folder).is_ok_and(|mut files| {
            files.any(|file| file.is_ok_and(|file| file.file_name().to_string_lossy().starts_with("libstd-")))
        })
    })
}

fn add_target() -> Result<()> {
    Step { title: "adding the Wasm target with rustup", estimate: "", remedy: PLAIN_REMEDY }
        .run(Command::new("rustup").args(["target", "add", TARGET]))
}

fn fallback_prefix() -> Result<PathBuf> {
    Ok(workspace::tools_folder()?.join(FALLBACK_FOLDER))
}

fn ensure_fallback() -> Result<()> {
    let prefix = fallback_prefix()?;
    if !prefix.is_dir() {
        if workspace::on_path("apt-get").is_none() || workspace::on_path("dpkg").is_none() {
            bail!("no compiler for {TARGET}, and no Debian packages to take one from: {PLAIN_REMEDY}");
        }
        workspace::install_whole(&prefix, |partial| {
            unpack(partial)?;
            arrange(partial)?;
            compile_standard_library(partial)
        })?;
    }
    let mut link = Command::new("rustup");
    link.args(["toolchain", "link", FALLBACK_NAME]).arg(prefix.join("usr"));
    match workspace::output_of(&mut link) {
        Some(_) => Ok(()),
        None => bail!("rustup could not link {}: {PLAIN_REMEDY}", prefix.display()),
    }
}

/// Downloads the packages and unpacks them into the prefix.
fn unpack(prefix: &Path) -> Result<()> {
    if debian::can_install() {
        debian::update_lists()?;
    }
    let packages = prefix.join("packages");
    fs::create_dir_all(&packages)?;
    Step {
        title: "downloading Debian's compiler for the web",
        estimate: "140 MB, about 30 s",
        remedy: PLAIN_REMEDY,
    }
    .run(debian::apt_get().arg("download").args(PACKAGES).current_dir(&packages))?;
    for package in workspace::files_under(&packages)? {
        let name = package.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = name.split('_').next().unwrap_or_default();
        Step { title: &format!("unpacking {name}"), estimate: "", remedy: PLAIN_REMEDY }
            .run(Command::new("dpkg").arg("-x").arg(&package).arg(prefix))?;
    }
    Ok(fs::remove_dir_all(&packages)?)
}

/// Moves what Debian keeps elsewhere to where rustup and rustc look for it. All links but cargo's are relative,
/// since the prefix is renamed when it is whole.
fn arrange(prefix: &Path) -> Result<()> {
    // rustup puts only `<toolchain>/lib` on the library path.
    let libraries = prefix.join("usr/lib");
    for library in workspace::files_under(&libraries.join("x86_64-linux-gnu"))? {
        let name = library.file_name().unwrap_or_default();
        if name.to_string_lossy().contains(".so") && !libraries.join(name).exists() {
            symlink(Path::new("x86_64-linux-gnu").join(name), libraries.join(name))?;
        }
    }
    let tools = libraries.join("rustlib/x86_64-unknown-linux-gnu/bin");
    fs::create_dir_all(&tools)?;
    symlink("../../../llvm-22/bin/lld", tools.join("rust-lld"))?;
    // Debian's own cargo lacks a library.
    let cargo = workspace::output_of(Command::new("rustup").args(["which", "cargo"]))
        .context("rustup does not say where cargo is")?;
    Ok(symlink(cargo, prefix.join("usr/bin/cargo"))?)
}

fn compile_standard_library(prefix: &Path) -> Result<()> {
    let empty = prefix.join("empty");
    fs::create_dir_all(empty.join("src"))?;
    let manifest = "[package]\nname = \"empty\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n";
    fs::write(empty.join("Cargo.toml"), manifest)?;
    fs::write(empty.join("src/lib.rs"), "#![no_std]\n")?;
    Step { title: "compiling the Wasm standard library", estimate: "about 2 min", remedy: PLAIN_REMEDY }
        .run(
            Command::new(prefix.join("usr/bin/cargo"))
                .args(["build", "--release", "-Zbuild-std=std,panic_abort,test", "--target", TARGET])
                .args(["--target-dir", "target"])
                .current_dir(&empty)
                .env("RUSTC", prefix.join("usr/bin/rustc"))
                .env("LD_LIBRARY_PATH", prefix.join("usr/lib"))
                .env("RUSTC_BOOTSTRAP", "1")
                .env("RUSTFLAGS", "-Cembed-bitcode=yes"),
        )?;
    let compiled = empty.join("target").join(TARGET).join("release/deps");
    let destination = prefix.join("usr/lib/rustlib").join(TARGET).join("lib");
    fs::create_dir_all(&destination)?;
    for library in workspace::files_under(&compiled)? {
        let name = library.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".rlib") && !name.starts_with("libempty") {
            fs::copy(&library, destination.join(name))?;
        }
    }
    fs::remove_dir_all(&empty)?;
    // 430 MB that have done their service.
    Ok(fs::remove_dir_all(prefix.join("usr/src"))?)
}

fn last_line(error: &anyhow::Error) -> String {
    let text = error.to_string();
    let log = text.split("\n\nThe whole log").next().unwrap_or_default();
    log.lines().last().unwrap_or_default().trim().to_owned()
}
