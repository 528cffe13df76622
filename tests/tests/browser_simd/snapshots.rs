//! The main states as a newcomer meets them, held to the pictures in `tests/snapshots/`.
//!
//! Policies are chosen so that a plan does not depend on how fast this machine is.

use std::time::Duration;

use anyhow::{Result, ensure};
use msao_tests::{
    app::{App, Engine, Side},
    chromium::Visitor,
    drip::Drip,
    evaluation, scenario,
    server::Server,
    snapshot::{self, Window},
    tab::{Tab, by_id},
};
use serde_json::json;

use crate::{PLAIN, settling::DIFFICULT, settling::LONG, visits::wait_for_line};

/// Of a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);
/// The whole of a cloud's receipt, however long looking takes here.
const PRUNED: &str = "policy=msao_without_speculation&frugal=on";
/// Times and rates of an answer, and what is drawn of them.
const TIMES: [&str; 6] = [
    ".figure dd",
    "[data-testid=receipt-waterfall]",
    "[data-testid=receipt-plan]",
    "[data-testid=totals-latency]",
    "[data-testid=request-network]",
    ".length",
];
/// Counts seconds until the server is tried again.
const COUNTDOWN: &str = "[data-testid=cloud-headline]";

/// In an engine's Worker: crashes it with its first words.
const CRASHES_AT_ONCE: &str =
    "self.postMessage = () => setTimeout(() => { throw new Error('forced by the test'); });";

