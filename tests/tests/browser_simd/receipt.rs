//! What the page shows and saves of an answer, held to the receipt's own figures and to the bytes on the line.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use msao_protocol::{AudioInput, ClientMessage, ImageInput, frame};
use msao_tests::{
    app::{App, Engine, Side},
    chromium::Visitor,
    evaluation, scenario,
    server::Server,
    tab::{Tab, by_id},
    wiretap::Wiretap,
};
use serde_json::{Value, json};

use crate::{CLIP, PLAIN, SOUND, overheard, uplink::picture_of_the_receipt};

/// Everything that needs no model.
const PAGE_TIMEOUT: Duration = Duration::from_secs(20);
/// Lets the page keep the files that it hands to its user where a test finds them, instead of saving them.
const KEEP_FILES: &str = "window.saved = [];
    HTMLAnchorElement.prototype.click = function () { window.saved.push({ name: this.download, url: this.href }); };";

/// The file that a button of the page makes: its name and its bytes.
fn saved(app: &mut App, button: &str) -> Result<(String, Vec<u8>)> {
    app.tab.evaluate(&format!(
        "window.saved.length = 0; Array.from(document.querySelectorAll({})).at(-1).click()",
        json!(by_id(button))
    ))?;
    app.tab.wait_until("window.saved.length === 1", PAGE_TIMEOUT)?;
    let name = app.tab.evaluate("window.saved[0].name")?;
    let bytes = app.tab.evaluate(
        "fetch(window.saved[0].url).then((file) => file.arrayBuffer()).then((bytes) =>
            btoa(Array.from(new Uint8Array(bytes), (byte) => String.fromCharCode(byte)).join('')))",
    )?;
    let bytes = BASE64_STANDARD.decode(bytes.as_str().context("the file has no content")?)?;
    Ok((name.as_str().unwrap_or_default().to_owned(), bytes))
}

/// A `data-` attribute of the last element of that name.
fn data(tab: &mut Tab, name: &str, key: &str) -> Result<String> {
    let value = tab.evaluate(&format!(
        "Array.from(document.querySelectorAll({})).at(-1)?.dataset[{}] ?? ''",
        json!(by_id(name)),
        json!(key)
    ))?;
    Ok(value.as_str().unwrap_or_default().to_owned())
}

fn count(tab: &mut Tab, selector: &str) -> Result<u64> {
    let found = tab.evaluate(&format!("document.querySelectorAll({}).length", json!(selector)))?;
    Ok(found.as_u64().unwrap_or(0))
}

/// Opens the address's part behind `#`, as a link there would.
fn follow(app: &mut App, link: &str, shown: &str) -> Result<()> {
    app.tab.click(&by_id(link))?;
    app.tab.wait_for(&by_id(shown), PAGE_TIMEOUT)
}

