//! What leaves the device, asserted on the bytes that crossed the line to the server.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use msao_protocol::{ClientMessage, ImageInput, MediaKind, Modality, frame};
use msao_tests::{
    app::{App, Engine, Side, Turn},
    chromium::Visitor,
    evaluation, scenario,
    server::Server,
    tab::by_id,
    wiretap::Wiretap,
};
use serde_json::json;

use crate::{PLAIN, SOUND};

/// A question or its late media, as they crossed the line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) is_question: bool,
    pub(crate) at: Instant,
    pub(crate) vision_bytes: u64,
    pub(crate) audio_bytes: u64,
}

/// Everything that carried media, or could have.
pub(crate) fn sent(tap: &Wiretap) -> Result<Vec<Sent>> {
    let mut sent = Vec::new();
    for heard in tap.heard() {
        let (is_question, vision_bytes, audio_bytes) = match frame::decode::<ClientMessage>(&heard.bytes)? {
            ClientMessage::Ask(ask) => (true, ask.bytes(Modality::Vision), ask.bytes(Modality::Audio)),
            ClientMessage::Attach(late) => (false, late.bytes(Modality::Vision), late.bytes(Modality::Audio)),
            _ => continue,
        };
        sent.push(Sent { is_question, at: heard.at, vision_bytes, audio_bytes });
    }
    Ok(sent)
}

/// How the pictures were encoded that crossed the line with questions.
pub(crate) fn image_kinds(tap: &Wiretap) -> Result<Vec<MediaKind>> {
    let mut kinds = Vec::new();
    for heard in tap.heard() {
        if let ClientMessage::Ask(ask) = frame::decode(&heard.bytes)? {
            kinds.extend(ask.images.iter().map(|image| match image {
                ImageInput::Whole(whole) => whole.kind,
                ImageInput::Kept(kept) => kept.tiles.kind,
                ImageInput::Tiles(tiled) => tiled.picture.kind,
            }));
        }
    }
    Ok(kinds)
}

/// Requires that exactly one question was sent, and that the receipt counts the media bytes that crossed.
fn one_question(tap: &Wiretap, turn: &Turn) -> Result<(u64, u64)> {
    let sent = sent(tap)?;
    let [question] = &sent[..] else { bail!("one question was asked, but {sent:?} were sent") };
    ensure!(question.is_question, "nothing was delayed, yet {question:?} was sent");
    let told = (turn.vision_bytes, turn.audio_bytes);
    let crossed = (question.vision_bytes, question.audio_bytes);
    ensure!(told == (Some(crossed.0), Some(crossed.1)), "the receipt says {told:?}, the wire {crossed:?}");
    Ok(crossed)
}

/// Shows the receipt of the last turn on a screenshot.
pub(crate) fn picture_of_the_receipt(app: &mut App, name: &str) -> Result<()> {
    let open = format!(
        "(() => {{ const receipt = Array.from(document.querySelectorAll({})).at(-1);
            receipt.open = true; receipt.scrollIntoView(); }})()",
        json!(by_id("receipt"))
    );
    app.tab.evaluate(&open)?;
    app.tab.screenshot(name).map(|_| ())
}

#[test]
fn a_question_about_the_picture_sends_no_sound() -> Result<()> {
    let server = Server::shared()?;
    let tap = Wiretap::to(server.address())?;
    let sample = evaluation::sample(PLAIN)?;
    ensure!(sample.audio.is_some(), "the sample gives no sound to leave out");
    scenario::run("picture-only", &Visitor::default(), |tab| {
        let mut app = App::open_with(tab, &tap.site(), Engine::Simd, "")?;
        app.pick(&sample)?;
        let turn = app.ask()?;
        turn.expect_both(&sample.answer)?;
        let (vision, audio) = one_question(&tap, &turn)?;
        picture_of_the_receipt(&mut app, "receipt-picture")?;
        ensure!(vision > 0 && audio == 0, "{vision} bytes of picture and {audio} of sound crossed the wire");
        app.on_a_dark_phone("receipt-phone")
    })
}

