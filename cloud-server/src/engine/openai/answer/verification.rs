//! Drafts verified round by round, where the upstream tells scores; between two rounds the edge's next draft is waited for.

use std::time::Duration;

use msao_protocol::{FinishReason, SpanKind, Speculation};
use tokio::time::{Instant as Deadline, timeout_at};

use super::{Running, Stop};
use crate::engine::openai::alignment::Ahead;
use crate::engine::openai::kind::Kind;
use crate::engine::openai::pool::Lease;
use crate::engine::openai::scoring::sglang::GenerateRequest;
use crate::engine::openai::scoring::{self, Next, Scored};
use crate::engine::openai::wire::{ChatRequest, Question};

/// Longest wait for one draft, whatever the question wishes.
const MAX_PATIENCE: Duration = Duration::from_secs(5);

impl Running {
    /// Whether drafts can be scored: greedily, by tokens that mean the same on both sides.
    pub(super) fn may_score(&self, kind: Kind, question: &Question) -> bool {
        let is_told = match kind {
            Kind::Vllm => true,
            Kind::Sglang => question.is_plain_text(),
            Kind::Auto | Kind::OpenAi | Kind::LlamaCpp => false,
        };
        is_told && self.shared.shares_tokenizer && self.job.ask.sampling.is_none()
    }

    /// Lets the upstream score drafts for as long as some come; `None` when it is to write on by itself.
    pub(super) async fn verify_rounds(
        &mut self,
        lease: &Lease,
        question: &Question,
    ) -> Result<Option<FinishReason>, Stop> {
        let mut prompt = None;
        while self.wait_for_draft().await? {
            let standing = self.alignment.standing().len();
            let (drafts, text) = self.alignment.drafted();
            let scored = match lease.checked.kind {
                Kind::Sglang => self.score_tokens(lease, question, &mut prompt, &drafts).await?,
                _ => Some(self.score_text(lease, question, &drafts, &text).await?),
            };
            let Some(scored) = scored else { return Ok(None) };
            self.usage = scored.usage.unwrap_or(self.usage);
            let accepted = self.shared.tokenizer.tokens().decode(&drafts[..scored.accepted]);
            self.alignment.begin_again();
            self.alignment.push_text(&accepted);
            let reason = match scored.next {
                Next::Text(next) => {
                    self.alignment.push_text(&next);
                    None
                }
                Next::End(reason) => Some(reason),
                Next::Unknown => None,
            };
            let ahead = if reason.is_some() { Ahead::Nothing } else { Ahead::Tokens };
            self.settle(ahead, SpanKind::Verify);
            if reason.is_some() {
                return Ok(reason);
            }
            if self.alignment.remaining() == 0 {
                return Ok(Some(FinishReason::Length));
            }
            if self.alignment.standing().len() == standing {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// vLLM scores drafts at the end of a message.
    async fn score_text(
        &mut self,
        lease: &Lease,
        question: &Question,
        drafts: &[u32],
        text: &str,
    ) -> Result<Scored, Stop> {
        let written = format!("{}{text}", self.alignment.standing_text());
        let request = ChatRequest::score(&lease.checked.model, question, &written);
        let endpoint = self.shared.endpoints[lease.index].clone();
        let body = self.or_news(endpoint.whole(&request)).await??;
        Ok(scoring::vllm::read(&body, drafts, &self.shared.tokenizer)?)
    }

    /// SGLang scores drafts behind the tokens of a prompt; `None` where it does not tell these.
    async fn score_tokens(
        &mut self,
        lease: &Lease,
        question: &Question,
        prompt: &mut Option<Vec<u32>>,
        drafts: &[u32],
    ) -> Result<Option<Scored>, Stop> {
        let endpoint = self.shared.endpoints[lease.index].clone();
        if prompt.is_none() {
            let request = ChatRequest::prompt_tokens(&lease.checked.model, question);
            let body = self.or_news(endpoint.whole(&request)).await??;
            *prompt = scoring::sglang::read_prompt(&body)?;
        }
        let Some(prompt) = prompt else { return Ok(None) };
        let context = [prompt.as_slice(), self.alignment.standing()].concat();
        let request = GenerateRequest::score(context, drafts);
        let body = self.or_news(endpoint.generate(&request)).await??;
        Ok(Some(scoring::sglang::read(&body, drafts, &self.shared.tokenizer)?))
    }

    /// Waits for a draft as long as the question wishes; whether there is one.
    async fn wait_for_draft(&mut self) -> Result<bool, Stop> {
        let began = Deadline::now();
        loop {
            self.take_news()?;
            let Speculation::Distributed { patience_ms } = self.speculation else { return Ok(false) };
            if !self.alignment.drafted().0.is_empty() {
                self.ledger.lap(SpanKind::Wait);
                return Ok(true);
            }
            let patience = Duration::from_millis(patience_ms.into()).min(MAX_PATIENCE);
            let is_over = self.alignment.drafts_are_over();
            if is_over || timeout_at(began + patience, self.bell.0.notified()).await.is_err() {
                self.ledger.lap(SpanKind::Wait);
                return Ok(false);
            }
        }
    }
}
