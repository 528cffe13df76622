//! An answer in the making: greedy decoding, verification of drafts in one pass, and roll-back.
//!
//! Verification is two steps: [`Generation::score`] runs the drafts, [`Generation::settle`] makes stand what somebody
//! accepted; [`Generation::verify`] is both under the greedy rule. Several answers share a pass.
//!
//! The state is the cache and the tokens that stand so far. Tokens that stand but have not gone through the
//! decoder yet are pending; the next step runs them together with what it asks about and reads scores back
//! once. It knows nothing of who makes drafts or why; see Leviathan et al. 2023 for the scheme, here in its
//! greedy form.

use std::sync::Arc;

use burn::tensor::Tensor;

use crate::assistant::Assistant;
use crate::decoder::Segment;
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

/// Scores over the vocabulary, before softmax, after the last standing token and after each draft.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    values: Vec<f32>,
    vocab_size: usize,
}

impl Scores {
    /// One row for each place: the first says what follows the standing tokens, row `i` what follows draft `i - 1`.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.vocab_size)
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.values.len() / self.vocab_size
    }

    /// The most likely token of each row, the first of equals.
    ///
    /// # Errors
    /// [`ModelError::ReadBack`] for scores that are not finite.
    pub fn most_likely(&self) -> Result<Vec<u32>, ModelError> {
        self.rows().map(most_likely).collect()
    }

    /// The natural logarithm of each draft's probability in its place.
    ///
    /// # Errors
    /// [`ModelError::ReadBack`] for scores that are not finite.
    pub fn log_probabilities(&self, drafts: &[u32]) -> Result<Vec<f32>, ModelError> {
        self.rows().zip(drafts).map(|(row, &draft)| log_probability_of(row, draft)).collect()
    }

    /// Whether there are none, since the answer has ended.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// One answer's part of a pass.
struct Rows {
    ids: Vec<u32>,
    count: usize,
    /// The first row whose scores are asked for.
    first_scored: usize,
    /// Whether the first scores asked for are those of the answer's first token, which prefill left.
    starts_answer: bool,
}

/// One answer being generated. Cloning forks it; a fork shares the weights and copies the cache when it writes.
///
/// Dropping the future of a step half-way leaves the state as it was before the step.
#[derive(Debug, Clone)]
pub struct Generation {
    pub(crate) assistant: Assistant,
    pub(crate) cache: KvCache,
    /// Scores of the answer's first token.
    first_logits: Vec<f32>,
    /// Tokens that stand, in order, without an end token.
    tokens: Vec<u32>,
    stream: TokenStream,
    prompt_tokens: usize,
    pub(crate) max_new_tokens: usize,
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

    /// Standing tokens that have not gone through the decoder yet; the next pass runs them before its drafts.
    pub fn pending_tokens(&self) -> usize {
        self.tokens.len() - (self.cache.len() - self.prompt_tokens)
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
        let scores = self.score(drafts).await?;
        self.settle_greedily(drafts, &scores)
    }

    /// [`Self::verify`] for several answers of one checkpoint in one pass of its decoder.
    ///
    /// # Errors
    /// As [`Self::verify`]; the pass is shared, and so is its failure.
    ///
    /// # Panics
    /// If the lists are not equally long, or the answers belong to different checkpoints.
    pub async fn verify_many(
        generations: &mut [&mut Self],
        drafts: &[&[u32]],
    ) -> Result<Vec<VerificationOutcome>, ModelError> {
        let scores = Self::score_many(generations, drafts).await?;
        let settle = |((generation, drafts), scores): ((&mut &mut Self, &&[u32]), Scores)| {
            generation.settle_greedily(drafts, &scores)
        };
        generations.iter_mut().zip(drafts).zip(scores).map(settle).collect()
    }

