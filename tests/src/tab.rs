//! A page in a browser: what a person would do with it, and what they would see.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::{
    chromium::Chromium,
    devtools::{Devtools, Event},
    places,
};

/// How long a command may take that does not wait for the page's own work.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a condition is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// An open page, with the browser it lives in.
pub struct Tab {
    devtools: Devtools,
    session: String,
    console: Vec<ConsoleLine>,
    workers: Vec<Worker>,
    /// What runs in Workers before their own scripts: a part of their address, and the script.
    worker_scripts: Vec<(String, String)>,
    /// Where the mouse is.
    mouse: (f64, f64),
    /// Last, so that the connection closes before the browser is killed.
    _browser: Chromium,
}

/// A running Worker of the page, or of one of its Workers.
struct Worker {
    session: String,
    url: String,
}

/// A line of the console of the page or of one of its workers.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsoleLine {
    /// How bad it is.
    pub severity: Severity,
    /// What it says.
    pub text: String,
}

/// How bad a console line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Anything the page tells about its normal course, and requests that failed.
    Note,
    /// An uncaught exception or a `console.error`: no page of ours may have one.
    Error,
}

impl Tab {
    pub(crate) fn new(mut devtools: Devtools, browser: Chromium) -> Result<Self> {
        let target =
            devtools.call(None, "Target.createTarget", json!({"url": "about:blank"}), COMMAND_TIMEOUT)?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = devtools.call(None, "Target.attachToTarget", attach, COMMAND_TIMEOUT)?;
        let session = attached["sessionId"].as_str().context("the browser attached no session")?.to_owned();
        let (console, workers, worker_scripts) = (Vec::new(), Vec::new(), Vec::new());
        let mouse = (0.0, 0.0);
        let mut tab = Self { devtools, session, console, workers, worker_scripts, mouse, _browser: browser };
        for domain in ["Page", "Runtime", "Log", "DOM", "Network"] {
            tab.call(&format!("{domain}.enable"), json!({}))?;
        }
        tab.call("Target.setAutoAttach", attach_to_workers(false))?;
        Ok(tab)
    }

