//! What stands for a picture in a prompt: placeholders for each of its inputs, between special tokens.

use std::collections::BTreeMap;

use super::TextTokenizer;
use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::preprocess::ImageLayout;

/// Largest grid of tiles that tokens are looked up for; published vocabularies have six rows of six.
const MAX_TILES_PER_SIDE: u32 = 16;

/// A picture of a prompt as numbers of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageTokens {
    /// Its inputs.
    pub layout: ImageLayout,
    /// Tokens looked at of each input, the whole picture being the last; an input without any is left out.
    pub counts: Vec<usize>,
}

impl ImageTokens {
    /// A picture all of whose inputs are looked at, `count` tokens of each.
    pub fn all_of(layout: ImageLayout, count: usize) -> Self {
        Self { layout, counts: vec![count; layout.num_inputs()] }
    }

    pub(super) fn count(&self, input: usize) -> usize {
        self.counts.get(input).copied().unwrap_or(0)
    }
}

/// The special tokens of pictures.
#[derive(Debug, Clone)]
pub(super) struct ImageWords {
    pub(super) around: u32,
    pub(super) global: u32,
    pub(super) placeholder: u32,
    /// Placeholders of one input.
    pub(super) count: usize,
    tiles: BTreeMap<(u32, u32), u32>,
}

impl ImageWords {
    /// Looks the tokens up; `None` where the checkpoint cannot see.
    pub(super) fn new(tokenizer: &TextTokenizer, config: &ModelConfig) -> Result<Option<Self>, ModelError> {
        let Some(placeholder) = config.image_token_id else { return Ok(None) };
        let tile = |row: u32, column: u32| {
            let token = tokenizer.token_id(&format!("<row_{}_col_{}>", row + 1, column + 1))?;
            Some(((row, column), token))
        };
        let sides = 0..MAX_TILES_PER_SIDE;
        Ok(Some(Self {
            around: super::chat::special(tokenizer, "<fake_token_around_image>")?,
            global: super::chat::special(tokenizer, "<global-img>")?,
            placeholder: super::chat::placeholder(tokenizer, "<image>", placeholder, "image_token_id")?,
            count: config.num_image_tokens(),
            tiles: sides
                .clone()
                .flat_map(|row| sides.clone().filter_map(move |column| tile(row, column)))
                .collect(),
        }))
    }

    /// The token of a tile's place.
    pub(super) fn tile(&self, row: u32, column: usize) -> Result<u32, ModelError> {
        let token = u32::try_from(column).ok().and_then(|column| self.tiles.get(&(row, column)));
        token.copied().ok_or_else(|| ModelError::Tokenizer {
            reason: format!("it has no token `<row_{}_col_{}>`", row + 1, column + 1),
        })
    }
}
