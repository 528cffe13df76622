//! The edge model on WebGPU. Without a GPU this is Chromium's software adapter: slow, but the same arithmetic. Taking over and becoming slow
//! are told by a stand-in, in `browser_simd/gpu.rs`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use msao_tests::{
    app::{App, Engine},
    chromium::Visitor,
    evaluation, scenario,
    server::Server,
    tab::by_id,
};
use serde_json::json;

/// A sample that both shipped models are right about.
const PLAIN: &str = "01-colour";
/// The largest difference between the logits of both engines, relative to the largest logit.
const TOLERANCE: f64 = 1e-3;

/// An answer long enough to have a rate.
const LONG: &str = "15-describe";
/// Environment variable: the vendor that the GPU adapter must be of, such as `nvidia`.
const VENDOR_VARIABLE: &str = "MSAO_WEBGPU_VENDOR";

/// Compiling every kernel on the software adapter takes a while.
const SLOW: Duration = Duration::from_secs(300);

/// In an engine's Worker: does something to its GPU with the first work that follows the second token of an answer.
const AT_THE_SECOND_TOKEN: &str = "{
    const post = self.postMessage.bind(self);
    let tokens = 0;
    self.postMessage = (message, buffers) => {
        post(message, buffers);
        tokens += message.step ? 1 : 0;
        if (!message.step || tokens !== 2) return;
        const { createBindGroup } = GPUDevice.prototype;
        GPUDevice.prototype.createBindGroup = function (...options) {
            GPUDevice.prototype.createBindGroup = createBindGroup;
            const device = this;
            DO_IT
            return createBindGroup.apply(this, options);
        };
    };
}";
/// The GPU is taken away, as by a driver that resets it.
const LOSE_IT: &str = "device.destroy();";
/// The GPU says that it has no memory left.
const FILL_IT: &str = "device.dispatchEvent(new GPUUncapturedErrorEvent('uncapturederror',
    { error: new GPUOutOfMemoryError('forced by the test'), cancelable: true }));";
/// In the Worker that chooses engines: the software adapter is called a GPU, so that it is measured.
const NO_SOFTWARE: &str =
    "self.addEventListener('message', () => Object.defineProperty(GPUAdapter.prototype, 'info', { get: () =>
    ({ vendor: 'test', architecture: 'gpu', description: 'called a GPU by the test', isFallbackAdapter: false }) }),
    { once: true });";

fn visitor() -> Visitor {
    Visitor { webgpu: true, ..Visitor::default() }
}

#[test]
fn webgpu_answers_rightly_when_it_is_asked_for() -> Result<()> {
    let server = Server::shared()?;
    let sample = evaluation::sample(PLAIN)?;
    scenario::run("webgpu", &visitor(), |tab| {
        let mut app = App::open(tab, &server, Engine::Webgpu)?;
        let headline = app.tab.text(&by_id("edge-headline"))?;
        ensure!(headline.contains("WebGPU"), "another engine answers: {headline:?}");
        app.pick(&sample)?;
        app.ask()?.expect_both(&sample.answer)?;
        app.tab.screenshot("webgpu")?;
        let vendor = app.tab.evaluate_within(
            "(async () => ((await navigator.gpu.requestAdapter()) ?? await navigator.gpu.requestAdapter()).info.vendor)()",
            SLOW,
        )?;
        if let Ok(wanted) = std::env::var(VENDOR_VARIABLE) {
            ensure!(vendor == wanted.as_str(), "the adapter is of {vendor}, not of {wanted}");
        }
        app.pick(&evaluation::sample(LONG)?)?;
        let turn = app.ask()?;
        let shown = |app: &mut App, what: &str| -> Result<String> {
            let id = json!(by_id(&format!("edge-answer-{what}")));
            let text = app
                .tab
                .evaluate(&format!("Array.from(document.querySelectorAll({id})).at(-1)?.innerText"))?;
            Ok(text.as_str().unwrap_or_default().to_owned())
        };
        let (first, speed) = (shown(&mut app, "first-token")?, shown(&mut app, "speed")?);
        eprintln!("adapter of {vendor}: first token after {first}, {speed}; {:?}", turn.edge.text);
        Ok(())
    })
}

#[test]
fn a_gpu_that_is_lost_or_full_in_mid_answer_leaves_it_to_simd() -> Result<()> {
    let server = Server::shared()?;
    let sample = evaluation::sample(LONG)?;
    for (what, said) in [(LOSE_IT, "the GPU was lost"), (FILL_IT, "memory is full")] {
        scenario::run("gpu-lost", &visitor(), |tab| {
            tab.inject_into_workers("engine.js", &AT_THE_SECOND_TOKEN.replace("DO_IT", what))?;
            let mut app = App::open(tab, &server, Engine::Webgpu)?;
            app.pick(&sample)?;
            let turn = app.ask()?;
            turn.cloud.expect("cloud", &sample.answer)?;
            ensure!(!turn.edge.text.is_empty() && turn.edge.state != "failed", "it is lost: {turn:?}");
            let line = format!("{}[data-step=\"engine-replaced\"]", by_id("happened-line"));
            app.tab.wait_for(&line, SLOW)?;
            let told = app.tab.text(&line)?;
            ensure!(told.contains("WebGPU stopped") && told.contains(said), "the page says {told:?}");
            app.tab.screenshot("gpu-lost")?;
            let headline = app.tab.text(&by_id("edge-headline"))?;
            ensure!(headline.contains("SIMD"), "another engine answers: {headline:?}");
            app.pick(&sample)?;
            app.ask()?.expect_both(&sample.answer)
        })?;
    }
    Ok(())
}

