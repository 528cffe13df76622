//! From a list of messages to a question, the turns before it, and their media.
//!
//! The models here know user and assistant only. What a system message says is put in front of the question that follows
//! it, on lines of its own.

use msao_protocol::{ErrorCode, Limits, Media};

use super::error::ApiError;
use super::lenient::TextOr;
use super::media::{ImageSource, image_source, recording};
use super::request::{Message, Part, text_of};
use super::video::{Video, video};
use crate::intake::Refusal;

/// One question of a conversation.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Question {
    pub(super) text: String,
    pub(super) images: Vec<ImageSource>,
    /// A video, instead of pictures.
    pub(super) video: Option<Video>,
    pub(super) audio: Option<Media>,
}

/// A question, and the questions and answers before it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Conversation {
    pub(super) earlier: Vec<(Question, String)>,
    pub(super) question: Question,
}

/// Reads messages, media included.
///
/// # Errors
/// For roles and parts that are not known, an order that is no conversation, and media over their budgets.
pub(super) fn conversation(messages: &[Message], limits: &Limits) -> Result<Conversation, ApiError> {
    let mut reader =
        Reader { limits, images: 0, instructions: String::new(), asked: None, earlier: Vec::new() };
    for (index, message) in messages.iter().enumerate() {
        reader.take(message, &format!("messages[{index}]"))?;
    }
    reader.finish()
}

struct Reader<'a> {
    limits: &'a Limits,
    /// Pictures so far.
    images: usize,
    /// What system messages said that no question has followed.
    instructions: String,
    /// The question that waits for its answer.
    asked: Option<Question>,
    earlier: Vec<(Question, String)>,
}