fn without(part: &[&'static str]) -> Vec<&'static str> {
    TIMES.iter().chain(part).copied().collect()
}

/// A laptop with one core, since the page says how many threads its engine has.
fn begin(tab: &mut Tab) -> Result<()> {
    let one_core = "Object.defineProperty(navigator, 'hardwareConcurrency', { value: 1 });";
    tab.inject_into_workers("/engine/engine.js", one_core)?;
    Window::DESK.open(tab)
}

/// Waits for the first screen.
fn welcome(tab: &mut Tab) -> Result<()> {
    tab.wait_for(&format!("{} {}", by_id("welcome"), by_id("sample")), PATIENCE)?;
    tab.wait_until(
        "Array.from(document.querySelectorAll('.welcome img')).every((image) => image.complete && image.naturalWidth)",
        PATIENCE,
    )?;
    Ok(())
}

#[test]
fn the_first_screen_looks_as_it_did_and_a_broken_style_sheet_is_seen() -> Result<()> {
    let server = Server::shared()?;
    scenario::run("snapshots-empty", &Visitor::default(), |tab| {
        begin(tab)?;
        let app = App::open(tab, &server, Engine::Simd)?;
        welcome(app.tab)?;
        for (name, window) in [
            ("empty-desk", Window::DESK),
            ("empty-dark", Window::DESK.dark()),
            ("empty-phone", Window::PHONE),
            ("empty-phone-dark", Window::PHONE.dark()),
        ] {
            window.open(app.tab)?;
            welcome(app.tab)?;
            snapshot::check(app.tab, name, &[])?;
        }
        if !snapshot::has_font(app.tab)? {
            return Ok(());
        }
        // What these pictures are for.
        Window::DESK.open(app.tab)?;
        for sheet in ["base", "layout", "inputs"] {
            let switch = |off: bool| {
                format!(
                    "Array.from(document.styleSheets).filter(({{ href }}) => href?.includes('/{sheet}-'))
                        .map((sheet) => (sheet.disabled = {off})).length"
                )
            };
            ensure!(app.tab.evaluate(&switch(true))? == 1, "there is no style sheet {sheet}");
            ensure!(
                snapshot::share_changed(app.tab, "empty-desk", &[])? > snapshot::MOST_CHANGED,
                "the page without {sheet}.css is taken for the page"
            );
            app.tab.evaluate(&switch(false))?;
        }
        snapshot::check(app.tab, "empty-desk", &[])
    })
}

#[test]
fn a_first_visit_looks_as_it_did_while_it_downloads() -> Result<()> {
    let server = Server::shared()?;
    let line = Drip::to(server.address())?;
    scenario::run("snapshots-download", &Visitor::default(), |tab| {
        line.slow("/model.safetensors", Some(60_000));
        begin(tab)?;
        let mut app = App::visit_with(tab, &line.site(), Engine::Simd, "")?;
        app.wait_for_status(Side::Cloud, "ready")?;
        welcome(app.tab)?;
        let headline = json!(by_id("edge-headline"));
        app.tab.wait_until(
            &format!("/MB · \\d+ (s|min) left/.test(document.querySelector({headline})?.innerText)"),
            PATIENCE,
        )?;
        let changing = ["[data-testid=edge-headline]", "progress"];
        snapshot::check(app.tab, "downloading-desk", &changing)?;
        Window::PHONE.open(app.tab)?;
        snapshot::check(app.tab, "downloading-phone", &changing)
    })
}

#[test]
fn an_answer_under_way_looks_as_it_did() -> Result<()> {
    let server = Server::shared()?;
    let sample = evaluation::sample(LONG)?;
    scenario::run("snapshots-streaming", &Visitor::default(), |tab| {
        begin(tab)?;
        // A link so slow that an answer stands half settled for seconds.
        let slow = "policy=distributed&draft_tokens=4&rtt_ms=5000";
        let mut app = App::open_with(tab, &server.url(""), Engine::Simd, slow)?;
        app.pick(&sample)?;
        app.ask_while(|app| {
            let token = |state: &str| format!("{} [data-state={state}]", by_id("cloud-answer-text"));
            app.tab.wait_for(&token("proposed"), PATIENCE)?;
            app.tab.wait_for(&token("accepted"), PATIENCE)?;
            app.tab.wait_for(&token("proposed"), PATIENCE)?;
            snapshot::check(app.tab, "streaming-desk", &TIMES)?;
            Window::PHONE.open(app.tab)?;
            snapshot::check(app.tab, "streaming-phone", &TIMES)
        })?;
        Ok(())
    })
}

#[test]
fn answers_with_their_receipts_look_as_they_did() -> Result<()> {
    let server = Server::shared()?;
    let sample = evaluation::sample(DIFFICULT)?;
    scenario::run("snapshots-answered", &Visitor::default(), |tab| {
        begin(tab)?;
        let mut app = App::open_with(tab, &server.url(""), Engine::Simd, PRUNED)?;
        app.pick(&sample)?;
        app.ask()?;
        snapshot::check(app.tab, "answered-desk", &TIMES)?;
        Window::PHONE.dark().open(app.tab)?;
        app.tab.evaluate("document.querySelector('[data-testid=turn]').scrollIntoView(); 0")?;
        snapshot::check(app.tab, "answered-phone-dark", &TIMES)?;

        let open = "const receipt = document.querySelector('[data-testid=receipt]');
            receipt.open = true; receipt.scrollIntoView({ block: 'start' }); 0";
        app.tab.evaluate(&format!("{{ {open} }}"))?;
        snapshot::check(app.tab, "receipt-phone-dark", &TIMES)?;
        Window::DESK.open(app.tab)?;
        app.tab.evaluate(&format!("{{ {open} }}"))?;
        snapshot::check(app.tab, "receipt-desk", &TIMES)?;

        app.tab.click(&by_id("open-dashboard"))?;
        app.tab.wait_for(&by_id("bench-table"), PATIENCE)?;
        snapshot::check(app.tab, "dashboard-desk", &without(&[".charts"]))
    })
}

#[test]
fn a_correction_looks_as_it_did() -> Result<()> {
    let server = Server::shared()?;
    let sample = evaluation::sample(DIFFICULT)?;
    scenario::run("snapshots-corrected", &Visitor::default(), |tab| {
        begin(tab)?;
        let mut app =
            App::open_with(tab, &server.url(""), Engine::Simd, "policy=distributed&draft_tokens=4")?;
        app.pick(&sample)?;
        app.ask()?;
        snapshot::check(app.tab, "corrected-desk", &TIMES)
    })
}

#[test]
fn what_is_held_here_and_the_settings_look_as_they_did() -> Result<()> {
    let server = Server::shared()?;
    let sample = evaluation::sample(PLAIN)?;
    scenario::run("snapshots-locked", &Visitor::default(), |tab| {
        begin(tab)?;
        let mut app = App::open(tab, &server, Engine::Simd)?;
        app.pick(&sample)?;
        for lock in ["lock-vision", "lock-audio", "lock-text"] {
            app.tab.click(&by_id(lock))?;
        }
        app.tab.click(&by_id("offline"))?;
        app.wait_for_status(Side::Cloud, "off")?;
        app.ask()?;
        app.tab.evaluate("window.scrollTo(0, 0); 0")?;
        snapshot::check(app.tab, "locked-offline-desk", &TIMES)?;
        Window::PHONE.open(app.tab)?;
        snapshot::check(app.tab, "locked-offline-phone", &TIMES)?;
        app.tab.click(&by_id("composer-more"))?;
        snapshot::check(app.tab, "unfolded-phone", &TIMES)?;
        for (name, window) in [("settings-phone-dark", Window::PHONE.dark()), ("settings-desk", Window::DESK)]
        {
            window.open(app.tab)?;
            app.tab.click(&by_id("open-settings"))?;
            app.tab.wait_for(&by_id("settings-reset"), PATIENCE)?;
            snapshot::check(app.tab, name, &TIMES)?;
            app.tab.click(&by_id("settings-dialog-close"))?;
        }
        Ok(())
    })
}

#[test]
fn a_lost_device_and_a_lost_cloud_look_as_they_did() -> Result<()> {
    let server = Server::start()?;
    let sample = evaluation::sample(PLAIN)?;
    scenario::run("snapshots-lost", &Visitor::default(), move |tab| {
        begin(tab)?;
        tab.inject_into_workers("engine.js", CRASHES_AT_ONCE)?;
        let mut app = App::visit(tab, &server, Engine::Simd)?;
        app.wait_for_status(Side::Cloud, "ready")?;
        wait_for_line(&mut app, "edge-lost")?;
        welcome(app.tab)?;
        snapshot::check(app.tab, "device-lost-desk", &[])?;
        Window::PHONE.open(app.tab)?;
        snapshot::check(app.tab, "device-lost-phone", &[])?;

        // And down to the device alone.
        Window::DESK.open(app.tab)?;
        app.tab.inject_no_more()?;
        app.tab.click(&by_id("happened-remedy"))?;
        app.wait_for_status(Side::Edge, "ready")?;
        app.pick(&sample)?;
        drop(server);
        app.wait_for_status(Side::Cloud, "failed")?;
        wait_for_line(&mut app, "cloud-lost")?;
        app.ask()?;
        snapshot::check(app.tab, "cloud-lost-desk", &without(&[COUNTDOWN]))
    })
}
