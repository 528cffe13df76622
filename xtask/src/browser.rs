//! The Chromium that the browser tests drive: found, installed on Debian, or asked for in one line.

use std::{env, path::PathBuf};

use anyhow::{Result, bail};

use crate::{debian, progress, workspace};

/// Names the browser; the test harness reads it, too.
pub(crate) const BROWSER_VARIABLE: &str = "MSAO_CHROMIUM";
/// `1` leaves the browser tests out; the test harness reads it, too.
pub(crate) const SKIP_VARIABLE: &str = "MSAO_SKIP_BROWSER";

/// The binaries themselves come first: the wrapper scripts in `/usr/bin` add flags of their own.
const KNOWN_PLACES: [&str; 4] = [
    "/usr/lib/chromium/chromium",
    "/usr/lib/chromium-browser/chromium-browser",
    "/opt/google/chrome/chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];
const COMMANDS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// The browser's path; none if the tests that need it are to be left out.
///
/// # Errors
/// If there is no browser and none can be installed.
pub(crate) fn ensure() -> Result<Option<PathBuf>> {
    if env::var(SKIP_VARIABLE).is_ok_and(|value| value == "1") {
        progress::loudly_skipped("the browser tests", &format!("Unset {SKIP_VARIABLE} to run them."));
        return Ok(None);
    }
    if let Some(path) = env::var_os(BROWSER_VARIABLE) {
        return Ok(Some(PathBuf::from(path)));
    }
    if let Some(found) = find() {
        return Ok(Some(found));
    }
    if debian::can_install() {
        debian::install(&["chromium"])?;
        if let Some(found) = find() {
            return Ok(Some(found));
        }
    }
    bail!(
        "the browser tests need Chromium: install it (Debian: `apt-get install chromium`), or name one in \
         {BROWSER_VARIABLE}, or leave them out with {SKIP_VARIABLE}=1"
    )
}

fn find() -> Option<PathBuf> {
    let known = KNOWN_PLACES.iter().map(PathBuf::from).find(|path| path.is_file());
    known.or_else(|| COMMANDS.iter().find_map(|command| workspace::on_path(command)))
}
