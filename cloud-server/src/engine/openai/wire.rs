//! Chat completions as JSON: <https://platform.openai.com/docs/api-reference/chat>, and what engines add to them.
//!
//! Only fields that are used; others are ignored, whatever an engine sends. What is not part of OpenAI's own schema is sent
//! only to engines that are known to take it, since `transformers serve` refuses a request with a field it does not know.

use std::borrow::Cow;

use msao_protocol::{FinishReason, Sampling};
use serde::{Deserialize, Serialize};

use super::error::UpstreamError;
use super::kind::Kind;

/// Seeds of engines are at least 31 bits wide.
const SEED_MASK: u64 = 0x7fff_ffff;

/// One part of a message.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Part {
    ImageUrl { image_url: DataUrl },
    InputAudio { input_audio: InputAudio },
    AudioUrl { audio_url: DataUrl },
    Text { text: String },
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct DataUrl {
    /// A data URL.
    pub(super) url: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct InputAudio {
    /// Base64.
    pub(super) data: String,
    pub(super) format: &'static str,
}

fn message(kind: Kind, said: &Said) -> Message<'_> {
    match said {
        Said::Assistant(text) => Message { role: "assistant", content: Content::Text(text) },
        Said::User(parts) => {
            let content = match parts.as_slice() {
                // Models without any other input have templates that know only this.
                [Part::Text { text }] => Content::Text(text),
                parts => Content::Parts(parts_for(kind, parts)),
            };
            Message { role: "user", content }
        }
    }
}

/// The parts as a kind has them: SGLang takes recordings as `audio_url` and refuses `input_audio`.
fn parts_for(kind: Kind, parts: &[Part]) -> Cow<'_, [Part]> {
    let is_input = |part: &Part| matches!(part, Part::InputAudio { .. });
    if kind != Kind::Sglang || !parts.iter().any(is_input) {
        return Cow::Borrowed(parts);
    }
    let converted = parts.iter().map(|part| match part {
        Part::InputAudio { input_audio: InputAudio { data, format } } => {
            Part::AudioUrl { audio_url: DataUrl { url: format!("data:audio/{format};base64,{data}") } }
        }
        other => other.clone(),
    });
    Cow::Owned(converted.collect())
}

/// What is asked, the same for every upstream that is tried.
#[derive(Debug, Clone)]
pub(super) struct Question {
    /// The conversation, the question last.
    pub(super) said: Vec<Said>,
    pub(super) sampling: Option<Sampling>,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Said {
    User(Vec<Part>),
    Assistant(String),
}

impl Question {
    /// Whether it has no media.
    pub(super) fn is_plain_text(&self) -> bool {
        self.said.iter().all(|said| match said {
            Said::User(parts) => matches!(parts.as_slice(), [Part::Text { .. }]),
            Said::Assistant(_) => true,
        })
    }
}

/// One request.
#[derive(Debug, Serialize)]
pub(super) struct ChatRequest<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    max_tokens: usize,
    temperature: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    add_generation_prompt: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    continue_final_message: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_logprobs: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    return_prompt_token_ids: Option<bool>,
}

#[derive(Debug, Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Debug, Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Content<'a>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(&'a str),
    Parts(Cow<'a, [Part]>),
}

impl<'a> ChatRequest<'a> {
    /// Asks for a stream of at most `max_tokens` that goes on from `standing`, which must be empty where the kind cannot.
    pub(super) fn stream(
        model: &'a str,
        question: &'a Question,
        kind: Kind,
        standing: &'a str,
        max_tokens: usize,
    ) -> Self {
        let mut messages: Vec<_> = question.said.iter().map(|said| message(kind, said)).collect();
        // llama.cpp goes on from a last message of the assistant without being told to.
        let told = (!standing.is_empty() && kind.is_told_to_continue()).then_some(true);
        if !standing.is_empty() {
            messages.push(Message { role: "assistant", content: Content::Text(standing) });
        }
        Self {
            model,
            messages,
            max_tokens,
            temperature: question.sampling.map_or(0.0, |sampling| sampling.temperature),
            top_p: question.sampling.map(|sampling| sampling.top_p),
            seed: question.sampling.map(|sampling| sampling.seed & SEED_MASK),
            stream: true,
            stream_options: Some(StreamOptions { include_usage: true }),
            add_generation_prompt: told.map(|told| !told),
            continue_final_message: told,
            prompt_logprobs: None,
            return_prompt_token_ids: None,
        }
    }

