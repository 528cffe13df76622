//! Several threads in the page, which its server isolates: one engine is fetched and kept, and what fails on the way
//! leaves fewer threads and the same answers.

use anyhow::{Result, ensure};
use msao_tests::{
    app::{App, Engine},
    chromium::Visitor,
    drip::Drip,
    evaluation, scenario,
    server::Server,
    tab::{Tab, by_id},
};

use crate::{PLAIN, both_are_right, visits::wait_for_the_worker};

const PLAIN_MODULE: &str = "/engine/simd/msao_runtime_bg.wasm";
const THREADED_MODULE: &str = "/engine/threads/msao_runtime_bg.wasm";
/// A script that no server has, in place of a helper's.
const NO_HELPER: &str = "/engine/no-helper.js";

/// Opens the page in a browser that tells its engine of so many cores.
fn open<'tab>(tab: &'tab mut Tab, line: &Drip, cores: u32) -> Result<App<'tab>> {
    let told = format!("Object.defineProperty(navigator, 'hardwareConcurrency', {{ value: {cores} }});");
    tab.inject_into_workers("/engine/engine.js", &told)?;
    App::open_with(tab, &line.site(), Engine::Simd, "")
}

fn headline(app: &mut App) -> Result<String> {
    app.tab.text(&by_id("edge-headline"))
}

#[test]
fn the_page_is_isolated_and_fetches_one_engine_and_the_weights_once() -> Result<()> {
    let server = Server::shared()?;
    let sample = evaluation::sample(PLAIN)?;
    for (cores, said, used, unused) in
        [(4, "SIMD, 3 threads", THREADED_MODULE, PLAIN_MODULE), (2, "SIMD", PLAIN_MODULE, THREADED_MODULE)]
    {
        let line = Drip::to(server.address())?;
        scenario::run(&format!("cores-{cores}"), &Visitor::default(), |tab| {
            let mut app = open(tab, &line, cores)?;
            ensure!(app.tab.evaluate("crossOriginIsolated")? == true, "the page should be isolated");
            let shown = headline(&mut app)?;
            ensure!(shown.ends_with(said), "{shown:?} is shown on {cores} cores");
            both_are_right(&mut app, &sample)?;
            wait_for_the_worker(app.tab)?;
            let kept = app.tab.evaluate(
                "caches.open('msao-page-v1').then((cache) => cache.keys())
                    .then((keys) => keys.map(({ url }) => new URL(url).pathname))",
            )?;
            let is_kept = |path: &str| kept.as_array().is_some_and(|kept| kept.iter().any(|it| it == path));
            ensure!(is_kept(used) && !is_kept(unused), "the page's worker keeps {kept}");
            ensure!(line.asked(unused).is_empty(), "{unused} was fetched for nothing");
            ensure!(line.asked("/model.safetensors").len() == 1, "{:?}", line.asked("/model.safetensors"));
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn helpers_that_do_not_come_leave_the_engine_alone() -> Result<()> {
    let server = Server::shared()?;
    let line = Drip::to(server.address())?;
    let sample = evaluation::sample(PLAIN)?;
    scenario::run("no-helpers", &Visitor::default(), |tab| {
        let other = format!(
            "{{ const {{ Worker }} = self; self.Worker = function (_, options) {{ return new Worker('{NO_HELPER}', options); }}; }}"
        );
        tab.inject_into_workers("/engine/engine.js", &other)?;
        let mut app = open(tab, &line, 4)?;
        ensure!(!line.asked(NO_HELPER).is_empty(), "helpers should be asked for");
        let shown = headline(&mut app)?;
        ensure!(shown.ends_with("SIMD"), "{shown:?} is shown without helpers");
        both_are_right(&mut app, &sample)
    })
}

#[test]
fn without_the_threaded_module_the_plain_one_answers() -> Result<()> {
    let server = Server::shared()?;
    let line = Drip::to(server.address())?;
    let sample = evaluation::sample(PLAIN)?;
    scenario::run("no-threaded-module", &Visitor::default(), |tab| {
        line.cut(THREADED_MODULE, 1_000, u32::MAX);
        let mut app = open(tab, &line, 4)?;
        ensure!(!line.asked(THREADED_MODULE).is_empty() && !line.asked(PLAIN_MODULE).is_empty());
        let shown = headline(&mut app)?;
        ensure!(shown.ends_with("SIMD"), "{shown:?} is shown with one thread");
        both_are_right(&mut app, &sample)
    })
}
