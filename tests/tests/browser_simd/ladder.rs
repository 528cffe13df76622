//! The ladder in mid-conversation, each step forced: engines that crash, a device without any, a cloud that is cut off in
//! the middle of an answer. Nothing is lost, and the page says what happened.

use std::time::Duration;

use anyhow::{Result, ensure};
use msao_tests::{
    app::{App, Engine, Side},
    chromium::Visitor,
    evaluation, scenario,
    server::Server,
    tab::by_id,
    wiretap::Wiretap,
};
use serde_json::json;

use crate::{
    PLAIN, both_are_right,
    visits::{wait_for_line, wait_for_the_worker},
};

/// A sample with an answer of many tokens, which both models are right about.
const LONG: &str = "15-describe";
/// What a crash of ours says.
const FORCED: &str = "forced by the test";
/// In an engine's Worker: crashes it behind the second token of an answer, as a panic would.
const CRASHES: &str = "{
    const post = self.postMessage.bind(self);
    let tokens = 0;
    self.postMessage = (message, buffers) => {
        post(message, buffers);
        tokens += message.step ? 1 : 0;
        if (message.step && tokens === 2) setTimeout(() => { throw new Error('forced by the test'); });
    };
}";

#[test]
fn an_engine_that_crashes_in_mid_answer_is_replaced_and_nothing_is_lost() -> Result<()> {
    let server = Server::shared()?;
    let (plain, long) = (evaluation::sample(PLAIN)?, evaluation::sample(LONG)?);
    scenario::run("engine-crash", &Visitor::default(), |tab| {
        let mut app = App::open(tab, &server, Engine::Simd)?;
        app.tab.call_worker("engine.js", "Runtime.evaluate", json!({ "expression": CRASHES }))?;
        app.pick(&long)?;
        let turn = app.ask()?;
        turn.cloud.expect("cloud", &long.answer)?;
        ensure!(
            !turn.edge.text.is_empty() && turn.edge.state != "failed",
            "the device has lost it: {turn:?}"
        );
        let said = wait_for_line(&mut app, "engine-replaced")?;
        ensure!(said.contains("started again") && said.contains(FORCED), "the page says {said:?}");
        app.tab.screenshot("engine-crash")?;
        both_are_right(&mut app, &plain)
    })
}

#[test]
fn a_device_whose_engines_all_crash_leaves_the_cloud_alone_until_it_is_tried_again() -> Result<()> {
    let server = Server::shared()?;
    let (plain, long) = (evaluation::sample(PLAIN)?, evaluation::sample(LONG)?);
    scenario::run("device-lost", &Visitor::default(), |tab| {
        tab.inject_into_workers("engine.js", CRASHES)?;
        let mut app = App::open(tab, &server, Engine::Simd)?;
        for _ in 0..2 {
            app.pick(&long)?;
            let turn = app.ask()?;
            turn.cloud.expect("cloud", &long.answer)?;
            ensure!(turn.edge.state == "failed", "no engine was left, yet {:?}", turn.edge);
        }
        app.wait_for_status(Side::Edge, "failed")?;
        let said = wait_for_line(&mut app, "edge-lost")?;
        ensure!(said.contains("cloud alone"), "the page says {said:?}");
        app.tab.screenshot("device-lost")?;

        // The cloud alone.
        app.pick(&plain)?;
        let turn = app.ask()?;
        turn.cloud.expect("cloud", &plain.answer)?;
        ensure!(turn.edge.state == "not-asked", "the device was asked: {:?}", turn.edge);

        // And again with the device.
        app.tab.inject_no_more()?;
        app.tab.click(&format!("[data-step=\"edge-lost\"] {}", by_id("happened-remedy")))?;
        app.wait_for_status(Side::Edge, "ready")?;
        let line = format!("{}[data-step=\"edge-lost\"]", by_id("happened-line"));
        ensure!(app.tab.text(&line)?.is_empty(), "the page still calls the device lost");
        both_are_right(&mut app, &plain)
    })
}

#[test]
fn a_cloud_that_is_cut_off_in_mid_answer_leaves_the_rest_to_the_device() -> Result<()> {
    let server = Server::shared()?;
    let tap = Wiretap::to(server.address())?;
    let (plain, long) = (evaluation::sample(PLAIN)?, evaluation::sample(LONG)?);
    scenario::run("cloud-cut", &Visitor::default(), |tab| {
        let alone = "policy=msao_without_speculation";
        let mut app = App::open_with(tab, &tap.site(), Engine::Simd, alone)?;
        // Samples go over the same line.
        wait_for_the_worker(app.tab)?;
        app.pick(&long)?;
        tap.go_down_after_settled(2);
        let turn = app.ask()?;
        app.tab.screenshot("cloud-cut")?;
        ensure!(turn.cloud.state == "unverified", "the answer should stand unverified: {turn:?}");
        let verified = turn.states.iter().take_while(|state| *state != "unverified").count();
        ensure!(verified > 0 && verified < turn.states.len(), "who wrote what? {:?}", turn.states);
        ensure!(
            turn.states[verified..].iter().all(|state| state == "unverified"),
            "what the device wrote is not marked: {:?}",
            turn.states
        );
        ensure!(turn.cloud.text == long.answer, "something is lost: {turn:?}");
        let said = wait_for_line(&mut app, "cut-in-mid-answer")?;
        ensure!(said.contains("unverified"), "the page says {said:?}");
        wait_for_line(&mut app, "cloud-lost")?;

        // The device alone.
        app.pick(&plain)?;
        let turn = app.ask()?;
        turn.edge.expect("edge", &plain.answer)?;
        ensure!(turn.cloud.state == "not-asked", "the cloud is away, yet {:?}", turn.cloud);

        // And with the cloud again.
        tap.mend();
        app.wait_for_status(Side::Cloud, "ready")?;
        wait_for_line(&mut app, "cloud-back")?;
        app.tab.wait(Duration::from_millis(200))?;
        both_are_right(&mut app, &plain)
    })
}
