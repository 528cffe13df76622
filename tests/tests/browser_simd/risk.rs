//! Risk-controlled mode: what stands leaves nothing, what is unsure is asked, what stood is checked now and then.
//!
//! The judged answers and the page's random numbers are the test's own, so that each question takes the way that is
//! looked at, whatever was calibrated with the shipped weights.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use msao_tests::{
    app::{App, Engine},
    chromium::Visitor,
    evaluation, scenario,
    server::Server,
    tab::{Tab, by_id},
    wiretap::Wiretap,
};
use serde_json::json;

use crate::{
    PLAIN,
    settling::DIFFICULT,
    uplink::{picture_of_the_receipt, sent},
};

/// The target that the judged answers are of, as the server names it.
const TARGET: &str = "pocket-cloud";
/// Judged answers on each side of a threshold.
const SAMPLES: u32 = 2_000;
/// Every random byte of the page: the first number drawn from it does not ask for a check, nor do the next ones.
const UNCHECKED: u8 = 9;
/// The same, but the first answer that stands is checked.
const CHECKED: u8 = 13;

/// What the page is told about the device's confidence.
#[derive(Clone, Copy)]
enum Judged {
    /// Answers are right from this confidence on, and wrong below.
    RightFrom(f64),
    /// There is no such file.
    Missing,
}

/// Opens the page in risk-controlled mode and waits until it knows what stands.
fn open<'tab>(tab: &'tab mut Tab, site: &str, judged: Judged, random: u8) -> Result<App<'tab>> {
    let reply = match judged {
        Judged::RightFrom(least) => {
            let between = |low: f64, high: f64| -> Vec<f64> {
                let step = (high - low) / f64::from(SAMPLES);
                (0..SAMPLES).map(|index| low + step * f64::from(index)).collect()
            };
            let pair = json!({
                "target": TARGET, "edge_sha256": "", "target_sha256": "",
                "agreed": between(least, 1.0), "differed": between(0.0, least),
            });
            format!("new Response({})", json!(pair.to_string()))
        }
        Judged::Missing => "new Response('', { status: 404 })".to_owned(),
    };
    tab.inject(&format!(
        "{{
            const real = window.fetch;
            window.fetch = (asked, ...more) => (asked.url ?? String(asked)).endsWith('/confidence.json')
                ? Promise.resolve({reply}) : real(asked, ...more);
            Crypto.prototype.getRandomValues = (bytes) => bytes.fill({random});
        }}"
    ))?;
    let app = App::open_with(tab, site, Engine::Simd, "mode=risk_controlled&epsilon=0.05")?;
    let state = match judged {
        Judged::RightFrom(_) => "ready",
        Judged::Missing => "nothing-stands",
    };
    app.tab.wait_for(&format!("{}[data-state=\"{state}\"]", by_id("risk")), Duration::from_secs(20))?;
    Ok(app)
}

#[test]
fn a_confident_answer_stands_and_nothing_leaves() -> Result<()> {
    let server = Server::shared()?;
    let tap = Wiretap::to(server.address())?;
    let sample = evaluation::sample(PLAIN)?;
    scenario::run("stands", &Visitor::default(), |tab| {
        let mut app = open(tab, &tap.site(), Judged::RightFrom(0.3), UNCHECKED)?;
        app.pick(&sample)?;
        let turn = app.ask()?;
        picture_of_the_receipt(&mut app, "stands")?;
        turn.edge.expect("edge", &sample.answer)?;
        let left = sent(&tap)?;
        ensure!(left.is_empty(), "the answer stands, and yet {left:?} left");
        ensure!(turn.cloud.state == "not-asked", "the cloud was asked: {:?}", turn.cloud);
        ensure!(
            turn.stood.contains("sure enough") && turn.stood.contains("Nothing left"),
            "the page says {:?}",
            turn.stood
        );
        ensure!(turn.check == "none", "nothing is checked, yet the page says {:?}", turn.check);
        ensure!(turn.vision_bytes == Some(0) && turn.audio_bytes == Some(0), "the receipt says {turn:?}");
        let receipt = app.tab.text(&by_id("receipt-plan"))?;
        ensure!(receipt.contains("Confidence") && receipt.contains("This device alone"), "{receipt}");
        let risk = app.tab.text(&by_id("risk"))?;
        ensure!(risk.contains("Of 1 question, 1 answered by the device alone"), "{risk}");
        let said = app
            .tab
            .evaluate(&format!("document.querySelector({}).textContent", json!(by_id("announce-edge"))))?;
        ensure!(said.as_str().unwrap_or_default().contains("sure enough"), "screen readers hear {said}");
        app.on_a_dark_phone("stands-phone")
    })
}

