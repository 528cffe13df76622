//! `chat.completions` in the form of OpenAI's API, and what is told beside it.

use anyhow::{Context, Result, ensure};
use msao_tests::{evaluation, tab::Tab};
use serde_json::{Value, json};

use crate::embedding::{Embedding, expect_answer, make_assistant, messages, policy, run};

/// A question about a picture, one whose answer is a sentence, and one about a sound.
const PLAIN: &str = "01-colour";

#[test]
fn a_page_of_another_site_gets_openai_s_completions_and_the_receipt() -> Result<()> {
    let embedding = Embedding::of_an_empty_page(&policy("#### From a server")?)?;
    let sample = evaluation::sample(PLAIN)?;
    let messages = messages(&sample)?;
    embedding.visit("embed-completion", |tab| {
        make_assistant(tab, "")?;
        let status = tab.evaluate("assistant.status")?;
        ensure!(status == json!({"edge": "ready", "cloud": "ready"}), "{status}");
        let completion =
            run(tab, &format!("return assistant.chat.completions.create({{ messages: {messages} }});"))?;
        ensure!(completion["object"] == "chat.completion", "{completion}");
        ensure!(completion["id"].as_str().is_some_and(|id| id.starts_with("chatcmpl-")), "{completion}");
        ensure!(
            completion["created"].as_u64().is_some() && completion["model"] == "pocket-cloud",
            "{completion}"
        );
        let choice = &completion["choices"][0];
        ensure!(choice["message"]["role"] == "assistant" && choice["finish_reason"] == "stop", "{choice}");
        expect_answer(&choice["message"]["content"], &sample)?;
        expect_usage(&completion["usage"])?;
        let receipt = &completion["msao"]["receipt"];
        ensure!(receipt["cloud"]["prompt_tokens"].as_u64() > Some(0), "the server verified it: {receipt}");
        let vision = &receipt["plan"]["modalities"][0];
        ensure!(
            vision["modality"] == "vision" && vision["mas"]["relevance"].as_f64() > Some(0.0),
            "{vision}"
        );
        let (sent, whole) = (vision["sent_bytes"].as_u64(), vision["cloud_only_bytes"].as_u64());
        ensure!(
            sent > Some(0) && sent < whole,
            "only what the question needs is sent: {sent:?} of {whole:?}"
        );
        let audio = &receipt["plan"]["modalities"][1];
        ensure!(audio["modality"] == "audio" && audio["sent_bytes"] == 0, "the sound is not needed: {audio}");
        same_question_as_a_stream(tab, &messages, choice["message"]["content"].as_str().unwrap_or_default())
    })
}

fn expect_usage(usage: &Value) -> Result<()> {
    let count = |name: &str| usage[name].as_u64().with_context(|| format!("no {name}: {usage}"));
    ensure!(count("prompt_tokens")? > 0 && count("completion_tokens")? > 0, "{usage}");
    ensure!(count("total_tokens")? == count("prompt_tokens")? + count("completion_tokens")?, "{usage}");
    let details = &usage["completion_tokens_details"];
    ensure!(details["accepted_prediction_tokens"].is_u64() && details["rejected_prediction_tokens"].is_u64());
    Ok(())
}

fn same_question_as_a_stream(tab: &mut Tab, messages: &str, whole: &str) -> Result<()> {
    let read = run(
        tab,
        &format!(
            "const stream = assistant.chat.completions.create({{
                messages: {messages}, stream: true, stream_options: {{ include_usage: true }},
             }});
             const chunks = [];
             for await (const chunk of stream) {{ chunks.push(chunk); }}
             return chunks;"
        ),
    )?;
    let chunks = read.as_array().context("no chunks")?;
    ensure!(
        chunks
            .iter()
            .all(|chunk| chunk["object"] == "chat.completion.chunk" && chunk["id"] == chunks[0]["id"])
    );
    ensure!(chunks[0]["choices"][0]["delta"]["role"] == "assistant", "{}", chunks[0]);
    let text: String =
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    ensure!(text == whole, "the stream says {text:?}, the completion {whole:?}");
    let [.., finish, usage] = &chunks[..] else { anyhow::bail!("too few chunks: {read}") };
    ensure!(
        finish["choices"][0]["finish_reason"] == "stop" && finish["msao"]["receipt"].is_object(),
        "{finish}"
    );
    ensure!(usage["choices"] == json!([]), "{usage}");
    expect_usage(&usage["usage"])
}

