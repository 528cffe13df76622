//! The edge's answer as a draft that follows the target: it is written token by token, and taken up again behind a
//! correction without running anew what stands.
//!
//! Times and operations of all that is written are counted, that which was corrected away included.

use msao_models::{Assistant, Flops, Generation, ModelError};
use msao_protocol::{
    Candidate, FinishReason, Receipt, Span, SpanKind, Token, TokenFate, TokenOrigin, TokenSource,
};

use crate::{
    engine::{Clock, EdgeAnswer},
    sampling::{Sampler, without},
    steering::Correction,
};

/// What every token of the edge is until the target has seen it.
const UNVERIFIED: TokenOrigin = TokenOrigin { source: TokenSource::EdgeDraft, fate: TokenFate::Unverified };
/// What a correction puts in the place of a draft.
const CORRECTED: TokenOrigin = TokenOrigin { source: TokenSource::Target, fate: TokenFate::Corrected };
/// What a correction adds where the edge had written nothing yet.
const WRITTEN: TokenOrigin = TokenOrigin { source: TokenSource::Target, fate: TokenFate::Written };

/// One answer of the edge in the making.
pub(crate) struct Draft<'a> {
    assistant: &'a Assistant,
    generation: Generation,
    /// Draws the tokens; without it the most likely one is written.
    sampler: Option<Sampler>,
    clock: Clock,
    revision: u32,
    /// One for each token that stands.
    origins: Vec<TokenOrigin>,
    /// Those of the answer when it ended for the first time.
    first_origins: Option<Vec<TokenOrigin>>,
    decode_ms: f64,
    flops: u64,
}

/// A step of drafting.
pub(crate) enum Drafted {
    /// Another token, with the distribution that it was drawn from, if it was drawn.
    Token { index: u32, token: Token, candidates: Vec<Candidate> },
    /// The answer is at its end.
    Ended(FinishReason),
}

impl<'a> Draft<'a> {
    pub(crate) fn new(
        assistant: &'a Assistant,
        generation: Generation,
        sampler: Option<Sampler>,
        clock: Clock,
    ) -> Self {
        Self {
            assistant,
            generation,
            sampler,
            clock,
            revision: 0,
            origins: Vec::new(),
            first_origins: None,
            decode_ms: 0.0,
            flops: 0,
        }
    }

    /// That of the last correction, 0 before any.
    pub(crate) fn revision(&self) -> u32 {
        self.revision
    }

    /// Writes the next token.
    ///
    /// # Errors
    /// [`ModelError::ReadBack`] if the device fails.
    pub(crate) async fn next(&mut self) -> Result<Drafted, ModelError> {
        if self.generation.is_finished() {
            return Ok(self.ended(FinishReason::Length));
        }
        // Without pending tokens there is no pass: the first token is prefill's.
        let (index, pending) = (self.generation.tokens().len(), self.generation.pending_tokens());
        if pending > 0 {
            let held = self.generation.prompt_tokens() + index - pending;
            self.flops += Flops::of(self.assistant.config()).decoder(pending, held, pending);
        }
        let started_ms = (self.clock)();
        let mut candidates = Vec::new();
        let proposal = match &mut self.sampler {
            None => self.generation.next_token().await?,
            Some(sampler) => {
                let scores = self.generation.score(&[]).await?;
                let next = scores.rows().next().expect("an answer that goes on has scores");
                let drawable = sampler.candidates(next)?;
                let drawn = sampler.draw(&drawable);
                candidates = without(drawable, self.assistant.end_tokens().ids());
                self.generation.settle(&[], &scores, 0, Some(drawn))?.pop()
            }
        };
        self.decode_ms += (self.clock)() - started_ms;
        Ok(match proposal {
            None => self.ended(FinishReason::Stop),
            Some(proposal) => {
                self.origins.push(UNVERIFIED);
                let token =
                    Token { id: proposal.token_id, text: proposal.text, probability: proposal.probability };
                Drafted::Token { index: index as u32, token, candidates }
            }
        })
    }

    fn ended(&mut self, finish_reason: FinishReason) -> Drafted {
        self.first_origins.get_or_insert_with(|| self.origins.clone());
        Drafted::Ended(finish_reason)
    }

    /// Adopts what stands; the next token is written behind it. What the edge had already written so is not run again.
    ///
    /// # Errors
    /// [`ModelError::Prompt`] for a revision that is not higher than the last, a start behind the answer, an end token, or
    /// a token outside the vocabulary.
    pub(crate) fn correct(&mut self, correction: &Correction) -> Result<(), ModelError> {
        let Correction { revision, start, tokens } = correction;
        let refuse = |reason: String| Err(ModelError::Prompt { reason });
        if *revision <= self.revision {
            return refuse(format!(
                "revision {revision} after revision {}; number corrections in rising order",
                self.revision
            ));
        }
        if tokens.iter().any(|&token| self.assistant.end_tokens().contains(token)) {
            return refuse("a correction holds an end token; release the request instead".to_owned());
        }
        let own = self.generation.tokens();
        let written = own.len();
        let bound = written + self.generation.remaining();
        let start = bound.min(*start as usize);
        if start > written {
            return refuse(format!(
                "a correction from token {start} on, when {written} are written; give those between as well"
            ));
        }
        let tokens = &tokens[..tokens.len().min(bound - start)];
        let agreed = own[start..].iter().zip(tokens).take_while(|(own, token)| own == token).count();
        self.generation.roll_back(start + agreed);
        self.generation.adopt(&tokens[agreed..])?;
        self.origins.truncate(start + agreed);
        let corrected = (start + agreed)..start + tokens.len();
        self.origins.extend(corrected.map(|at| if at < written { CORRECTED } else { WRITTEN }));
        self.revision = *revision;
        Ok(())
    }

    /// The answer as it stands; `receipt` is what it took until drafting began.
    pub(crate) fn answer(&self, finish_reason: FinishReason, receipt: &Receipt) -> EdgeAnswer {
        let tokenizer = self.assistant.tokenizer();
        let mut stream = tokenizer.stream();
        let text = self.generation.tokens().iter().map(|&token| stream.push(tokenizer, token)).collect();
        let mut receipt = receipt.clone();
        receipt.tokens.clone_from(self.first_origins.as_ref().unwrap_or(&self.origins));
        receipt.completion_tokens = receipt.tokens.len() as u32;
        receipt.spans.push(Span { kind: SpanKind::Decode, ms: self.decode_ms });
        receipt.flops += self.flops;
        EdgeAnswer { text, finish_reason, revision: self.revision, receipt }
    }
}
