//! The page for everybody: axe-core finds nothing in its main states, from a narrow phone to a wide desk, light and dark.

use std::time::Duration;

use anyhow::Result;
use msao_tests::{
    app::{App, Engine},
    axe::Axe,
    chromium::Visitor,
    evaluation, scenario,
    server::Server,
    snapshot::Window,
    tab::by_id,
};

use crate::PLAIN;

/// Everything that needs no model.
const SOON: Duration = Duration::from_secs(20);
const DESK: Window = Window::DESK;
const WIDE: Window = Window { width: 1920, height: 1080, is_dark: false };
/// The narrowest that is sold.
const NARROW: Window = Window { width: 320, height: 640, is_dark: false };

#[test]
fn axe_finds_nothing_wrong_with_the_page() -> Result<()> {
    let Some(axe) = Axe::get()? else { return Ok(()) };
    let server = Server::shared()?;
    let sample = evaluation::sample(PLAIN)?;
    scenario::run("accessibility", &Visitor::default(), |tab| {
        let mut app = App::open(tab, &server, Engine::Simd)?;
        app.tab.wait_for(&by_id("sample"), SOON)?;
        for (state, window) in [("empty", DESK), ("empty-dark", DESK.dark()), ("empty-phone", NARROW)] {
            window.open(app.tab)?;
            axe.finds_nothing(app.tab, state)?;
        }
        app.unfold()?;
        axe.finds_nothing(app.tab, "unfolded-phone")?;
        DESK.open(app.tab)?;
        for lock in ["lock-vision", "lock-audio", "lock-text"] {
            app.tab.click(&by_id(lock))?;
        }
        axe.finds_nothing(app.tab, "locked")?;
        for lock in ["lock-vision", "lock-audio", "lock-text"] {
            app.tab.click(&by_id(lock))?;
        }
        app.pick(&sample)?;
        app.ask()?.expect_both(&sample.answer)?;
        for (state, window) in [
            ("answered", DESK),
            ("answered-dark", DESK.dark()),
            ("answered-phone", NARROW.dark()),
            ("answered-desk", WIDE),
        ] {
            window.open(app.tab)?;
            axe.finds_nothing(app.tab, state)?;
        }
        app.tab.click(&by_id("receipt"))?;
        axe.finds_nothing(app.tab, "receipt-desk")?;
        NARROW.dark().open(app.tab)?;
        axe.finds_nothing(app.tab, "receipt-phone")
    })
}

#[test]
fn axe_finds_nothing_wrong_with_dialogs_and_dashboard() -> Result<()> {
    let Some(axe) = Axe::get()? else { return Ok(()) };
    let server = Server::shared()?;
    let sample = evaluation::sample(PLAIN)?;
    scenario::run("accessibility-dialogs", &Visitor::default(), |tab| {
        DESK.open(tab)?;
        let mut app = App::open(tab, &server, Engine::Simd)?;
        app.pick(&sample)?;
        app.ask()?;
        for (button, dialog) in [
            ("open-settings", "settings-dialog"),
            ("open-shortcuts", "shortcuts-dialog"),
            ("open-network", "network-panel"),
            ("open-storage", "storage-dialog"),
        ] {
            app.tab.click(&by_id(button))?;
            app.tab.wait_for(&by_id(dialog), SOON)?;
            for (look, window) in [("desk", DESK), ("phone", NARROW.dark())] {
                window.open(app.tab)?;
                axe.finds_nothing(app.tab, &format!("{dialog}-{look}"))?;
            }
            DESK.open(app.tab)?;
            app.tab.click(&by_id(&format!("{dialog}-close")))?;
        }
        app.tab.click(&by_id("retake"))?;
        for (button, dialog) in [("open-gallery", "gallery-dialog"), ("open-cards", "cards-dialog")] {
            app.tab.click(&by_id(button))?;
            app.tab.wait_for(&by_id(dialog), SOON)?;
            axe.finds_nothing(app.tab, dialog)?;
            app.tab.click(&by_id(&format!("{dialog}-close")))?;
        }
        app.tab.click(&by_id("open-dashboard"))?;
        app.tab.wait_for(&by_id("bench-table"), SOON)?;
        for (look, window) in [("desk", DESK), ("dark", DESK.dark()), ("phone", NARROW)] {
            window.open(app.tab)?;
            axe.finds_nothing(app.tab, &format!("dashboard-{look}"))?;
        }
        Ok(())
    })
}
