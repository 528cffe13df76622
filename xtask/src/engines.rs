//! The package's modules: engines of the same code, for Wasm SIMD on one thread and on several and for WebGPU, and the one that
//! plans and keeps the session; packed npm-style in `wasm-runtime/pkg/`.
//!
//! Cargo decides whether anything has to be compiled; what follows (`wasm-bindgen`, `wasm-opt`, compression) is
//! done again only if the compiled module or a tool has changed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    precompress::{self, Sizes},
    progress::{self, Step},
    slim::slim,
    tools::{BINARYEN_VERSION, Tools, WASM_BINDGEN_VERSION},
    wasm_toolchain, workspace,
};

/// What `wasm-bindgen` calls its files.
const MODULE: &str = "msao_runtime";
/// Says in each module's folder what it was made from.
const STAMP: &str = ".made-from";
/// The Wasm features that every browser with WebGPU or SIMD has; threads are used by the module for them only.
const WASM_FEATURES: [&str; 8] = [
    "--enable-simd",
    "--enable-bulk-memory",
    "--enable-nontrapping-float-to-int",
    "--enable-sign-ext",
    "--enable-mutable-globals",
    "--enable-reference-types",
    "--enable-multivalue",
    "--enable-threads",
];

/// All of the program as one unit: 5 % smaller than by parts, and as fast.
const WHOLE: [&str; 1] = ["-Clto=fat"];

/// Links a module for several threads: with atomic instructions, on a shared memory that whoever starts it brings along. All of the
/// program becomes one unit, since instructions are chosen then, for parts too that were compiled without atomics; the
/// standard library is one of them (see `wasm-runtime/threads`).
const THREADED: [&str; 8] = [
    "-Clto=fat",
    "-Ctarget-feature=+atomics,+bulk-memory,+mutable-globals",
    "-Clink-args=--shared-memory --import-memory --max-memory=4294967296",
    // Parts without atomics are told apart from those that must not have any.
    "-Clink-arg=--no-check-features",
    // wasm-bindgen asks for these.
    "-Clink-arg=--export=__wasm_init_tls",
    "-Clink-arg=--export=__tls_size",
    "-Clink-arg=--export=__tls_align",
    "-Clink-arg=--export=__tls_base",
];

struct Engine {
    /// Its folder in the package.
    folder: &'static str,
    /// The crate that becomes the module.
    package: &'static str,
    /// The cargo feature that selects it, where the crate makes several.
    feature: Option<&'static str>,
    /// For the compiler, of this crate only: all others are shared with the modules of the same profile.
    flags: &'static [&'static str],
    profile: &'static str,
    optimisation: &'static str,
    estimate: &'static str,
}

/// Most bytes of one module, after gzip.
const WASM_BUDGET: u64 = 2_000_000;
/// Most bytes of all scripts together, after gzip: 64 KB of 1,024. Checkpoints that are fetched piece by piece took 2,000, videos and large
/// pictures 1,600, the speech model's Worker and its binding 1,000.
const JS_BUDGET: u64 = 64 << 10;

const ENGINES: [Engine; 4] = [
    Engine {
        folder: "simd",
        package: "msao-runtime",
        feature: Some("engine-flex"),
        flags: &WHOLE,
        profile: "wasm-speed",
        optimisation: "-O3",
        estimate: "about 4 min",
    },
    Engine {
        folder: "threads",
        package: "msao-runtime-threads",
        feature: None,
        flags: &THREADED,
        profile: "wasm-speed",
        optimisation: "-O3",
        estimate: "about 1 min",
    },
    Engine {
        folder: "webgpu",
        package: "msao-runtime",
        feature: Some("engine-webgpu"),
        flags: &[],
        profile: "wasm-size",
        optimisation: "-Oz",
        estimate: "about 10 min",
    },
    Engine {
        folder: "session",
        package: "msao-runtime",
        feature: Some("session"),
        flags: &[],
        profile: "wasm-size",
        optimisation: "-Oz",
        estimate: "about 2 min",
    },
];

/// The package's folder.
pub(crate) fn package_folder() -> PathBuf {
    workspace::root().join("wasm-runtime/pkg")
}

/// Builds the modules and the package around them, and prints their sizes.
///
/// # Errors
/// If a build or a tool fails.
pub(crate) fn build(tools: &Tools) -> Result<()> {
    let package = package_folder();
    for engine in &ENGINES {
        engine.build(tools, &package.join(engine.folder))?;
    }
    for file in workspace::files_under(&workspace::root().join("wasm-runtime/js"))? {
        let name = file.file_name().context("a file has a name")?;
        copy_if_changed(&file, &package.join(name))?;
    }
    precompress::compress(&package)?;
    report_sizes(&package)
}

impl Engine {
    fn build(&self, tools: &Tools, output: &Path) -> Result<()> {
        let Self { folder, package, profile, .. } = *self;
        // The crate is a plain library; only here it becomes a module, so that native builds link no extra file.
        Step {
            title: &format!("compiling the {folder} engine"),
            estimate: self.estimate,
            remedy: "mend what the compiler names; `cargo xtask check` shows it with colours",
        }
        .run(
            tools
                .wasm_cargo()
                .args(["rustc", "--package", package, "--lib", "--crate-type", "cdylib"])
                .args(["--target", wasm_toolchain::TARGET, "--profile", profile])
                .arg("--no-default-features")
                .args(self.feature.iter().flat_map(|feature| ["--features", feature]))
                .arg("--")
                .args(self.flags),
        )?;
        let compiled = workspace::target_folder()
            .join(wasm_toolchain::TARGET)
            .join(profile)
            .join(package.replace('-', "_"))
            .with_extension("wasm");

        let stamp = self.stamp(tools, &compiled)?;
        if fs::read_to_string(output.join(STAMP)).is_ok_and(|old| old == stamp) {
            return Ok(());
        }
        if output.exists() {
            fs::remove_dir_all(output)?;
        }
        fs::create_dir_all(output)?;
        Step {
            title: &format!("binding the {folder} engine"),
            estimate: "",
            remedy: "the crate and the command wasm-bindgen must have the same version: `cargo xtask setup`",
        }
        .run(
            tools
                .wasm_bindgen()
                .args(["--target", "web", "--out-name", MODULE, "--out-dir"])
                .arg(output)
                .arg(&compiled),
        )?;
        self.require_a_library(output)?;
        self.optimise(tools, output)?;
        let glue = output.join(MODULE).with_extension("js");
        fs::write(&glue, slim(&fs::read_to_string(&glue)?))?;
        precompress::compress(output)?;
        Ok(fs::write(output.join(STAMP), stamp)?)
    }

