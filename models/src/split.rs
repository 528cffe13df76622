//! One decoder cut in two: the first layers on one machine, the rest and the head on another.
//!
//! Each half has the cache of its own layers. What passes between them is a row of hidden values a position, and the
//! id of the token that comes of it. How rows travel is not known here.

use burn::tensor::{Tensor, TensorData};

use crate::assistant::{Assistant, DEFAULT_MAX_NEW_TOKENS, EncodedPrompt};
use crate::error::ModelError;
use crate::generation::{most_likely, read_back};
use crate::kv_cache::KvCache;

/// Layers `0..layers` of a decoder, and what they have seen of one answer.
#[derive(Debug)]
pub struct FirstLayers {
    assistant: Assistant,
    cache: KvCache,
    layers: usize,
}

/// Layers `layers..` of a decoder with the head, and what they have seen of one answer.
#[derive(Debug)]
pub struct LastLayers {
    assistant: Assistant,
    cache: KvCache,
    layers: usize,
    /// Positions that may come.
    positions: usize,
}

impl FirstLayers {
    /// Runs a prompt through the first layers, and returns its hidden rows.
    ///
    /// # Shapes
    /// - output: `prompt tokens * hidden` values, position by position
    ///
    /// # Errors
    /// [`ModelError::Prompt`] if there are not that many layers, [`ModelError::ReadBack`] if the device fails.
    pub async fn start(
        assistant: &Assistant,
        prompt: &EncodedPrompt,
        layers: usize,
    ) -> Result<(Self, Vec<f32>), ModelError> {
        check_layers(assistant, layers)?;
        let decoder = &assistant.parts.model.decoder;
        let count = prompt.num_tokens();
        let positions = count + DEFAULT_MAX_NEW_TOKENS.min(assistant.max_sequence() - count);
        let mut cache = decoder.new_cache_of(layers, 1, positions);
        let embeddings = assistant.embed(prompt, &cache);
        let hidden = decoder.forward_layers(embeddings, count, &mut cache, 0..layers);
        let rows = read_back(hidden.narrow(1, 0, count)).await?;
        Ok((Self { assistant: assistant.clone(), cache, layers }, rows))
    }

    /// Runs one further token, and returns its hidden row.
    ///
    /// # Shapes
    /// - output: `hidden` values
    ///
    /// # Errors
    /// [`ModelError::Prompt`] for a token outside the vocabulary or behind the longest answer, [`ModelError::ReadBack`]
    /// if the device fails.
    pub async fn next(&mut self, token: u32) -> Result<Vec<f32>, ModelError> {
        let (config, decoder) = (self.assistant.config(), &self.assistant.parts.model.decoder);
        let padded = decoder.shapes().rows(1);
        if token as usize >= config.text_config.vocab_size {
            let reason =
                format!("token {token} is outside the vocabulary of {}", config.text_config.vocab_size);
            return Err(ModelError::Prompt { reason });
        }
        if self.cache.len() + padded > self.cache.capacity() {
            return Err(full(self.cache.capacity()));
        }
        let mut ids = vec![token];
        ids.resize(padded, config.pad_token_id);
        let hidden = decoder.forward_layers(decoder.embed(&[ids]), 1, &mut self.cache, 0..self.layers);
        read_back(hidden.narrow(1, 0, 1)).await
    }
}

impl LastLayers {
    /// Waits for the rows of an answer of up to `positions` positions, prompt included.
    ///
    /// # Errors
    /// [`ModelError::Prompt`] if there are not that many layers, or fewer positions fit.
    pub fn new(assistant: &Assistant, layers: usize, positions: usize) -> Result<Self, ModelError> {
        check_layers(assistant, layers)?;
        let limit = assistant.max_sequence();
        if positions > limit {
            let reason = format!("{positions} positions are announced, at most {limit} fit");
            return Err(ModelError::Prompt { reason });
        }
        let decoder = &assistant.parts.model.decoder;
        let cache = decoder.new_cache_of(decoder.num_layers() - layers, 1, positions);
        Ok(Self { assistant: assistant.clone(), cache, layers, positions })
    }

    /// Runs the hidden rows of new positions, and returns the token that follows the last one; the end token too.
    ///
    /// # Shapes
    /// - rows: `new positions * hidden` values, at least one position
    ///
    /// # Errors
    /// [`ModelError::Prompt`] for rows that are cut, not finite or too many, [`ModelError::ReadBack`] if the device fails.
    pub async fn next(&mut self, mut rows: Vec<f32>) -> Result<u32, ModelError> {
        let decoder = &self.assistant.parts.model.decoder;
        let hidden_size = self.assistant.config().text_config.hidden_size;
        let count = rows.len() / hidden_size;
        if count == 0 || !rows.len().is_multiple_of(hidden_size) {
            let reason =
                format!("{} hidden values are no rows of {hidden_size}; send whole rows", rows.len());
            return Err(ModelError::Prompt { reason });
        }
        if self.cache.len() + count > self.positions {
            return Err(full(self.positions));
        }
        if !rows.iter().all(|value| value.is_finite()) {
            let reason = "hidden values are not finite; send them in a wider type".to_owned();
            return Err(ModelError::Prompt { reason });
        }
        let padded = decoder.shapes().rows(count).min(self.cache.capacity() - self.cache.len());
        rows.resize(padded * hidden_size, 0.0);
        let hidden =
            Tensor::from_data(TensorData::new(rows, [1, padded, hidden_size]), self.assistant.device());
        let layers = self.layers..decoder.num_layers();
        let hidden = decoder.forward_layers(hidden, count, &mut self.cache, layers);
        most_likely(&read_back(decoder.logits(hidden.narrow(1, count - 1, 1))).await?)
    }
}

/// Holds a cut against a decoder's layers; the half with the head has one at least.
fn check_layers(assistant: &Assistant, layers: usize) -> Result<(), ModelError> {
    let of = assistant.parts.model.decoder.num_layers();
    if layers < of {
        return Ok(());
    }
    Err(ModelError::Prompt {
        reason: format!("a decoder of {of} layers cannot be cut behind layer {layers}"),
    })
}

fn full(positions: usize) -> ModelError {
    ModelError::Prompt { reason: format!("an answer of {positions} positions has no room for more") }
}
