//! How a question ends, and what is told of it until then.

use msao_protocol::{Receipt, RequestId, ShadowCheck, Strategy, TokenFate, TokenSource};

use super::{
    Action, Driver, Failure, ShownToken, Told, Usage,
    running::{EdgeSide, Running},
};

impl Driver {
    /// Tells the answer as it stands, if that is news.
    pub(super) fn show(&mut self, request_id: RequestId, now_ms: f64) -> Option<Action> {
        let running = self.running.get_mut(&request_id)?;
        if running.has_ended || running.request.strategy().is_none() {
            return None;
        }
        let tokens = running.tokens();
        if tokens == running.shown {
            return None;
        }
        if tokens.iter().any(|token| token.settled) {
            running.first_token_ms.get_or_insert(now_ms - running.asked_at_ms);
        }
        running.shown.clone_from(&tokens);
        Some(Action::Tell(Told::Answer { request_id, tokens }))
    }

    /// Tells the end, once it is there; and forgets the question once nothing further comes of it.
    pub(super) fn end(&mut self, request_id: RequestId, now_ms: f64) -> Vec<Action> {
        let Some(running) = self.running.get_mut(&request_id) else { return Vec::new() };
        if running.has_ended {
            let receipt = running.receipt();
            let receipt = receipt.map(|receipt| Action::Tell(Told::Receipt { request_id, receipt }));
            if !running.is_watched() {
                self.running.remove(&request_id);
            }
            return receipt.into_iter().collect();
        }
        if let Some(failure) = running.failure() {
            let failed = Action::Tell(Told::Failed { request_id, failure });
            return [failed].into_iter().chain(self.forget(request_id)).collect();
        }
        // The device's receipt belongs to the answer's: what it still writes takes no longer than a token.
        if !running.request.is_complete() || matches!(running.edge, EdgeSide::Open { .. }) {
            return Vec::new();
        }
        let is_alone = running.request.strategy() == Some(Strategy::EdgeOnly);
        let answer = if is_alone { running.edge_answer.clone() } else { running.cloud_answer.clone() };
        let Some((text, finish_reason)) = answer else { return Vec::new() };
        running.total_ms = Some(now_ms - running.asked_at_ms);
        running.has_ended = true;
        let receipt = if is_alone { &running.edge_receipt } else { &running.cloud_receipt };
        let usage = receipt.as_ref().map(Usage::from).unwrap_or_default();
        let tokens = running.tokens();
        let Some(receipt) = running.receipt() else { return Vec::new() };
        let text = text.trim().to_owned();
        let done = Told::Done { request_id, text, finish_reason, tokens, usage, receipt };
        if !running.is_watched() {
            self.running.remove(&request_id);
        }
        vec![Action::Tell(done)]
    }
}

impl Running {
    /// The answer's tokens. Where the device answers alone, nothing will change what it writes.
    fn tokens(&self) -> Vec<ShownToken> {
        let mut tokens: Vec<ShownToken> = self.request.answer().into_iter().map(ShownToken::from).collect();
        if self.request.strategy() == Some(Strategy::EdgeOnly) {
            for token in
                tokens.iter_mut().filter(|token| token.source == TokenSource::EdgeDraft && !token.settled)
            {
                (token.settled, token.fate) = (true, Some(TokenFate::Unverified));
            }
        }
        tokens
    }

    /// Why there will be no answer, if that is so.
    fn failure(&self) -> Option<Failure> {
        match self.request.strategy()? {
            Strategy::EdgeOnly => self.edge_failure.clone().filter(|_| self.edge_answer.is_none()),
            _ => self.cloud_failure.clone(),
        }
    }

    /// Whether the answer, which the user has, is still being checked.
    fn is_watched(&self) -> bool {
        let shadow = self.request.receipt().and_then(|receipt| receipt.shadow);
        shadow == Some(ShadowCheck::Pending)
    }
}

impl From<&Receipt> for Usage {
    fn from(receipt: &Receipt) -> Self {
        Self {
            prompt_tokens: receipt.prompt_tokens,
            completion_tokens: receipt.completion_tokens,
            accepted_drafts: receipt.accepted_drafts,
            rejected_drafts: receipt.proposed_drafts.saturating_sub(receipt.accepted_drafts),
        }
    }
}
