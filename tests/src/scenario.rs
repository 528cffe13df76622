//! One browser test from launch to verdict.

use std::{
    io::Write,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result, bail};

use crate::{
    chromium::{Chromium, Visitor},
    places,
    tab::{ConsoleLine, Severity, Tab},
};

/// Environment variable that skips the browser tests when it is `1`.
pub const SKIP_VARIABLE: &str = "MSAO_SKIP_BROWSER";

/// One browser at a time: two would fight for the cores and make every timeout a lottery.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Lets `visitor` do `body` in a browser of their own. Fails if `body` does, or if the page or one of its workers
/// had an uncaught exception or wrote a `console.error`; then the console and a screenshot,
/// `target/screenshots/failed-<name>.png`, are left behind.
///
/// # Errors
/// The failure of the test.
pub fn run(name: &str, visitor: &Visitor, body: impl FnOnce(&mut Tab) -> Result<()>) -> Result<()> {
    if is_skipped(name) {
        return Ok(());
    }
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut tab = Chromium::open(visitor)?;
    let outcome = body(&mut tab).and_then(|()| no_errors(&mut tab));
    outcome.with_context(|| {
        let screenshot = tab
            .screenshot(&format!("failed-{name}"))
            .and_then(|file| Ok(file.strip_prefix(places::root())?.display().to_string()));
        let console: Vec<_> = tab.console().iter().map(|line| format!("  {}", line.text)).collect();
        format!(
            "scenario {name} failed\nscreenshot: {}\nconsole:\n{}",
            screenshot.unwrap_or_else(|error| format!("none, {error}")),
            console.join("\n")
        )
    })
}

/// Whether browser tests are to be skipped; if so, says it where the test runner does not swallow it.
pub fn is_skipped(name: &str) -> bool {
    let skipped = std::env::var(SKIP_VARIABLE).is_ok_and(|value| value == "1");
    if skipped {
        // Not `eprintln`, whose output the runner keeps to itself when a test passes.
        let line = format!("SKIPPED {name}: {SKIP_VARIABLE}=1, so this has NOT been tested\n");
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
    skipped
}

fn no_errors(tab: &mut Tab) -> Result<()> {
    tab.evaluate("0")?;
    let errors: Vec<_> = tab.console().iter().filter(|line| line.severity == Severity::Error).collect();
    match errors.first() {
        None => Ok(()),
        Some(ConsoleLine { text, .. }) => {
            bail!("{} error(s) on the page's console, first: {text}", errors.len())
        }
    }
}
