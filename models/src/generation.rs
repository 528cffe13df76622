//! An answer in the making: greedy decoding, verification of drafts in one pass, and roll-back.
//!
//! The state is the cache and the tokens that stand so far. Tokens that stand but have not gone through the
//! decoder yet are pending; the next step runs them together with what it asks about and reads scores back
//! once. It knows nothing of who makes drafts or why; see Leviathan et al. 2023 for the scheme, here in its
//! greedy form.

use burn::tensor::Tensor;

use crate::assistant::Assistant;
use crate::error::ModelError;
use crate::kv_cache::KvCache;
use crate::text::TokenStream;

/// A token that the model would write next.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenProposal {
    /// The token.
    pub token_id: u32,
    /// Visible text that the token completes; empty while a character is still incomplete.
    pub text: String,
    /// The model's probability of the token, 0 to 1.
    pub probability: f32,
}

/// What one verification pass said about a run of drafts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VerificationOutcome {
    /// How many drafts, from the first on, are what the model itself would have written.
    pub accepted: usize,
    /// Those drafts with the model's own probabilities and their text; an accepted end token is not among them.
    pub accepted_tokens: Vec<TokenProposal>,
    /// The model's own next token: a correction of the first rejected draft, or one token more after the last
    /// accepted one; `None` if the answer ends here.
    pub next: Option<TokenProposal>,
}

/// One answer being generated. Cloning forks it; a fork shares the weights and copies the cache when it writes.
///
/// Dropping the future of a step half-way leaves the state as it was before the step.
#[derive(Debug, Clone)]
pub struct Generation {
    assistant: Assistant,
    cache: KvCache,
    /// Scores of the answer's first token.
    first_logits: Vec<f32>,
    /// Tokens that stand, in order, without an end token.
    tokens: Vec<u32>,
    stream: TokenStream,
    prompt_tokens: usize,
    max_new_tokens: usize,
    ended: bool,
}

impl Generation {
    pub(crate) fn new(assistant: Assistant, cache: KvCache, scores: Vec<f32>, max_new_tokens: usize) -> Self {
        let stream = assistant.tokenizer().stream();
        let prompt_tokens = cache.len();
        let tokens = Vec::new();
        Self {
            assistant,
            cache,
            first_logits: scores,
            tokens,
            stream,
            prompt_tokens,
            max_new_tokens,
            ended: false,
        }
    }

    /// Bounds the answer; the bound can only be lowered, since the cache was made for the one before.
    #[must_use]
    pub fn with_max_new_tokens(mut self, max_new_tokens: usize) -> Self {
        self.max_new_tokens = max_new_tokens.min(self.max_new_tokens);
        self
    }

    /// Tokens that stand so far, without the prompt and without an end token.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Scores of the answer's first token over the vocabulary, before softmax.
    pub fn first_logits(&self) -> &[f32] {
        &self.first_logits
    }

    /// Positions of the prompt.
    pub fn prompt_tokens(&self) -> usize {
        self.prompt_tokens
    }

    /// Whether the answer has ended, by its end token or its bound.
    pub fn is_finished(&self) -> bool {
        self.ended || self.remaining() == 0
    }

    /// How many tokens more the answer may have; also the most drafts that [`Self::verify`] looks at.
    pub fn remaining(&self) -> usize {
        self.max_new_tokens.saturating_sub(self.tokens.len())
    }

    /// Writes the most likely next token; `None` once the answer has ended.
    ///
    /// # Errors
    /// [`ModelError::ReadBack`] if the device fails.
    pub async fn next_token(&mut self) -> Result<Option<TokenProposal>, ModelError> {
        Ok(self.verify(&[]).await?.next)
    }

    /// Checks a run of drafts in one pass, keeps those that the model itself would have written, adds its own
    /// next token, and rolls the cache back to what stands.
    ///
    /// The standing tokens afterwards are exactly those that [`Self::next_token`] alone would have written.
    ///
    /// # Errors
    /// [`ModelError::Prompt`] for a draft outside the vocabulary, [`ModelError::ReadBack`] if the device fails.
    pub async fn verify(&mut self, drafts: &[u32]) -> Result<VerificationOutcome, ModelError> {
        self.check_vocabulary(drafts)?;
        let mut outcome = VerificationOutcome::default();
        if self.is_finished() {
            return Ok(outcome);
        }
        let drafts = &drafts[..drafts.len().min(self.remaining())];
        let before = self.tokens.len();
        let scores = self.run(drafts).await?;
        let mut candidates = Vec::with_capacity(drafts.len() + 1);
        for row in scores.chunks_exact(self.vocab_size()) {
            candidates.push(most_likely(row)?);
        }
        for (index, (token_id, probability)) in candidates.into_iter().enumerate() {
            if self.remaining() == 0 {
                break;
            }
            let is_accepted = drafts.get(index) == Some(&token_id);
            outcome.accepted += usize::from(is_accepted);
            if token_id == self.assistant.parts.template.end_of_utterance_id() {
                self.ended = true;
                break;
            }
            self.tokens.push(token_id);
            let text = self.stream.push(self.assistant.tokenizer(), token_id);
            let proposal = TokenProposal { token_id, text, probability };
            if is_accepted {
                outcome.accepted_tokens.push(proposal);
            } else {
                outcome.next = Some(proposal);
                break;
            }
        }
        self.cache.truncate(self.prompt_tokens + before + outcome.accepted_tokens.len());
        Ok(outcome)
    }

