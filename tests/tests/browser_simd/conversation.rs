//! A conversation: what holds its words back, what it goes on from, what is kept between visits, and that nothing jumps
//! while an answer settles.

use std::time::Duration;

use anyhow::{Result, ensure};
use msao_protocol::{Ask, ClientMessage, frame};
use msao_tests::{
    app::{App, Engine, Side},
    chromium::Visitor,
    evaluation, scenario,
    server::Server,
    tab::{Tab, by_id},
    wiretap::Wiretap,
};
use serde_json::json;

use crate::{PLAIN, SOUND, overheard, uplink::sent};

const SOON: Duration = Duration::from_secs(20);

fn asks(tap: &Wiretap) -> Result<Vec<Ask>> {
    let mut asks = Vec::new();
    for heard in tap.heard() {
        if let ClientMessage::Ask(ask) = frame::decode(&heard.bytes)? {
            asks.push(ask);
        }
    }
    Ok(asks)
}

fn key(tab: &mut Tab, key: &str) -> Result<()> {
    let letter = if key.chars().count() == 1 { key } else { "" };
    for (kind, text) in [("keyDown", letter), ("keyUp", "")] {
        let event = json!({"type": kind, "key": key, "text": text});
        tab.call("Input.dispatchKeyEvent", event)?;
    }
    Ok(())
}

#[test]
fn locked_words_are_answered_here_and_nothing_leaves() -> Result<()> {
    overheard("locked-words", PLAIN, "", |app, tap, sample| {
        app.tab.click(&by_id("lock-text"))?;
        let turn = app.ask()?;
        turn.edge.expect("edge", &sample.answer)?;
        ensure!(turn.cloud.state == "not-asked", "the words are locked, yet {:?}", turn.cloud);
        ensure!(turn.cloud.note.contains("words are locked"), "the page says {:?}", turn.cloud.note);
        ensure!(sent(tap)?.is_empty(), "something left: {:?}", sent(tap)?);
        let held = app.tab.text(&format!("{}[data-modality=\"text\"]", by_id("held")))?;
        ensure!(held.starts_with("Held: 0 B"), "the shield says {held:?}");
        app.tab.screenshot("locked-words")?;

        // Unlocked, the next question goes; locked again, the mark tells what had left before.
        app.tab.click(&by_id("lock-text"))?;
        app.type_question(&sample.question)?;
        app.ask()?.cloud.expect("cloud", &sample.answer)?;
        ensure!(sent(tap)?.len() == 1, "one question should be sent: {:?}", sent(tap)?);
        app.tab.click(&by_id("lock-text"))?;
        let held = app.tab.text(&format!("{}[data-modality=\"text\"]", by_id("held")))?;
        ensure!(held.contains("had left before"), "the shield says {held:?}");
        Ok(())
    })
}

#[test]
fn offline_the_device_answers_alone_until_the_user_is_back() -> Result<()> {
    overheard("offline", PLAIN, "", |app, tap, sample| {
        app.tab.click(&by_id("offline"))?;
        app.wait_for_status(Side::Cloud, "off")?;
        let turn = app.ask()?;
        turn.edge.expect("edge", &sample.answer)?;
        ensure!(turn.cloud.note.contains("offline"), "the page says {:?}", turn.cloud.note);
        // Longer than the pause before a new attempt.
        app.tab.wait(Duration::from_secs(2))?;
        app.wait_for_status(Side::Cloud, "off")?;
        ensure!(sent(tap)?.is_empty(), "something left: {:?}", sent(tap)?);
        app.tab.click(&by_id("offline"))?;
        app.wait_for_status(Side::Cloud, "ready")?;
        app.type_question(&sample.question)?;
        app.ask()?.expect_both(&sample.answer)
    })
}

