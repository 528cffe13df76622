//! The models of an engine, and how they read a question.

use std::sync::Arc;

use msao_models::text::PromptTokens;
use msao_models::{Assistant, DEFAULT_MAX_NEW_TOKENS, Prompt, ReadBefore};
use msao_protocol::{ErrorCode, SpanKind, Speculation};

use super::co_located::{DraftModel, Drafter};
use super::content::Content;
use super::kv_budget::Hold;
use super::pipeline::Decoding;
use super::retention::{Retention, Sequence};
use crate::engine::EngineError;
use crate::engine::ledger::{Ledger, LookedAt};
use crate::engine::stage::guarded;
use crate::engine::statistics::Counters;
use crate::intake::Refusal;

/// The target, and a draft model that may run beside it.
pub(super) struct Models {
    pub(super) target: Assistant,
    pub(super) draft: Option<Assistant>,
    pub(super) retention: Arc<Retention>,
    pub(super) counters: Arc<Counters>,
}

/// Which of a question's media are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    Partial,
    Whole,
}

/// What reading a prompt will take.
#[derive(Debug)]
pub(super) struct Demand {
    pub(super) content: Arc<Content>,
    layout: PromptTokens,
    /// Tokens that the answer may have.
    max_new_tokens: usize,
    /// Prompt and answer together.
    pub(super) positions: usize,
    /// For as long as the sequence lives.
    pub(super) bytes: u64,
}

/// Room for a sequence, and what is known of its beginning.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) hold: Hold,
    pub(super) before: Option<ReadBefore>,
}

impl Models {
    /// What reading a prompt will take, with an answer of at most `max_new_tokens`.
    ///
    /// # Errors
    /// When the prompt does not fit the model, or not the memory even if nothing else ran.
    pub(super) fn demand(&self, media: &Decoding, max_new_tokens: usize) -> Result<Demand, EngineError> {
        let target = &self.target;
        let layout = guarded(|| Ok(target.layout(&media.prompt)?))?;
        let max_new_tokens = max_new_tokens.min(target.max_sequence() - layout.ids.len());
        let positions = layout.ids.len() + max_new_tokens;
        let (bytes, budget) = (Sequence::bytes(target, positions), self.retention.budget_bytes());
        if bytes > budget {
            let message = format!(
                "{positions} tokens of prompt and answer take {bytes} bytes of keys and values; this server has {budget}: ask for less, or start it with a larger --kv-budget-mb"
            );
            return Err(Refusal::new(ErrorCode::QuestionTooLong, message).into());
        }
        let content = Arc::new(Content::new(layout.clone(), &media.digests));
        Ok(Demand { content, layout, max_new_tokens, positions, bytes })
    }

    /// Runs a prompt through the target, up to the scores of the answer's first token.
    ///
    /// # Errors
    /// When the model fails.
    pub(super) fn read(
        &self,
        media: &Decoding,
        extent: Extent,
        (demand, room): (Demand, Room),
        ledger: &mut Ledger,
    ) -> Result<Sequence, EngineError> {
        let (encode, prefill) = match extent {
            Extent::Partial => (SpanKind::Propose, SpanKind::Propose),
            Extent::Whole => (SpanKind::Encode, SpanKind::Prefill),
        };
        let (target, prompt) = (&self.target, &media.prompt);
        let Room { hold, before } = room;
        guarded(|| {
            let known = before.as_ref().map_or(0, ReadBefore::tokens);
            let encoded = target.encode_rest_of(prompt, before.as_ref())?;
            ledger.lap(encode);
            let prefilled = target.prefill_rest_of(&encoded, before, demand.max_new_tokens);
            let generation = pollster::block_on(prefilled)?;
            ledger.lap(prefill);
            let config = target.config();
            let looked_at = LookedAt::new(target, prompt, &demand.layout)
                .beside(media.left_out_frames)
                .behind(known, prompt, &demand.layout);
            self.counters.count_prompt(encoded.num_tokens() - known);
            ledger.note_prompt(encoded.num_tokens(), &looked_at);
            ledger.count_flops(looked_at.flops(config, encoded.num_tokens()));
            Ok(Sequence { generation, content: demand.content, hold })
        })
    }

    /// Lets the draft model read a prompt. Where it cannot, or there is no room for it, an answer is slower and never
    /// wrong.
    pub(super) fn drafter(&self, prompt: Prompt, ledger: &mut Ledger) -> DraftModel {
        let Some(draft) = &self.draft else { return DraftModel::Unable };
        let prompt = prompt.whole();
        let drafter = guarded(|| {
            let tokens = draft.layout(&prompt)?.ids.len();
            let bytes = draft.kv_bytes(tokens + DEFAULT_MAX_NEW_TOKENS.min(draft.max_sequence() - tokens));
            let Some(hold) = self.retention.make_room(bytes, None) else { return Ok(None) };
            Drafter::start(draft, &prompt, hold).map(Some)
        });
        ledger.lap(SpanKind::Propose);
        match drafter {
            Ok(Some(mut drafter)) => {
                ledger.count_flops(drafter.take_flops());
                DraftModel::Ready(Box::new(drafter))
            }
            Ok(None) => {
                tracing::debug!("there is no memory for the draft model");
                DraftModel::Unable
            }
            Err(error) => {
                tracing::debug!(%error, "the draft model cannot read this question");
                DraftModel::Unable
            }
        }
    }

    /// As [`Self::drafter`] for a question that wants its drafts from there.
    pub(super) fn drafter_if_wanted(
        &self,
        speculation: Speculation,
        prompt: Prompt,
        ledger: &mut Ledger,
    ) -> DraftModel {
        match speculation {
            Speculation::CoLocated { .. } => self.drafter(prompt, ledger),
            Speculation::None | Speculation::Distributed { .. } => DraftModel::Unasked,
        }
    }
}
