//! `<msao-assistant>` by the one line of HTML of the README.

use std::fs;

use anyhow::{Context, Result, ensure};
use msao_tests::{
    axe::Axe,
    chromium::Visitor,
    evaluation::{self, Sample},
    places, scenario,
    snapshot::{self, Window},
    tab::Tab,
};
use serde_json::json;

use crate::embedding::{Embedding, TIMEOUT, YOUR_SERVER, expect_answer, policy, run};

const PLAIN: &str = "01-colour";
/// The element's insides.
const ROOT: &str = "document.querySelector('msao-assistant').shadowRoot";

/// A page with nothing in it but the lines of HTML that the README gives.
fn page_with_the_line(attributes: &str) -> Result<Embedding> {
    let readme = fs::read_to_string(places::root().join("wasm-runtime/README.md"))?;
    let (_, rest) = readme.split_once("### One line of HTML").context("the README gives no line")?;
    let (_, rest) = rest.split_once("```html\n").context("the README gives no HTML")?;
    let (line, _) = rest.split_once("```").context("the HTML does not end")?;
    let line = line.replace("></msao-assistant>", &format!(" {attributes}></msao-assistant>"));
    Embedding::of(&policy("#### From a server")?, |site, server| {
        let head = "<!doctype html><html lang=\"en\"><meta name=\"viewport\" content=\"width=device-width\"><title>Shop</title>";
        site.add(
            "/",
            format!("{head}<main><h1>Shop</h1>{}</main></html>", line.replace(YOUR_SERVER, server)),
        );
        Ok(())
    })
}

/// Gives the element the sample's picture, as choosing a file does.
fn choose_picture(tab: &mut Tab, sample: &Sample) -> Result<()> {
    let input =
        tab.call("Runtime.evaluate", json!({"expression": format!("{ROOT}.querySelector('input')")}))?;
    let files = sample.image_files();
    tab.call("DOM.setFileInputFiles", json!({"objectId": input["result"]["objectId"], "files": files}))?;
    tab.wait_until(
        &format!("{ROOT}.querySelectorAll('[part=media] canvas').length === {}", files.len()),
        TIMEOUT,
    )?;
    Ok(())
}

#[test]
fn one_line_of_html_answers_by_keyboard_alone() -> Result<()> {
    let embedding = page_with_the_line("")?;
    let sample = evaluation::sample(PLAIN)?;
    embedding.visit("embed-element", |tab| {
        tab.wait_until(&format!("!!{ROOT}?.querySelector('textarea')"), TIMEOUT)?;
        ensure!(tab.evaluate("document.querySelectorAll('iframe').length")? == 0, "it loads before it is used");
        run(
            tab,
            "globalThis.heard = {};
             for (const name of ['status', 'token', 'answer', 'receipt', 'error']) {
                document.addEventListener(`msao-${name}`, ({ detail }) => (heard[name] ??= []).push(detail));
             }",
        )?;
        choose_picture(tab, &sample)?;
        tab.evaluate("document.querySelector('msao-assistant').focus(); 0")?;
        let focused = tab.evaluate(&format!("{ROOT}.activeElement?.localName"))?;
        ensure!(focused == "textarea", "focus goes to {focused}");
        tab.call("Input.insertText", json!({"text": sample.question}))?;
        for kind in ["keyDown", "keyUp"] {
            tab.call("Input.dispatchKeyEvent", json!({"type": kind, "key": "Enter", "code": "Enter", "text": "\r", "windowsVirtualKeyCode": 13}))?;
        }
        tab.wait_until("globalThis.heard.answer?.length || globalThis.heard.error?.length", TIMEOUT)?;
        let heard = tab.evaluate("heard")?;
        ensure!(heard["error"].is_null(), "{}", heard["error"]);
        expect_answer(&heard["answer"][0]["text"], &sample)?;
        let shown = tab.evaluate(&format!("{ROOT}.querySelector('[part=answer]').textContent.trim()"))?;
        expect_answer(&shown, &sample)?;
        let said = tab.evaluate(&format!("{ROOT}.querySelector('[role=status]').textContent"))?;
        expect_answer(&said, &sample)?;
        ensure!(heard["token"].as_array().is_some_and(|tokens| !tokens.is_empty()) && heard["receipt"][0]["plan"].is_object());
        let receipt = tab.evaluate(&format!("{ROOT}.querySelector('[part=receipt]').textContent"))?;
        ensure!(receipt.as_str().is_some_and(|line| line.contains("server") || line.contains("device")), "{receipt}");
        told_apart_without_colour(tab)?;
        looks(tab)
    })
}

/// Proposed, confirmed and corrected differ in more than their colours.
fn told_apart_without_colour(tab: &mut Tab) -> Result<()> {
    let looks = tab.evaluate(&format!(
        "Array.from({ROOT}.querySelectorAll('[part=legend] .token'), (token) => {{
            const {{ fontStyle, fontWeight, textDecorationLine, textDecorationStyle }} = getComputedStyle(token);
            return [fontStyle, fontWeight, textDecorationLine, textDecorationStyle].join(' ');
         }})"
    ))?;
    let looks = looks.as_array().context("no legend")?;
    let differ = looks.iter().enumerate().all(|(index, look)| !looks[..index].contains(look));
    ensure!(looks.len() == 4 && differ, "{looks:?}");
    Ok(())
}

