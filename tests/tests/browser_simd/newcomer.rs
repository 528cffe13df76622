//! Whoever opens the page and reads nothing has an answer after one click, and the page remains theirs on a phone.

use std::time::Duration;

use anyhow::{Result, ensure};
use msao_tests::{
    app::{App, Engine, Side},
    chromium::Visitor,
    drip::Drip,
    evaluation, scenario,
    server::Server,
    snapshot::Window,
    tab::{Tab, by_id},
};
use serde_json::json;

use crate::PLAIN;

/// Of a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(120);

/// Clicks the largest thing with a picture on the first screen, which is a sample, and waits for its answer.
fn first_answer(tab: &mut Tab) -> Result<(String, String)> {
    let sample = format!("{} button:has(img)", by_id("welcome"));
    tab.wait_for(&sample, PATIENCE)?;
    let id = tab.evaluate(&format!("document.querySelector({}).dataset.sample", json!(sample)))?;
    tab.click(&sample)?;
    tab.wait_for(&format!("{}[data-state=done]", by_id("turn")), PATIENCE)?;
    let lead = "[data-leads=true] .text:not(.waiting)";
    Ok((id.as_str().unwrap_or_default().to_owned(), tab.text(lead)?))
}

#[test]
fn one_click_brings_the_first_answer_on_desk_and_phone() -> Result<()> {
    let server = Server::shared()?;
    for (name, window) in [("newcomer-desk", Window::DESK), ("newcomer-phone", Window::PHONE)] {
        scenario::run(name, &Visitor::default(), |tab| {
            window.open(tab)?;
            // Nobody waits for a model before the first click.
            let app = App::visit(tab, &server, Engine::Simd)?;
            let (id, answer) = first_answer(app.tab)?;
            let right = evaluation::sample(&id)?.answer;
            app.tab.screenshot(name)?;
            ensure!(answer == right, "{id} is answered by {answer:?} instead of {right:?}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_click_before_any_model_is_there_is_answered_when_one_is() -> Result<()> {
    let server = Server::shared()?;
    let line = Drip::to(server.address())?;
    let sample = evaluation::sample(PLAIN)?;
    scenario::run("newcomer-early", &Visitor::default(), |tab| {
        line.slow("/model.safetensors", Some(120_000));
        // No session comes about there, so the device alone can answer.
        let away = "server=ws://localhost:9/v1/session";
        let mut app = App::visit_with(tab, &line.site(), Engine::Simd, away)?;
        let button = format!("{} [data-sample=\"{}\"]", by_id("welcome"), sample.id);
        app.tab.wait_for(&button, PATIENCE)?;
        app.tab.click(&button)?;
        app.tab.wait_for(&by_id("notice"), PATIENCE)?;
        let said = app.notices()?;
        ensure!(said.contains("as soon as"), "the page says {said:?}");
        line.slow("/model.safetensors", None);
        app.wait_for_status(Side::Edge, "ready")?;
        app.tab.wait_for(&format!("{}[data-state=done]", by_id("turn")), PATIENCE)?;
        let answer = app.tab.text(&by_id("edge-answer-text"))?;
        ensure!(answer == sample.answer, "the answer is {answer:?}");
        Ok(())
    })
}

#[test]
fn on_a_phone_the_composer_is_one_line_until_it_is_used() -> Result<()> {
    let server = Server::shared()?;
    let sample = evaluation::sample(PLAIN)?;
    scenario::run("phone-composer", &Visitor::default(), |tab| {
        Window { width: 360, height: 740, is_dark: false }.open(tab)?;
        let mut app = App::open(tab, &server, Engine::Simd)?;
        let height = |app: &mut App, id: &str| -> Result<f64> {
            let box_of =
                format!("document.querySelector({}).getBoundingClientRect().height", json!(by_id(id)));
            Ok(app.tab.evaluate(&box_of)?.as_f64().unwrap_or(f64::MAX))
        };
        let folded = height(&mut app, "composer")?;
        ensure!(folded <= 70.0, "the composer is {folded} pixels high");
        app.unfold()?;
        app.tab.screenshot("phone-unfolded")?;
        ensure!(height(&mut app, "composer")? > folded, "nothing unfolds");
        app.tab.click(&by_id("lock-vision"))?;
        app.tab.wait_for(&by_id("held"), PATIENCE)?;
        app.tab.click(&by_id("lock-vision"))?;
        app.pick(&sample)?;
        app.ask()?.expect_both(&sample.answer)?;
        app.tab.screenshot("phone-answered")?;
        let totals = height(&mut app, "totals")?;
        ensure!(totals <= 30.0, "the totals are {totals} pixels high");
        app.clear_pictures()?;
        app.tab.click(&by_id("sound-remove"))?;
        let again = height(&mut app, "composer")?;
        ensure!(again <= 70.0, "behind an answer the composer is {again} pixels high");

        // Held down, the microphone has the line.
        app.talk(Duration::from_millis(900))?;
        app.tab.screenshot("phone-recorded")?;
        app.tab.wait_for(&by_id("prompt"), PATIENCE)
    })
}
