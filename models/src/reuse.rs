//! Keys and values that outlive their answer: their size, their room, and prompts that begin as another one did.
//!
//! What a prompt's beginning was is for the caller to know: tokens alone do not tell, since all pictures have the same
//! placeholders.

use crate::assistant::{Assistant, EncodedPrompt};
use crate::error::ModelError;
use crate::generation::Generation;
use crate::kv_cache::KvCache;
use crate::prompt::Prompt;

/// The beginning of a prompt as it was read before, in a cache of its own.
#[derive(Debug)]
pub struct ReadBefore {
    cache: KvCache,
}

impl ReadBefore {
    /// How many of the prompt's tokens it holds.
    pub fn tokens(&self) -> usize {
        self.cache.len()
    }
}

impl Assistant {
    /// Bytes of keys and values of a prompt and its answer of so many tokens together.
    pub fn kv_bytes(&self, tokens: usize) -> u64 {
        self.parts.model.decoder.kv_bytes(tokens)
    }

    /// As [`Self::encode`] for a prompt whose beginning was read before: what lies in it does not go through the
    /// towers.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_rest_of(
        &self,
        prompt: &Prompt,
        before: Option<&ReadBefore>,
    ) -> Result<EncodedPrompt, ModelError> {
        self.encode_behind(prompt, before.map_or(0, ReadBefore::tokens))
    }

    /// As [`Self::prefill`], going on from what was read before, with room for an answer of `max_new_tokens`.
    ///
    /// The prompt must have been encoded with the same beginning, and end behind it. If no beginning is given, none is
    /// needed.
    ///
    /// # Errors
    /// As [`Self::prefill`].
    pub async fn prefill_rest_of(
        &self,
        prompt: &EncodedPrompt,
        before: Option<ReadBefore>,
        max_new_tokens: usize,
    ) -> Result<Generation, ModelError> {
        let positions = prompt.num_tokens() + max_new_tokens;
        let cache = match before {
            Some(before) => before.cache,
            None => self.parts.model.decoder.new_cache(1, positions),
        };
        self.prefill_into(prompt, cache, max_new_tokens).await
    }
}

impl Generation {
    /// Bytes of its keys and values, free space included.
    pub fn kv_bytes(&self) -> u64 {
        self.cache.bytes()
    }

    /// Positions whose keys and values are held: the prompt's, and those of the answer that went through the decoder.
    pub fn held_positions(&self) -> usize {
        self.cache.len()
    }

    /// Copies the first `tokens` held positions, for a prompt that begins with them, with room for `positions`.
    ///
    /// # Panics
    /// If fewer are held, or they do not fit.
    pub fn read_before(&self, tokens: usize, positions: usize) -> ReadBefore {
        let capacity = self.assistant.parts.model.decoder.shapes().capacity(positions);
        ReadBefore { cache: self.cache.prefix(tokens, capacity) }
    }

    /// Changes the bound of the answer and the room for it; not below the tokens that stand.
    pub fn resize(&mut self, max_new_tokens: usize) {
        self.max_new_tokens = max_new_tokens.max(self.tokens().len());
        let decoder = &self.assistant.parts.model.decoder;
        let capacity = decoder.shapes().capacity(self.prompt_tokens() + self.max_new_tokens);
        if capacity != self.cache.capacity() {
            self.cache.resize(capacity);
        }
    }
}