    /// Scores after the last standing token and after each of a run of drafts, in one pass; nothing stands by that
    /// yet, see [`Self::settle`].
    ///
    /// Drafts beyond [`Self::remaining`] are not looked at; a finished answer has no scores.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub async fn score(&mut self, drafts: &[u32]) -> Result<Scores, ModelError> {
        let mut scores = Self::score_many(&mut [self], &[drafts]).await?;
        Ok(scores.remove(0))
    }

    /// [`Self::score`] for several answers of one checkpoint in one pass of its decoder.
    ///
    /// # Errors
    /// As [`Self::verify`].
    ///
    /// # Panics
    /// As [`Self::verify_many`].
    pub async fn score_many(
        generations: &mut [&mut Self],
        drafts: &[&[u32]],
    ) -> Result<Vec<Scores>, ModelError> {
        assert_eq!(generations.len(), drafts.len(), "one run of drafts for each answer");
        let Some(first) = generations.first() else { return Ok(Vec::new()) };
        let assistant = first.assistant.clone();
        let vocab_size = first.vocab_size();
        let decoder = &assistant.parts.model.decoder;
        let mut rows: Vec<Rows> = Vec::with_capacity(generations.len());
        for (generation, drafts) in generations.iter().zip(drafts) {
            assert!(Arc::ptr_eq(&generation.assistant.parts, &assistant.parts), "one checkpoint a pass");
            generation.check_vocabulary(drafts)?;
            rows.push(generation.rows(drafts));
        }
        let mut ids = Vec::new();
        let mut segments = Vec::with_capacity(rows.len());
        for (generation, rows) in generations.iter_mut().zip(&rows).filter(|(_, rows)| rows.count > 0) {
            let padded = decoder.shapes().rows(rows.count);
            ids.extend(&rows.ids);
            ids.resize(ids.len() + padded - rows.count, assistant.config().pad_token_id);
            segments.push(Segment { cache: &mut generation.cache, rows: padded, count: rows.count });
        }
        let values = if segments.is_empty() {
            Vec::new()
        } else {
            let starts: Vec<usize> = segments.iter().map(|segment| segment.cache.len()).collect();
            let logits = decoder.score(ids, &mut segments);
            // Only once the scores are here does the step count: the future may be dropped while it waits.
            for (segment, start) in segments.iter_mut().zip(starts) {
                segment.cache.truncate(start);
            }
            let values = read_back(logits).await?;
            for segment in &mut segments {
                segment.cache.advance(segment.count);
            }
            values
        };
        let mut at = 0;
        let collect = |(generation, rows): (&&mut Self, Rows)| {
            let mut scores = if rows.starts_answer { generation.first_logits.clone() } else { Vec::new() };
            if rows.count > 0 {
                scores.extend_from_slice(
                    &values[(at + rows.first_scored) * vocab_size..(at + rows.count) * vocab_size],
                );
                at += decoder.shapes().rows(rows.count);
            }
            Scores { values: scores, vocab_size }
        };
        Ok(generations.iter().zip(rows).map(collect).collect())
    }

    /// Decides after [`Self::score`]: the first `accepted` drafts stand, then `next`, which may be the end token; the
    /// cache is rolled back to what stands. Returns the tokens that now stand, with their text and the model's own
    /// probabilities; an end token is not among them.
    ///
    /// # Errors
    /// [`ModelError::ReadBack`] for scores that are not finite.
    ///
    /// # Panics
    /// If more drafts are accepted than were scored.
    pub fn settle(
        &mut self,
        drafts: &[u32],
        scores: &Scores,
        accepted: usize,
        next: Option<u32>,
    ) -> Result<Vec<TokenProposal>, ModelError> {
        assert!(accepted <= drafts.len() && accepted <= scores.len(), "only scored drafts can be accepted");
        let before = self.tokens.len();
        let mut standing = Vec::with_capacity(accepted + 1);
        for (row, token_id) in scores.rows().zip(drafts[..accepted].iter().copied().chain(next)) {
            if self.remaining() == 0 {
                break;
            }
            if self.assistant.end_tokens().contains(token_id) {
                self.ended = true;
                break;
            }
            let probability = probability_of(row, token_id)?;
            self.tokens.push(token_id);
            let text = self.stream.push(self.assistant.tokenizer(), token_id);
            standing.push(TokenProposal { token_id, text, probability });
        }
        if !scores.is_empty() {
            // The last standing token runs again unless what follows it is known: its scores are about to go.
            let run = (before + accepted.min(standing.len())).min(self.tokens.len().saturating_sub(1));
            self.cache.truncate(self.prompt_tokens + run);
        }
        Ok(standing)
    }

    fn settle_greedily(
        &mut self,
        drafts: &[u32],
        scores: &Scores,
    ) -> Result<VerificationOutcome, ModelError> {
        let drafts = &drafts[..drafts.len().min(scores.len().saturating_sub(1))];
        let best = scores.most_likely()?;
        let accepted = best.iter().zip(drafts).take_while(|(best, draft)| best == draft).count();
        let mut accepted_tokens = self.settle(drafts, scores, accepted, best.get(accepted).copied())?;
        // An accepted end token counts as accepted, though it is no token of the answer.
        let next = if accepted_tokens.len() > accepted { accepted_tokens.pop() } else { None };
        let accepted = if self.ended { accepted.min(accepted_tokens.len() + 1) } else { accepted };
        Ok(VerificationOutcome { accepted, accepted_tokens, next })
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

    /// What a pass about `drafts` runs: tokens that stand but have not been run, and the drafts.
    fn rows(&self, drafts: &[u32]) -> Rows {
        if self.is_finished() {
            return Rows { ids: Vec::new(), count: 0, first_scored: 0, starts_answer: false };
        }
        let pending = &self.tokens[self.cache.len() - self.prompt_tokens..];
        let ids = [pending, &drafts[..drafts.len().min(self.remaining())]].concat();
        Rows {
            count: ids.len(),
            ids,
            first_scored: pending.len().saturating_sub(1),
            starts_answer: pending.is_empty(),
        }
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

/// The token with the highest score, the first of equals.
pub(crate) fn most_likely(scores: &[f32]) -> Result<u32, ModelError> {
    let (mut best, mut highest) = (0, f32::NEG_INFINITY);
    for (token, &score) in scores.iter().enumerate() {
        if score.is_nan() {
            return Err(damaged());
        }
        if score > highest {
            (best, highest) = (token as u32, score);
        }
    }
    Ok(best)
}

/// A token's probability under softmax.
fn probability_of(scores: &[f32], token: u32) -> Result<f32, ModelError> {
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f32 = scores.iter().map(|score| (score - highest).exp()).sum();
    let probability = (scores[token as usize] - highest).exp() / total;
    if probability.is_finite() { Ok(probability) } else { Err(damaged()) }
}

/// The logarithm of [`probability_of`], exact where that is too small for a number.
fn log_probability_of(scores: &[f32], token: u32) -> Result<f32, ModelError> {
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f32 = scores.iter().map(|score| (score - highest).exp()).sum();
    let log_probability = scores[token as usize] - highest - total.ln();
    if log_probability.is_finite() { Ok(log_probability) } else { Err(damaged()) }
}

fn damaged() -> ModelError {
    ModelError::ReadBack { reason: "the scores are not finite: the weights or the device are damaged".into() }
}

#[cfg(test)]
mod tests {
    use super::{log_probability_of, most_likely, probability_of};

    #[test]
    fn the_first_of_equal_scores_wins_and_probabilities_are_softmax() {
        let scores = [0.0, 2.0, 2.0, -1.0];
        assert_eq!(most_likely(&scores).unwrap(), 1);
        let expected = 2_f32.exp() / (1.0 + 2.0 * 2_f32.exp() + (-1_f32).exp());
        assert!((probability_of(&scores, 1).unwrap() - expected).abs() < 1e-6);
        assert!((log_probability_of(&scores, 1).unwrap() - expected.ln()).abs() < 1e-6);
        assert_eq!(log_probability_of(&[0.0, -300.0], 1).unwrap(), -300.0);
    }

    #[test]
    fn scores_of_damaged_weights_are_refused() {
        assert!(most_likely(&[1.0, f32::NAN]).is_err());
        assert!(probability_of(&[f32::NAN, f32::NAN], 0).is_err());
        assert!(log_probability_of(&[f32::NAN, 0.0], 1).is_err());
    }
}