impl Reader<'_> {
    fn take(&mut self, message: &Message, param: &str) -> Result<(), ApiError> {
        match message.role.as_str() {
            "system" | "developer" => {
                let text = plain_text(message, param)?;
                append_line(&mut self.instructions, &text);
                Ok(())
            }
            "user" => self.take_question(message, param),
            "assistant" => self.take_answer(message, param),
            "tool" | "function" => {
                let message = "this model calls no tools: leave their messages out";
                Err(ApiError::unsupported(&format!("{param}.role"), message))
            }
            other => {
                let other: String = other.chars().take(40).collect();
                let message = format!("`{other}` is no role: use system, user or assistant");
                Err(ApiError::invalid(format!("{param}.role"), "invalid_value", message))
            }
        }
    }

    fn take_question(&mut self, message: &Message, param: &str) -> Result<(), ApiError> {
        let mut question = self.asked.take().unwrap_or_default();
        append_line(&mut question.text, &std::mem::take(&mut self.instructions));
        match &message.content {
            None => {}
            Some(TextOr::Text(text)) => append_line(&mut question.text, text),
            Some(TextOr::List(parts)) => {
                for (index, part) in parts.0.iter().enumerate() {
                    self.take_part(part, &mut question, &format!("{param}.content[{index}]"))?;
                }
            }
        }
        self.asked = Some(question);
        Ok(())
    }

    fn take_part(&mut self, part: &Part, question: &mut Question, param: &str) -> Result<(), ApiError> {
        let missing = |field: &str| {
            let message = format!("a part of type `{}` needs `{field}`", part.r#type);
            ApiError::invalid(format!("{param}.{field}"), "missing_field", message)
        };
        match part.r#type.as_str() {
            "text" => {
                let text = part.text.as_deref().ok_or_else(|| missing("text"))?;
                append_line(&mut question.text, text);
            }
            "image_url" => {
                let image = part.image_url.as_ref().ok_or_else(|| missing("image_url"))?;
                self.images += 1;
                // Before any of them is decoded or fetched.
                let most = self.limits.images.saturating_add(self.limits.history_images);
                if self.images > most as usize {
                    let message = format!("more than {most} images were sent: send fewer");
                    return Err(ApiError::from(Refusal::new(ErrorCode::TooManyImages, message)).about(param));
                }
                let source = image_source(&image.url, &format!("{param}.image_url.url"), self.limits)?;
                question.images.push(source);
            }
            "video_url" => {
                let address = part.video_url.as_ref().ok_or_else(|| missing("video_url"))?;
                if question.video.is_some() {
                    let message = "a question has one video: ask about one at a time";
                    return Err(ApiError::unsupported(param, message));
                }
                question.video = Some(video(address, &format!("{param}.video_url"), self.limits)?);
            }
            "input_audio" => {
                let audio = part.input_audio.as_ref().ok_or_else(|| missing("input_audio"))?;
                if question.audio.is_some() {
                    let message = "a question has one recording: put them together into one";
                    return Err(ApiError::unsupported(param, message));
                }
                question.audio = Some(recording(audio, &format!("{param}.input_audio"), self.limits)?);
            }
            other => {
                let other: String = other.chars().take(40).collect();
                let message = format!(
                    "parts of type `{other}` are not read: use text, image_url, video_url and input_audio"
                );
                return Err(ApiError::unsupported(&format!("{param}.type"), message));
            }
        }
        if question.video.is_some() && !question.images.is_empty() {
            let message =
                "a question is about pictures or about a video: send either, or both in turns of their own";
            return Err(ApiError::unsupported(param, message));
        }
        Ok(())
    }

    fn take_answer(&mut self, message: &Message, param: &str) -> Result<(), ApiError> {
        if message.tool_calls.0 {
            let message = "this model calls no tools: leave `tool_calls` out";
            return Err(ApiError::unsupported(&format!("{param}.tool_calls"), message));
        }
        if message.audio.0 {
            let message = "answers are text only: send what was said as text";
            return Err(ApiError::unsupported(&format!("{param}.audio"), message));
        }
        let text = plain_text(message, param)?;
        match (self.asked.take(), self.earlier.last_mut()) {
            (Some(question), _) => self.earlier.push((question, text)),
            // Two in a row are one answer.
            (None, Some((_, answer))) => append_line(answer, &text),
            (None, None) => {
                let message = "an answer comes before any question: begin with a user message";
                return Err(ApiError::invalid(format!("{param}.role"), "invalid_order", message));
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Conversation, ApiError> {
        let Some(mut question) = self.asked else {
            let message = "the last message is no question: end with a user message";
            return Err(ApiError::invalid("messages", "invalid_order", message));
        };
        if !self.instructions.is_empty() {
            let mut text = self.instructions;
            append_line(&mut text, &question.text);
            question.text = text;
        }
        Ok(Conversation { earlier: self.earlier, question })
    }
}

/// The text of a message that cannot have anything else.
fn plain_text(message: &Message, param: &str) -> Result<String, ApiError> {
    let Some(content) = &message.content else { return Ok(String::new()) };
    text_of(content).ok_or_else(|| {
        let message = format!("messages of role `{}` are text: leave other parts out", message.role);
        ApiError::unsupported(&format!("{param}.content"), message)
    })
}

fn append_line(text: &mut String, line: &str) {
    if !text.is_empty() && !line.is_empty() {
        text.push('\n');
    }
    text.push_str(line);
}

#[cfg(test)]
mod tests {
    use msao_protocol::MediaKind;
    use proptest::prelude::{any, proptest};
    use serde_json::{Value, json};

    use super::super::request::ChatRequest;
    use super::*;

    fn read(messages: &Value) -> Result<Conversation, ApiError> {
        let body = json!({"model": "m", "messages": messages}).to_string();
        let request = ChatRequest::from_json(body.as_bytes()).unwrap();
        conversation(&request.messages.0, &Limits { images: 1, history_images: 1, ..Limits::default() })
    }

    fn said(role: &str, content: &str) -> Value {
        json!({"role": role, "content": content})
    }

    #[test]
    fn turns_are_paired_and_instructions_go_to_the_question_that_follows() {
        let read = read(&json!([
            said("system", "Be brief."),
            said("user", "One?"),
            said("assistant", "1"),
            said("assistant", "and a half"),
            said("developer", "In words."),
            said("user", "Two?"),
            said("user", "Please."),
        ]))
        .unwrap();
        let [(asked, answer)] = &read.earlier[..] else { panic!("{read:?}") };
        assert_eq!((asked.text.as_str(), answer.as_str()), ("Be brief.\nOne?", "1\nand a half"));
        assert_eq!(read.question.text, "In words.\nTwo?\nPlease.");
    }

    #[test]
    fn parts_keep_their_order_by_kind() {
        let image = |data: &str| json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{data}")}});
        let audio = json!({"type": "input_audio", "input_audio": {"data": "Bw", "format": "wav"}});
        let text = json!({"type": "text", "text": "what?"});
        let content = json!([image("AQ"), text, audio, image("Ag")]);
        let question = read(&json!([{"role": "user", "content": content}])).unwrap().question;
        let bytes: Vec<_> = question
            .images
            .iter()
            .map(|image| match image {
                ImageSource::Inline(media) => media.bytes[0],
                ImageSource::Remote(url) => panic!("{url}"),
            })
            .collect();
        assert_eq!((question.text.as_str(), bytes), ("what?", vec![1, 2]));
        assert_eq!(question.audio, Some(Media { kind: MediaKind::Wav, bytes: vec![7] }));
    }

    #[test]
    fn what_is_no_conversation_is_refused_with_its_place() {
        let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AQ"}});
        let film =
            json!({"type": "video_url", "video_url": {"url": "data:video/jpeg;base64,AQ,Ag", "fps": 2}});
        let many: Vec<_> = (0..3).map(|_| json!({"role": "user", "content": [image]})).collect();
        for (messages, param) in [
            (json!([]), "messages"),
            (json!([said("assistant", "hi")]), "messages[0].role"),
            (json!([said("user", "hi"), said("assistant", "hi")]), "messages"),
            (json!([said("user", "hi"), said("tool", "7")]), "messages[1].role"),
            (json!([said("narrator", "hi")]), "messages[0].role"),
            (json!([{"role": "system", "content": [image]}, said("user", "hi")]), "messages[0].content"),
            (json!([{"role": "user", "content": [{"type": "file"}]}]), "messages[0].content[0].type"),
            (json!([{"role": "user", "content": [{"type": "text"}]}]), "messages[0].content[0].text"),
            (json!(many), "messages[2].content[0]"),
            (
                json!([{"role": "user", "content": [{"type": "video_url"}]}]),
                "messages[0].content[0].video_url",
            ),
            (json!([{"role": "user", "content": [film, film]}]), "messages[0].content[1]"),
            (json!([{"role": "user", "content": [film, image]}]), "messages[0].content[1]"),
        ] {
            let error: Value = serde_json::from_str(&read(&messages).unwrap_err().to_json()).unwrap();
            assert_eq!(error["error"]["param"], param, "{messages}");
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_trouble(
            at in 0_usize..400,
            inserted in proptest::collection::vec(any::<u8>(), 0..8),
            removed in 0_usize..40,
        ) {
            let audio = json!({"type": "input_audio", "input_audio": {"data": "Bw", "format": "wav"}});
            let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AQ"}});
            let content = json!([image, {"type": "text", "text": "what?"}, audio]);
            let messages = json!([said("system", "s"), said("user", "u"), said("assistant", "a"),
                {"role": "user", "content": content}]);
            let mut body = json!({"model": "m", "messages": messages, "stop": ["x"], "logprobs": true,
                "prediction": {"type": "content", "content": "p"}}).to_string().into_bytes();
            let at = at.min(body.len());
            body.splice(at..(at + removed).min(body.len()), inserted);
            if let Ok(request) = ChatRequest::from_json(&body) {
                let _ = conversation(&request.messages.0, &Limits::default());
                let _ = (request.stops(), request.prediction(), request.sampling(1), request.top_logprobs());
            }
        }
    }
}