#[test]
fn only_what_stands_is_streamed_and_proposals_are_told_beside_it() -> Result<()> {
    let embedding = Embedding::of_an_empty_page(&policy("#### From a server")?)?;
    let messages = messages(&evaluation::sample(PLAIN)?)?;
    embedding.visit("embed-proposals", |tab| {
        // Drafts of the device, whatever the plan would prefer on this machine.
        make_assistant(
            tab,
            "policy: 'distributed', onToken: (token, index, tokens) => {
                globalThis.told ??= [];
                told.push({ token, index, settled: tokens.filter((one) => one.settled).map((one) => one.text).join('').trim() });
             }",
        )?;
        let read = run(
            tab,
            &format!(
                "let text = '';
                 const steps = [];
                 const isProposed = ({{ token }}) => !token.settled && token.source === 'edge_draft';
                 // On a busy machine the server may be first with a short answer.
                 for (let turn = 0; turn < 8 && !globalThis.told?.some(isProposed); turn++) {{
                    text = '';
                    for await (const chunk of assistant.chat.completions.create({{ messages: {messages}, stream: true }})) {{
                       text += chunk.choices[0].delta.content ?? '';
                       steps.push({{ text, settled: globalThis.told?.at(-1)?.settled ?? '' }});
                    }}
                 }}
                 return {{ steps, told }};"
            ),
        )?;
        let told = read["told"].as_array().context("nothing was told")?;
        let is_proposed = |one: &&Value| one["token"]["settled"] == false && one["token"]["source"] == "edge_draft";
        ensure!(told.iter().any(|one| is_proposed(&one)), "no draft was told: {told:?}");
        ensure!(told.iter().any(|one| one["token"]["settled"] == true), "nothing was settled: {told:?}");
        for step in read["steps"].as_array().into_iter().flatten() {
            let (text, settled) = (step["text"].as_str(), step["settled"].as_str());
            let is_settled = settled.zip(text).is_some_and(|(settled, text)| settled.starts_with(text));
            ensure!(is_settled, "what was streamed did not stand yet: {step}");
        }
        Ok(())
    })
}

#[test]
fn what_is_locked_does_not_leave_and_the_device_answers() -> Result<()> {
    let embedding = Embedding::of_an_empty_page(&policy("#### From a server")?)?;
    let sample = evaluation::sample(PLAIN)?;
    let messages = messages(&sample)?;
    embedding.visit("embed-locks", |tab| {
        make_assistant(tab, "privacy: { vision: 'locked' }")?;
        let create = format!("return assistant.chat.completions.create({{ messages: {messages} }});");
        let completion = run(tab, &create)?;
        expect_answer(&completion["choices"][0]["message"]["content"], &sample)?;
        let plan = &completion["msao"]["receipt"]["plan"];
        ensure!(
            plan["reason"] == "needed_modality_locked" && plan["modalities"][0]["sent_bytes"] == 0,
            "{plan}"
        );
        ensure!(completion["msao"]["receipt"]["cloud"] == Value::Null, "the server was not asked");

        tab.evaluate("assistant.privacy = { vision: 'open', text: 'locked' }; 0")?;
        let plan = &run(tab, &create)?["msao"]["receipt"]["plan"];
        ensure!(plan["strategy"] == "edge_only" && plan["modalities"][0]["sent_bytes"] == 0, "{plan}");

        tab.evaluate("assistant.privacy = { text: 'open' }; 0")?;
        let plan = &run(tab, &create)?["msao"]["receipt"]["plan"];
        ensure!(plan["modalities"][0]["sent_bytes"].as_u64() > Some(0), "without a lock it is sent: {plan}");
        Ok(())
    })
}

#[test]
fn earlier_turns_and_what_cannot_be_done_are_taken_as_the_server_s_own_api_takes_them() -> Result<()> {
    let embedding = Embedding::of_an_empty_page(&policy("#### From a server")?)?;
    let sample = evaluation::sample(PLAIN)?;
    let asked: Value = serde_json::from_str(&messages(&sample)?)?;
    let question = json!([
        {"role": "system", "content": "Answer in one word."},
        asked[0],
        {"role": "assistant", "content": sample.answer},
        {"role": "user", "content": sample.question},
    ]);
    embedding.visit("embed-turns", |tab| {
        make_assistant(tab, "")?;
        let read = run(
            tab,
            &format!(
                "const create = (body) => assistant.chat.completions.create(body);
                 const code = (body) => create(body).then(() => 'none', (error) => error.code);
                 const {{ msao }} = await create({{ messages: {question}, max_tokens: 8 }});
                 return {{
                    plan: msao.receipt.plan,
                    codes: [
                        await code({{ messages: [] }}),
                        await code({{ messages: {question}, tools: [{{}}] }}),
                        await code({{ messages: {question}, temperature: 3 }}),
                        await code({{ messages: [{{ role: 'user', content: 'x'.repeat(5000) }}] }}),
                        await code({{ messages: [{{ role: 'user', content: [{{ type: 'image_url', image_url: {{ url: 'data:image/png;base64,AAAA' }} }}] }}] }}),
                    ],
                 }};"
            ),
        )?;
        let vision = &read["plan"]["modalities"][0];
        ensure!(vision["modality"] == "vision", "the last picture given is looked at again: {vision}");
        let codes = json!(["invalid_input", "unsupported", "invalid_input", "question_too_long", "empty_question"]);
        ensure!(read["codes"] == codes, "{}", read["codes"]);
        Ok(())
    })
}
