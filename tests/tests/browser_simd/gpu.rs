//! Steps of the ladder that a GPU causes, on machines without one: the SIMD engine stands in for the WebGPU one. Its times
//! are what the test says, and its device is lost or full when the test says so; all that decides and tells is the page's
//! own. What a real GPU does is in `browser_webgpu.rs`.

use std::{fs, net::TcpListener, time::Duration};

use anyhow::{Result, ensure};
use msao_tests::{
    app::{App, Engine},
    chromium::Visitor,
    evaluation, scenario,
    server::Server,
    tab::{Tab, by_id},
};

use crate::{
    PLAIN, both_are_right, folder,
    visits::{copy_page, wait_for_line},
};

/// A sample with an answer of many tokens, which both models are right about.
const LONG: &str = "15-describe";
const PATIENCE: Duration = Duration::from_secs(120);

/// The WebGPU module: the SIMD one, with a device of its own as the real one has. `standIn` says how it fares.
const MODULE: &str = r#"
import init, { Engine as Simd, check_room, choose_engine } from "../simd/msao_runtime.js";
export { check_room, choose_engine };
export default init;
export class Engine {
  static async load(_kind, ...files) {
    const [engine, device] = [await Simd.load("simd", ...files), await GPUAdapter.prototype.requestDevice()];
    const stretch = (times) => (receipt) =>
      receipt?.spans.filter(({ kind }) => kind === "decode").forEach((span) => (span.ms = span.ms * times + times));
    return {
      parameters: engine.parameters,
      has_probe: engine.has_probe,
      vocabulary: () => engine.vocabulary(),
      warm_up: () => engine.warm_up(),
      async measure() {
        const { prefill_ms, decode_step_ms } = await engine.measure();
        return { prefill_ms: prefill_ms * standIn.measured, decode_step_ms: decode_step_ms * standIn.measured };
      },
      ask(question, images, audio, settings, onScored, onStep) {
        let steps = 0;
        return engine.ask(question, images, audio, settings, onScored, (step) => {
          stretch(standIn.answered)(step.answer?.receipt);
          steps += 1;
          if (steps === 2) {
            device.fail(standIn.fails);
          }
          return onStep(step);
        });
      },
    };
  }
}
"#;

/// In engines' Workers: a GPU that can be lost, and how it fares.
fn stand_in(measured: f64, answered: f64, fails: &str) -> String {
    format!(
        "globalThis.standIn = {{ measured: {measured}, answered: {answered}, fails: '{fails}' }};
        // With the first message: before that, this Worker has no WebGPU yet.
        self.addEventListener('message', () => (GPUAdapter.prototype.requestDevice = async () => {{
            const device = new EventTarget();
            const {{ promise, resolve }} = Promise.withResolvers();
            device.lost = promise;
            device.fail = (how) => {{
                if (how === 'lost') resolve({{ message: 'forced by the test' }});
                if (how === 'full') {{
                    const event = new Event('uncapturederror');
                    event.error = new GPUOutOfMemoryError('forced by the test');
                    device.dispatchEvent(event);
                }}
            }};
            return device;
        }}), {{ once: true }});"
    )
}

/// In the Worker that chooses engines: there is a GPU.
const ADAPTER: &str = "Object.defineProperty(navigator, 'gpu', { value: { requestAdapter: async () =>
    ({ info: { vendor: 'test', architecture: 'stand-in', description: '', isFallbackAdapter: false },
       limits: { maxBufferSize: 2 ** 31, maxStorageBufferBindingSize: 2 ** 31 } }) } });";

/// A server whose page has the stand-in.
fn server(test: &str) -> Result<Server> {
    let page = folder(test)?;
    copy_page(&page)?;
    fs::write(page.join("engine/webgpu/msao_runtime.js"), MODULE)?;
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let flags = ["--page".to_owned(), page.display().to_string()];
    Server::start_as(port, &flags)
}

fn give_gpu(tab: &mut Tab, stand_in: &str) -> Result<()> {
    tab.inject_into_workers("worker.js", ADAPTER)?;
    tab.inject_into_workers("engine.js", stand_in)
}

fn headline(app: &mut App, engine: &str) -> Result<()> {
    let headline = by_id("edge-headline");
    let said = format!("document.querySelector('{headline}').innerText.includes('{engine}')");
    app.tab.wait_until(&said, PATIENCE).map(|_| ())
}

#[test]
fn a_faster_gpu_takes_over_and_gives_way_when_it_becomes_slow() -> Result<()> {
    let server = server("gpu-becomes-slow")?;
    let (plain, long) = (evaluation::sample(PLAIN)?, evaluation::sample(LONG)?);
    scenario::run("gpu-becomes-slow", &Visitor::default(), |tab| {
        give_gpu(tab, &stand_in(0.05, 50.0, ""))?;
        let mut app = App::open(tab, &server, Engine::Auto)?;
        both_are_right(&mut app, &plain)?;
        headline(&mut app, "WebGPU")?;
        for _ in 0..3 {
            app.pick(&long)?;
            app.ask()?.cloud.expect("cloud", &long.answer)?;
        }
        let said = wait_for_line(&mut app, "webgpu-became-slow")?;
        ensure!(said.contains("slower than SIMD"), "the page says {said:?}");
        app.tab.screenshot("gpu-became-slow")?;
        headline(&mut app, "SIMD")?;
        both_are_right(&mut app, &plain)
    })
}

#[test]
fn a_slower_gpu_is_measured_and_left_alone_with_a_word() -> Result<()> {
    let server = server("gpu-slower")?;
    let plain = evaluation::sample(PLAIN)?;
    scenario::run("gpu-slower", &Visitor::default(), |tab| {
        give_gpu(tab, &stand_in(20.0, 1.0, ""))?;
        let mut app = App::open(tab, &server, Engine::Auto)?;
        both_are_right(&mut app, &plain)?;
        wait_for_line(&mut app, "webgpu-slower")?;
        headline(&mut app, "SIMD")?;
        both_are_right(&mut app, &plain)
    })
}

#[test]
fn a_gpu_that_is_lost_or_full_in_mid_answer_leaves_it_to_simd() -> Result<()> {
    let server = server("gpu-lost")?;
    let (plain, long) = (evaluation::sample(PLAIN)?, evaluation::sample(LONG)?);
    for (how, words) in [("lost", "the GPU was lost"), ("full", "memory is full")] {
        scenario::run("gpu-lost", &Visitor::default(), |tab| {
            give_gpu(tab, &stand_in(1.0, 1.0, how))?;
            let mut app = App::open(tab, &server, Engine::Webgpu)?;
            app.pick(&long)?;
            let turn = app.ask()?;
            turn.cloud.expect("cloud", &long.answer)?;
            ensure!(!turn.edge.text.is_empty() && turn.edge.state != "failed", "it is lost: {turn:?}");
            let said = wait_for_line(&mut app, "engine-replaced")?;
            ensure!(said.contains("WebGPU stopped") && said.contains(words), "the page says {said:?}");
            headline(&mut app, "SIMD")?;
            both_are_right(&mut app, &plain)
        })?;
    }
    Ok(())
}