    /// Sends a DevTools command to the page.
    ///
    /// # Errors
    /// If the browser refuses it.
    pub fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        self.devtools.call(Some(&self.session), method, params, COMMAND_TIMEOUT)
    }

    /// Goes to an address and waits until the document has loaded.
    ///
    /// # Errors
    /// If it cannot be reached.
    pub fn go_to(&mut self, url: &str) -> Result<()> {
        let result = self.call("Page.navigate", json!({ "url": url }))?;
        if let Some(error) = result["errorText"].as_str() {
            bail!("cannot open {url}: {error}");
        }
        self.wait_until("document.readyState === 'complete'", COMMAND_TIMEOUT)?;
        Ok(())
    }

    /// Runs `script` in every document from now on, before the page's own.
    ///
    /// # Errors
    /// If the browser refuses it.
    pub fn inject(&mut self, script: &str) -> Result<()> {
        self.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script }))?;
        Ok(())
    }

    /// The value of a JavaScript expression, promises awaited.
    ///
    /// # Errors
    /// If it throws, or takes longer than `timeout`.
    pub fn evaluate_within(&mut self, expression: &str, timeout: Duration) -> Result<Value> {
        let params = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true,
        });
        let mut reply = self.devtools.call(Some(&self.session), "Runtime.evaluate", params, timeout)?;
        self.take_events()?;
        if let Some(exception) = reply.get("exceptionDetails") {
            bail!("`{expression}` throws {}", exception_text(exception));
        }
        Ok(reply["result"]["value"].take())
    }

    /// [`Self::evaluate_within`] half a minute.
    ///
    /// # Errors
    /// If the expression throws.
    pub fn evaluate(&mut self, expression: &str) -> Result<Value> {
        self.evaluate_within(expression, COMMAND_TIMEOUT)
    }

    /// The value of an expression in a frame of another site whose address contains `part`.
    ///
    /// # Errors
    /// If there is no such frame, or the expression throws.
    pub fn evaluate_in_frame(&mut self, part: &str, expression: &str) -> Result<Value> {
        let targets = self.call("Target.getTargets", json!({"filter": [{"type": "iframe"}]}))?;
        let frames = targets["targetInfos"].as_array().into_iter().flatten();
        let frame = frames
            .filter(|frame| frame["url"].as_str().is_some_and(|url| url.contains(part)))
            .map(|frame| frame["targetId"].clone())
            .next()
            .with_context(|| format!("there is no frame {part}"))?;
        let attach = json!({"targetId": frame, "flatten": true});
        let attached = self.devtools.call(None, "Target.attachToTarget", attach, COMMAND_TIMEOUT)?;
        let params = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let mut reply = self.devtools.call(
            attached["sessionId"].as_str(),
            "Runtime.evaluate",
            params,
            COMMAND_TIMEOUT,
        )?;
        if let Some(exception) = reply.get("exceptionDetails") {
            bail!("`{expression}` throws {} in {part}", exception_text(exception));
        }
        Ok(reply["result"]["value"].take())
    }

    /// Waits until a JavaScript expression is truthy and returns its value.
    ///
    /// # Errors
    /// If it still is not after `timeout`, or throws.
    pub fn wait_until(&mut self, expression: &str, timeout: Duration) -> Result<Value> {
        let deadline = Instant::now() + timeout;
        loop {
            let value = self.evaluate(expression)?;
            if !matches!(&value, Value::Null | Value::Bool(false)) && value != json!("") && value != json!(0)
            {
                return Ok(value);
            }
            if Instant::now() >= deadline {
                bail!("after {} s still not: {expression}", timeout.as_secs());
            }
            self.devtools.listen(POLL_INTERVAL)?;
        }
    }

    /// Waits until an element that matches the CSS selector is there and not hidden.
    ///
    /// # Errors
    /// If there is none after `timeout`.
    pub fn wait_for(&mut self, selector: &str, timeout: Duration) -> Result<()> {
        let visible = format!("!!document.querySelector({})?.checkVisibility()", json!(selector));
        self.wait_until(&visible, timeout).map(|_| ())
    }

    /// The text one sees in an element; empty if there is no such element.
    ///
    /// # Errors
    /// If the page cannot be asked.
    pub fn text(&mut self, selector: &str) -> Result<String> {
        let value =
            self.evaluate(&format!("document.querySelector({})?.innerText ?? ''", json!(selector)))?;
        Ok(value.as_str().unwrap_or_default().trim().to_owned())
    }

    /// Clicks the middle of an element with the mouse, once it is there and enabled.
    ///
    /// # Errors
    /// If it is not there, or the mouse cannot reach it.
    pub fn click(&mut self, selector: &str) -> Result<()> {
        self.press(selector)?;
        self.release()
    }

    /// Presses the mouse button on an element and keeps it down.
    ///
    /// # Errors
    /// As [`Self::click`].
    pub fn press(&mut self, selector: &str) -> Result<()> {
        let quoted = json!(selector);
        let enabled = format!("document.querySelector({quoted})?.matches(':not(:disabled)')");
        self.wait_until(&enabled, COMMAND_TIMEOUT)?;
        let place = self.evaluate(&format!(
            "(() => {{
                const element = document.querySelector({quoted});
                element.scrollIntoView({{ block: 'center', behavior: 'instant' }});
                const box = element.getBoundingClientRect();
                const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
                const hit = document.elementFromPoint(x, y);
                return {{ x, y, reachable: !!hit && (element.contains(hit) || hit.contains(element)) }};
            }})()"
        ))?;
        if place["reachable"] == json!(false) {
            bail!("{selector} is covered by something else: no mouse can reach it");
        }
        let coordinate =
            |axis: &str| place[axis].as_f64().with_context(|| format!("{selector} has no place"));
        self.mouse = (coordinate("x")?, coordinate("y")?);
        self.mouse_event("mouseMoved")?;
        self.mouse_event("mousePressed")
    }

    /// Lets the mouse button go.
    ///
    /// # Errors
    /// If the page cannot be reached.
    pub fn release(&mut self) -> Result<()> {
        self.mouse_event("mouseReleased")
    }

    fn mouse_event(&mut self, kind: &str) -> Result<()> {
        let (x, y) = self.mouse;
        let params = json!({"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1});
        self.call("Input.dispatchMouseEvent", params).map(|_| ())
    }

    /// Replaces the content of a text field, as typing or pasting would.
    ///
    /// # Errors
    /// If there is no such field.
    pub fn type_into(&mut self, selector: &str, text: &str) -> Result<()> {
        let quoted = json!(selector);
        self.evaluate(&format!(
            "(() => {{ const field = document.querySelector({quoted}); field.focus(); field.select(); }})()"
        ))?;
        self.call("Input.insertText", json!({ "text": text })).map(|_| ())
    }

    /// Chooses files in a file input.
    ///
    /// # Errors
    /// If there is no such input.
    pub fn choose_files(&mut self, selector: &str, files: &[PathBuf]) -> Result<()> {
        let document = self.call("DOM.getDocument", json!({"depth": 0}))?;
        let query = json!({"nodeId": document["root"]["nodeId"], "selector": selector});
        let node = self.call("DOM.querySelector", query)?;
        if node["nodeId"] == json!(0) {
            bail!("no file input matches {selector}");
        }
        self.call("DOM.setFileInputFiles", json!({"nodeId": node["nodeId"], "files": files})).map(|_| ())
    }

    /// Waits while reading the console.
    ///
    /// # Errors
    /// If the browser is gone.
    pub fn wait(&mut self, duration: Duration) -> Result<()> {
        self.devtools.listen(duration)?;
        self.take_events()
    }

    /// Runs `script` in every Worker from now on whose address contains `url`, before its own script.
    ///
    /// # Errors
    /// If the browser refuses it.
    pub fn inject_into_workers(&mut self, url: &str, script: &str) -> Result<()> {
        self.take_events()?;
        self.worker_scripts.push((url.to_owned(), script.to_owned()));
        self.attach_anew()
    }

    /// Workers that start from now on run their own scripts only.
    ///
    /// # Errors
    /// If the browser refuses it.
    pub fn inject_no_more(&mut self) -> Result<()> {
        self.worker_scripts.clear();
        self.attach_anew()
    }

    fn attach_anew(&mut self) -> Result<()> {
        let attach = attach_to_workers(!self.worker_scripts.is_empty());
        self.call("Target.setAutoAttach", attach.clone())?;
        for Worker { session, .. } in &self.workers {
            self.devtools.send(Some(session), "Target.setAutoAttach", attach.clone())?;
        }
        Ok(())
    }

    /// Sends a DevTools command to the newest running Worker whose address contains `url`.
    ///
    /// # Errors
    /// If there is none, or the browser refuses the command.
    pub fn call_worker(&mut self, url: &str, method: &str, params: Value) -> Result<Value> {
        self.take_events()?;
        let worker = self.workers.iter().rev().find(|worker| worker.url.contains(url));
        let session = worker.with_context(|| format!("no Worker runs {url}"))?.session.clone();
        self.devtools.call(Some(&session), method, params, COMMAND_TIMEOUT)
    }

    /// Writes a picture of the whole page to `target/screenshots/<name>.png`.
    ///
    /// # Errors
    /// If the browser gives no picture or the file cannot be written.
    pub fn screenshot(&mut self, name: &str) -> Result<PathBuf> {
        let picture = self.call("Page.captureScreenshot", json!({"captureBeyondViewport": true}))?;
        let bytes = BASE64_STANDARD.decode(picture["data"].as_str().unwrap_or_default())?;
        let file = places::screenshots()?.join(name).with_extension("png");
        std::fs::write(&file, bytes).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }

    /// Everything said on the consoles of the page and its workers so far.
    pub fn console(&self) -> &[ConsoleLine] {
        &self.console
    }

    /// Moves the events that have arrived into the console.
    fn take_events(&mut self) -> Result<()> {
        while let Some(event) = self.devtools.take_event() {
            if event.method == "Target.attachedToTarget" {
                self.attached(&event)?;
            }
            if event.method == "Target.detachedFromTarget" {
                self.workers.retain(|worker| event.params["sessionId"] != json!(worker.session));
            }
            self.console.extend(ConsoleLine::from_event(&event));
        }
        Ok(())
    }

    /// A Worker has started.
    fn attached(&mut self, event: &Event) -> Result<()> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (session, url) = (text(&event.params["sessionId"]), text(&event.params["targetInfo"]["url"]));
        let attach = attach_to_workers(!self.worker_scripts.is_empty());
        let scripts: Vec<_> = self
            .worker_scripts
            .iter()
            .filter(|(part, _)| url.contains(part))
            .map(|(_, it)| it.clone())
            .collect();
        let mut send = |method: &str, params| self.devtools.send(Some(&session), method, params);
        send("Runtime.enable", json!({}))?;
        send("Log.enable", json!({}))?;
        // Workers start workers.
        send("Target.setAutoAttach", attach)?;
        for script in scripts {
            send("Runtime.evaluate", json!({ "expression": script }))?;
        }
        if event.params["waitingForDebugger"] == json!(true) {
            send("Runtime.runIfWaitingForDebugger", json!({}))?;
        }
        self.workers.push(Worker { session, url });
        Ok(())
    }
}

