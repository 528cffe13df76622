//! A server that asks for keys, and a page that gets session tokens instead.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::Command,
};

use anyhow::{Context, Result, ensure};
use msao_tests::{
    evaluation,
    server::{Server, binary},
};
use serde_json::{Value, json};

use crate::embedding::{Embedding, expect_answer, messages, policy, run};

const PLAIN: &str = "01-colour";

/// A new key, which goes into the file.
fn create_key(file: &str) -> Result<String> {
    let output =
        Command::new(binary()?).args(["keys", "create", "--keys-file", file, "--name", "shop"]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// What a shop's own server does: trades its key for a token.
fn session_token(server: &Server, key: &str, origin: &str) -> Result<String> {
    let body = json!({"origin": origin, "expires_in_s": 300}).to_string();
    let mut stream = TcpStream::connect(server.address())?;
    write!(
        stream,
        "POST /v1/session-tokens HTTP/1.1\r\nHost: localhost:{}\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        server.address().port(),
        body.len()
    )?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    let (_, json) = reply.split_once("\r\n\r\n").with_context(|| reply.clone())?;
    let start = json.find('{').with_context(|| reply.clone())?;
    let json = json[start..].rsplit_once('}').map_or(json, |(json, _)| json).to_owned() + "}";
    let token: Value = serde_json::from_str(&json).with_context(|| reply.clone())?;
    Ok(token["token"].as_str().with_context(|| reply.clone())?.to_owned())
}

#[test]
fn a_page_opens_its_session_with_a_token_and_without_one_the_device_answers_alone() -> Result<()> {
    let file = std::env::temp_dir().join(format!("msao-embed-keys-{}.json", std::process::id()));
    let path = file.display().to_string();
    let key = create_key(&path)?;
    let flags = ["--keys-file".to_owned(), path];
    let embedding = Embedding::with_flags(&policy("#### From a server")?, &flags, |site, _server| {
        site.add("/", "<!doctype html><html lang=\"en\"><title>Shop</title></html>");
        Ok(())
    })?;
    // Sessions are opened within the server's frame, and so under its own origin.
    let token = json!(session_token(&embedding.server, &key, &embedding.server.url(""))?);
    let sample = evaluation::sample(PLAIN)?;
    let messages = messages(&sample)?;
    embedding.visit("embed-token", |tab| {
        let read = run(
            tab,
            &format!(
                "const {{ createAssistant }} = await import(`${{server}}/engine/index.js`);
                 const ask = async (options) => {{
                    const assistant = await createAssistant({{ server, engine: 'simd', ...options }});
                    const {{ choices, msao }} = await assistant.chat.completions.create({{ messages: {messages} }});
                    assistant.dispose();
                    return [choices[0].message.content, msao.receipt.cloud !== null];
                 }};
                 let asked = 0;
                 const token = async () => {{ asked += 1; return {token}; }};
                 return {{ with: await ask({{ token }}), asked, without: await ask({{}}), failing: await ask({{ token: () => {{ throw new Error('no'); }} }}) }};"
            ),
        )?;
        for name in ["with", "without", "failing"] {
            expect_answer(&read[name][0], &sample)?;
        }
        ensure!(read["with"][1] == true && read["asked"].as_u64() >= Some(1), "{read}");
        ensure!(read["without"][1] == false && read["failing"][1] == false, "{read}");
        Ok(())
    })?;
    fs::remove_file(file)?;
    Ok(())
}