fn looks(tab: &mut Tab) -> Result<()> {
    let unnamed = tab.evaluate(&format!(
        "Array.from({ROOT}.querySelectorAll('button, textarea, input, canvas, video'))
            .filter((one) => !(one.textContent.trim() || one.ariaLabel || one.labels?.length)).length"
    ))?;
    ensure!(unnamed == 0, "{unnamed} controls have no name");
    // Whether it was ready before the answer or after it is the machine's affair; what is said of it takes a line.
    tab.wait_until("document.querySelector('msao-assistant').dataset.edge === 'ready'", TIMEOUT)?;
    tab.evaluate(&format!("{ROOT}.querySelector('[part=status]').textContent = ''; 0"))?;
    let changing = ["[part=receipt]"];
    Window::DESK.open(tab)?;
    snapshot::check(tab, "element-desk", &changing)?;
    let axe = Axe::get()?;
    let finds_nothing =
        |tab: &mut Tab, state: &str| axe.iter().try_for_each(|axe| axe.finds_nothing(tab, state));
    finds_nothing(tab, "element-desk")?;
    let background = format!("getComputedStyle({ROOT}.host).backgroundColor");
    let light = tab.evaluate(&background)?;
    Window::PHONE.dark().open(tab)?;
    tab.wait_until("document.documentElement.scrollWidth <= document.documentElement.clientWidth", TIMEOUT)?;
    ensure!(tab.evaluate(&background)? != light, "it does not follow the dark scheme");
    snapshot::check(tab, "element-phone-dark", &changing)?;
    finds_nothing(tab, "element-phone-dark")
}

#[test]
fn the_element_holds_locks_stops_and_gives_everything_back() -> Result<()> {
    let embedding = page_with_the_line("privacy=\"vision audio\" preload")?;
    let sample = evaluation::sample(PLAIN)?;
    embedding.visit("embed-element-locked", |tab| {
        tab.wait_until("document.querySelector('msao-assistant').dataset.edge === 'ready'", TIMEOUT)?;
        choose_picture(tab, &sample)?;
        let question = json!(sample.question);
        let ask = format!("return document.querySelector('msao-assistant').ask({question});");
        let answer = run(tab, &ask)?;
        expect_answer(&answer["text"], &sample)?;
        ensure!(answer["receipt"]["plan"]["modalities"][0]["sent_bytes"] == 0, "{}", answer["receipt"]);
        let line = tab.evaluate(&format!("{ROOT}.querySelector('[part=receipt]').textContent"))?;
        ensure!(line.as_str().is_some_and(|line| line.contains("locked")), "{line}");

        let stopped = run(
            tab,
            "const element = document.querySelector('msao-assistant');
             const asked = element.ask('how are you?').then(() => 'answered', (error) => error.name);
             setTimeout(() => element.stop());
             return asked;",
        )?;
        ensure!(stopped == "AbortError", "{stopped}");
        let refused = run(
            tab,
            "const element = document.querySelector('msao-assistant');
             return element.ask('', { images: [] }).then(() => 'answered', (error) => [error.code, element.shadowRoot.querySelector('[part=status]').textContent]);",
        )?;
        ensure!(refused[0] == "empty_question" && refused[1].as_str().is_some_and(|said| said.contains("type a question")));
        run(tab, "globalThis.element = document.querySelector('msao-assistant'); element.remove();")?;
        tab.wait_until("document.querySelectorAll('iframe').length === 0", TIMEOUT)?;
        // Put back, it loads again.
        run(tab, "document.body.append(element);")?;
        let again = run(tab, "return element.ask('how many colors has a black square?', { images: [] });")?;
        ensure!(again["text"].is_string(), "{again}");
        Ok(())
    })
}

#[test]
fn the_element_takes_pictures_from_the_camera_of_the_page_around_it() -> Result<()> {
    let embedding = page_with_the_line("")?;
    scenario::run("embed-camera", &Visitor::default(), |tab| {
        embedding.open(tab)?;
        tab.wait_until(&format!("!!{ROOT}?.querySelector('[part=camera]')"), TIMEOUT)?;
        tab.evaluate(&format!("{ROOT}.querySelector('[part=camera]').click(); 0"))?;
        tab.wait_until(&format!("{ROOT}.querySelector('video').videoWidth > 0"), TIMEOUT)?;
        let answer =
            run(tab, "return document.querySelector('msao-assistant').ask('what color is the circle?');")?;
        let vision = &answer["receipt"]["plan"]["modalities"][0];
        ensure!(vision["modality"] == "vision" && vision["cloud_only_bytes"].as_u64() > Some(0), "{vision}");
        run(tab, "document.querySelector('msao-assistant').dispose();")?;
        ensure!(
            tab.evaluate(&format!("{ROOT}.querySelector('video').srcObject === null"))? == true,
            "the camera stays on"
        );
        Ok(())
    })
}
