//! Video files on the page: the browser reads their frames, and both models see them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use msao_tests::{
    app::{App, Engine},
    chromium::Visitor,
    film::RECORD,
    scenario,
    server::Server,
    tab::by_id,
};

/// The colour in the middle of each picture on the stage.
const COLOURS: &str = "(async () => {
    const colours = [];
    for (const shown of document.querySelectorAll('[data-testid=picture]')) {
        await shown.decode();
        const canvas = document.createElement('canvas');
        canvas.width = canvas.height = 1;
        const context = canvas.getContext('2d');
        context.drawImage(shown, 0, 0, 1, 1);
        const [red, , blue] = context.getImageData(0, 0, 1, 1).data;
        colours.push(red > blue ? 'red' : 'blue');
    }
    return colours;
})()";

#[test]
fn the_frames_of_a_video_file_are_read_and_asked_about() -> Result<()> {
    let server = Server::shared()?;
    scenario::run("video-file", &Visitor::default(), |tab| {
        let mut app = App::open(tab, &server, Engine::Simd)?;
        let recorded = app.tab.evaluate_within(RECORD, Duration::from_secs(30))?;
        let file = BASE64_STANDARD.decode(recorded.as_str().context("nothing was recorded")?)?;
        app.give_bytes("film.webm", &file)?;
        app.tab.wait_for(&by_id("picture"), Duration::from_secs(60))?;
        let caption = app.tab.text(&by_id("stage-caption"))?;
        ensure!(caption.contains("4 frames"), "{caption:?}");
        let colours = app.tab.evaluate_within(COLOURS, Duration::from_secs(10))?;
        let of = |at: usize| colours[at].as_str().unwrap_or_default();
        ensure!((of(0), of(3)) == ("red", "blue"), "the first and the last frame: {colours}");
        app.tab.screenshot("video-file")?;
        app.type_question("what colour is it?")?;
        let turn = app.ask()?;
        ensure!(turn.cloud.state == "done", "{:?}", turn.cloud);
        Ok(())
    })
}

#[test]
fn a_video_that_cannot_be_read_is_said_with_a_remedy_and_what_was_there_stays() -> Result<()> {
    let server = Server::shared()?;
    scenario::run("video-damaged", &Visitor::default(), |tab| {
        let mut app = App::open(tab, &server, Engine::Simd)?;
        let mut damaged = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom".to_vec();
        damaged.resize(4_000, 7);
        app.give_bytes("film.mp4", &damaged)?;
        let said = "document.body.innerText.includes('film.mp4 has no pictures that this browser can read')";
        app.tab.wait_until(said, Duration::from_secs(30))?;
        Ok(())
    })
}