#[test]
fn a_question_about_the_sound_sends_no_picture() -> Result<()> {
    let server = Server::shared()?;
    let tap = Wiretap::to(server.address())?;
    let sample = evaluation::sample(SOUND)?;
    ensure!(!sample.images.is_empty(), "the sample gives no picture to leave out");
    scenario::run("sound-only", &Visitor::default(), |tab| {
        let mut app = App::open_with(tab, &tap.site(), Engine::Simd, "")?;
        app.pick(&sample)?;
        let turn = app.ask()?;
        turn.expect_both(&sample.answer)?;
        let (vision, audio) = one_question(&tap, &turn)?;
        picture_of_the_receipt(&mut app, "receipt-sound")?;
        ensure!(vision == 0 && audio > 0, "{vision} bytes of picture and {audio} of sound crossed the wire");
        Ok(())
    })
}

#[test]
fn a_locked_camera_never_leaves_the_device() -> Result<()> {
    let server = Server::shared()?;
    let tap = Wiretap::to(server.address())?;
    let (about_picture, about_sound) = (evaluation::sample(PLAIN)?, evaluation::sample(SOUND)?);
    scenario::run("locked", &Visitor::default(), |tab| {
        let mut app = App::open_with(tab, &tap.site(), Engine::Simd, "")?;
        app.tab.click(&by_id("lock-vision"))?;
        app.tab
            .wait_for(&format!("{}[aria-pressed=\"true\"]", by_id("lock-vision")), Duration::from_secs(5))?;
        app.pick(&about_picture)?;
        let turn = app.ask()?;
        picture_of_the_receipt(&mut app, "locked")?;
        turn.edge.expect("edge", &about_picture.answer)?;
        ensure!(turn.cloud.state == "not-asked", "the cloud was asked: {:?}", turn.cloud);
        ensure!(turn.cloud.note.contains("camera is locked"), "the page does not say why: {:?}", turn.cloud);
        let left = sent(&tap)?;
        ensure!(left.is_empty(), "the camera is locked, and yet {left:?} left");

        // What does not need the camera is asked as ever, without it.
        app.pick(&about_sound)?;
        let turn = app.ask()?;
        turn.expect_both(&about_sound.answer)?;
        let (vision, _) = one_question(&tap, &turn)?;
        ensure!(vision == 0, "the camera is locked, and yet {vision} bytes of it left");

        // Whatever the policy.
        app.choose("policy", "cloud_only")?;
        app.pick(&about_picture)?;
        let turn = app.ask()?;
        ensure!(turn.cloud.state == "not-asked", "the cloud was asked: {:?}", turn.cloud);
        ensure!(sent(&tap)?.len() == 1, "the camera is locked, and yet a question about it left");
        Ok(())
    })
}

#[test]
fn a_locked_microphone_never_leaves_the_device() -> Result<()> {
    let server = Server::shared()?;
    let tap = Wiretap::to(server.address())?;
    let (about_picture, about_sound) = (evaluation::sample(PLAIN)?, evaluation::sample(SOUND)?);
    scenario::run("locked-microphone", &Visitor::default(), |tab| {
        let mut app = App::open_with(tab, &tap.site(), Engine::Simd, "")?;
        app.tab.click(&by_id("lock-audio"))?;
        app.tab
            .wait_for(&format!("{}[aria-pressed=\"true\"]", by_id("lock-audio")), Duration::from_secs(5))?;
        app.pick(&about_sound)?;
        let turn = app.ask()?;
        turn.edge.expect("edge", &about_sound.answer)?;
        ensure!(
            turn.cloud.note.contains("microphone is locked"),
            "the page does not say why: {:?}",
            turn.cloud
        );
        let left = sent(&tap)?;
        ensure!(left.is_empty(), "the microphone is locked, and yet {left:?} left");

        app.pick(&about_picture)?;
        let turn = app.ask()?;
        turn.expect_both(&about_picture.answer)?;
        let (vision, audio) = one_question(&tap, &turn)?;
        ensure!(vision > 0 && audio == 0, "{vision} bytes of picture and {audio} of sound crossed the wire");

        // Drafts of every policy and a mode that trusts the device change nothing about that.
        for policy in ["cloud_only", "msao"] {
            app.choose("mode", "risk_controlled")?;
            app.choose("policy", policy)?;
            app.pick(&about_sound)?;
            app.ask()?;
        }
        ensure!(sent(&tap)?.len() == 1, "the microphone is locked, and yet a question about it left");
        Ok(())
    })
}