    /// Refuses a module that runs all constructors at every call, as a program would (`wasm-runtime/src/constructors.rs`): nothing
    /// fails then, it is a hundred times slower.
    fn require_a_library(&self, output: &Path) -> Result<()> {
        const WRAPPER: &[u8] = b".command_export";
        let module = fs::read(output.join(format!("{MODULE}_bg.wasm")))?;
        ensure!(
            !module.windows(WRAPPER.len()).any(|name| name == WRAPPER),
            "the {} engine runs constructors at every call; call `constructors::run` when it is instantiated",
            self.folder
        );
        Ok(())
    }

    fn optimise(&self, tools: &Tools, output: &Path) -> Result<()> {
        let Some(mut wasm_opt) = tools.wasm_opt() else { return Ok(()) };
        let module = output.join(format!("{MODULE}_bg.wasm"));
        let smaller = output.join("smaller.wasm");
        Step {
            title: &format!("optimising the {} engine", self.folder),
            estimate: "about 1 min",
            remedy: "see its log; without wasm-opt the module is only larger",
        }
        .run(
            wasm_opt
                // The first kilobyte is the far end of the stack, and nothing points before it. So a load takes its constant
                // offset along, which is 3 % of the time of an answer's first token.
                .args([self.optimisation, "--low-memory-unused", "--strip-debug", "--strip-producers"])
                .args(WASM_FEATURES)
                .arg(&module)
                .arg("-o")
                .arg(&smaller),
        )?;
        Ok(fs::rename(smaller, module)?)
    }

    fn stamp(&self, tools: &Tools, compiled: &Path) -> Result<String> {
        let module =
            fs::read(compiled).with_context(|| format!("cargo left no module at {}", compiled.display()))?;
        let optimiser = if tools.has_wasm_opt() { BINARYEN_VERSION } else { "none" };
        let hash = hex(&Sha256::digest(module));
        Ok(format!(
            "{hash} wasm-bindgen {WASM_BINDGEN_VERSION} wasm-opt {optimiser} {} low-memory-unused slim",
            self.optimisation
        ))
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn copy_if_changed(from: &Path, to: &Path) -> Result<()> {
    let mut contents = fs::read(from)?;
    if from.extension().is_some_and(|is| is == "js") {
        contents = slim(&String::from_utf8(contents)?).into_bytes();
    }
    if fs::read(to).is_ok_and(|old| old == contents) {
        return Ok(());
    }
    // Compressed copies of what was there before are of no use.
    for suffix in ["gz", "br"] {
        let _ = fs::remove_file(precompress::with_suffix(to, suffix));
    }
    fs::write(to, contents).with_context(|| format!("cannot write {}", to.display()))
}

/// Prints what each module weighs and writes it to `sizes.json`, which the page can show before a download.
fn report_sizes(package: &Path) -> Result<()> {
    progress::announce("sizes of the package's modules", "");
    let mut all = serde_json::Map::new();
    let mut scripts = 0;
    for file in workspace::files_under(package)? {
        if file.extension().is_some_and(|is| is == "js") {
            scripts += Sizes::of(&file)?.gzip_bytes;
        }
    }
    ensure!(
        scripts <= JS_BUDGET,
        "the package's scripts are {scripts} bytes after gzip, the budget is {JS_BUDGET}"
    );
    println!("    scripts {scripts} bytes after gzip");
    for engine in &ENGINES {
        let folder = package.join(engine.folder);
        let module = Sizes::of(&folder.join(format!("{MODULE}_bg.wasm")))?;
        let glue = Sizes::of(&folder.join(format!("{MODULE}.js")))?;
        println!("    {:<7} {module}, glue {glue}", engine.folder);
        // Without wasm-opt a module is larger than what is released.
        let bytes = module.gzip_bytes;
        let is_measured =
            fs::read_to_string(folder.join(STAMP)).is_ok_and(|stamp| !stamp.contains("wasm-opt none"));
        ensure!(
            bytes <= WASM_BUDGET || !is_measured,
            "the module {} is {bytes} bytes after gzip, the budget is {WASM_BUDGET}",
            engine.folder
        );
        all.insert(engine.folder.to_owned(), json!({ "wasm": sizes(&module), "js": sizes(&glue) }));
    }
    let text = serde_json::to_string_pretty(&Value::Object(all))? + "\n";
    let file = package.join("sizes.json");
    if fs::read_to_string(&file).is_ok_and(|old| old == text) {
        return Ok(());
    }
    Ok(fs::write(file, text)?)
}

fn sizes(sizes: &Sizes) -> Value {
    json!({ "raw_bytes": sizes.raw_bytes, "gzip_bytes": sizes.gzip_bytes, "brotli_bytes": sizes.brotli_bytes })
}
