//! axe-core in a page: what it finds wrong for people who do not see, hear or point as others do.
//!
//! It comes from npm into `target/axe`; where npm cannot fetch it, the test says loudly that it was left out.

use std::{fs, io::Write, process::Command, time::Duration};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    places,
    tab::{Tab, shows_something},
};

/// The version that pages are held to.
const AXE: &str = "axe-core@4.14.1";
/// Running all rules on a busy machine.
const AXE_TIMEOUT: Duration = Duration::from_secs(120);

/// The text of axe-core.
pub struct Axe(String);

impl Axe {
    /// Fetches axe-core unless it is there; `None`, said loudly, where npm does not give it.
    ///
    /// # Errors
    /// If what npm has fetched cannot be read.
    pub fn get() -> Result<Option<Self>> {
        let folder = places::root().join("target/axe");
        let script = folder.join("node_modules/axe-core/axe.min.js");
        if !script.is_file() {
            fs::create_dir_all(&folder)?;
            let install = Command::new("npm")
                .args([
                    "install",
                    "--no-save",
                    "--no-audit",
                    "--no-fund",
                    "--ignore-scripts",
                    AXE,
                    "--prefix",
                ])
                .arg(&folder)
                .output();
            let failure = match install {
                Ok(output) if output.status.success() => None,
                Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(failure) = failure {
                // Not `eprintln`, whose output the runner keeps to itself when a test passes.
                let line = format!(
                    "LEFT OUT: npm gives no {AXE} ({failure}), so accessibility has NOT been tested\n"
                );
                let _ = std::io::stderr().write_all(line.as_bytes());
                return Ok(None);
            }
        }
        let text =
            fs::read_to_string(&script).with_context(|| format!("{} is not there", script.display()))?;
        Ok(Some(Self(text)))
    }

    /// Requires that axe-core finds nothing wrong with the document as it is, open shadow roots included, and that nothing
    /// sticks out at the side. Leaves a screenshot named after the `state`.
    ///
    /// # Errors
    /// With all that was found.
    pub fn finds_nothing(&self, tab: &mut Tab, state: &str) -> Result<()> {
        ensure!(shows_something(&tab.screenshot(&format!("axe-{state}"))?)?, "{state}: the page is empty");
        let fits = "document.documentElement.scrollWidth <= document.documentElement.clientWidth";
        ensure!(tab.evaluate(fits)? == true, "{state}: the page is wider than its window");
        if tab.evaluate("typeof axe")? == "undefined" {
            tab.evaluate(&format!("{};0", self.0))?;
        }
        let found = tab.evaluate_within(
            "axe.run(document, { resultTypes: ['violations'], iframes: false }).then(({ violations }) => violations.map(
                ({ id, help, nodes }) => `${id}: ${help}: ` + nodes.map(({ html }) => html.slice(0, 160)).join(' | ')))",
            AXE_TIMEOUT,
        )?;
        let found = found.as_array().context("axe-core says nothing")?;
        if !found.is_empty() {
            let found: Vec<_> = found.iter().filter_map(|one| one.as_str()).collect();
            bail!("{state}: {} violation(s)\n{}", found.len(), found.join("\n"));
        }
        Ok(())
    }
}
