//! One request from the question to its record: what is known of it so far, and when things happened.

use std::sync::Arc;

use msao_planner::plan::NoPlan;
use msao_protocol::{
    Ask, Modality, PlanReason, PlanReceipt, Receipt, RequestId, ShadowCheck, Span, Strategy,
};
use msao_runtime::{
    orchestrator::{OneRequest, RoundTripOfAnswer, TokenState},
    scored::Scored,
};

use super::{request::Request, steering::Steering};
use crate::{clock::now_ms, record::Record};

/// A request under way.
pub(super) struct Course<'a> {
    pub(super) request: &'a Request,
    pub(super) request_id: RequestId,
    /// What decides.
    pub(super) one: OneRequest,
    /// What is said to the edge.
    pub(super) steering: Arc<Steering>,
    pub(super) scored: Scored,
    /// The edge has been asked and is not done.
    pub(super) edge_writes: bool,
    /// It has told its end once.
    pub(super) edge_has_ended: bool,
    /// The server has been asked and has not told the end.
    pub(super) cloud_is_awaited: bool,
    /// Bytes of the frame that asked, and when it was handed over.
    pub(super) sent: Option<(u64, f64)>,
    /// It was asked a second time: how long that took says nothing about the network.
    pub(super) is_held_up: bool,
    /// What the server was asked.
    pub(super) asked: Option<Ask>,
    pub(super) edge_receipt: Option<Receipt>,
    pub(super) cloud_receipt: Option<Receipt>,
    /// Milliseconds of encoding what is sent.
    pub(super) compress_ms: f64,
    failure: Option<String>,
    started_ms: f64,
    first_shown_ms: Option<f64>,
    first_standing_ms: Option<f64>,
    ended_ms: Option<f64>,
}

impl<'a> Course<'a> {
    /// Begins now.
    pub(super) fn new(request: &'a Request, request_id: RequestId, one: OneRequest) -> Self {
        Self {
            request,
            request_id,
            one,
            steering: Arc::default(),
            scored: Scored::default(),
            edge_writes: false,
            edge_has_ended: false,
            cloud_is_awaited: false,
            sent: None,
            is_held_up: false,
            asked: None,
            edge_receipt: None,
            cloud_receipt: None,
            compress_ms: 0.0,
            failure: None,
            started_ms: now_ms(),
            first_shown_ms: None,
            first_standing_ms: None,
            ended_ms: None,
        }
    }

    /// Since the question was asked.
    pub(super) fn elapsed_ms(&self) -> f64 {
        now_ms() - self.started_ms
    }

    /// Notes what the reader sees now; to be called whenever something has happened.
    pub(super) fn note(&mut self) {
        if self.ended_ms.is_some() {
            return;
        }
        let now_ms = self.elapsed_ms();
        if self.first_standing_ms.is_none() {
            let tokens = self.one.answer();
            let is_settled = tokens.iter().any(|token| matches!(token.state, TokenState::Settled { .. }));
            // Where the edge answers alone nothing replaces what it writes.
            let stands = is_settled || (self.answers_alone() && !tokens.is_empty());
            if !tokens.is_empty() {
                self.first_shown_ms.get_or_insert(now_ms);
            }
            self.first_standing_ms = stands.then_some(now_ms);
        }
        if self.failure.is_some() || self.one.is_complete() {
            self.ended_ms = Some(now_ms);
        }
    }

    /// There is no answer, and there will be none. The first reason counts.
    pub(super) fn fail(&mut self, reason: String) {
        if self.ended_ms.is_none() {
            self.failure.get_or_insert(reason);
        }
    }

    /// As [`Self::fail`], for want of a plan.
    pub(super) fn fail_without_plan(&mut self, no_plan: NoPlan) {
        self.fail(match no_plan {
            NoPlan::PolicyUnavailable(_) => "the policy needs the server, and there is no session".to_owned(),
            other => format!("there is no plan: {other:?}"),
        });
    }

    /// The server will not answer; the edge alone may. What stood so far may be replaced.
    pub(super) fn lose_cloud(&mut self, reason: String) {
        if self.ended_ms.is_some() {
            return;
        }
        self.first_standing_ms = None;
        if !self.answers_alone() {
            self.fail(reason);
        }
    }

    /// Whether the edge alone answers, as decided last.
    pub(super) fn answers_alone(&self) -> bool {
        self.one.strategy() == Some(Strategy::EdgeOnly)
    }

    /// Whether the user has the answer, or knows that there is none.
    pub(super) fn has_ended(&self) -> bool {
        self.ended_ms.is_some()
    }

