//! The tools that cargo does not bring: what is needed, at which version, and how each one is installed.
//!
//! A tool of exactly the right version on `PATH` is used; else one in the tools' folder; else it is installed
//! there, a verified prebuilt release by `cargo binstall` where that is at hand, otherwise compiled.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{progress, progress::Step, wasm_toolchain::WasmToolchain, workspace};

/// The version of the `wasm-bindgen` crate and of its command, which must be the same.
pub(crate) const WASM_BINDGEN_VERSION: &str = "0.2.130";
/// Trunk builds the page.
pub(crate) const TRUNK_VERSION: &str = "0.21.14";
/// Binaryen's release, of which `wasm-opt` is a part.
pub(crate) const BINARYEN_VERSION: &str = "132";

/// A tool that is compiled from its crate.
pub(crate) struct CrateTool {
    /// The crate's name.
    pub(crate) package: &'static str,
    /// The command's name.
    pub(crate) command: &'static str,
    /// The exact version.
    pub(crate) version: &'static str,
    /// Further flags of `cargo install`.
    pub(crate) flags: &'static [&'static str],
    /// How long compiling it takes on two cores.
    pub(crate) estimate: &'static str,
}

const WASM_BINDGEN: CrateTool = CrateTool {
    package: "wasm-bindgen-cli",
    command: "wasm-bindgen",
    version: WASM_BINDGEN_VERSION,
    // Its lock file names releases that have been withdrawn.
    flags: &[],
    estimate: "about 2 min",
};

const TRUNK: CrateTool = CrateTool {
    package: "trunk",
    command: "trunk",
    version: TRUNK_VERSION,
    flags: &["--locked"],
    estimate: "about 4 min",
};

/// Everything a Wasm build needs.
pub(crate) struct Tools {
    wasm_toolchain: WasmToolchain,
    wasm_bindgen: PathBuf,
    trunk: PathBuf,
    /// Absent where there is no npm: then the modules are larger.
    wasm_opt: Option<PathBuf>,
}

impl Tools {
    /// Finds every tool, installing what is missing.
    ///
    /// # Errors
    /// If one cannot be installed; the message says what to do.
    pub(crate) fn ensure() -> Result<Self> {
        Ok(Self {
            wasm_toolchain: WasmToolchain::ensure()?,
            wasm_bindgen: WASM_BINDGEN.ensure()?,
            trunk: TRUNK.ensure()?,
            wasm_opt: ensure_wasm_opt()?,
        })
    }

    /// One line for the reader.
    pub(crate) fn summary(&self) -> String {
        let compiler = match self.wasm_toolchain {
            WasmToolchain::Default => "the default toolchain's Wasm target",
            WasmToolchain::Fallback => "Debian's compiler for the web",
        };
        let wasm_opt = if self.has_wasm_opt() { BINARYEN_VERSION } else { "missing" };
        format!("{compiler}, wasm-bindgen {WASM_BINDGEN_VERSION}, trunk {TRUNK_VERSION}, wasm-opt {wasm_opt}")
    }

    /// Whether modules can be made smaller after compilation.
    pub(crate) fn has_wasm_opt(&self) -> bool {
        self.wasm_opt.is_some()
    }

    /// A cargo command that builds Wasm.
    pub(crate) fn wasm_cargo(&self) -> Command {
        let mut command = Command::new("cargo");
        command.current_dir(workspace::root());
        self.wasm_toolchain.apply(&mut command);
        command
    }

    /// Trunk, which finds the other tools on its path.
    ///
    /// # Errors
    /// If a tool's path cannot stand in `PATH`.
    pub(crate) fn trunk(&self) -> Result<Command> {
        let tools = [Some(&self.wasm_bindgen), self.wasm_opt.as_ref()].into_iter().flatten();
        let mut folders: Vec<PathBuf> = tools.filter_map(|tool| tool.parent().map(PathBuf::from)).collect();
        folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
        let mut command = Command::new(&self.trunk);
        command.current_dir(workspace::root()).env("PATH", env::join_paths(folders)?);
        self.wasm_toolchain.apply(&mut command);
        Ok(command)
    }

    /// `wasm-bindgen`.
    pub(crate) fn wasm_bindgen(&self) -> Command {
        Command::new(&self.wasm_bindgen)
    }