    /// Asks vLLM how likely each token of the prompt is, `written` included, and for the token behind it.
    pub(super) fn score(model: &'a str, question: &'a Question, written: &'a str) -> Self {
        Self {
            stream: false,
            stream_options: None,
            // The most likely token of each place beside the one that stands there.
            prompt_logprobs: Some(1),
            ..Self::stream(model, question, Kind::Vllm, written, 1)
        }
    }
}

impl<'a> ChatRequest<'a> {
    /// Asks SGLang which tokens it makes of a question; it does not come without a token of the answer.
    pub(super) fn prompt_tokens(model: &'a str, question: &'a Question) -> Self {
        Self {
            stream: false,
            stream_options: None,
            return_prompt_token_ids: Some(true),
            ..Self::stream(model, question, Kind::Sglang, "", 1)
        }
    }
}

/// A piece of a stream.
#[derive(Debug, Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<ChunkChoice>,
    usage: Option<Usage>,
    error: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct ChunkChoice {
    #[serde(default)]
    delta: Delta,
    finish_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Delta {
    content: Option<String>,
}

/// Tokens by the upstream's own count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Usage {
    #[serde(default)]
    pub(super) prompt_tokens: u32,
    #[serde(default)]
    pub(super) completion_tokens: u32,
}

/// What one event of a stream says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) finish: Option<FinishReason>,
    pub(super) usage: Option<Usage>,
    /// Whether nothing follows.
    pub(super) is_last: bool,
}

impl Piece {
    /// Reads the data of an event.
    ///
    /// # Errors
    /// When it is no chunk, or tells an error.
    pub(super) fn read(data: &str) -> Result<Self, UpstreamError> {
        if data.trim() == "[DONE]" {
            return Ok(Self { is_last: true, ..Self::default() });
        }
        let chunk: Chunk = serde_json::from_str(data).map_err(|error| {
            UpstreamError::Malformed(format!("a piece of its stream is damaged: {error}"))
        })?;
        if chunk.error.is_some() {
            // In mid-stream there is no status any more.
            return Err(UpstreamError::Failed { status: 500 });
        }
        let mut piece = Self { usage: chunk.usage, ..Self::default() };
        if let Some(choice) = chunk.choices.into_iter().next() {
            piece.text = choice.delta.content.unwrap_or_default();
            piece.finish = choice.finish_reason.as_deref().map(finish_reason);
        }
        Ok(piece)
    }
}

/// `length` where the answer was cut; everything else is an end of the model's or the engine's own choice.
pub(super) fn finish_reason(reason: &str) -> FinishReason {
    if reason == "length" { FinishReason::Length } else { FinishReason::Stop }
}

