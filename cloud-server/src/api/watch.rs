//! Measures one request by the events of its engine, whoever asked: a session or the API.

use std::sync::Arc;
use std::time::Instant;

use msao_protocol::{Ask, AudioInput, FinishReason, ImageInput, Modality, Receipt, SpanKind};

use super::metrics::Metrics;
use crate::engine::EngineEvent;

/// A request under measurement. Dropped before its final event, it counts as cancelled: nobody waited for it any more.
#[derive(Debug)]
pub(crate) struct Watch {
    metrics: Arc<Metrics>,
    began: Instant,
    first_token: Option<Instant>,
    last_token: Instant,
    tokens: u32,
    is_over: bool,
}

impl Watch {
    /// Begins with a request that was checked.
    pub(crate) fn new(metrics: &Arc<Metrics>, ask: &Ask) -> Self {
        let turns = ask.history.iter().map(|turn| (&turn.images, &turn.audio));
        for (images, audio) in turns.chain([(&ask.images, &ask.audio)]) {
            for image in images {
                let action = if matches!(image, ImageInput::Whole(_)) { "whole" } else { "pruned" };
                metrics.count_action(Modality::Vision, action);
            }
            if let Some(audio) = audio {
                let action = if matches!(audio, AudioInput::Whole(_)) { "whole" } else { "pruned" };
                metrics.count_action(Modality::Audio, action);
            }
        }
        for &modality in &ask.pending {
            metrics.count_action(modality, "announced");
        }
        let began = Instant::now();
        let metrics = Arc::clone(metrics);
        Self { metrics, began, first_token: None, last_token: began, tokens: 0, is_over: false }
    }

    /// Takes in what the engine says.
    pub(crate) fn see(&mut self, event: &EngineEvent) {
        match event {
            EngineEvent::Settled { tokens, .. } => {
                self.last_token = Instant::now();
                self.tokens += tokens.len() as u32;
                if self.first_token.is_none() {
                    self.first_token = Some(self.last_token);
                    let waited = self.last_token - self.began;
                    self.metrics.time_to_first_token.observe(waited.as_secs_f64());
                }
            }
            EngineEvent::Proposed { .. } => {}
            EngineEvent::Done(answer) => {
                self.end(match answer.finish_reason {
                    FinishReason::Stop => "stop",
                    FinishReason::Length => "length",
                    FinishReason::Cancelled => "cancelled",
                });
                self.note_receipt(&answer.receipt);
            }
            EngineEvent::Failed(error) => {
                let is_ours = error.code() == msao_protocol::ErrorCode::Internal;
                self.end(if is_ours { "failed" } else { "refused" });
            }
        }
    }

    fn end(&mut self, outcome: &'static str) {
        self.is_over = true;
        self.metrics.count_outcome(outcome);
        self.metrics.request_duration.observe(self.began.elapsed().as_secs_f64());
        if let Some(first) = self.first_token.filter(|_| self.tokens > 1) {
            let writing = (self.last_token - first).as_secs_f64();
            self.metrics.time_per_output_token.observe(writing / f64::from(self.tokens - 1));
        }
    }

    fn note_receipt(&self, receipt: &Receipt) {
        let metrics = &self.metrics;
        metrics.queue_wait.observe(receipt.ms(SpanKind::Queue) / 1_000.0);
        metrics.prompt_tokens.inc_by(receipt.prompt_tokens.into());
        metrics.completion_tokens.inc_by(receipt.completion_tokens.into());
        metrics.proposed_drafts.inc_by(receipt.proposed_drafts.into());
        metrics.accepted_drafts.inc_by(receipt.accepted_drafts.into());
        metrics.flops.inc_by(receipt.flops);
        for span in &receipt.spans {
            metrics.add_span(span.kind, span.ms / 1_000.0);
        }
        for one in &receipt.modalities {
            metrics.add_received(one.modality, one.bytes, one.prompt_tokens);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.is_over {
            self.end("cancelled");
        }
    }
}
