//! The MSAO page as a visitor uses it. The names of its parts are those of `web-app/README.md`.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use crate::{
    evaluation::Sample,
    server::Server,
    tab::{Tab, by_id},
};

/// Loading an engine and the weights, on a machine that is busy with other things; in software, WebGPU takes
/// minutes to run every shape once.
const READY_TIMEOUT: Duration = Duration::from_secs(600);
/// Noticing that a server is there, or not.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// An answer of both models, WebGPU in software included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// Everything that needs no model.
const PAGE_TIMEOUT: Duration = Duration::from_secs(20);

/// The page in a tab.
pub struct App<'tab> {
    /// The tab, for whatever is not said here.
    pub tab: &'tab mut Tab,
}

/// Which engine the address asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// The CPU.
    Simd,
    /// The GPU, or its software stand-in.
    Webgpu,
    /// Whatever the page finds best.
    Auto,
}

/// One of the two models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one in the page.
    Edge,
    /// The one on the server.
    Cloud,
}

/// A question with its answers, when nothing more is to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// What the edge wrote.
    pub edge: Answer,
    /// What the cloud wrote.
    pub cloud: Answer,
    /// `confirmed` or `corrected`; empty unless both have answered.
    pub verdict: String,
    /// Bytes of pictures that were sent, by the receipt; `None` if it lists no picture.
    pub vision_bytes: Option<u64>,
    /// The same of recordings.
    pub audio_bytes: Option<u64>,
    /// What the page says of an answer of the edge that stood without the cloud; empty if it did not.
    pub stood: String,
    /// What checking it has found: `none`, `pending`, `agreed`, `differed`, `failed`; empty if it did not stand.
    pub check: String,
    /// What is known about each token of the verified answer, in order: `accepted`, `corrected` and so on.
    pub states: Vec<String>,
}

/// What one side made of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// `done`, `failed`, `stopped`, `not-asked`.
    pub state: String,
    /// The words.
    pub text: String,
    /// What the page says beside the words.
    pub note: String,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Cloud => "cloud",
        }
    }

    fn status(self, state: &str) -> String {
        format!("{}[data-state=\"{state}\"]", by_id(&format!("{}-status", self.name())))
    }
}

impl<'tab> App<'tab> {
    /// Opens the page and waits until both models can answer.
    ///
    /// # Errors
    /// If one of them never can.
    pub fn open(tab: &'tab mut Tab, server: &Server, engine: Engine) -> Result<Self> {
        Self::open_with(tab, &server.url(""), engine, "")
    }