    /// `wasm-opt`, if there is one.
    pub(crate) fn wasm_opt(&self) -> Option<Command> {
        self.wasm_opt.as_ref().map(Command::new)
    }
}

impl CrateTool {
    /// The tool's path, after installing it if need be.
    ///
    /// # Errors
    /// If it cannot be installed.
    pub(crate) fn ensure(&self) -> Result<PathBuf> {
        if let Some(found) = workspace::on_path(self.command)
            && self.is_right_version(&found)
        {
            return Ok(found);
        }
        let folder = workspace::tools_folder()?.join(format!("{}-{}", self.package, self.version));
        let binary = folder.join("bin").join(self.command);
        if !binary.is_file() {
            workspace::install_whole(&folder, |partial| self.install(partial))?;
        }
        Ok(binary)
    }

    fn is_right_version(&self, binary: &Path) -> bool {
        workspace::output_of(Command::new(binary).arg("--version"))
            .is_some_and(|text| text.split_whitespace().any(|word| word == self.version))
    }

    fn install(&self, root: &Path) -> Result<()> {
        let Self { package, version, .. } = *self;
        if workspace::on_path("cargo-binstall").is_some() && self.install_prebuilt(root).is_ok() {
            return Ok(());
        }
        // Kept until it is of no more use, so that a second try goes on where the first one was cut off.
        let build_folder = workspace::tools_folder()?.join(format!(".build-{package}-{version}"));
        // These tools do little work themselves: compiling them fast is worth more than fast tools.
        Step {
            title: &format!("compiling {package} {version}"),
            estimate: self.estimate,
            remedy: "look at the network; a tool of this very version on PATH is used as it is",
        }
        .run(
            Command::new("cargo")
                .args(["install", package, "--version", version])
                .args(self.flags)
                .arg("--root")
                .arg(root)
                .arg("--target-dir")
                .arg(&build_folder)
                .current_dir(workspace::tools_folder()?)
                .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
                .env("CARGO_PROFILE_RELEASE_LTO", "off")
                .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
                .env_remove("RUSTFLAGS"),
        )?;
        fs::remove_dir_all(&build_folder).context("cannot remove the build folder of a tool")
    }

    fn install_prebuilt(&self, root: &Path) -> Result<()> {
        let Self { package, version, .. } = *self;
        Step {
            title: &format!("downloading a prebuilt {package} {version}"),
            estimate: "",
            remedy: "none needed: it is compiled instead",
        }
        .run(
            Command::new("cargo")
                .args(["binstall", "--no-confirm", "--disable-strategies", "compile", "--root"])
                .arg(root)
                .arg(format!("{package}@{version}")),
        )?;
        fs::metadata(root.join("bin").join(self.command)).context("the release lacks its command").map(|_| ())
    }
}

/// Finds or installs `wasm-opt`; without npm there is none, which is said and is no failure.
fn ensure_wasm_opt() -> Result<Option<PathBuf>> {
    if let Some(found) = workspace::on_path("wasm-opt")
        && workspace::output_of(Command::new(&found).arg("--version"))
            .is_some_and(|text| text.contains(&format!("version_{BINARYEN_VERSION}")))
    {
        return Ok(Some(found));
    }
    let folder = workspace::tools_folder()?.join(format!("binaryen-{BINARYEN_VERSION}"));
    let binary = folder.join("node_modules/.bin/wasm-opt");
    if binary.is_file() {
        return Ok(Some(binary));
    }
    if workspace::on_path("npm").is_none() {
        progress::loudly_skipped(
            "wasm-opt, so the page will be some 10 % larger",
            "Install Node.js with npm (or Binaryen 132 on PATH) and run this again.",
        );
        return Ok(None);
    }
    workspace::install_whole(&folder, |partial| {
        Step {
            title: "installing wasm-opt",
            estimate: "",
            remedy: "look at the network, or put Binaryen 132's wasm-opt on PATH",
        }
        .run(
            Command::new("npm")
                .args(["install", "--no-save", "--no-fund", "--no-audit", "--prefix"])
                .arg(partial)
                .arg(format!("binaryen@{BINARYEN_VERSION}.0.0")),
        )
    })?;
    Ok(Some(binary))
}
