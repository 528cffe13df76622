//! The models of an engine, and how they read a question.

use std::sync::Arc;

use msao_models::{Assistant, Generation, Prompt};
use msao_protocol::{SpanKind, Speculation};

use super::co_located::{DraftModel, Drafter};
use super::ledger::{Ledger, LookedAt};
use crate::engine::EngineError;
use crate::engine::stage::guarded;
use crate::engine::statistics::Counters;

/// The target, and a draft model that may run beside it.
pub(super) struct Models {
    pub(super) target: Assistant,
    pub(super) draft: Option<Assistant>,
    pub(super) counters: Arc<Counters>,
}

/// Which of a question's media are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    Partial,
    Whole,
}

impl Models {
    /// Runs a prompt through the target, up to the scores of the answer's first token.
    ///
    /// # Errors
    /// When the prompt does not fit the model, or the model fails.
    pub(super) fn read(
        &self,
        prompt: &Prompt,
        extent: Extent,
        ledger: &mut Ledger,
    ) -> Result<Generation, EngineError> {
        let (encode, prefill) = match extent {
            Extent::Partial => (SpanKind::Propose, SpanKind::Propose),
            Extent::Whole => (SpanKind::Encode, SpanKind::Prefill),
        };
        let target = &self.target;
        guarded(|| {
            let encoded = target.encode(prompt)?;
            ledger.lap(encode);
            let generation = pollster::block_on(target.prefill(&encoded))?;
            ledger.lap(prefill);
            let config = target.config();
            let looked_at = LookedAt::new(config, prompt);
            self.counters.count_prompt(encoded.num_tokens());
            ledger.note_prompt(encoded.num_tokens(), &looked_at);
            ledger.count_flops(looked_at.flops(config, encoded.num_tokens()));
            Ok(generation)
        })
    }

    /// Lets the draft model read a prompt. Where it cannot, an answer is slower and never wrong.
    pub(super) fn drafter(&self, prompt: Prompt, ledger: &mut Ledger) -> DraftModel {
        let Some(draft) = &self.draft else { return DraftModel::Unable };
        let prompt = prompt.whole();
        let drafter = guarded(|| Drafter::start(draft, &prompt));
        ledger.lap(SpanKind::Propose);
        match drafter {
            Ok(mut drafter) => {
                ledger.count_flops(drafter.take_flops());
                DraftModel::Ready(drafter)
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