    /// As [`Self::open`], at an address such as `http://localhost:80` and with more parameters in it, such as
    /// `policy=cloud_only`.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(tab: &'tab mut Tab, site: &str, engine: Engine, more: &str) -> Result<Self> {
        let mut app = Self::visit_with(tab, site, engine, more)?;
        app.wait_for_status(Side::Cloud, "ready")?;
        app.wait_for_status(Side::Edge, "ready")?;
        Ok(app)
    }

    /// Opens the page and waits for nothing but its document.
    ///
    /// # Errors
    /// If it cannot be reached.
    pub fn visit(tab: &'tab mut Tab, server: &Server, engine: Engine) -> Result<Self> {
        Self::visit_with(tab, &server.url(""), engine, "")
    }

    /// As [`Self::visit`], at an address and with parameters as for [`Self::open_with`].
    ///
    /// # Errors
    /// If it cannot be reached.
    pub fn visit_with(tab: &'tab mut Tab, site: &str, engine: Engine, more: &str) -> Result<Self> {
        let engine = match engine {
            Engine::Simd => "simd",
            Engine::Webgpu => "webgpu",
            Engine::Auto => "auto",
        };
        tab.go_to(&format!("{site}/?engine={engine}&{more}"))?;
        Ok(Self { tab })
    }

    /// Waits until a side's state is `loading`, `ready` or `failed`.
    ///
    /// # Errors
    /// If it does not come to that; with what the page says instead.
    pub fn wait_for_status(&mut self, side: Side, state: &str) -> Result<()> {
        let timeout = if side == Side::Edge { READY_TIMEOUT } else { CONNECTION_TIMEOUT };
        let waited = self.tab.wait_for(&side.status(state), timeout);
        let shown = self.tab.text(&by_id(&format!("{}-status", side.name())))?;
        waited.with_context(|| format!("the page says: {shown:?}"))
    }

    /// Fills in a sample from the gallery and waits until all of it is there.
    ///
    /// # Errors
    /// If the gallery does not have it.
    pub fn pick(&mut self, sample: &Sample) -> Result<()> {
        self.clear_pictures()?;
        self.unfold()?;
        self.tab.click(&by_id("open-gallery"))?;
        let button = format!("{} [data-sample=\"{}\"]", by_id("gallery-dialog"), sample.id);
        self.tab.wait_for(&button, PAGE_TIMEOUT)?;
        self.tab.click(&button)?;
        let asked = json!(sample.question);
        let prompt = json!(by_id("prompt"));
        self.tab.wait_until(&format!("document.querySelector({prompt}).value === {asked}"), PAGE_TIMEOUT)?;
        Ok(())
    }

    /// Takes the pictures of the question before away.
    ///
    /// # Errors
    /// If they stay.
    pub fn clear_pictures(&mut self) -> Result<()> {
        let has_pictures = format!("!!document.querySelector({})", json!(by_id("picture")));
        if self.tab.evaluate(&has_pictures)? == true {
            self.tab.click(&by_id("retake"))?;
        }
        self.tab.wait_until(&format!("!({has_pictures})"), PAGE_TIMEOUT).map(|_| ())
    }

    /// Shows the ways to pictures and the locks, which are folded on a phone.
    ///
    /// # Errors
    /// If they do not come.
    pub fn unfold(&mut self) -> Result<()> {
        let button = json!(format!("{}[aria-expanded=false]", by_id("composer-more")));
        if self.tab.evaluate(&format!("!!document.querySelector({button})?.checkVisibility()"))? == true {
            self.tab.click(&by_id("composer-more"))?;
        }
        self.tab.wait_for(&by_id("open-gallery"), PAGE_TIMEOUT)
    }

    /// Chooses files, as by the button or by dropping them.
    ///
    /// # Errors
    /// If the page has no place for files.
    pub fn give_files(&mut self, files: &[PathBuf]) -> Result<()> {
        self.tab.choose_files(&by_id("file-input"), files)
    }

    /// Writes bytes to a file of that name and gives it to the page.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn give_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let folder = std::env::temp_dir().join(format!("msao-upload-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let file = folder.join(name);
        fs::write(&file, bytes)?;
        self.give_files(&[file])
    }

    /// Turns the camera on, waits for its picture and takes it.
    ///
    /// # Errors
    /// If no picture comes.
    pub fn take_picture(&mut self) -> Result<()> {
        self.tab.click(&by_id("camera-start"))?;
        self.tab.wait_for(&by_id("snapshot"), PAGE_TIMEOUT)?;
        let plays = "Array.from(document.querySelectorAll('video')).some(video => video.currentTime > 1)";
        self.tab.wait_until(plays, PAGE_TIMEOUT)?;
        self.tab.click(&by_id("snapshot"))?;
        self.tab.wait_for(&by_id("picture"), PAGE_TIMEOUT)
    }

    /// Holds the talk button down for so long and waits for the recording.
    ///
    /// # Errors
    /// If no recording comes.
    pub fn talk(&mut self, duration: Duration) -> Result<()> {
        self.tab.press(&by_id("talk"))?;
        self.tab.wait(duration)?;
        self.tab.release()?;
        self.tab.wait_for(&format!("{} {}", by_id("sound-row"), by_id("sound")), PAGE_TIMEOUT)
    }

    /// Types a question in place of what is in the prompt.
    ///
    /// # Errors
    /// If the prompt is not there.
    pub fn type_question(&mut self, question: &str) -> Result<()> {
        self.tab.type_into(&by_id("prompt"), question)
    }

    /// What is in the prompt.
    ///
    /// # Errors
    /// If the prompt is not there.
    pub fn question(&mut self) -> Result<String> {
        let value =
            self.tab.evaluate(&format!("document.querySelector({}).value", json!(by_id("prompt"))))?;
        Ok(value.as_str().unwrap_or_default().to_owned())
    }

    /// Chooses in the drop-down list of that name, as a visitor would.
    ///
    /// # Errors
    /// If there is no such list.
    pub fn choose(&mut self, list: &str, value: &str) -> Result<()> {
        let (list, value) = (json!(by_id(list)), json!(value));
        self.tab.evaluate(&format!(
            "(() => {{ const choice = document.querySelector({list}); choice.value = {value};
                choice.dispatchEvent(new Event('change', {{ bubbles: true }})); }})()"
        ))?;
        Ok(())
    }

    /// Looks at the page on a phone that is set to dark: nothing may stick out at the side. It stays so.
    ///
    /// # Errors
    /// If something does.
    pub fn on_a_dark_phone(&mut self, screenshot: &str) -> Result<()> {
        let phone = json!({"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": true});
        self.tab.call("Emulation.setDeviceMetricsOverride", phone)?;
        let dark = json!({"features": [{"name": "prefers-color-scheme", "value": "dark"}]});
        self.tab.call("Emulation.setEmulatedMedia", dark)?;
        self.tab.screenshot(screenshot)?;
        let fits = "document.documentElement.scrollWidth <= document.documentElement.clientWidth";
        ensure!(self.tab.evaluate(fits)? == true, "the page is wider than a phone");
        Ok(())
    }

    /// Presses the button that asks.
    ///
    /// # Errors
    /// If it cannot be pressed.
    pub fn press_ask(&mut self) -> Result<()> {
        self.tab.click(&by_id("ask"))
    }

    /// Asks and waits until nothing more is to come of it.
    ///
    /// # Errors
    /// If the page refuses the question or never finishes.
    pub fn ask(&mut self) -> Result<Turn> {
        self.ask_while(|_| Ok(()))
    }

    /// As [`Self::ask`]; `meanwhile` is done when the question is on the page and its answer under way.
    ///
    /// # Errors
    /// As [`Self::ask`], and if `meanwhile` fails.
    pub fn ask_while(&mut self, meanwhile: impl FnOnce(&mut Self) -> Result<()>) -> Result<Turn> {
        let turns = by_id("turn");
        let before = self.tab.evaluate(&format!("document.querySelectorAll({}).length", json!(turns)))?;
        let before = before.as_u64().unwrap_or(0);
        self.press_ask()?;
        let last = format!("Array.from(document.querySelectorAll({})).at({before})", json!(turns));
        let asked = self.tab.wait_until(&format!("!!{last}"), PAGE_TIMEOUT);
        if asked.is_err() {
            bail!("the page did not ask; it says {:?}", self.notices()?);
        }
        meanwhile(self)?;
        self.tab.wait_until(&format!("{last}.dataset.state === 'done'"), ANSWER_TIMEOUT)?;
        let edge = self.answer(&last, Side::Edge)?;
        let cloud = self.answer(&last, Side::Cloud)?;
        let verdict =
            self.string(&format!("{last}.querySelector({})?.dataset.verdict", json!(by_id("verdict"))))?;
        let sent = |modality: &str| json!(by_id(&format!("receipt-{modality}-sent")));
        let vision = self.string(&format!("{last}.querySelector({})?.dataset.bytes", sent("vision")))?;
        let audio = self.string(&format!("{last}.querySelector({})?.dataset.bytes", sent("audio")))?;
        let stood = format!("{last}.querySelector({})", json!(by_id("stood")));
        let check = self.string(&format!("{stood}?.dataset.check"))?;
        let stood = self.string(&format!("{stood}?.innerText"))?;
        let states = self.string(&format!(
            "Array.from({last}.querySelectorAll({}), (token) => token.dataset.state).join(' ')",
            json!(format!("{} {}", by_id("cloud-answer-text"), by_id("token")))
        ))?;
        Ok(Turn {
            edge,
            cloud,
            verdict,
            vision_bytes: vision.parse().ok(),
            audio_bytes: audio.parse().ok(),
            stood,
            check,
            states: states.split_whitespace().map(str::to_owned).collect(),
        })
    }

    fn answer(&mut self, turn: &str, side: Side) -> Result<Answer> {
        let part = |suffix: &str| json!(by_id(&format!("{}-answer{suffix}", side.name())));
        Ok(Answer {
            state: self.string(&format!("{turn}.querySelector({})?.dataset.state", part("")))?,
            // What a draft said before it was corrected is no part of the answer.
            text: self.string(&format!(
                "(() => {{
                    const text = {turn}.querySelector({})?.cloneNode(true);
                    text?.querySelectorAll('del').forEach((draft) => draft.remove());
                    return text?.textContent;
                }})()",
                part("-text")
            ))?,
            note: self.string(&format!("{turn}.querySelector({})?.innerText", part("-note")))?,
        })
    }

    fn string(&mut self, expression: &str) -> Result<String> {
        Ok(self.tab.evaluate(expression)?.as_str().unwrap_or_default().trim().to_owned())
    }

    /// The bytes that a part of the page tells, such as a line of a receipt.
    ///
    /// # Errors
    /// If there is no such part.
    pub fn bytes(&mut self, selector: &str) -> Result<u64> {
        let told = self.string(&format!("document.querySelector({})?.dataset.bytes", json!(selector)))?;
        told.parse().with_context(|| format!("{selector} tells no bytes but {told:?}"))
    }

    /// What the page has to say about the visitor's input.
    ///
    /// # Errors
    /// If the page cannot be asked.
    pub fn notices(&mut self) -> Result<String> {
        self.tab.text(&by_id("notices"))
    }

    /// Waits for a notice that contains these words, and dismisses it.
    ///
    /// # Errors
    /// If it does not come; with what the page says instead.
    pub fn expect_notice(&mut self, words: &str) -> Result<()> {
        let notices = json!(by_id("notices"));
        let said = format!("document.querySelector({notices}).innerText.includes({})", json!(words));
        if self.tab.wait_until(&said, PAGE_TIMEOUT).is_err() {
            bail!("the page should say {words:?}, it says {:?}", self.notices()?);
        }
        while !self.notices()?.is_empty() {
            self.tab.click(&by_id("notice-dismiss"))?;
        }
        Ok(())
    }
}

impl Turn {
    /// Requires the right answer of both models.
    ///
    /// # Errors
    /// If one of them has another answer, or none.
    pub fn expect_both(&self, right: &str) -> Result<()> {
        self.edge.expect("edge", right)?;
        self.cloud.expect("cloud", right)?;
        ensure!(self.verdict == "confirmed", "both are right, but the page says {:?}", self.verdict);
        Ok(())
    }
}

impl Answer {
    /// Requires the right answer.
    ///
    /// # Errors
    /// If this is another one, or none.
    pub fn expect(&self, who: &str, right: &str) -> Result<()> {
        ensure!(self.state == "done", "the {who} did not answer: {self:?}");
        ensure!(self.text == right, "the {who} answers {:?} instead of {right:?}", self.text);
        Ok(())
    }
}
