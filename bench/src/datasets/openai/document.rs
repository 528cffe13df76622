//! The documents of the API, after OpenAI's reference of chat completions: no more of them than is needed.

use base64::{Engine, engine::general_purpose::STANDARD};
use msao_protocol::MediaKind;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::datasets::MAX_NEW_TOKENS;

/// Characters of somebody else's message that are shown.
const MOST_MESSAGE_CHARS: usize = 300;

/// A question about a picture. Greedy, so that an answer can be had again.
pub(super) fn question(model: &str, question: &str, kind: MediaKind, image: &[u8]) -> Vec<u8> {
    let format = match kind {
        MediaKind::Jpeg => "jpeg",
        MediaKind::Webp => "webp",
        _ => "png",
    };
    let url = format!("data:image/{format};base64,{}", STANDARD.encode(image));
    let content = json!([
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": question},
    ]);
    let document = json!({
        "model": model,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": MAX_NEW_TOKENS,
        "temperature": 0,
        "stream": false,
    });
    document.to_string().into_bytes()
}

/// A completion.
#[derive(Debug, Deserialize)]
pub(super) struct Reply {
    #[serde(default)]
    choices: Vec<Choice>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    message: Message,
}

#[derive(Debug, Deserialize)]
struct Message {
    content: Option<Content>,
    refusal: Option<String>,
}

/// Servers of older forms answer in parts.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    #[serde(default)]
    text: String,
}

impl Reply {
    /// The answer, trimmed; `None` without a choice. A model that refuses has answered.
    pub(super) fn text(self) -> Option<String> {
        let message = self.choices.into_iter().next()?.message;
        let text = match message.content {
            Some(Content::Text(text)) => text,
            Some(Content::Parts(parts)) => parts.into_iter().map(|part| part.text).collect(),
            None => message.refusal.unwrap_or_default(),
        };
        Some(text.trim().to_owned())
    }
}

/// The models of a server.
#[derive(Debug, Deserialize)]
pub(super) struct Listed {
    #[serde(default)]
    data: Vec<Model>,
}

#[derive(Debug, Deserialize)]
struct Model {
    id: String,
}

impl Listed {
    /// The first one's name.
    pub(super) fn first(self) -> Option<String> {
        self.data.into_iter().next().map(|model| model.id)
    }
}

/// What a refusal says, in OpenAI's form, FastAPI's or none, in one short line. A key that is in it is taken out.
pub(super) fn error_message(body: &[u8], key: Option<&str>) -> String {
    let said = serde_json::from_slice::<Value>(body).ok().and_then(|document| {
        let places = ["/error/message", "/error", "/message", "/detail"];
        let found = places.into_iter().filter_map(|place| document.pointer(place)).next()?;
        Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned))
    });
    let said = said.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let said = key.map_or_else(|| said.clone(), |key| said.replace(key, "[key]"));
    let line: String = said.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() { "nothing more".to_owned() } else { line.chars().take(MOST_MESSAGE_CHARS).collect() }
}