/// The names of `/v1/models`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ModelList {
    #[serde(default)]
    pub(super) data: Vec<ModelEntry>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ModelEntry {
    pub(super) id: String,
    #[serde(default)]
    pub(super) owned_by: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn question(parts: Vec<Part>) -> Question {
        Question { said: vec![Said::User(parts)], sampling: None }
    }

    #[test]
    fn a_first_request_is_plain_openai() {
        let image = Part::ImageUrl { image_url: DataUrl { url: "data:image/png;base64,AA==".into() } };
        let question = question(vec![image, Part::Text { text: "what?".into() }]);
        let request = ChatRequest::stream("m", &question, Kind::OpenAi, "", 8);
        let expected = json!({
            "model": "m",
            "messages": [{"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
                {"type": "text", "text": "what?"},
            ]}],
            "max_tokens": 8,
            "temperature": 0.0,
            "stream": true,
            "stream_options": {"include_usage": true},
        });
        assert_eq!(serde_json::to_value(&request).unwrap(), expected);
    }

    #[test]
    fn an_answer_goes_on_as_each_kind_is_told_to() {
        let mut question = question(vec![Part::Text { text: "what?".into() }]);
        question.sampling = Some(Sampling { temperature: 0.5, top_p: 0.25, seed: u64::MAX });
        let going_on =
            |kind| serde_json::to_value(ChatRequest::stream("m", &question, kind, " a red", 8)).unwrap();
        let vllm = going_on(Kind::Vllm);
        assert_eq!(
            vllm["messages"],
            json!([
                {"role": "user", "content": "what?"},
                {"role": "assistant", "content": " a red"},
            ])
        );
        assert_eq!(
            (&vllm["continue_final_message"], &vllm["add_generation_prompt"]),
            (&json!(true), &json!(false))
        );
        assert_eq!(
            (&vllm["temperature"], &vllm["top_p"], &vllm["seed"]),
            (&json!(0.5), &json!(0.25), &json!(0x7fff_ffff))
        );
        let llama = going_on(Kind::LlamaCpp);
        assert_eq!(llama["messages"], vllm["messages"]);
        assert!(llama.get("continue_final_message").is_none());
    }

    #[test]
    fn a_conversation_is_told_in_order() {
        let mut question = question(vec![Part::Text { text: "and now?".into() }]);
        let before =
            [Said::User(vec![Part::Text { text: "what?".into() }]), Said::Assistant(" a star".into())];
        question.said.splice(0..0, before);
        let request = serde_json::to_value(ChatRequest::stream("m", &question, Kind::OpenAi, "", 8)).unwrap();
        let expected = json!([
            {"role": "user", "content": "what?"},
            {"role": "assistant", "content": " a star"},
            {"role": "user", "content": "and now?"},
        ]);
        assert_eq!(request["messages"], expected);
        assert!(question.is_plain_text());
    }

    #[test]
    fn recordings_are_as_each_kind_has_them() {
        let audio = Part::InputAudio { input_audio: InputAudio { data: "AA==".into(), format: "wav" } };
        let question = question(vec![audio, Part::Text { text: "what?".into() }]);
        let part = |kind| {
            let request = ChatRequest::stream("m", &question, kind, "", 8);
            serde_json::to_value(request).unwrap()["messages"][0]["content"][0].clone()
        };
        let input = json!({"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}});
        assert_eq!(part(Kind::Vllm), input);
        let url = json!({"type": "audio_url", "audio_url": {"url": "data:audio/wav;base64,AA=="}});
        assert_eq!(part(Kind::Sglang), url);
    }

    #[test]
    fn pieces_of_different_engines_are_read() {
        let read = |data: &str| Piece::read(data).unwrap();
        // `transformers serve` 5.23: the role alone, then text, then usage beside the reason, and no [DONE].
        assert_eq!(
            read(r#"{"id":"1","choices":[{"delta":{"role":"assistant"},"index":0}]}"#),
            Piece::default()
        );
        let text = read(r#"{"choices":[{"delta":{"content":" an"},"index":0}],"system_fingerprint":""}"#);
        assert_eq!(text.text, " an");
        let last = read(
            r#"{"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"completion_tokens":17,"prompt_tokens":53}}"#,
        );
        assert_eq!(last.finish, Some(FinishReason::Stop));
        assert_eq!(last.usage, Some(Usage { prompt_tokens: 53, completion_tokens: 17 }));
        // vLLM and OpenAI: usage in a piece of its own, without choices.
        assert!(read(r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2}}"#).usage.is_some());
        assert!(read("[DONE]").is_last);
        assert_eq!(
            read(r#"{"choices":[{"delta":{"content":null},"finish_reason":"length"}]}"#).finish,
            Some(FinishReason::Length)
        );
        assert_eq!(Piece::read(r#"{"error": "CUDA"}"#).unwrap_err(), UpstreamError::Failed { status: 500 });
        assert!(matches!(Piece::read("{"), Err(UpstreamError::Malformed(_))));
    }
}