#[test]
fn an_unsure_question_goes_to_the_cloud_and_comes_back_right() -> Result<()> {
    let server = Server::shared()?;
    let tap = Wiretap::to(server.address())?;
    let sample = evaluation::sample(DIFFICULT)?;
    scenario::run("unsure", &Visitor::default(), |tab| {
        let mut app = open(tab, &tap.site(), Judged::RightFrom(0.97), UNCHECKED)?;
        app.pick(&sample)?;
        let turn = app.ask()?;
        turn.cloud.expect("cloud", &sample.answer)?;
        ensure!(turn.stood.is_empty(), "an unsure answer stands: {:?}", turn.stood);
        let left = sent(&tap)?;
        ensure!(matches!(&left[..], [question] if question.is_question), "sent are {left:?}");
        let risk = app.tab.text(&by_id("risk"))?;
        ensure!(risk.contains("Of 1 question, no answer stood"), "{risk}");
        Ok(())
    })
}

#[test]
fn an_answer_that_stood_is_checked_and_a_difference_is_told() -> Result<()> {
    let server = Server::shared()?;
    let tap = Wiretap::to(server.address())?;
    let sample = evaluation::sample(DIFFICULT)?;
    scenario::run("checked", &Visitor::default(), |tab| {
        let mut app = open(tab, &tap.site(), Judged::RightFrom(0.05), CHECKED)?;
        app.pick(&sample)?;
        let turn = app.ask()?;
        ensure!(turn.edge.text != sample.answer, "the edge is right about {}: choose another", sample.id);
        ensure!(turn.stood.contains("sure enough"), "nothing stands: {turn:?}");
        let found = format!("{}[data-check=\"differed\"]", by_id("stood"));
        app.tab.wait_for(&found, Duration::from_secs(30))?;
        picture_of_the_receipt(&mut app, "checked")?;
        let stood = app.tab.text(&by_id("stood"))?;
        ensure!(
            stood.contains("Checked afterwards") && stood.contains(&sample.answer),
            "the page says {stood:?}"
        );
        let said = app
            .tab
            .evaluate(&format!("document.querySelector({}).textContent", json!(by_id("announce-cloud"))))?;
        ensure!(
            said.as_str().unwrap_or_default().contains("Checked afterwards"),
            "screen readers hear {said}"
        );
        ensure!(sent(&tap)?.len() == 1, "it was checked without a question");
        let risk = app.tab.text(&by_id("risk"))?;
        ensure!(risk.contains("1 of these checked afterwards, 1 of them differed"), "{risk}");
        Ok(())
    })
}

#[test]
fn where_nothing_was_compared_everything_is_asked() -> Result<()> {
    let server = Server::shared()?;
    let tap = Wiretap::to(server.address())?;
    let sample = evaluation::sample(PLAIN)?;
    scenario::run("uncompared", &Visitor::default(), |tab| {
        let mut app = open(tab, &tap.site(), Judged::Missing, UNCHECKED)?;
        let risk = app.tab.text(&by_id("risk"))?;
        ensure!(risk.contains("404") && risk.contains("nothing stands"), "{risk}");
        app.pick(&sample)?;
        app.ask()?.expect_both(&sample.answer)?;
        let left = sent(&tap)?;
        let [question] = &left[..] else { bail!("sent are {left:?}") };
        ensure!(question.vision_bytes > 0, "the picture is needed, and yet {question:?}");

        // The mode is chosen by the control too, and back.
        app.choose("mode", "verified")?;
        ensure!(app.tab.text(&by_id("risk"))?.is_empty(), "the bound is shown though nothing is bounded");
        app.choose("mode", "risk_controlled")?;
        app.choose("epsilon", "0.1")?;
        let risk = app.tab.text(&by_id("risk"))?;
        ensure!(risk.contains("at most 10 %"), "{risk}");
        app.tab.screenshot("risk-chosen")?;
        app.on_a_dark_phone("risk-phone")
    })
}
