//! Threads where isolation allows: in the frame that isolates itself, and not in a page that is not isolated.

use anyhow::{Result, ensure};
use msao_tests::{evaluation, places};
use serde_json::{Value, json};

use crate::embedding::{Embedding, expect_answer, make_assistant, messages, policy, run};

const PLAIN: &str = "01-colour";
/// One that needs the picture and the sound.
const SOUND: &str = "21-tone";

/// What the device alone writes about a sample: its words, and each token with its probability to the last bit.
fn draft(embedding: &Embedding, name: &str, options: &str, sample: &str) -> Result<(Value, Value)> {
    let sample = evaluation::sample(sample)?;
    let messages = messages(&sample)?;
    let mut read = Value::Null;
    embedding.visit(name, |tab| {
        make_assistant(tab, options)?;
        read = run(
            tab,
            &format!(
                "const asked = {{ question: '', images: [], audio: null }};
                 const bytes = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
                 for (const part of {messages}[0].content) {{
                    if (part.text) asked.question = part.text;
                    if (part.image_url) asked.images.push(new Blob([bytes(part.image_url.url.split(',')[1])], {{ type: 'image/png' }}));
                    if (part.input_audio) asked.audio = new Blob([bytes(part.input_audio.data)], {{ type: 'audio/wav' }});
                 }}
                 const tokens = [];
                 const {{ text }} = await assistant.draft({{ ...asked, onToken: ({{ id, probability }}) => tokens.push([id, probability]) }});
                 return {{ text, tokens, threads: assistant.threads }};"
            ),
        )?;
        Ok(())
    })?;
    expect_answer(&read["text"], &sample)?;
    ensure!(read["tokens"].as_array().is_some_and(|tokens| !tokens.is_empty()), "{read}");
    Ok((read["threads"].clone(), read["tokens"].clone()))
}

#[test]
fn several_threads_write_what_one_writes_to_the_last_bit() -> Result<()> {
    let embedding = Embedding::of_an_empty_page(&policy("#### From a server")?)?;
    for sample in [PLAIN, SOUND] {
        let (one, alone) = draft(&embedding, "embed-one-thread", "threads: 1", sample)?;
        let (three, together) = draft(&embedding, "embed-three-threads", "threads: 3", sample)?;
        ensure!(one == 1 && three == 3, "{one} and {three} threads run where 1 and 3 should");
        ensure!(alone == together, "threads change the answer: {alone} and {together}");
    }
    Ok(())
}

#[test]
fn a_page_that_is_not_isolated_has_one_thread_and_is_answered() -> Result<()> {
    let embedding = Embedding::of(&policy("#### From your own site")?, |site, _server| {
        site.add("/", "<!doctype html><html lang=\"en\"><title>Shop</title><h1>Shop</h1></html>");
        site.add_folder(&places::page().join("engine"), "/engine")
    })?;
    embedding.visit("embed-not-isolated", |tab| {
        let sample = evaluation::sample(PLAIN)?;
        let read = run(
            tab,
            &format!(
                "const {{ createAssistant }} = await import('/engine/index.js');
                 const assistant = await createAssistant({{ server, engine: 'simd', threads: 3 }});
                 const {{ choices }} = await assistant.chat.completions.create({{ messages: {} }});
                 const {{ threads }} = assistant;
                 assistant.dispose();
                 const bad = await createAssistant({{ server, threads: 0 }}).catch(({{ code }}) => code);
                 return {{ text: choices[0].message.content, threads, bad, isolated: crossOriginIsolated }};",
                messages(&sample)?
            ),
        )?;
        ensure!(read["isolated"] == false && read["threads"] == 1, "{read}");
        ensure!(read["bad"] == json!("invalid_input"), "{read}");
        expect_answer(&read["text"], &sample)
    })
}