#[test]
fn a_question_that_goes_on_names_the_answer_before() -> Result<()> {
    overheard("goes-on", PLAIN, "", |app, tap, sample| {
        app.ask()?.expect_both(&sample.answer)?;
        // The shipped pair has not learned to go on, so it is not asked to unless somebody wishes it.
        app.tab.wait_for(&by_id("go-on"), SOON)?;
        app.type_question(&sample.question)?;
        app.ask()?.expect_both(&sample.answer)?;
        app.tab.click(&by_id("go-on"))?;
        app.type_question(&sample.question)?;
        let turn = app.ask()?;
        app.tab.screenshot("goes-on")?;
        ensure!(turn.cloud.state == "done" && turn.edge.state == "not-asked", "{turn:?}");
        ensure!(turn.edge.note.contains("goes on"), "the page says {:?}", turn.edge.note);
        let asks = asks(tap)?;
        let continued: Vec<_> = asks.iter().map(|ask| ask.continues).collect();
        ensure!(
            continued == [None, None, Some(asks[1].request_id)],
            "what the questions go on from: {continued:?}"
        );
        Ok(())
    })
}

#[test]
fn a_new_conversation_can_be_taken_back() -> Result<()> {
    let server = Server::shared()?;
    let sample = evaluation::sample(PLAIN)?;
    scenario::run("new-conversation", &Visitor::default(), |tab| {
        let mut app = App::open(tab, &server, Engine::Simd)?;
        app.pick(&sample)?;
        app.ask()?.expect_both(&sample.answer)?;
        app.tab.click(&by_id("new-conversation"))?;
        app.tab.wait_for(&by_id("welcome"), SOON)?;
        app.tab.screenshot("new-conversation")?;
        app.tab.click(&by_id("undo-clear"))?;
        app.tab.wait_for(&by_id("turn"), SOON)?;
        app.tab.click(&by_id("new-conversation"))?;
        app.tab.wait_for(&by_id("welcome"), SOON)?;
        app.type_question(&sample.question)?;
        app.ask()?.expect_both(&sample.answer)?;
        let undo = format!("!document.querySelector({})", json!(by_id("undo-clear")));
        ensure!(app.tab.evaluate(&undo)? == true, "a conversation that was replaced cannot come back");
        Ok(())
    })
}

#[test]
fn settings_are_kept_and_the_address_comes_first() -> Result<()> {
    let server = Server::shared()?;
    scenario::run("settings", &Visitor::default(), |tab| {
        let mut app = App::visit(tab, &server, Engine::Simd)?;
        app.wait_for_status(Side::Cloud, "ready")?;
        app.tab.click(&by_id("open-settings"))?;
        app.tab.wait_for(&by_id("draft-tokens"), SOON)?;
        app.choose("draft-tokens", "4")?;
        app.choose("mode", "risk_controlled")?;
        app.choose("rtt-ms", "150")?;
        app.wait_for_status(Side::Cloud, "ready")?;
        let value = |id: &str| format!("document.querySelector({}).value", json!(by_id(id)));

        let mut app = App::visit_with(app.tab, &server.url(""), Engine::Simd, "draft_tokens=2")?;
        app.wait_for_status(Side::Cloud, "ready")?;
        ensure!(app.tab.evaluate(&value("mode"))? == "risk_controlled", "the mode was not kept");
        ensure!(app.tab.evaluate(&value("rtt-ms"))? == "150", "the round trip was not kept");
        ensure!(app.tab.evaluate(&value("draft-tokens"))? == "2", "the address does not come first");

        app.tab.click(&by_id("open-settings"))?;
        app.tab.click(&by_id("settings-reset"))?;
        ensure!(app.tab.evaluate(&value("mode"))? == "verified", "the reset changes nothing");
        let app = App::visit(app.tab, &server, Engine::Simd)?;
        app.tab.wait_for(&by_id("composer"), SOON)?;
        ensure!(app.tab.evaluate(&value("rtt-ms"))? == "0", "the reset was not kept");
        ensure!(app.tab.evaluate(&value("draft-tokens"))? == "auto", "the reset was not kept");
        Ok(())
    })
}

