//! A tab with little memory: a model that does not fit is refused, and what fits is offered and runs.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use msao_tests::{
    app::{App, Engine, Side},
    chromium::Visitor,
    evaluation, scenario,
    server::Server,
    tab::{Tab, by_id},
};
use serde_json::Value;

const PLAIN: &str = "01-colour";
const PATIENCE: Duration = Duration::from_secs(60);

/// Lets page and Workers believe in a machine so small that the model fits half of it in another format only, by the server's own list,
/// and tells the largest format that does.
fn shrink(tab: &mut Tab, server: &Server) -> Result<String> {
    // Any document of this origin will do.
    tab.go_to(&server.url("/v1/models"))?;
    let listed = tab.evaluate_within("fetch('/weights/index.json').then((list) => list.json())", PATIENCE)?;
    let plans = listed["models"][0]["memory"].as_array().context("no memory is told")?;
    let peak = |plan: &Value| plan["peak_bytes"].as_u64().context("no peak");
    let (largest, smallest) = (plans.first().context("no format")?, plans.last().context("no format")?);
    let bytes = u64::midpoint(peak(largest)?, peak(smallest)?);
    ensure!(peak(largest)? > bytes, "all formats take the same: {listed}");
    let fits = plans.iter().find(|plan| peak(plan).is_ok_and(|peak| peak <= bytes));
    let gib = 2.0 * bytes as f64 / f64::from(1 << 30);
    let script = format!("Object.defineProperty(navigator, 'deviceMemory', {{ value: {gib} }});");
    tab.inject(&script)?;
    // The page's Worker that holds the engine is worker.js, the package's is assistant.js.
    tab.inject_into_workers(".js", &script)?;
    let fits = fits.and_then(|plan| plan["format"].as_str()).context("no format fits")?;
    Ok(fits.to_owned())
}

#[test]
fn the_package_refuses_what_is_too_large_and_names_the_format_that_fits() -> Result<()> {
    let server = Server::shared()?;
    scenario::run("room-package", &Visitor::default(), |tab| {
        let fits = shrink(tab, &server)?;
        // Looked at again and again, so that the Workers that start meanwhile get their script and may go on.
        tab.evaluate(
            "(async () => {
                const { createAssistant } = await import('/engine/index.js');
                const options = { model: '/weights/pocket-edge/', engine: 'simd', threads: 1 };
                const refused = await createAssistant(options).then(
                    () => ({}), ({ code, fitsAs, message }) => ({ code, fitsAs, message }));
                const assistant = await createAssistant({ ...options, format: refused.fitsAs });
                const { text } = await assistant.draft({ question: 'How many?', maxNewTokens: 4 });
                assistant.dispose();
                return { refused, text };
            })().catch((error) => ({ error: String(error) })).then((told) => { globalThis.told = told; });
            0",
        )?;
        let told = tab.wait_until("globalThis.told", PATIENCE)?;
        ensure!(told["refused"]["code"] == "too_large" && told["refused"]["fitsAs"] == *fits, "{told}");
        ensure!(told["refused"]["message"].as_str().is_some_and(|words| words.contains(&fits)), "{told}");
        ensure!(told["text"].as_str().is_some_and(|text| !text.is_empty()), "{told}");
        Ok(())
    })
}

#[test]
fn the_page_offers_the_format_that_fits_and_answers_with_it() -> Result<()> {
    let server = Server::shared()?;
    let sample = evaluation::sample(PLAIN)?;
    scenario::run("room-page", &Visitor::default(), |tab| {
        let fits = shrink(tab, &server)?;
        let mut app = App::visit(tab, &server, Engine::Simd)?;
        app.tab.wait_for(&by_id("misfit"), PATIENCE)?;
        app.tab.screenshot("misfit")?;
        let offered = app.tab.text(&by_id("misfit-instead"))?;
        ensure!(offered.contains(&fits), "{offered:?} is offered, not {fits}");
        app.tab.click(&by_id("misfit-instead"))?;
        app.wait_for_status(Side::Edge, "ready")?;
        app.wait_for_status(Side::Cloud, "ready")?;
        app.pick(&sample)?;
        let turn = app.ask()?;
        ensure!(turn.edge.state == "done" && !turn.edge.text.is_empty(), "{turn:?}");
        Ok(())
    })
}