#[test]
fn a_receipt_draws_saves_and_pictures_its_own_figures() -> Result<()> {
    overheard("receipt", PLAIN, "", |app, tap, sample| {
        app.tab.evaluate(KEEP_FILES)?;
        let turn = app.ask()?;
        picture_of_the_receipt(app, "receipt-drawn")?;

        let (name, file) = saved(app, "save-json")?;
        ensure!(name.ends_with(".json"), "the file is called {name}");
        let file: Value = serde_json::from_slice(&file)?;
        ensure!(file["format"] == "msao-receipts" && file["version"] == 1, "the file begins {file:.80}");
        let receipt = &file["receipts"][0];
        ensure!(!file.to_string().contains(&sample.question), "the question is in the file");

        // Gauges, bytes and squares are the receipt's.
        for one in receipt["plan"]["modalities"].as_array().context("no modalities")? {
            let name = format!("receipt-{}", one["modality"].as_str().unwrap_or_default());
            let mas: f64 = data(app.tab, &format!("{name}-gauge"), "mas")?.parse()?;
            let told = one["mas"]["mas"].as_f64().context("nothing scored it")?;
            ensure!((mas - told).abs() < 1e-6, "the gauge of {name} shows {mas}, the receipt says {told}");
            let sent = app.bytes(&by_id(&format!("{name}-sent")))?;
            ensure!(
                Some(sent) == one["sent_bytes"].as_u64(),
                "{name}: {sent} bytes, but {}",
                one["sent_bytes"]
            );
        }
        ensure!(turn.vision_bytes == receipt["plan"]["modalities"][0]["sent_bytes"].as_u64(), "{receipt}");
        let drawn = count(app.tab, &format!("{} .kept", by_id("receipt-kept")))?;
        let crossed = kept_squares(tap)?;
        ensure!(drawn == crossed, "{drawn} squares are drawn as sent, {crossed} crossed the line");
        let patches = receipt["patch_probabilities"][0].as_array().map_or(0, Vec::len) as u64;
        let heated = count(app.tab, &format!("{} .heat", by_id("receipt-heat")))?;
        ensure!(heated == patches && patches > 0, "{heated} patches are drawn, the probe judged {patches}");
        let tokens = receipt["plan"]["tokens"].as_array().map_or(0, Vec::len) as u64;
        let letters = count(app.tab, &format!("{} .authors i", by_id("receipt-authors")))?;
        ensure!(letters == tokens && tokens > 0, "{letters} letters for {tokens} tokens");
        ensure!(count(app.tab, &format!("{} i", by_id("receipt-waterfall")))? > 2, "no bars are drawn");
        let spared = data(app.tab, "receipt-work", "spared")?;
        ensure!(
            receipt["spared_flops"].as_f64().is_some_and(|flops| spared.parse() == Ok(flops)),
            "{spared} saved, but {}",
            receipt["spared_flops"]
        );

        let (name, picture) = saved(app, "save-picture")?;
        ensure!(name.ends_with(".png"), "the picture is called {name}");
        let picture = image::load_from_memory(&picture)?.to_rgb8();
        std::fs::write(
            msao_tests::places::screenshots()?.join("receipt-poster.png"),
            saved(app, "save-picture")?.1,
        )?;
        ensure!(
            picture.width() > 1_000 && picture.height() > 600,
            "it has {:?} pixels",
            picture.dimensions()
        );
        let first = picture.get_pixel(0, 0);
        let marked = picture.pixels().filter(|pixel| *pixel != first).count();
        ensure!(marked > 5_000, "hardly anything is drawn: {marked} pixels");
        Ok(())
    })
}

/// Squares of pictures in the questions that crossed the line.
fn kept_squares(tap: &Wiretap) -> Result<u64> {
    let mut squares = 0;
    for heard in tap.heard() {
        if let ClientMessage::Ask(ask) = frame::decode(&heard.bytes)? {
            for image in &ask.images {
                if let ImageInput::Kept(kept) = image {
                    squares += u64::from(kept.mask.kept());
                }
            }
        }
    }
    Ok(squares)
}

#[test]
fn clips_and_sounds_lie_on_strips_that_tell_what_left() -> Result<()> {
    let server = Server::shared()?;
    let tap = Wiretap::to(server.address())?;
    let (sound, clip) = (evaluation::sample(SOUND)?, evaluation::sample(CLIP)?);
    scenario::run("strips", &Visitor::default(), |tab| {
        let mut app = App::open_with(tab, &tap.site(), Engine::Simd, "")?;
        app.pick(&sound)?;
        app.ask()?;
        picture_of_the_receipt(&mut app, "receipt-sound-strip")?;
        let mut windows = 0;
        for heard in tap.heard() {
            if let ClientMessage::Ask(ask) = frame::decode(&heard.bytes)?
                && let Some(AudioInput::Kept(kept)) = &ask.audio
            {
                windows += kept.mask.kept();
            }
        }
        ensure!(windows > 0, "no sound was cut");
        let drawn = count(app.tab, &format!("{} .window-line", by_id("receipt-windows")))?;
        ensure!(drawn == u64::from(windows), "{drawn} windows are drawn as sent, {windows} crossed the line");

        app.pick(&clip)?;
        app.ask()?;
        picture_of_the_receipt(&mut app, "receipt-clip-strip")?;
        let frames = format!("{} .map-frame", by_id("receipt-kept"));
        let given = clip.images.len() as u64;
        // That of the first question shows one picture.
        ensure!(count(app.tab, &frames)? == 1 + given, "{given} frames were given");
        Ok(())
    })
}

