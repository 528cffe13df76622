//! Puts a prompt together from text, special tokens and placeholders.
//!
//! Text that comes in pieces is one text to the tokenizer, so that merges across the seams happen as they would in a prompt
//! that was written out and tokenised at once, as transformers does it.

use std::ops::Range;

use super::TextTokenizer;
use super::chat::{InputSpan, PromptTokens};
use super::image_tokens::{ImageTokens, ImageWords};
use crate::error::ModelError;

pub(super) struct PromptBuilder<'a> {
    tokenizer: &'a TextTokenizer,
    tokens: PromptTokens,
    /// Text since the last special token.
    text: String,
}

impl<'a> PromptBuilder<'a> {
    pub(super) fn new(tokenizer: &'a TextTokenizer) -> Self {
        Self { tokenizer, tokens: PromptTokens::default(), text: String::new() }
    }

    /// Text that holds no special token, whatever it looks like.
    pub(super) fn text(&mut self, text: &str) {
        self.text.push_str(text);
    }

    pub(super) fn special(&mut self, token: u32) -> Result<(), ModelError> {
        self.flush()?;
        self.tokens.ids.push(token);
        Ok(())
    }

    /// A picture: the tiles that are looked at row by row, each under its place, then the whole.
    pub(super) fn image(&mut self, words: &ImageWords, image: &ImageTokens) -> Result<(), ModelError> {
        let layout = image.layout;
        let mut inputs = Vec::new();
        for row in 0..layout.rows {
            let first = (row * layout.columns) as usize;
            let tiles = first..first + layout.columns as usize;
            for input in tiles.clone().filter(|&input| image.count(input) > 0) {
                self.special(words.around)?;
                self.special(words.tile(row, input - first)?)?;
                inputs.push(InputSpan {
                    input,
                    span: self.placeholders(words.placeholder, image.count(input))?,
                });
            }
            if tiles.clone().any(|input| image.count(input) > 0) {
                self.text("\n");
            }
        }
        if !inputs.is_empty() {
            self.text("\n");
        }
        let whole = layout.num_inputs() - 1;
        self.special(words.around)?;
        if image.count(whole) > 0 {
            self.special(words.global)?;
            let span = self.placeholders(words.placeholder, image.count(whole))?;
            inputs.push(InputSpan { input: whole, span });
            self.special(words.around)?;
        }
        let end = inputs.last().map_or(self.tokens.ids.len(), |input| input.span.end);
        let start = inputs.first().map_or(end, |input| input.span.start);
        self.tokens.image_spans.push(start..end);
        self.tokens.image_inputs.push(inputs);
        Ok(())
    }

    pub(super) fn audio(
        &mut self,
        [start, placeholder, end]: [u32; 3],
        count: usize,
    ) -> Result<(), ModelError> {
        self.special(start)?;
        let span = self.placeholders(placeholder, count)?;
        self.tokens.audio_spans.push(span);
        self.special(end)
    }

    pub(super) fn finish(mut self) -> Result<PromptTokens, ModelError> {
        self.flush()?;
        Ok(self.tokens)
    }

    fn placeholders(&mut self, token: u32, count: usize) -> Result<Range<usize>, ModelError> {
        self.flush()?;
        let start = self.tokens.ids.len();
        self.tokens.ids.resize(start + count, token);
        Ok(start..start + count)
    }

    fn flush(&mut self) -> Result<(), ModelError> {
        if !self.text.is_empty() {
            self.tokens.ids.extend(self.tokenizer.encode(&self.text)?);
            self.text.clear();
        }
        Ok(())
    }
}
