//! `cargo xtask test`: every test there is.
//!
//! One cargo invocation builds and runs all native tests, so that burn is compiled natively once. Those on a Vulkan
//! device are built where there is one: they take a third of a first build, and skip themselves everywhere else.

use std::process::Command;

use anyhow::Result;

use crate::{
    browser, ci::Timings, clients, page, probe, progress, reference, tools::Tools, upstreams, workspace,
};

/// Everything that can be built where only the package registries are reachable: what clippy looks at.
pub(crate) const NATIVE_FEATURES: &str = "msao-models/vulkan,msao-server/vulkan";
/// Set to `1` by whoever has a GPU: then the tests on a Vulkan device run too.
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
    let clients = timings.time("API clients", clients::ensure)?;
    let upstream_python = timings.time("upstream engine", upstreams::ensure)?;
    let has_gpu = std::env::var(VULKAN_VARIABLE).as_deref() == Ok("1");
    if !has_gpu {
        progress::loudly_skipped(
            "the tests on a Vulkan device",
            "Set MSAO_VULKAN=1 on a machine with a GPU: software drivers do not get through.",
        );
    }

    let native = |title: &str, estimate: &str, arguments: &[&str]| {
        let mut command = Command::new("cargo");
        command.current_dir(workspace::root()).args(arguments);
        if has_gpu {
            command.args(["--features", NATIVE_FEATURES]);
        }
        if let Some(browser) = &browser {
            command.env(browser::BROWSER_VARIABLE, browser);
        }
        command.envs(clients.iter().map(|(variable, path)| (variable, path)));
        if let Some(python) = &upstream_python {
            command.env(upstreams::PYTHON_VARIABLE, python);
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
    timings.time("Python reference", reference::check)?;
    timings.time("dry run of the probe", probe::dry_run)
}
