//! In place of [`ChatTemplate`]'s renderer where it is not compiled in: templates that are not known by heart are refused.

use super::TextTokenizer;
use super::chat::TurnTokens;
use super::image_tokens::ImageWords;
use super::prompt_builder::PromptBuilder;
use crate::config::ModelConfig;
use crate::error::ModelError;

/// A template that could be rendered; there is none.
#[derive(Debug, Clone)]
pub(super) enum ChatTemplate {}

impl ChatTemplate {
    pub(super) fn new(_: &str, _: &TextTokenizer, _: &ModelConfig) -> Result<Self, ModelError> {
        let reason =
            "this engine knows the templates of SmolVLM and SmolLM2 only; ask a server that renders others"
                .to_owned();
        Err(ModelError::Config { file: "chat_template", reason })
    }

    pub(super) fn render(
        &self,
        _: &[TurnTokens<'_>],
        _: Option<&ImageWords>,
        _: &mut PromptBuilder<'_>,
    ) -> Result<(), ModelError> {
        match *self {}
    }
}