#[test]
fn a_gpu_that_is_slower_is_measured_and_left_alone_with_a_word() -> Result<()> {
    let server = Server::shared()?;
    let sample = evaluation::sample(PLAIN)?;
    scenario::run("gpu-slow", &visitor(), |tab| {
        tab.inject_into_workers("worker.js", NO_SOFTWARE)?;
        let mut app = App::open(tab, &server, Engine::Auto)?;
        app.pick(&sample)?;
        app.ask()?.expect_both(&sample.answer)?;
        // Every shape runs once in software before anything is measured.
        app.tab.wait_for(&format!("{}[data-step=\"webgpu-slower\"]", by_id("happened-line")), 4 * SLOW)?;
        let headline = app.tab.text(&by_id("edge-headline"))?;
        ensure!(headline.contains("SIMD"), "the slower engine answers: {headline:?}");
        app.pick(&sample)?;
        app.ask()?.expect_both(&sample.answer)
    })
}

#[test]
fn without_webgpu_the_page_says_so_and_auto_takes_simd() -> Result<()> {
    let server = Server::shared()?;
    let sample = evaluation::sample(PLAIN)?;
    scenario::run("no-webgpu", &Visitor::default(), |tab| {
        let mut app = App::visit(tab, &server, Engine::Webgpu)?;
        app.wait_for_status(msao_tests::app::Side::Edge, "failed")?;
        let detail = app.tab.text(&by_id("edge-detail"))?;
        ensure!(detail.contains("WebGPU"), "the page should say that there is no WebGPU: {detail:?}");

        let mut app = App::open(app.tab, &server, Engine::Auto)?;
        let headline = app.tab.text(&by_id("edge-headline"))?;
        ensure!(headline.contains("SIMD"), "another engine answers: {headline:?}");
        app.pick(&sample)?;
        app.ask()?.expect_both(&sample.answer)
    })
}

#[test]
fn both_engines_compute_the_same_logits() -> Result<()> {
    let server = Server::shared()?;
    let sample = evaluation::sample(PLAIN)?;
    let (picture, sound) =
        (sample.images.first().context("no picture")?, sample.audio.as_ref().context("no sound")?);
    let script = |format: &str| {
        format!(
        "(async () => {{
            const bytes = async (path) => {{
                const reply = await fetch(path);
                if (!reply.ok) throw new Error(`${{path}}: ${{reply.status}}`);
                return new Uint8Array(await reply.arrayBuffer());
            }};
            const names = ['config.json', 'tokenizer.json', 'preprocessor_config.json', 'model.safetensors'];
            const file = async (name) => [name, await bytes('/weights/pocket-edge/' + name)];
            const files = Object.fromEntries(await Promise.all(names.map(file)));
            const bitmap = await createImageBitmap(new Blob([await bytes('/gallery/' + {picture})]));
            const {{ width, height }} = bitmap;
            const context = new OffscreenCanvas(width, height).getContext('2d');
            context.drawImage(bitmap, 0, 0);
            const pixels = context.getImageData(0, 0, width, height).data;
            // 16-bit mono at 16 kHz, after a header of 44 bytes.
            const wav = await bytes('/gallery/' + {sound});
            const samples = Float32Array.from(new Int16Array(wav.slice(44).buffer), (sample) => sample / 32768);
            const logits = [];
            for (const kind of ['simd', 'webgpu']) {{
                const module = await import(`/engine/${{kind}}/msao_runtime.js`);
                await module.default();
                const engine = await module.Engine.load(kind, files, {format});
                const image = {{ width, height, pixels: new Uint8ClampedArray(pixels) }};
                const audio = {{ sample_rate_hz: 16000, samples: samples.slice() }};
                logits.push(Array.from(await engine.first_token_logits({question}, [image], audio)));
            }}
            return logits;
        }})()",
        picture = json!(picture),
        sound = json!(sound),
        question = json!(sample.question),
        format = json!(format),
    )
    };
    scenario::run("logits", &visitor(), |tab| {
        // Any document of this origin will do; the page itself would load engines of its own.
        tab.go_to(&server.url("/gallery/gallery.json"))?;
        // 4-bit groups have tables of int8: between them the two read weights in all ways but f32's, which the other tests do.
        for format in ["f16", "q4"] {
            let logits = tab.evaluate_within(&script(format), SLOW)?;
            let [simd, webgpu]: [Vec<f64>; 2] = serde_json::from_value(logits)?;
            ensure!(
                simd.len() == webgpu.len() && simd.len() > 100,
                "{} and {} logits",
                simd.len(),
                webgpu.len()
            );
            let largest = simd.iter().fold(0.0_f64, |largest, logit| largest.max(logit.abs()));
            let apart = simd.iter().zip(&webgpu).fold(0.0_f64, |apart, (a, b)| apart.max((a - b).abs()));
            eprintln!("{format}: logits up to {largest:.2}, at most {apart:.2e} apart");
            ensure!(largest > 0.1, "{format}: the logits are all nothing");
            ensure!(apart <= TOLERANCE * largest.max(1.0), "{format}: the engines are {apart} apart");
        }
        Ok(())
    })
}
