//! Rules of the house that no lint knows. Each test's name is the rule.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest, Sha256};

use crate::{engines, tools, wasm_toolchain, workspace};

const MAX_LINES: usize = 500;
const MAX_WEIGHTS_BYTES: u64 = 50_000_000;

/// All Rust files of the workspace.
fn sources() -> Vec<PathBuf> {
    let root = workspace::root();
    let crates = [
        "protocol",
        "planner",
        "kernels",
        "models",
        "wasm-runtime",
        "web-app",
        "cloud-server",
        "bench",
        "tests",
        "fuzz",
        "xtask",
    ];
    let files = crates.iter().flat_map(|name| workspace::files_under(&root.join(name)).expect("readable"));
    files.filter(|file| file.extension().is_some_and(|is| is == "rs")).collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of all packages that a package is built with.
fn dependencies(package: &str, more: &[&str]) -> Vec<String> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(workspace::root()).args(["tree", "--offline", "--prefix", "none", "--edges", "normal"]);
    cargo.args(["--package", package]).args(more);
    let tree =
        workspace::output_of(&mut cargo).expect("cargo tree works offline once the workspace is built");
    tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

fn assert_free_of(package: &str, more: &[&str], banned: &[&str]) {
    let found: Vec<String> = dependencies(package, more)
        .into_iter()
        .filter(|name| banned.iter().any(|banned| name.starts_with(banned)))
        .collect();
    assert!(found.is_empty(), "{package} must not depend on {found:?}");
}

#[test]
fn files_stay_short() {
    for file in sources() {
        let text = read(&file);
        let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines without its tests: split it", file.display());
    }
}

#[test]
fn every_module_says_what_it_is_for() {
    for file in sources() {
        assert!(read(&file).starts_with("//! "), "{} begins without `//!` docs", file.display());
    }
}

#[test]
fn the_page_carries_no_tensor_library() {
    let tensors = ["burn", "cubecl", "msao-models"];
    assert_free_of("msao-web", &["--target", wasm_toolchain::TARGET], &tensors);
    // Nor does the module that plans and keeps the session for pages of other sites.
    let session = ["--features", "session", "--target", wasm_toolchain::TARGET];
    assert_free_of("msao-runtime", &session, &tensors);
}

#[test]
fn planner_and_protocol_know_no_io() {
    for package in ["msao-planner", "msao-protocol"] {
        assert_free_of(
            package,
            &[],
            &["burn", "cubecl", "tokio", "actix", "leptos", "web-sys", "js-sys", "wasm-bindgen", "rand"],
        );
    }
}

#[test]
fn tool_versions_agree_everywhere() {
    let root = workspace::root();
    let trunk = read(&root.join("Trunk.toml"));
    let wasm_bindgen = tools::WASM_BINDGEN_VERSION;
    assert!(trunk.contains(&format!("wasm_bindgen = \"{wasm_bindgen}\"")), "Trunk.toml");
    assert!(trunk.contains(&format!("wasm_opt = \"version_{}\"", tools::BINARYEN_VERSION)), "Trunk.toml");
    let manifest = read(&root.join("Cargo.toml"));
    assert!(manifest.contains(&format!("wasm-bindgen = \"={wasm_bindgen}\"")), "Cargo.toml");
}

#[test]
fn shipped_weights_are_small_and_as_their_manifest_says() {
    let weights = workspace::root().join("models/weights");
    let files = workspace::files_under(&weights).expect("readable");
    let total: u64 = files.iter().map(|file| fs::metadata(file).expect("a file").len()).sum();
    assert!(total <= MAX_WEIGHTS_BYTES, "models/weights holds {total} bytes");

    for manifest in files.iter().filter(|file| file.ends_with("MANIFEST.json")) {
        let folder = manifest.parent().expect("a folder");
        let text = read(manifest);
        for file in workspace::files_under(folder).expect("readable") {
            if file != *manifest {
                let hash = engines::hex(&Sha256::digest(fs::read(&file).expect("readable")));
                assert!(text.contains(&hash), "{} is not as MANIFEST.json says", file.display());
            }
        }
    }
}