impl ConsoleLine {
    fn from_event(event: &Event) -> Option<Self> {
        let params = &event.params;
        match event.method.as_str() {
            "Runtime.exceptionThrown" => Some(Self {
                severity: Severity::Error,
                text: format!("uncaught {}", exception_text(&params["exceptionDetails"])),
            }),
            "Runtime.consoleAPICalled" => {
                let kind = params["type"].as_str().unwrap_or_default();
                let words: Vec<_> =
                    params["args"].as_array().into_iter().flatten().map(argument_text).collect();
                let severity =
                    if matches!(kind, "error" | "assert") { Severity::Error } else { Severity::Note };
                Some(Self { severity, text: format!("console.{kind}: {}", words.join(" ")) })
            }
            "Log.entryAdded" => {
                let entry = &params["entry"];
                Some(Self {
                    severity: Severity::Note,
                    text: format!("{}: {}", entry["source"], entry["text"]),
                })
            }
            _ => None,
        }
    }
}

fn attach_to_workers(wait: bool) -> Value {
    json!({"autoAttach": true, "waitForDebuggerOnStart": wait, "flatten": true})
}

fn argument_text(argument: &Value) -> String {
    match &argument["value"] {
        Value::Null => argument["description"].as_str().unwrap_or("null").to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn exception_text(details: &Value) -> String {
    let described = details["exception"]["description"].as_str().map(str::to_owned);
    described.unwrap_or_else(|| format!("{} {}", details["text"], details["exception"]["value"]))
}

/// Quotes `data-testid="name"` as a CSS selector.
pub fn by_id(name: &str) -> String {
    format!("[data-testid=\"{name}\"]")
}

/// Whether `path` is a screenshot of something: a PNG with more than one colour.
///
/// # Errors
/// If the file is no image.
pub fn shows_something(path: &Path) -> Result<bool> {
    let picture = image::open(path)?.to_rgb8();
    let first = picture.get_pixel(0, 0);
    Ok(picture.pixels().any(|pixel| pixel != first))
}