    /// Adopts tokens that somebody else decided on; they go through the decoder with the next step.
    ///
    /// # Errors
    /// [`ModelError::Prompt`] for a token outside the vocabulary or more tokens than fit.
    pub fn adopt(&mut self, tokens: &[u32]) -> Result<(), ModelError> {
        self.check_vocabulary(tokens)?;
        if tokens.len() > self.remaining() {
            let reason = format!("{} tokens to adopt, {} fit", tokens.len(), self.remaining());
            return Err(ModelError::Prompt { reason });
        }
        for &token in tokens {
            self.tokens.push(token);
            self.stream.push(self.assistant.tokenizer(), token);
        }
        Ok(())
    }

    /// Goes back to the first `count` tokens of the answer; nothing happens if fewer stand.
    pub fn roll_back(&mut self, count: usize) {
        if count > self.tokens.len() {
            return;
        }
        self.ended = false;
        self.tokens.truncate(count);
        self.stream = self.assistant.tokenizer().stream();
        for &token in &self.tokens {
            self.stream.push(self.assistant.tokenizer(), token);
        }
        // The last standing token must run again, for its scores are gone.
        let keep = self.prompt_tokens + count.saturating_sub(1);
        self.cache.truncate(keep.min(self.cache.len()));
    }

    /// Runs pending tokens and drafts, and returns the scores after the last standing token and after each draft.
    async fn run(&mut self, drafts: &[u32]) -> Result<Vec<f32>, ModelError> {
        let start = self.cache.len();
        let pending = &self.tokens[start - self.prompt_tokens..];
        let (num_pending, mut ids) = (pending.len(), [pending, drafts].concat());
        let count = ids.len();
        let mut scores = if num_pending == 0 { self.first_logits.clone() } else { Vec::new() };
        if count == 0 {
            return Ok(scores);
        }
        let decoder = &self.assistant.parts.model.decoder;
        ids.resize(decoder.shapes().rows(count), self.assistant.config().pad_token_id);
        let hidden = decoder.forward(decoder.embed(&[ids]), count, &mut self.cache);
        let logits = decoder.logits(hidden);
        // Only once the scores are here does the step count: the future may be dropped while it waits.
        self.cache.truncate(start);
        let rows = read_back(logits).await?;
        self.cache.advance(count);
        let first = num_pending.saturating_sub(1) * self.vocab_size();
        scores.extend_from_slice(&rows[first..count * self.vocab_size()]);
        Ok(scores)
    }

    fn vocab_size(&self) -> usize {
        self.assistant.config().text_config.vocab_size
    }

    fn check_vocabulary(&self, tokens: &[u32]) -> Result<(), ModelError> {
        let vocab_size = self.vocab_size();
        match tokens.iter().find(|&&token| token as usize >= vocab_size) {
            None => Ok(()),
            Some(token) => {
                let reason = format!("token {token} is outside the vocabulary of {vocab_size}");
                Err(ModelError::Prompt { reason })
            }
        }
    }
}

/// Copies a tensor to host memory; the one place where a step waits for the device.
pub(crate) async fn read_back<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, ModelError> {
    let failed = |reason: String| ModelError::ReadBack { reason };
    let data = tensor.into_data_async().await.map_err(|error| failed(error.to_string()))?;
    data.try_into_vec::<f32>().map_err(|error| failed(format!("{error:?}")))
}

/// The token with the highest score, the first of equals, and its probability under softmax.
fn most_likely(scores: &[f32]) -> Result<(u32, f32), ModelError> {
    let (mut best, mut highest) = (0, f32::NEG_INFINITY);
    for (token, &score) in scores.iter().enumerate() {
        if score > highest {
            (best, highest) = (token as u32, score);
        }
    }
    let total: f32 = scores.iter().map(|score| (score - highest).exp()).sum();
    if total.is_finite() {
        Ok((best, total.recip()))
    } else {
        Err(ModelError::ReadBack {
            reason: "the scores are not finite: the weights or the device are damaged".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::most_likely;

    #[test]
    fn the_first_of_equal_scores_wins_and_probabilities_are_softmax() {
        let (token, probability) = most_likely(&[0.0, 2.0, 2.0, -1.0]).unwrap();
        assert_eq!(token, 1);
        let expected = 2_f32.exp() / (1.0 + 2.0 * 2_f32.exp() + (-1_f32).exp());
        assert!((probability - expected).abs() < 1e-6);
    }

    #[test]
    fn scores_of_damaged_weights_are_refused() {
        assert!(most_likely(&[f32::NAN, 1.0]).is_err());
        assert!(most_likely(&[f32::NAN, f32::NAN]).is_err());
    }
}