#[test]
fn the_page_is_used_by_keyboard() -> Result<()> {
    let server = Server::shared()?;
    let sample = evaluation::sample(PLAIN)?;
    scenario::run("keyboard", &Visitor::default(), |tab| {
        let mut app =
            App::open_with(tab, &server.url(""), Engine::Simd, "policy=cloud_only&delay_image_ms=8000")?;
        app.pick(&sample)?;
        app.tab.evaluate("document.activeElement.blur()")?;
        key(app.tab, "?")?;
        app.tab.wait_for(&by_id("shortcuts-dialog"), SOON)?;
        app.tab.screenshot("keys")?;
        app.tab.click(&by_id("shortcuts-dialog-close"))?;
        app.tab.evaluate("document.activeElement.blur()")?;
        key(app.tab, "v")?;
        let focused = |id: &str| format!("document.activeElement?.dataset.testid === {}", json!(id));
        app.tab.wait_until(&focused("talk"), SOON)?;
        key(app.tab, "s")?;
        app.expect_notice("Turn the camera on first")?;
        key(app.tab, "/")?;
        app.tab.wait_until(&focused("prompt"), SOON)?;
        ensure!(app.question()? == sample.question, "the shortcut was typed: {:?}", app.question()?);
        key(app.tab, "Enter")?;
        app.tab.wait_for(&by_id("stop"), SOON)?;
        key(app.tab, "Escape")?;
        app.tab.wait_for(&format!("{}[data-state=\"done\"]", by_id("turn")), SOON)?;
        app.tab.wait_for(&by_id("ask"), SOON)
    })
}

/// Notes what screen readers would hear of the cloud's answer, and every shift of the layout that no input explains.
const WATCH: &str = "
    window.heard = []; window.shifts = [];
    new PerformanceObserver((list) => {
        for (const shift of list.getEntries().filter((entry) => !entry.hadRecentInput)) {
            const moved = shift.sources.map(({ node }) => node?.className ?? node?.nodeName);
            window.shifts.push({ value: shift.value, moved });
        }
    }).observe({ type: 'layout-shift' });
    const region = document.querySelector('[data-testid=announce-cloud]');
    new MutationObserver(() => window.heard.push(region.textContent))
        .observe(region, { childList: true, characterData: true, subtree: true });0";

fn settles_quietly(name: &str, sample: &str, more: &str, width: u32) -> Result<()> {
    let server = Server::shared()?;
    let sample = evaluation::sample(sample)?;
    scenario::run(name, &Visitor::default(), |tab| {
        let size = json!({"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 700});
        tab.call("Emulation.setDeviceMetricsOverride", size)?;
        let mut app = App::open_with(tab, &server.url(""), Engine::Simd, more)?;
        app.pick(&sample)?;
        let turn = app.ask_while(|app| {
            // Without a picture of it: for one of the whole page the browser lays it out anew.
            app.tab.evaluate(WATCH).map(|_| ())
        })?;
        turn.cloud.expect("cloud", &sample.answer)?;
        app.tab.wait(Duration::from_millis(300))?;
        let shifts = app.tab.evaluate("JSON.stringify(window.shifts)")?;
        app.tab.screenshot(name)?;
        ensure!(shifts == "[]", "the layout shifts while the answer settles: {shifts}");
        let heard = app.tab.evaluate("window.heard.filter((text) => text).join('\\n')")?;
        let heard = heard.as_str().unwrap_or_default();
        let whole = format!("Cloud: {}", sample.answer);
        ensure!(
            heard.lines().count() == 1 && heard.starts_with(&whole),
            "an answer of one sentence is said once and whole, but heard is {heard:?}"
        );
        Ok(())
    })
}

#[test]
fn nothing_jumps_and_one_sentence_is_heard_while_a_draft_settles() -> Result<()> {
    settles_quietly("quiet-draft", "07-read", "policy=distributed", 1280)
}

#[test]
fn nothing_jumps_on_a_phone_while_a_delayed_picture_is_waited_for() -> Result<()> {
    settles_quietly("quiet-phone", SOUND, "policy=cloud_only&delay_image_ms=1500", 390)
}
