//! `cargo xtask test`: every test there is.
//!
//! One cargo invocation builds and runs all native tests, those of the Vulkan device included, so that burn is
//! compiled natively once.

use std::{env, process::Command};

use anyhow::Result;

use crate::{browser, ci::Timings, debian, page, progress, reference, tools::Tools, workspace};

/// What native builds for tests and lints are made with, so that both share one set of dependencies.
pub(crate) const NATIVE_FEATURES: &str = "msao-models/vulkan,msao-server/vulkan";
/// Set to `1` for the tests when there is a Vulkan device: then they must not leave it out.
const VULKAN_VARIABLE: &str = "MSAO_VULKAN";

/// Builds what is needed and runs all tests.
///
/// # Errors
/// If anything fails.
pub(crate) fn test(tools: &Tools) -> Result<()> {
    let mut timings = Timings::default();
    let result = test_timed(tools, &mut timings);
    timings.print();
    result
}

/// As [`test`], noting the times of its parts.
///
/// # Errors
/// If anything fails.
pub(crate) fn test_timed(tools: &Tools, timings: &mut Timings) -> Result<()> {
    timings.time("engines and page", || page::build(tools))?;
    let browser = timings.time("Chromium", browser::ensure)?;
    let has_vulkan = timings.time("Vulkan driver", ensure_vulkan)?;

    let native = |title: &str, estimate: &str, arguments: &[&str]| {
        let mut command = Command::new("cargo");
        command.current_dir(workspace::root()).args(arguments).args(["--features", NATIVE_FEATURES]);
        if let Some(browser) = &browser {
            command.env(browser::BROWSER_VARIABLE, browser);
        }
        if has_vulkan {
            command.env(VULKAN_VARIABLE, "1");
        }
        progress::run_visibly(title, estimate, &mut command)
    };
    // This builds the server's binary too, since its package has integration tests. A `cargo build` beside it would
    // resolve other features, without those of dev-dependencies, and so compile burn twice.
    timings.time("building the tests", || {
        native("building the tests", "about 15 min", &["test", "--workspace", "--no-run"])
    })?;
    timings.time("running the tests", || {
        native("running the tests", "", &["test", "--workspace", "--no-fail-fast"])
    })?;
    timings.time("Python reference", reference::check)
}

/// Whether there is a Vulkan device: a GPU's, or Mesa's software one, which is installed on Debian.
fn ensure_vulkan() -> Result<bool> {
    if !has_vulkan_driver() && debian::can_install() {
        debian::install(&["libvulkan1", "mesa-vulkan-drivers"])?;
    }
    let found = has_vulkan_driver();
    if !found {
        progress::loudly_skipped(
            "the tests on a Vulkan device",
            "Install a Vulkan driver (Debian: `apt-get install libvulkan1 mesa-vulkan-drivers`).",
        );
    }
    Ok(found)
}

fn has_vulkan_driver() -> bool {
    let named = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"].iter().any(|name| env::var_os(name).is_some());
    let loader = workspace::output_of(Command::new("/sbin/ldconfig").arg("-p"))
        .is_some_and(|libraries| libraries.contains("libvulkan.so.1"));
    let drivers = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"]
        .iter()
        .any(|folder| std::fs::read_dir(folder).is_ok_and(|mut files| files.next().is_some()));
    loader && (named || drivers)
}
