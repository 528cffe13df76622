//! How an answer settles in place: proposed, verified, corrected.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use msao_protocol::{ClientMessage, Draft, frame};
use msao_tests::{
    app::{App, Engine},
    chromium::Visitor,
    evaluation, scenario,
    server::Server,
    tab::by_id,
    wiretap::Wiretap,
};

use crate::uplink::{picture_of_the_receipt, sent};

/// A sample that the shipped edge model gets wrong and the cloud model right.
pub(crate) const DIFFICULT: &str = "11-closest";
/// One with a long answer, in which the edge model goes wrong on the way.
pub(crate) const LONG: &str = "07-read";
/// How long the picture is held back: longer than a busy machine takes to write without it.
const DELAY: &str = "delay_image_ms=6000";

fn token(state: &str) -> String {
    format!("{} {}[data-state=\"{state}\"]", by_id("cloud-answer-text"), by_id("token"))
}

#[test]
fn a_wrong_draft_is_corrected_in_place() -> Result<()> {
    let server = Server::shared()?;
    let sample = evaluation::sample(DIFFICULT)?;
    scenario::run("corrected", &Visitor::default(), |tab| {
        let mut app = App::open_with(tab, &server.url(""), Engine::Simd, "policy=distributed")?;
        app.pick(&sample)?;
        let turn = app.ask()?;
        app.tab.screenshot("corrected")?;
        turn.cloud.expect("cloud", &sample.answer)?;
        ensure!(turn.edge.text != sample.answer, "the edge is right about {}: choose another", sample.id);
        ensure!(turn.verdict == "corrected", "the page says {:?}", turn.verdict);
        ensure!(turn.states.iter().any(|state| state == "corrected"), "no token is corrected: {turn:?}");
        ensure!(!turn.states.iter().any(|state| state == "proposed"), "something is unsettled: {turn:?}");
        let draft = app.tab.text(&format!("{} del", by_id("cloud-answer-text")))?;
        ensure!(!draft.is_empty(), "the page does not show what was corrected");
        Ok(())
    })
}

#[test]
fn the_device_drafts_on_after_a_correction() -> Result<()> {
    let server = Server::shared()?;
    let tap = Wiretap::to(server.address())?;
    let sample = evaluation::sample(LONG)?;
    scenario::run("redrafted", &Visitor::default(), |tab| {
        let mut app = App::open_with(tab, &tap.site(), Engine::Simd, "policy=distributed")?;
        app.pick(&sample)?;
        let turn = app.ask()?;
        picture_of_the_receipt(&mut app, "redrafted")?;
        turn.cloud.expect("cloud", &sample.answer)?;
        ensure!(turn.states.iter().any(|state| state == "corrected"), "no token is corrected: {turn:?}");
        ensure!(!turn.states.iter().any(|state| state == "proposed"), "something is unsettled: {turn:?}");
        ensure!(turn.verdict == "corrected", "the page says {:?}", turn.verdict);
        let drafts = drafts(&tap)?;
        ensure!(
            drafts.iter().any(|draft| draft.revision == 0 && !draft.tokens.is_empty()),
            "the device drafts nothing: {drafts:?}"
        );
        let redrafted = drafts.iter().find(|draft| draft.revision > 0 && !draft.tokens.is_empty());
        let redrafted = redrafted.with_context(|| format!("it does not draft on: {drafts:?}"))?;
        ensure!(redrafted.start > 0, "what follows a correction begins behind it: {redrafted:?}");
        // What it drafted on is in the verified answer alone.
        ensure!(
            turn.edge.text != turn.cloud.text,
            "the device's column shows the corrected answer: {turn:?}"
        );
        app.on_a_dark_phone("redrafted-phone")
    })
}

/// The drafts that crossed the line.
fn drafts(tap: &Wiretap) -> Result<Vec<Draft>> {
    let mut drafts = Vec::new();
    for heard in tap.heard() {
        if let ClientMessage::Draft(draft) = frame::decode(&heard.bytes)? {
            drafts.push(draft);
        }
    }
    Ok(drafts)
}

#[test]
fn a_question_whose_connection_is_cut_is_asked_again() -> Result<()> {
    let server = Server::shared()?;
    let tap = Wiretap::to(server.address())?;
    let sample = evaluation::sample("01-colour")?;
    scenario::run("cut", &Visitor::default(), |tab| {
        let mut app = App::open_with(tab, &tap.site(), Engine::Simd, "")?;
        app.pick(&sample)?;
        tap.cut_the_next_question();
        app.ask()?.expect_both(&sample.answer)?;
        let left = sent(&tap)?;
        ensure!(
            matches!(&left[..], [first, again] if first.is_question && again.is_question),
            "the question should be sent twice; sent are {left:?}"
        );
        Ok(())
    })
}

#[test]
fn text_appears_before_a_delayed_picture_and_is_settled_after() -> Result<()> {
    let server = Server::shared()?;
    let tap = Wiretap::to(server.address())?;
    let sample = evaluation::sample("01-colour")?;
    scenario::run("delayed", &Visitor::default(), |tab| {
        let mut app = App::open_with(tab, &tap.site(), Engine::Simd, &format!("policy=cloud_only&{DELAY}"))?;
        app.pick(&sample)?;
        let turn = app.ask_while(|app| {
            app.tab.wait_for(&token("proposed"), Duration::from_secs(10))?;
            let left = sent(&tap)?;
            ensure!(
                matches!(&left[..], [question] if question.vision_bytes == 0),
                "text should show before the picture is sent; sent are {left:?}"
            );
            app.tab.screenshot("proposed").map(|_| ())
        })?;
        turn.cloud.expect("cloud", &sample.answer)?;
        ensure!(!turn.states.iter().any(|state| state == "proposed"), "something is unsettled: {turn:?}");
        let left = sent(&tap)?;
        let [question, picture] = &left[..] else { anyhow::bail!("sent are {left:?}") };
        ensure!(!picture.is_question && picture.vision_bytes > 0, "the picture should follow: {picture:?}");
        ensure!(picture.at - question.at > Duration::from_secs(3), "it followed too soon: {left:?}");
        ensure!(turn.vision_bytes == Some(picture.vision_bytes), "the receipt counts other bytes: {turn:?}");
        Ok(())
    })
}
