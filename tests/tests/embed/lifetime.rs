//! Making, aborting and disposing of assistants.

use std::{thread, time::Duration};

use anyhow::{Result, bail, ensure};
use msao_tests::{chromium::Visitor, evaluation, scenario, tab::Tab};
use serde_json::json;

use crate::embedding::{Embedding, expect_answer, make_assistant, messages, policy, run};

const PLAIN: &str = "01-colour";

/// Workers and frames that the browser runs, whoever started them.
fn targets(tab: &mut Tab) -> Result<usize> {
    let targets =
        tab.call("Target.getTargets", json!({"filter": [{"type": "worker"}, {"type": "iframe"}]}))?;
    Ok(targets["targetInfos"].as_array().map_or(0, Vec::len))
}

/// Waits until the browser runs so many; it takes its time to end what was ended.
fn expect_targets(tab: &mut Tab, expected: usize) -> Result<()> {
    let mut running = 0;
    for _ in 0..200 {
        running = targets(tab)?;
        if running == expected {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
    bail!("{running} Workers and frames run where {expected} should")
}

#[test]
fn every_call_is_aborted_and_the_next_one_is_answered() -> Result<()> {
    let embedding = Embedding::of_an_empty_page(&policy("#### From a server")?)?;
    let sample = evaluation::sample(PLAIN)?;
    let messages = messages(&sample)?;
    embedding.visit("embed-abort", |tab| {
        let read = run(
            tab,
            "const { createAssistant } = await import(`${server}/engine/index.js`);
             const controller = new AbortController();
             const made = createAssistant({ server, engine: 'simd', signal: controller.signal, onProgress: () => controller.abort() });
             return made.then(() => 'made', (error) => error.name);",
        )?;
        ensure!(read == "AbortError", "making was not aborted: {read}");
        expect_targets(tab, 0)?;

        make_assistant(tab, "")?;
        let read = run(
            tab,
            &format!(
                "const name = (promise) => promise.then(() => 'answered', (error) => error.name);
                 const at = (event, call) => {{
                    const controller = new AbortController();
                    return name(call({{ signal: controller.signal, [event]: () => controller.abort() }}));
                 }};
                 const messages = {messages};
                 const create = (more) => assistant.chat.completions.create({{ messages, ...more }});
                 const before = AbortSignal.abort();
                 const seen = [];
                 for (const event of ['onScored', 'onToken']) {{
                    seen.push(await at(event, (options) => assistant.ask({{ question: 'how are you?', images: [new ImageData(64, 64)], ...options }})));
                 }}
                 seen.push(await name(create({{ signal: before }})));
                 const soon = new AbortController();
                 setTimeout(() => soon.abort(), 5);
                 seen.push(await name(create({{ signal: soon.signal }})));
                 for (const call of ['draft', 'score', 'plan', 'encode']) {{
                    seen.push(await name(assistant[call]({{ question: 'x', signal: before }})));
                 }}
                 let chunks = 0;
                 for await (const chunk of assistant.chat.completions.create({{ messages, stream: true }})) {{
                    chunks += 1;
                    break;
                 }}
                 return {{ seen, chunks, last: await create({{}}) }};"
            ),
        )?;
        let seen = read["seen"].as_array().cloned().unwrap_or_default();
        ensure!(seen.len() == 8 && seen.iter().all(|name| name == "AbortError"), "{seen:?}");
        ensure!(read["chunks"] == 1);
        expect_answer(&read["last"]["choices"][0]["message"]["content"], &sample)
    })
}

#[test]
fn two_assistants_live_side_by_side_and_leave_nothing_behind() -> Result<()> {
    let embedding = Embedding::of_an_empty_page(&policy("#### From a server")?)?;
    let sample = evaluation::sample(PLAIN)?;
    let messages = messages(&sample)?;
    embedding.visit("embed-two", |tab| {
        expect_targets(tab, 0)?;
        let globals = "Object.keys(globalThis).filter((name) => !['server', 'assistant', 'other'].includes(name)).length";
        let before = tab.evaluate(globals)?;
        make_assistant(tab, "threads: 1")?;
        run(tab, "globalThis.other = assistant;")?;
        make_assistant(tab, "policy: 'edge_only', threads: 3")?;
        // A frame, the assistant's Worker and the engine's, twice; and two helpers of the second engine.
        expect_targets(tab, 8)?;
        let read = run(
            tab,
            &format!(
                "const create = (one) => one.chat.completions.create({{ messages: {messages} }});
                 return Promise.all([create(assistant), create(other)]);"
            ),
        )?;
        for completion in [&read[0], &read[1]] {
            expect_answer(&completion["choices"][0]["message"]["content"], &sample)?;
        }
        ensure!(read[0]["msao"]["receipt"]["cloud"].is_null() && !read[1]["msao"]["receipt"]["cloud"].is_null());

        let read = run(
            tab,
            &format!(
                "const asked = assistant.ask({{ question: 'how are you?' }}).catch((error) => error.code);
                 assistant.dispose();
                 const late = await assistant.ask({{ question: 'how are you?' }}).catch((error) => error.code);
                 const {{ choices }} = await other.chat.completions.create({{ messages: {messages} }});
                 return [await asked, late, choices[0].message.content];"
            ),
        )?;
        ensure!(read[0] == "not_ready" && read[1] == "not_ready", "{read}");
        expect_answer(&read[2], &sample)?;
        expect_targets(tab, 3)?;
        run(tab, "other.dispose();")?;
        expect_targets(tab, 0)?;
        ensure!(tab.evaluate("document.querySelectorAll('iframe').length")? == 0);
        ensure!(tab.evaluate(globals)? == before, "something was left in the page's global scope");
        Ok(())
    })
}

#[test]
fn an_assistant_that_comes_and_goes_takes_no_memory_with_it() -> Result<()> {
    let embedding = Embedding::of_an_empty_page(&policy("#### From a server")?)?;
    embedding.visit("embed-memory", |tab| {
        let cycle = |tab: &mut Tab| -> Result<u64> {
            make_assistant(tab, "")?;
            run(tab, "await assistant.ask({ question: 'how are you?' }); assistant.dispose(); globalThis.assistant = null;")?;
            expect_targets(tab, 0)?;
            tab.call("HeapProfiler.collectGarbage", json!({}))?;
            let usage = tab.call("Runtime.getHeapUsage", json!({}))?;
            Ok(usage["usedSize"].as_u64().unwrap_or_default())
        };
        // Scripts that are compiled on the first time stay.
        let first = cycle(tab)?;
        let mut last = first;
        for _ in 0..3 {
            last = cycle(tab)?;
        }
        // The weights alone are 4 MB; three of them would show.
        ensure!(last < first + 500_000, "the page's heap went from {first} to {last} bytes");
        Ok(())
    })
}

#[test]
fn each_side_answers_alone_where_the_other_one_is_missing() -> Result<()> {
    let embedding = Embedding::of_an_empty_page(&policy("#### From a server")?)?;
    let sample = evaluation::sample(PLAIN)?;
    let messages = messages(&sample)?;
    embedding.visit("embed-alone", |tab| {
        let create = format!("return assistant.chat.completions.create({{ messages: {messages} }});");
        make_assistant(tab, "model: null")?;
        let cloud = run(tab, &create)?;
        expect_answer(&cloud["choices"][0]["message"]["content"], &sample)?;
        ensure!(
            cloud["msao"]["receipt"]["edge"].is_null()
                && cloud["msao"]["receipt"]["plan"]["strategy"] != "edge_only"
        );
        run(tab, "assistant.dispose();")?;

        make_assistant(tab, "server: undefined")?;
        let edge = run(tab, &create)?;
        expect_answer(&edge["choices"][0]["message"]["content"], &sample)?;
        ensure!(edge["msao"]["receipt"]["cloud"].is_null() && edge["model"] == "pocket-edge", "{edge}");
        run(tab, "assistant.dispose();")?;

        let read = run(
            tab,
            "const { createAssistant } = await import(`${server}/engine/index.js`);
             const code = (options) => createAssistant(options).then(() => 'made', (error) => error.code);
             return [
                await code({ model: null }),
                await code({ server, model: null, privacy: { camera: 'locked' } }),
                await code({ server: 'ftp://x', model: null }),
                await code({ server, model: 'no-such-model', policy: 'edge_only', engine: 'simd' }),
             ];",
        )?;
        ensure!(
            read[0] == "invalid_input" && read[1] == "invalid_input" && read[2] == "invalid_input",
            "{read}"
        );
        // With the cloud there, an assistant without its device is made, and says so when the device is needed.
        ensure!(read[3] == "made", "{read}");
        Ok(())
    })
}

#[test]
fn lower_levels_score_plan_draft_and_encode() -> Result<()> {
    let embedding = Embedding::of_an_empty_page(&policy("#### From a server")?)?;
    let sample = evaluation::sample(PLAIN)?;
    let messages = messages(&sample)?;
    embedding.visit("embed-levels", |tab| {
        make_assistant(tab, "")?;
        let read = run(
            tab,
            &format!(
                "const [text, image, sound] = {messages}[0].content;
                 const bytes = Uint8Array.from(atob(image.image_url.url.split(',')[1]), (char) => char.charCodeAt(0));
                 const asked = {{ question: text.text, images: [new Blob([bytes], {{ type: 'image/png' }})] }};
                 const target = {{ image: {{ sidePx: 192, tokensPerSide: 6 }} }};
                 const scored = await assistant.score({{ ...asked, target }});
                 const plan = await assistant.plan(asked);
                 const tokens = [];
                 const draft = await assistant.draft({{ ...asked, onToken: (token) => tokens.push(token.text) }});
                 const wav = Uint8Array.from(atob(sound.input_audio.data), (char) => char.charCodeAt(0));
                 const encoded = await assistant.encode({{ ...asked, audio: new Blob([wav], {{ type: 'audio/wav' }}) }});
                 return {{
                    vision: scored.modalities[0], squares: scored.images[0].mask.length, plan: plan.plan,
                    draft: draft.text, tokens: tokens.join('').trim(), engine: draft.engine,
                    side: encoded.images[0].width, file: encoded.images[0].file.size, type: encoded.images[0].file.type,
                    heard: encoded.audio.samples.length, wav: encoded.audio.file.size, sound: encoded.audio.file.type,
                 }};"
            ),
        )?;
        ensure!(read["vision"]["mas"]["relevance"].as_f64() > Some(0.1) && read["squares"] == 36, "{read}");
        ensure!(read["plan"]["predicted"]["latency_ms"].as_f64() > Some(0.0), "{read}");
        ensure!(read["plan"]["modalities"][0]["sent_bytes"] == 0, "a plan sends nothing: {read}");
        expect_answer(&read["draft"], &sample)?;
        ensure!(read["tokens"] == read["draft"] && read["engine"] == "simd", "{read}");
        ensure!(read["side"].as_u64() > Some(0) && read["file"].as_u64() > Some(100) && read["type"] == "image/png");
        let heard = read["heard"].as_u64().unwrap_or_default();
        ensure!((1..=76_800).contains(&heard) && read["wav"] == 44 + 2 * heard && read["sound"] == "audio/wav", "{read}");
        Ok(())
    })
}

#[test]
fn a_page_that_the_server_does_not_allow_is_told_what_helps() -> Result<()> {
    let embedding = Embedding::of_an_empty_page(&policy("#### From a server")?)?;
    let stranger = Embedding::of_an_empty_page(&policy("#### From a server")?)?;
    scenario::run("embed-stranger", &Visitor::default(), |tab| {
        // The stranger's policy allows its own server; it asks the other one, which has not heard of it.
        stranger.open(tab)?;
        tab.call("Page.setBypassCSP", json!({"enabled": true}))?;
        stranger.open(tab)?;
        let server = json!(embedding.server.url(""));
        let read = run(
            tab,
            &format!(
                "const {{ createAssistant }} = await import({server} + '/engine/index.js');
                 return createAssistant({{ server: {server} }}).then(() => ['made', ''], (error) => [error.code, error.message]);"
            ),
        )?;
        ensure!(
            read[0] == "frame_refused"
                && read[1].as_str().is_some_and(|said| said.contains("--allow-origin")),
            "{read}"
        );
        Ok(())
    })
}
