//! The same kinds of files in requests of the HTTP API.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::TestServer;

pub(crate) struct HttpBomb {
    pub(crate) name: &'static str,
    pub(crate) body: String,
    /// As the error tells it.
    pub(crate) code: &'static str,
}

pub(crate) fn all() -> Vec<HttpBomb> {
    let text = json!({"type": "text", "text": "what is this?"});
    let image = |bytes: &[u8]| {
        let url = format!("data:image/jpeg;base64,{}", BASE64_STANDARD.encode(bytes));
        json!({"type": "image_url", "image_url": {"url": url}})
    };
    let audio = |bytes: &[u8]| json!({"type": "input_audio", "input_audio": {"format": "wav", "data": BASE64_STANDARD.encode(bytes)}});
    let bomb = |name, part: Value, code| {
        let messages = json!([{"role": "user", "content": [text, part]}]);
        HttpBomb { name, body: json!({"model": "tiny", "messages": messages}).to_string(), code }
    };
    let parts = vec![text.clone(); 1 << 17];
    let many = json!({"model": "tiny", "messages": [{"role": "user", "content": parts}]}).to_string();
    let deep = format!("{{\"model\": \"tiny\", \"messages\": {}", "[".repeat(8 << 20));
    vec![
        bomb("JPEG of 8 MB that never ends", image(&crate::images::endless_jpeg()), "truncated"),
        bomb("PNG of 1x100000000", image(&crate::forged_png::png_of(1, 100_000_000)), "too_many_pixels"),
        bomb("a file of more than 8 MiB", image(&vec![0xFF; (8 << 20) + 4]), "too_large"),
        bomb("an hour of silence in 8 MB of Ogg", audio(&crate::audio::ogg(8_000_000)), "not_audio"),
        bomb("an hour of silence in 25 MB of Ogg", audio(&crate::audio::ogg(25_000_000)), "too_large"),
        HttpBomb { name: "131072 parts of one message", body: many, code: "invalid_json" },
        HttpBomb { name: "8 million lists in each other", body: deep, code: "invalid_json" },
    ]
}

/// Posts a chat completion; the code of the error that comes back.
pub(crate) async fn refusal(server: &TestServer, body: &str) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let (host, length) = (server.address, body.len());
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await.unwrap();
    let reply = String::from_utf8(reply).unwrap();
    let (_, json) = reply.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no reply: {reply}"));
    let json: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {reply}"));
    json["error"]["code"].as_str().unwrap_or_else(|| panic!("{json}")).to_owned()
}
