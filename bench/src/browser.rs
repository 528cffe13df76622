//! Visits of the page in a real browser: how long a first-time visitor waits, and how fast both models are there.
//!
//! Every visit has a new profile, so nothing is cached, and goes to a server on this machine, so the network
//! costs nothing: what is measured is fetching, compiling, loading and answering.

use anyhow::{Context, Result};
use msao_tests::{
    app::{App, Engine, Side},
    chromium::{Chromium, Visitor},
    evaluation,
    server::Server,
    tab::by_id,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{native::Speed, summary::Summary};

/// Asked on arrival: an answer of one word.
const FIRST_SAMPLE: &str = "01-colour";
/// Asked afterwards: an answer long enough to measure a rate.
const LONG_SAMPLE: &str = "15-describe";
/// How often each long question is asked in a visit.
const LONG_QUESTIONS: usize = 3;

/// What visitors saw.
#[derive(Debug, Serialize)]
pub(crate) struct Visits {
    /// From navigation to the first token of the edge's first answer.
    pub(crate) first_token_s: Summary,
    /// From navigation to the end of that answer.
    pub(crate) first_answer_s: Summary,
    /// The edge by Wasm SIMD, as the page shows it.
    pub(crate) edge: Speed,
    /// The cloud alone on everything, as the page shows it.
    pub(crate) cloud: Speed,
}

/// One visit.
#[derive(Debug, Default)]
struct Visit {
    first_token_s: f64,
    first_answer_s: f64,
    edge: Vec<Shown>,
    cloud: Vec<Shown>,
}

/// What the page shows beside an answer.
#[derive(Debug)]
struct Shown {
    first_token_ms: f64,
    tokens_per_s: f64,
}

/// Notes when the edge's first token and first whole answer are on the page, in milliseconds since navigation.
const STOPWATCH: &str = "
    window.stopwatch = {};
    new MutationObserver(() => {
        const answer = document.querySelector('[data-testid=edge-answer]');
        if (!answer) return;
        if (answer.querySelector('[data-testid=token]')) window.stopwatch.token ??= performance.now();
        if (answer.dataset.state === 'done') window.stopwatch.answer ??= performance.now();
    }).observe(document, { subtree: true, childList: true, attributes: true, characterData: true });";

/// Visits the page so many times.
///
/// # Errors
/// If the page does not work.
pub(crate) fn measure(runs: usize) -> Result<Visits> {
    let server = Server::start()?;
    let visits: Vec<Visit> = (0..runs).map(|_| visit(&server)).collect::<Result<_>>()?;
    let missing = "the page showed no figures";
    Ok(Visits {
        first_token_s: Summary::of(visits.iter().map(|visit| visit.first_token_s)).context(missing)?,
        first_answer_s: Summary::of(visits.iter().map(|visit| visit.first_answer_s)).context(missing)?,
        edge: speed(visits.iter().flat_map(|visit| &visit.edge)).context(missing)?,
        cloud: speed(visits.iter().flat_map(|visit| &visit.cloud)).context(missing)?,
    })
}

fn visit(server: &Server) -> Result<Visit> {
    let mut tab = Chromium::open(&Visitor::default())?;
    tab.inject(STOPWATCH)?;
    let mut app = App::visit(&mut tab, server, Engine::Simd)?;
    // As a visitor would: the sample is picked while the model is still on its way.
    app.pick(&evaluation::sample(FIRST_SAMPLE)?)?;
    app.wait_for_status(Side::Edge, "ready")?;
    app.ask()?;
    let stopwatch = app.tab.evaluate("window.stopwatch")?;
    let mut visit = Visit {
        first_token_s: seconds(&stopwatch["token"])?,
        first_answer_s: seconds(&stopwatch["answer"])?,
        ..Visit::default()
    };
    app.wait_for_status(Side::Cloud, "ready")?;
    let long = evaluation::sample(LONG_SAMPLE)?;
    for _ in 0..LONG_QUESTIONS {
        app.pick(&long)?;
        app.ask()?;
        visit.edge.extend(shown(&mut app, "edge")?);
    }
    // The cloud by itself: an answer that drafts settle in one round has no rate.
    let mut app = App::visit_with(&mut tab, &server.url(""), Engine::Simd, "policy=cloud_only")?;
    app.wait_for_status(Side::Cloud, "ready")?;
    for _ in 0..LONG_QUESTIONS {
        app.pick(&long)?;
        app.ask()?;
        visit.cloud.extend(shown(&mut app, "cloud")?);
    }
    Ok(visit)
}

/// The figures beside the last answer; `None` for one too short to have a rate.
fn shown(app: &mut App, side: &str) -> Result<Option<Shown>> {
    let mut figure = |name: &str| -> Result<Option<f64>> {
        let id = json!(by_id(&format!("{side}-answer-{name}")));
        let text =
            app.tab.evaluate(&format!("Array.from(document.querySelectorAll({id})).at(-1)?.innerText"))?;
        Ok(text.as_str().and_then(milliseconds_or_rate))
    };
    let (first_token_ms, tokens_per_s) = (figure("first-token")?, figure("speed")?);
    Ok(first_token_ms
        .zip(tokens_per_s)
        .map(|(first_token_ms, tokens_per_s)| Shown { first_token_ms, tokens_per_s }))
}

/// Reads `85 ms`, `1.2 s` as milliseconds and `310`, whose unit is in its label, as it is.
fn milliseconds_or_rate(text: &str) -> Option<f64> {
    let text = text.trim();
    let (number, unit) = text.split_once([' ', '\u{a0}', '\u{202f}']).unwrap_or((text, ""));
    let number: f64 = number.parse().ok()?;
    Some(if unit.trim() == "s" { number * 1000.0 } else { number })
}

fn seconds(milliseconds: &Value) -> Result<f64> {
    Ok(milliseconds.as_f64().context("the edge's answer never came to the page")? / 1000.0)
}

fn speed<'visit>(shown: impl Iterator<Item = &'visit Shown> + Clone) -> Option<Speed> {
    Some(Speed {
        time_to_first_token_ms: Summary::of(shown.clone().map(|shown| shown.first_token_ms))?,
        decode_tokens_per_s: Summary::of(shown.map(|shown| shown.tokens_per_s))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_as_the_page_shows_them() {
        assert_eq!(milliseconds_or_rate("85 ms"), Some(85.0));
        assert_eq!(milliseconds_or_rate("1.2 s"), Some(1200.0));
        assert_eq!(milliseconds_or_rate("310"), Some(310.0));
        assert_eq!(milliseconds_or_rate("–"), None);
    }
}