    /// Whether nothing further happens.
    pub(super) fn is_over(&self) -> bool {
        self.has_ended() && !self.edge_writes && !self.cloud_is_awaited
    }

    /// What the server's answer that ends now says about the network.
    pub(super) fn trip(&self) -> Option<RoundTripOfAnswer> {
        let (asked_bytes, at_ms) = self.sent.filter(|_| !self.is_held_up)?;
        Some(RoundTripOfAnswer { asked_bytes, to_end_ms: now_ms() - at_ms })
    }

    /// The answer as it stands, trimmed.
    pub(super) fn text(&self) -> String {
        let text: String = self.one.answer().into_iter().map(|token| token.text).collect();
        text.trim().to_owned()
    }

    /// All that is kept of it; `crossed_bytes` are those up and down.
    pub(super) fn record(&self, network: &str, policy: &str, crossed_bytes: (u64, u64)) -> Record {
        let (answer, tokens) = match self.failure {
            None => (self.text(), self.one.answer().len() as u32),
            Some(_) => (String::new(), 0),
        };
        let plan = self.one.receipt();
        let plan = plan.as_ref();
        let ended_ms = self.ended_ms.unwrap_or_else(|| now_ms() - self.started_ms);
        let count = |of: fn(&PlanReceipt) -> u32| plan.map_or(0, of);
        let sent_bytes = |modality| {
            let modalities = plan.map_or(&[][..], |plan| &plan.modalities);
            modalities.iter().filter(|one| one.modality == modality).map(|one| one.sent_bytes).sum()
        };
        Record {
            request: self.request.id.clone(),
            family: self.request.family.clone(),
            models: None,
            network: network.to_owned(),
            policy: policy.to_owned(),
            is_right: self.failure.is_none() && answer == self.request.right_answer,
            answer,
            first_shown_ms: self.first_shown_ms.unwrap_or(ended_ms),
            ttft_ms: self.first_standing_ms.unwrap_or(ended_ms),
            total_ms: ended_ms,
            tokens,
            up_bytes: crossed_bytes.0,
            down_bytes: crossed_bytes.1,
            vision_bytes: sent_bytes(Modality::Vision),
            audio_bytes: sent_bytes(Modality::Audio),
            edge_flops: self.edge_receipt.as_ref().map_or(0, |receipt| receipt.flops),
            cloud_flops: self.cloud_receipt.as_ref().map_or(0, |receipt| receipt.flops),
            proposed_drafts: count(|plan| plan.proposed_drafts),
            accepted_drafts: count(|plan| plan.accepted_drafts),
            rounds: count(|plan| plan.rounds),
            strategy: plan.map_or_else(|| "none".to_owned(), |plan| strategy_name(plan.strategy).to_owned()),
            stood: plan.is_some_and(|plan| plan.reason == PlanReason::ConfidentEdge),
            shadow_agreed: match plan.and_then(|plan| plan.shadow) {
                Some(ShadowCheck::Agreed) => Some(true),
                Some(ShadowCheck::Differed) => Some(false),
                None | Some(ShadowCheck::Pending | ShadowCheck::Failed) => None,
            },
            predicted_ms: plan.map(|plan| plan.predicted.latency_ms),
            spans: self.spans(),
            failure: self.failure.clone(),
        }
    }

    fn spans(&self) -> Vec<(String, f64)> {
        let mut spans: Vec<(String, f64)> = Vec::new();
        let receipts = [("edge", &self.edge_receipt), ("cloud", &self.cloud_receipt)];
        for (side, receipt) in receipts {
            for span in receipt.iter().flat_map(|receipt| &receipt.spans) {
                add(&mut spans, span_name(side, span), span.ms);
            }
        }
        if self.compress_ms > 0.0 {
            add(&mut spans, "edge.compress".to_owned(), self.compress_ms);
        }
        spans
    }
}

/// Spans of one kind are one.
fn add(spans: &mut Vec<(String, f64)>, name: String, ms: f64) {
    match spans.iter_mut().find(|(known, _)| *known == name) {
        Some((_, sum)) => *sum += ms,
        None => spans.push((name, ms)),
    }
}

/// Such as `edge.prefill`, by the name that the wire has for the kind.
fn span_name(side: &str, span: &Span) -> String {
    let kind = serde_json::to_value(span.kind).ok();
    let kind = kind.as_ref().and_then(serde_json::Value::as_str).unwrap_or("other");
    format!("{side}.{kind}")
}

fn strategy_name(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::EdgeOnly => "edge_only",
        Strategy::Cloud => "cloud",
        Strategy::CoLocated { .. } => "co_located",
        Strategy::Distributed { .. } => "distributed",
    }
}
