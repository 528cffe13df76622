//! Renders a checkpoint's own chat template, as transformers' `apply_chat_template` does.
//!
//! A template is a program from outside: it may take so many steps and no more. What it writes is cut at special tokens, and
//! only those that the template itself wrote count: in what people typed, each is marked before rendering and the mark taken
//! out of plain text afterwards, so no text can become a special token however a template treats it.

use std::sync::Arc;

use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};
use serde_json::{Value, json};

use super::TextTokenizer;
use super::chat::TurnTokens;
use super::image_tokens::ImageWords;
use super::prompt_builder::PromptBuilder;
use crate::config::ModelConfig;
use crate::error::ModelError;

const NAME: &str = "chat_template";
const IMAGE: &str = "<image>";
/// Steps of a rendering; published templates take some dozens a message.
const FUEL: u64 = 1_000_000;
/// Characters that stand for nothing and that no text should have; the first that is not in a conversation marks its texts.
const MARKS: [char; 4] = ['\u{FDD0}', '\u{FDD1}', '\u{FDD2}', '\u{FDD3}'];

/// A compiled template with the tokens it may write. Cloning shares it.
#[derive(Debug, Clone)]
pub(super) struct ChatTemplate {
    environment: Arc<Environment<'static>>,
    /// The longest first, so that none is taken for another's beginning.
    special: Vec<(String, u32)>,
    bos_token: String,
    eos_token: String,
    /// Whether messages are lists of parts rather than plain text.
    has_parts: bool,
}

impl ChatTemplate {
    pub(super) fn new(
        text: &str,
        tokenizer: &TextTokenizer,
        config: &ModelConfig,
    ) -> Result<Self, ModelError> {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_template_owned(NAME, text.to_owned()).map_err(|error| unusable(&error))?;
        let mut special: Vec<(String, u32)> =
            tokenizer.special_tokens().map(|(name, id)| (name.to_owned(), id)).collect();
        special.retain(|(name, _)| !name.is_empty());
        special.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        let named = |id: Option<u32>| {
            let token = special.iter().find(|(_, token)| Some(*token) == id);
            token.map(|(name, _)| name.clone()).unwrap_or_default()
        };
        Ok(Self {
            bos_token: named(config.text_config.bos_token_id),
            eos_token: named(config.eos_token_ids.first().copied()),
            environment: Arc::new(environment),
            special,
            has_parts: config.vision_config.is_some(),
        })
    }

    /// Writes a conversation whose last turn is to be answered.
    pub(super) fn render(
        &self,
        turns: &[TurnTokens<'_>],
        image: Option<&ImageWords>,
        builder: &mut PromptBuilder<'_>,
    ) -> Result<(), ModelError> {
        let typed: Vec<&str> =
            turns.iter().flat_map(|turn| [Some(turn.question), turn.answer]).flatten().collect();
        let Some(mark) = MARKS.into_iter().find(|mark| !typed.iter().any(|text| text.contains(*mark))) else {
            let reason = "its texts hold every character that is kept for marks; leave U+FDD0 to U+FDD3 out"
                .to_owned();
            return Err(ModelError::Prompt { reason });
        };
        let rendered = self.rendered(turns, mark)?;
        let mut images = turns.iter().flat_map(|turn| &turn.images);
        let mut rest = rendered.as_str();
        while let Some((text, name, token, behind)) = self.next_special(rest) {
            builder.text(&text.replace(mark, ""));
            rest = behind;
            match (name == IMAGE, image) {
                (true, Some(words)) => builder.image(words, images.next().ok_or_else(more_or_less)?)?,
                _ => builder.special(token)?,
            }
        }
        builder.text(&rest.replace(mark, ""));
        if images.next().is_some() { Err(more_or_less()) } else { Ok(()) }
    }

    fn rendered(&self, turns: &[TurnTokens<'_>], mark: char) -> Result<String, ModelError> {
        let mut messages = Vec::with_capacity(2 * turns.len());
        let content = |images: usize, text: &str| -> Value {
            let text = self.marked(text, mark);
            if !self.has_parts {
                return json!(text);
            }
            let parts = std::iter::repeat_n(json!({"type": "image"}), images);
            parts.chain([json!({"type": "text", "text": text})]).collect()
        };
        for turn in turns {
            messages.push(json!({"role": "user", "content": content(turn.images.len(), turn.question)}));
            if let Some(answer) = turn.answer {
                messages.push(json!({"role": "assistant", "content": content(0, answer.trim_start())}));
            }
        }
        let template = self.environment.get_template(NAME).map_err(|error| unusable(&error))?;
        let context = json!({
            "messages": messages, "add_generation_prompt": true,
            "bos_token": self.bos_token, "eos_token": self.eos_token,
        });
        template.render(context).map_err(|error| unusable(&error))
    }

    /// Text in which no special token is left.
    fn marked(&self, text: &str, mark: char) -> String {
        let mut marked = String::with_capacity(text.len());
        for (at, character) in text.char_indices() {
            marked.push(character);
            if self.special.iter().any(|(name, _)| text[at..].starts_with(name.as_str())) {
                marked.push(mark);
            }
        }
        marked
    }

    /// The text up to the first special token, the token, and what is behind it.
    fn next_special<'t>(&self, text: &'t str) -> Option<(&'t str, &str, u32, &'t str)> {
        text.char_indices().find_map(|(at, _)| {
            let (name, token) =
                self.special.iter().find(|(name, _)| text[at..].starts_with(name.as_str()))?;
            Some((&text[..at], name.as_str(), *token, &text[at + name.len()..]))
        })
    }
}

fn more_or_less() -> ModelError {
    let reason =
        "the checkpoint's chat template does not write each picture once; ask without pictures".to_owned();
    ModelError::Prompt { reason }
}

fn unusable(error: &Error) -> ModelError {
    ModelError::Config { file: NAME, reason: error.to_string() }
}