#[test]
fn the_network_panel_tells_every_byte_that_left() -> Result<()> {
    overheard("network-panel", PLAIN, "", |app, tap, sample| {
        app.ask()?;
        let asked: u64 = data(app.tab, "request-network", "sentBytes")?.parse()?;
        let crossed = question_bytes(tap)?;
        ensure!(asked == crossed && asked > 0, "the receipt tells {asked} bytes, {crossed} crossed the line");

        // With the picture locked away nothing goes at all.
        app.tab.click(&by_id("lock-vision"))?;
        app.pick(sample)?;
        app.ask()?;
        ensure!(data(app.tab, "request-network", "sentBytes")? == "0", "bytes were sent all the same");
        follow(app, "open-network", "network-sum")?;
        // A sign of life may pass between the two looks.
        let deadline = Instant::now() + PAGE_TIMEOUT;
        loop {
            let told: u64 = data(app.tab, "network", "sentBytes")?.parse()?;
            let heard: u64 = tap.heard().iter().map(|heard| heard.bytes.len() as u64).sum();
            if told == heard {
                break;
            }
            ensure!(Instant::now() < deadline, "the panel tells {told} bytes, {heard} crossed the line");
            app.tab.wait(Duration::from_millis(200))?;
        }
        let panel = app.tab.text(&by_id("network"))?;
        ensure!(
            panel.contains("Nothing was sent.") && panel.contains("Question 1"),
            "the panel says {panel}"
        );
        app.tab.evaluate(&format!(
            "document.querySelectorAll({}).forEach((list) => (list.open = true))",
            json!(format!("{} details", by_id("network")))
        ))?;
        ensure!(count(app.tab, &format!("{} tr[data-kind=question]", by_id("network")))? == 1, "{panel}");
        app.tab.screenshot("network-panel")?;
        app.tab.click(&by_id("network-panel-close"))
    })
}

/// Bytes of the messages that belong to a question.
fn question_bytes(tap: &Wiretap) -> Result<u64> {
    let mut bytes = 0;
    for heard in tap.heard() {
        let belongs = !matches!(
            frame::decode::<ClientMessage>(&heard.bytes)?,
            ClientMessage::Hello { .. } | ClientMessage::Ping { .. }
        );
        bytes += if belongs { heard.bytes.len() as u64 } else { 0 };
    }
    Ok(bytes)
}

#[test]
fn the_dashboard_has_a_point_for_each_question_and_the_benchs_table() -> Result<()> {
    let server = Server::shared()?;
    let (picture, sound) = (evaluation::sample(PLAIN)?, evaluation::sample(SOUND)?);
    scenario::run("dashboard", &Visitor::default(), |tab| {
        tab.inject(KEEP_FILES)?;
        let mut app = App::open(tab, &server, Engine::Simd)?;
        follow(&mut app, "open-dashboard", "dashboard")?;
        ensure!(count(app.tab, &by_id("chart"))? == 4, "four figures are followed");
        ensure!(data(app.tab, "chart", "points")? == "0", "nothing was asked yet");
        follow(&mut app, "close-dashboard", "prompt")?;

        for sample in [&picture, &sound] {
            app.pick(sample)?;
            app.ask()?;
        }
        let totals = app.tab.text(&by_id("totals-questions"))?;
        ensure!(totals == "2", "two questions were asked, the page counts {totals}");
        app.tab.screenshot("totals")?;
        follow(&mut app, "open-dashboard", "dashboard")?;
        let points = |app: &mut App, series: &str| {
            let chart = format!("{}[data-series={series}]", by_id("chart"));
            app.tab.evaluate(&format!("document.querySelector({})?.dataset.points", json!(chart)))
        };
        for (series, expected) in [("latency", "2"), ("saved", "2"), ("mas", "4")] {
            let drawn = points(&mut app, series)?;
            ensure!(drawn == expected, "{drawn} points of {series}");
        }
        let (_, file) = saved(&mut app, "save-json")?;
        let file: Value = serde_json::from_slice(&file)?;
        ensure!(file["receipts"].as_array().is_some_and(|all| all.len() == 2), "the file has {file:.80}");

        app.tab.wait_for(&by_id("bench-table"), PAGE_TIMEOUT)?;
        let table = app.tab.text(&by_id("bench-table"))?;
        ensure!(table.contains("MSAO, verified") && table.contains(" ms ("), "the table says {table}");
        let before = table;
        app.choose("bench-network", "40ms-5mbit")?;
        ensure!(app.tab.text(&by_id("bench-table"))? != before, "another network has other figures");
        app.tab.wait_until(
            "Array.from(document.querySelectorAll('.plot img')).some((plot) => plot.naturalWidth > 0)",
            PAGE_TIMEOUT,
        )?;
        app.tab.screenshot("dashboard")?;
        app.on_a_dark_phone("dashboard-phone")?;
        follow(&mut app, "close-dashboard", "prompt")?;
        ensure!(count(app.tab, &by_id("turn"))? == 2, "the conversation is not as it was");
        picture_of_the_receipt(&mut app, "receipt-dark-phone")?;
        app.wait_for_status(Side::Cloud, "ready")
    })
}
