//! A question that is spoken to models that cannot hear, of published structure with random weights: the page's speech model writes it
//! down, its words are asked, and no sound leaves.
#![expect(clippy::unwrap_used, reason = "the checkpoints that models' tests make may fail loudly")]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use msao_models::ModelConfig;
use msao_protocol::{ClientMessage, frame};
use msao_tests::{
    app::{App, Engine},
    chromium::Visitor,
    microphone, scenario,
    server::Server,
    tab::by_id,
    wiretap::Wiretap,
};
use serde_json::json;

use crate::published_checkpoint::{checkpoint, published, safetensors};
use crate::speech_checkpoint::{NAMES, contents};

#[path = "../../models/tests/published_checkpoint/mod.rs"]
mod published_checkpoint;
#[path = "../../models/tests/speech_checkpoint/mod.rs"]
#[allow(dead_code, reason = "a server wants them as files")]
mod speech_checkpoint;

const DEAF: &str = "SmolLM2-135M-Instruct";
const SPEECH: &str = "whisper-tiny";
const SLOW: Duration = Duration::from_secs(120);

/// A place for folders of checkpoints, gone with the test.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn write_deaf(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let files = checkpoint("Llama");
    fs::write(folder.join("config.json"), &files.config_json)?;
    fs::write(folder.join("tokenizer.json"), &files.tokenizer_json)?;
    fs::write(folder.join("tokenizer_config.json"), published(DEAF, "tokenizer_config.json").to_string())?;
    let weights = safetensors(&ModelConfig::from_json(&files.config_json)?.tensors());
    Ok(fs::write(folder.join("model.safetensors"), weights)?)
}

fn write_speech(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    for (name, content) in NAMES.iter().zip(contents("english")) {
        fs::write(folder.join(name), content)?;
    }
    Ok(())
}

#[test]
fn what_is_said_to_models_that_cannot_hear_is_asked_in_words() -> Result<()> {
    let place = Place(std::env::temp_dir().join(format!("msao-spoken-words-{}", std::process::id())));
    let folder = |name: &str| place.0.join(name);
    write_deaf(&folder(DEAF))?;
    write_speech(&folder(SPEECH))?;
    let sound = folder("said.wav");
    microphone::tone(16_000, 2.0, 440.0, &sound)?;
    let named = |flag: &str, name: &str| [flag.to_owned(), folder(name).display().to_string()];
    let flags = [named("--weights", DEAF), named("--edge-model", DEAF), named("--edge-speech", SPEECH)];
    let server = Server::start_with(&flags.concat())?;
    let tap = Wiretap::to(server.address())?;
    scenario::run("spoken-words", &Visitor::default(), |tab| {
        let mut app = App::open_with(tab, &tap.site(), Engine::Simd, "")?;
        // Nobody hears, and nothing is fetched before somebody chooses so.
        let listed =
            "fetch('/weights/index.json').then((list) => list.json()).then(({ speech }) => speech.name)";
        ensure!(app.tab.evaluate_within(listed, SLOW)? == SPEECH);
        let about = app.tab.text(&by_id("about"))?;
        ensure!(about.contains(DEAF) && !about.contains("shapes"), "{about}");
        app.give_files(std::slice::from_ref(&sound))?;
        app.tab.wait_for(&by_id("sound"), SLOW)?;
        app.type_question("Why?")?;
        app.press_ask()?;
        app.expect_notice("Understand speech on this device")?;

        app.tab.click(&by_id("open-settings"))?;
        app.tab.click(&by_id("speech"))?;
        let status = format!("document.querySelector({})?.innerText", json!(by_id("speech-status")));
        app.tab.wait_until(&format!("{status} === 'Ready to listen.'"), SLOW)?;
        app.tab.screenshot("speech-settings")?;
        app.tab.evaluate("document.querySelector('dialog[open]').close()")?;

        // A locked microphone keeps the sound; its words are words.
        app.tab.click(&by_id("lock-audio"))?;
        let turn = app.ask()?;
        let heard = app.tab.text(&by_id("heard-text"))?;
        ensure!(!heard.trim().is_empty(), "nothing was heard");
        ensure!(turn.audio_bytes == Some(0), "{:?} bytes of sound left", turn.audio_bytes);
        let mut asked = None;
        for message in tap.heard() {
            if let ClientMessage::Ask(ask) = frame::decode(&message.bytes)? {
                ensure!(ask.audio.is_none(), "sound left the device");
                asked = Some(ask.question);
            }
        }
        let asked = asked.context("the words were not asked")?;
        ensure!(asked.starts_with("Why?\nRecording: "), "{asked:?}");
        app.tab.screenshot("spoken-words")?;

        // What was heard can be put right, and is typed then.
        app.tab.click(&by_id("heard-edit"))?;
        ensure!(app.question()?.starts_with("Why?\nRecording: "), "{:?}", app.question()?);
        Ok(())
    })
}