#[test]
fn cloud_only_sends_everything_and_leaves_the_device_out() -> Result<()> {
    let server = Server::shared()?;
    let tap = Wiretap::to(server.address())?;
    let sample = evaluation::sample(PLAIN)?;
    scenario::run("cloud-only", &Visitor::default(), |tab| {
        let mut app = App::open_with(tab, &tap.site(), Engine::Simd, "policy=cloud_only")?;
        app.pick(&sample)?;
        let turn = app.ask()?;
        turn.cloud.expect("cloud", &sample.answer)?;
        ensure!(turn.edge.state == "not-asked", "the device was asked: {:?}", turn.edge);
        let (vision, audio) = one_question(&tap, &turn)?;
        ensure!(vision > 0 && audio > 0, "{vision} bytes of picture and {audio} of sound crossed the wire");
        Ok(())
    })
}

#[test]
fn what_is_stopped_or_locked_while_it_waits_never_leaves() -> Result<()> {
    let server = Server::shared()?;
    let tap = Wiretap::to(server.address())?;
    let sample = evaluation::sample(PLAIN)?;
    let held_back = "policy=cloud_only&delay_image_ms=3000";
    let past_the_delay = Duration::from_millis(3_500);
    scenario::run("held-back", &Visitor::default(), |tab| {
        let mut app = App::open_with(tab, &tap.site(), Engine::Simd, held_back)?;
        for (way_out, state) in [("stop", "stopped"), ("lock-vision", "failed")] {
            app.pick(&sample)?;
            let turn = app.ask_while(|app| app.tab.click(&by_id(way_out)))?;
            ensure!(turn.cloud.state == state, "after {way_out}: {:?}", turn.cloud);
            app.tab.wait(past_the_delay)?;
            let left = sent(&tap)?;
            ensure!(
                left.iter().all(|sent| sent.is_question && sent.vision_bytes == 0),
                "after {way_out} the picture left all the same: {left:?}"
            );
        }
        // The lock is taken away, and all is as before.
        app.tab.click(&by_id("lock-vision"))?;
        app.pick(&sample)?;
        app.ask()?.cloud.expect("cloud", &sample.answer)
    })
}

#[test]
fn without_the_device_all_is_sent_unless_it_is_locked() -> Result<()> {
    let server = Server::shared()?;
    let tap = Wiretap::to(server.address())?;
    let sample = evaluation::sample(PLAIN)?;
    scenario::run("device-off", &Visitor::default(), |tab| {
        // No such engine in this browser: the device fails at once, as it does where it is too weak.
        let mut app = App::visit_with(tab, &tap.site(), Engine::Webgpu, "")?;
        app.wait_for_status(Side::Cloud, "ready")?;
        app.wait_for_status(Side::Edge, "failed")?;
        app.tab.click(&by_id("lock-vision"))?;
        app.pick(&sample)?;
        let turn = app.ask()?;
        ensure!(turn.cloud.note.contains("locked"), "the page does not say why: {:?}", turn.cloud);
        let left = sent(&tap)?;
        ensure!(left.is_empty(), "the camera is locked, and yet {left:?} left");

        app.tab.click(&by_id("lock-vision"))?;
        app.pick(&sample)?;
        let turn = app.ask()?;
        turn.cloud.expect("cloud", &sample.answer)?;
        let (vision, audio) = one_question(&tap, &turn)?;
        ensure!(
            vision > 0 && audio > 0,
            "nobody has scored it, and yet {vision} and {audio} bytes were sent"
        );
        Ok(())
    })
}
