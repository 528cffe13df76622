//! The page for everybody: axe-core finds nothing in its main states, from a narrow phone to a wide desk, light and dark.
//!
//! axe-core comes from npm into the folder of the test's own files; where npm cannot fetch it, the test says loudly that
//! it was left out.

use std::{fs, io::Write, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use msao_tests::{
    app::{App, Engine},
    chromium::Visitor,
    evaluation, scenario,
    server::Server,
    tab::{Tab, by_id, shows_something},
};
use serde_json::json;

use crate::{PLAIN, folder};

/// The version that the page is held to.
const AXE: &str = "axe-core@4.14.1";
/// Running all rules on a busy machine.
const AXE_TIMEOUT: Duration = Duration::from_secs(120);

/// The text of axe-core; `None`, said loudly, where npm does not give it.
fn axe() -> Result<Option<String>> {
    let folder: PathBuf = folder("axe")?;
    let script = folder.join("node_modules/axe-core/axe.min.js");
    if !script.is_file() {
        let install = Command::new("npm")
            .args(["install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", AXE, "--prefix"])
            .arg(&folder)
            .output();
        let failure = match install {
            Ok(output) if output.status.success() => None,
            Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(failure) = failure {
            // Not `eprintln`, whose output the runner keeps to itself when a test passes.
            let line =
                format!("LEFT OUT: npm gives no {AXE} ({failure}), so accessibility has NOT been tested\n");
            let _ = std::io::stderr().write_all(line.as_bytes());
            return Ok(None);
        }
    }
    fs::read_to_string(&script).map(Some).with_context(|| format!("{} is not there", script.display()))
}

/// Requires that axe-core finds nothing wrong with the page as it is, and that nothing sticks out at the side.
fn nothing_wrong(tab: &mut Tab, state: &str) -> Result<()> {
    ensure!(shows_something(&tab.screenshot(&format!("axe-{state}"))?)?, "{state}: the page is empty");
    let fits = "document.documentElement.scrollWidth <= document.documentElement.clientWidth";
    ensure!(tab.evaluate(fits)? == true, "{state}: the page is wider than its window");
    let found = tab.evaluate_within(
        "axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => violations.map(
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

fn look(tab: &mut Tab, width: u32, height: u32, scheme: &str) -> Result<()> {
    let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700});
    tab.call("Emulation.setDeviceMetricsOverride", size)?;
    let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
    tab.call("Emulation.setEmulatedMedia", json!({ "features": features })).map(|_| ())
}

#[test]
fn axe_finds_nothing_wrong_with_the_page() -> Result<()> {
    let Some(axe) = axe()? else { return Ok(()) };
    let server = Server::shared()?;
    let sample = evaluation::sample(PLAIN)?;
    scenario::run("accessibility", &Visitor::default(), |tab| {
        let mut app = App::open(tab, &server, Engine::Simd)?;
        app.tab.evaluate(&format!("{axe};0"))?;
        app.tab.wait_for(&by_id("sample"), Duration::from_secs(30))?;
        for (state, width, height, scheme) in [
            ("empty", 1280, 900, "light"),
            ("empty-dark", 1280, 900, "dark"),
            ("empty-phone", 320, 640, "light"),
        ] {
            look(app.tab, width, height, scheme)?;
            nothing_wrong(app.tab, state)?;
        }
        look(app.tab, 1280, 900, "light")?;
        for (button, dialog) in [
            ("open-settings", "settings-dialog"),
            ("open-shortcuts", "shortcuts-dialog"),
            ("open-gallery", "gallery-dialog"),
        ] {
            app.tab.click(&by_id(button))?;
            app.tab.wait_for(&by_id(dialog), Duration::from_secs(10))?;
            nothing_wrong(app.tab, dialog)?;
            if dialog == "settings-dialog" {
                look(app.tab, 320, 640, "dark")?;
                nothing_wrong(app.tab, "settings-phone")?;
                look(app.tab, 1280, 900, "light")?;
            }
            app.tab.click(&by_id(&format!("{dialog}-close")))?;
        }
        for lock in ["lock-vision", "lock-audio", "lock-text"] {
            app.tab.click(&by_id(lock))?;
        }
        nothing_wrong(app.tab, "locked")?;
        for lock in ["lock-vision", "lock-audio", "lock-text"] {
            app.tab.click(&by_id(lock))?;
        }
        app.pick(&sample)?;
        app.ask()?.expect_both(&sample.answer)?;
        for (state, width, height, scheme) in [
            ("answered", 1280, 900, "light"),
            ("answered-dark", 1280, 900, "dark"),
            ("answered-phone", 320, 640, "dark"),
            ("answered-desk", 1920, 1080, "light"),
        ] {
            look(app.tab, width, height, scheme)?;
            nothing_wrong(app.tab, state)?;
        }
        Ok(())
    })
}
