//! The whole system as a visitor meets it, the edge model on the CPU by Wasm SIMD: gallery, camera, microphone,
//! clips, and everything that goes wrong.
//!
//! Samples and cards are chosen so that both shipped models are right about them; the right answers come with
//! the evaluation files.

mod accessibility;
mod conversation;
mod gpu;
mod ladder;
mod newcomer;
mod receipt;
mod risk;
mod room;
mod settling;
mod snapshots;
mod threads;
mod uplink;
mod video;
mod visits;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use msao_protocol::MediaKind;
use msao_tests::{
    app::{App, Engine, Side},
    camera::{self, Shot},
    chromium::Visitor,
    evaluation::{self, Sample},
    faulty, microphone, places, scenario,
    server::Server,
    tab::{by_id, shows_something},
    wiretap::Wiretap,
};
use serde_json::json;

/// The sample that scenarios ask about which are about something else.
const PLAIN: &str = "01-colour";
/// One whose question is about the sound.
const SOUND: &str = "21-tone";
/// One whose question is spoken.
const SPOKEN: &str = "23-spoken-question";
/// One of four frames.
const CLIP: &str = "27-clip-what";
/// The card that is filmed, and which of its questions is asked.
const CARD: (&str, usize) = ("card-1", 1);

fn folder(test: &str) -> Result<std::path::PathBuf> {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Lets a visitor begin with a sample filled in, on a line to the shared server that is listened to; `more` stands in the
/// page's address.
fn overheard(
    name: &str,
    sample: &str,
    more: &str,
    body: impl FnOnce(&mut App, &Wiretap, &Sample) -> Result<()>,
) -> Result<()> {
    let server = Server::shared()?;
    let tap = Wiretap::to(server.address())?;
    let sample = evaluation::sample(sample)?;
    scenario::run(name, &Visitor::default(), |tab| {
        let mut app = App::open_with(tab, &tap.site(), Engine::Simd, more)?;
        app.pick(&sample)?;
        body(&mut app, &tap, &sample)
    })
}

/// Asks about a sample and requires both models to be right.
fn both_are_right(app: &mut App, sample: &Sample) -> Result<()> {
    app.pick(sample)?;
    app.ask()?.expect_both(&sample.answer).with_context(|| format!("on sample {}", sample.id))
}

#[test]
fn a_first_visit_ends_in_a_right_answer_from_both_models() -> Result<()> {
    let server = Server::shared()?;
    scenario::run("first-visit", &Visitor::default(), |tab| {
        let mut app = App::visit(tab, &server, Engine::Simd)?;
        app.tab.wait_for(&by_id("welcome"), Duration::from_secs(30))?;
        ensure!(shows_something(&app.tab.screenshot("welcome")?)?, "the page is empty");
        app.wait_for_status(Side::Edge, "ready")?;
        app.wait_for_status(Side::Cloud, "ready")?;
        both_are_right(&mut app, &evaluation::sample(PLAIN)?)?;
        app.tab.screenshot("answered")?;

        // The weights are kept: a second visit loads them from the cache.
        let mut app = App::open(app.tab, &server, Engine::Simd)?;
        app.tab.click(&by_id("open-cards"))?;
        app.tab.wait_for(&by_id("card"), Duration::from_secs(30))?;
        app.tab.screenshot("cards")?;
        app.tab.click(&by_id("cards-dialog-close"))?;
        both_are_right(&mut app, &evaluation::sample(PLAIN)?)
    })
}

#[test]
fn a_filmed_card_is_answered_rightly_by_both_models() -> Result<()> {
    let card = evaluation::card(CARD.0)?;
    let question = card.questions.get(CARD.1).context("the card has fewer questions")?;
    let film = folder("film")?.join("card.y4m");
    camera::film(&card.image_file(), &Shot::default(), &film)?;
    let server = Server::shared()?;
    let tap = Wiretap::to(server.address())?;
    scenario::run("camera", &Visitor { camera: Some(film), ..Visitor::default() }, |tab| {
        let mut app = App::open_with(tab, &tap.site(), Engine::Simd, "")?;
        app.take_picture()?;
        app.tab.screenshot("camera")?;
        app.type_question(&question.question)?;
        app.ask()?.expect_both(&question.answer)?;
        // A camera's picture is noisy: its squares are JPEG as all of it would be, and take no more than that.
        let whole = app.bytes(&by_id("receipt-vision-whole"))?;
        let kinds = uplink::image_kinds(&tap)?;
        let sent = uplink::sent(&tap)?;
        ensure!(matches!(&kinds[..], [MediaKind::Jpeg]), "the picture went as {kinds:?}");
        ensure!(matches!(&sent[..], [one] if one.vision_bytes < whole), "{sent:?} of {whole} bytes");

        // Behind the dashboard nobody is filmed.
        let films = format!("document.querySelector({})?.srcObject?.active", json!(by_id("viewfinder")));
        ensure!(app.tab.evaluate(&films)? == true, "the camera is off already");
        app.tab.click(&by_id("open-dashboard"))?;
        app.tab.wait_until(&format!("!{films}"), Duration::from_secs(20))?;
        Ok(())
    })
}

#[test]
fn what_the_microphone_hears_is_answered_rightly_by_both_models() -> Result<()> {
    let sample = evaluation::sample(SOUND)?;
    let heard = folder("heard")?.join("microphone.wav");
    let end_s = microphone::with_lead(&sample.audio_file().context("the sample is silent")?, &heard)?;
    let server = Server::shared()?;
    scenario::run("microphone", &Visitor { microphone: Some(heard), ..Visitor::default() }, |tab| {
        let mut app = App::open(tab, &server, Engine::Simd)?;
        app.give_files(&sample.image_files())?;
        app.tab.wait_for(&by_id("picture"), Duration::from_secs(20))?;
        app.talk(Duration::from_secs_f32(end_s + 0.2))?;
        app.tab.screenshot("recorded")?;
        app.type_question(&sample.question)?;
        app.ask()?.expect_both(&sample.answer)
    })
}

#[test]
fn a_spoken_question_is_answered_rightly_by_both_models() -> Result<()> {
    let sample = evaluation::sample(SPOKEN)?;
    let heard = folder("spoken")?.join("microphone.wav");
    let end_s = microphone::with_lead(&sample.audio_file().context("the sample is silent")?, &heard)?;
    let server = Server::shared()?;
    scenario::run("spoken", &Visitor { microphone: Some(heard), ..Visitor::default() }, |tab| {
        let mut app = App::open(tab, &server, Engine::Simd)?;
        app.give_files(&sample.image_files())?;
        app.tab.wait_for(&by_id("picture"), Duration::from_secs(20))?;
        app.talk(Duration::from_secs_f32(end_s + 0.2))?;
        app.ask()?.expect_both(&sample.answer)
    })
}

#[test]
fn a_clip_is_answered_rightly_by_both_models() -> Result<()> {
    let server = Server::shared()?;
    scenario::run("clip", &Visitor::default(), |tab| {
        let mut app = App::open(tab, &server, Engine::Simd)?;
        both_are_right(&mut app, &evaluation::sample(CLIP)?)?;
        uplink::picture_of_the_receipt(&mut app, "clip")
    })
}

#[test]
fn when_the_server_goes_away_the_edge_answers_alone_until_it_is_back() -> Result<()> {
    let server = Server::start()?;
    let sample = evaluation::sample(PLAIN)?;
    scenario::run("server-away", &Visitor::default(), move |tab| {
        let mut app = App::open(tab, &server, Engine::Simd)?;
        both_are_right(&mut app, &sample)?;
        app.pick(&sample)?;

        let port = server.address().port();
        drop(server);
        app.wait_for_status(Side::Cloud, "failed")?;
        app.tab.screenshot("server-away")?;
        let turn = app.ask()?;
        turn.edge.expect("edge", &sample.answer)?;
        ensure!(turn.cloud.state == "not-asked", "the server is away, yet {:?}", turn.cloud);
        ensure!(
            turn.cloud.note.contains("away"),
            "the page should say that the server is away: {:?}",
            turn.cloud
        );

        let server = Server::start_on(port)?;
        app.wait_for_status(Side::Cloud, "ready")?;
        both_are_right(&mut app, &sample)?;
        drop(server);
        Ok(())
    })
}

#[test]
fn a_refused_camera_or_microphone_is_said_and_files_still_work() -> Result<()> {
    let server = Server::shared()?;
    let sample = evaluation::sample(PLAIN)?;
    scenario::run("refused", &Visitor { refuses_devices: true, ..Visitor::default() }, |tab| {
        let mut app = App::open(tab, &server, Engine::Simd)?;
        app.tab.click(&by_id("camera-start"))?;
        app.tab.wait_for(&by_id("notice"), Duration::from_secs(20))?;
        app.tab.screenshot("refused")?;
        app.expect_notice("did not allow the camera")?;
        app.tab.click(&by_id("talk"))?;
        app.expect_notice("did not allow the microphone")?;
        app.give_files(&sample.image_files())?;
        app.tab.wait_for(&by_id("picture"), Duration::from_secs(20))?;
        app.type_question(&sample.question)?;
        app.ask()?.expect_both(&sample.answer)
    })
}

#[test]
fn bad_uploads_are_named_and_nothing_is_lost() -> Result<()> {
    let server = Server::shared()?;
    let sample = evaluation::sample(PLAIN)?;
    scenario::run("uploads", &Visitor::default(), |tab| {
        let mut app = App::open(tab, &server, Engine::Simd)?;
        app.type_question(&sample.question)?;
        let limits = msao_protocol::Limits::default();
        let uploads = [
            ("huge.png", faulty::oversized_png(&limits)?, "at most"),
            ("cut.png", faulty::truncated_png()?, "incomplete"),
            ("letter.png", faulty::no_image(), "neither a picture"),
            ("silence.wav", faulty::silent_wav()?, "Nothing can be heard"),
            ("lecture.wav", faulty::ten_minute_wav()?, "lasts"),
        ];
        for (name, bytes, complaint) in uploads {
            app.give_bytes(name, &bytes)?;
            app.expect_notice(complaint).with_context(|| format!("after {name}"))?;
        }
        ensure!(app.question()? == sample.question, "the typed question was lost");
        app.give_files(&sample.image_files())?;
        app.tab.wait_for(&by_id("picture"), Duration::from_secs(20))?;
        app.ask()?.expect_both(&sample.answer)
    })
}

#[test]
fn a_question_of_100_000_characters_is_refused_and_stays_in_the_box() -> Result<()> {
    let server = Server::shared()?;
    let sample = evaluation::sample(PLAIN)?;
    scenario::run("long-question", &Visitor::default(), |tab| {
        let mut app = App::open(tab, &server, Engine::Simd)?;
        app.pick(&sample)?;
        app.type_question(&faulty::long_question())?;
        app.press_ask()?;
        app.tab.wait_for(&by_id("notice"), Duration::from_secs(20))?;
        app.tab.screenshot("long-question")?;
        app.expect_notice("100000 characters")?;
        ensure!(app.question()?.len() == faulty::LONG_QUESTION_CHARS, "the question was lost");
        app.type_question(&sample.question)?;
        app.ask()?.expect_both(&sample.answer)
    })
}

#[test]
fn the_page_says_what_the_models_know() -> Result<()> {
    let server = Server::shared()?;
    ensure!(places::page().join("index.html").is_file(), "the page is not built: run `cargo xtask page`");
    scenario::run("about", &Visitor::default(), |tab| {
        let app = App::visit(tab, &server, Engine::Simd)?;
        app.tab.wait_for(&by_id("about"), Duration::from_secs(30))?;
        let about = app.tab.text(&by_id("about"))?.to_lowercase();
        for word in ["shapes", "signs", "spoken", "beeps"] {
            ensure!(about.contains(word), "the page does not say that the models know {word}: {about}");
        }
        Ok(())
    })
}
