//! The receipt of one request while it is being earned: time, tokens, rounds, operations.
//!
//! Time is booked in laps: everything since the last mark goes to one kind of span. So spans cannot overlap, and
//! nothing between the first mark and the last is missing.

use std::ops::Range;
use std::time::Instant;

use msao_models::text::{InputSpan, PromptTokens};
use msao_models::{Assistant, Flops, ModelConfig, Prompt};
use msao_protocol::{Modality, ModalityReceipt, Receipt, SettledToken, Span, SpanKind};

use crate::engine::Job;

#[derive(Debug)]
pub(super) struct Ledger {
    mark: Instant,
    receipt: Receipt,
    vision: MediaCount,
    audio: MediaCount,
}

/// The media of one modality in a prompt: what is looked at of what there is.
#[derive(Debug, Clone, Copy, Default)]
struct MediaCount {
    tokens: usize,
    given_tokens: usize,
    inputs: usize,
    given_inputs: usize,
}

/// How many tokens of each medium are looked at, those of earlier turns included.
#[derive(Debug, Clone, Default)]
pub(super) struct LookedAt {
    /// Of each input of each image.
    images: Vec<Vec<usize>>,
    audio: Vec<usize>,
    /// Inputs that the images have in all, looked at or not.
    given_inputs: usize,
    /// Tokens of one whole input, and of one whole recording.
    whole_tokens: [usize; 2],
    /// Of these, the first ones that were looked at before.
    known_images: usize,
    known_audio: usize,
    known_tokens: usize,
}

impl LookedAt {
    pub(super) fn new(target: &Assistant, prompt: &Prompt, layout: &PromptTokens) -> Self {
        let config = target.config();
        let tokens = |inputs: &Vec<InputSpan>| inputs.iter().map(|input| input.span.len()).collect();
        let images = layout.image_inputs.iter().map(tokens).collect();
        let audio = prompt.questions().filter_map(|asked| asked.audio_tokens(config)).collect();
        let given_inputs = prompt.questions().map(|asked| target.num_image_inputs(asked)).sum();
        let audio_tokens = config.audio_config.as_ref().map_or(0, |audio| audio.num_audio_tokens());
        let whole_tokens = [config.num_image_tokens(), audio_tokens];
        Self { images, audio, given_inputs, whole_tokens, ..Self::default() }
    }

    /// The same beside `inputs` more that were given and are not in the prompt.
    pub(super) fn beside(mut self, inputs: usize) -> Self {
        self.given_inputs += inputs;
        self
    }

    /// The same of which the first `tokens` of the prompt were read before.
    pub(super) fn behind(mut self, tokens: usize, prompt: &Prompt, layout: &PromptTokens) -> Self {
        let is_known = |span: &&Range<usize>| span.end <= tokens;
        let mut images = layout.image_spans.iter();
        // A question's pictures go through the tower together.
        let per_question = prompt.questions().map(|asked| images.by_ref().take(asked.images.len()).last());
        let known = prompt.questions().zip(per_question.collect::<Vec<_>>());
        self.known_images = known
            .filter(|(_, last)| last.as_ref().is_some_and(is_known))
            .map(|(asked, _)| asked.images.len())
            .sum();
        self.known_audio = layout.audio_spans.iter().filter(is_known).count();
        self.known_tokens = tokens;
        self
    }

    fn vision(&self) -> MediaCount {
        MediaCount {
            tokens: self.images.iter().flatten().sum(),
            given_tokens: self.given_inputs * self.whole_tokens[0],
            inputs: self.images.iter().flatten().count(),
            given_inputs: self.given_inputs,
        }
    }

    fn audio(&self) -> MediaCount {
        let recordings = self.audio.len();
        MediaCount {
            tokens: self.audio.iter().sum(),
            given_tokens: recordings * self.whole_tokens[1],
            inputs: recordings,
            given_inputs: recordings,
        }
    }

    /// Operations of towers and prefill.
    pub(super) fn flops(&self, config: &ModelConfig, prompt_tokens: usize) -> u64 {
        let flops = Flops::of(config);
        let images: u64 =
            self.images[self.known_images..].iter().flatten().map(|&tokens| flops.image(tokens)).sum();
        let audio: u64 = self.audio[self.known_audio..].iter().map(|&tokens| flops.audio(tokens)).sum();
        images + audio + flops.decoder(prompt_tokens - self.known_tokens, self.known_tokens, 1)
    }
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self {
            mark: Instant::now(),
            receipt: Receipt::default(),
            vision: MediaCount::default(),
            audio: MediaCount::default(),
        }
    }

    /// Books the time since the last mark.
    pub(super) fn lap(&mut self, kind: SpanKind) {
        self.lap_until(kind, Instant::now());
    }

    /// Books the time from the last mark to `end`; nothing if that was booked already.
    pub(super) fn lap_until(&mut self, kind: SpanKind, end: Instant) {
        let Some(took) = end.checked_duration_since(self.mark) else { return };
        self.mark = end;
        let ms = took.as_secs_f64() * 1000.0;
        match self.receipt.spans.last_mut() {
            Some(last) if last.kind == kind => last.ms += ms,
            _ => self.receipt.spans.push(Span { kind, ms }),
        }
    }

    /// Counts operations.
    pub(super) fn count_flops(&mut self, flops: u64) {
        self.receipt.flops += flops;
    }

    /// Notes the prompt that was read; a later, fuller one replaces it.
    pub(super) fn note_prompt(&mut self, prompt_tokens: usize, looked_at: &LookedAt) {
        self.receipt.prompt_tokens = prompt_tokens as u32;
        self.receipt.reused_tokens = looked_at.known_tokens as u32;
        self.vision = looked_at.vision();
        self.audio = looked_at.audio();
    }

    /// Counts a pass that settled something.
    pub(super) fn note_round(&mut self, proposed: usize, accepted: usize, settled: &[SettledToken]) {
        self.receipt.rounds += 1;
        self.receipt.proposed_drafts += proposed as u32;
        self.receipt.accepted_drafts += accepted as u32;
        self.receipt.completion_tokens += settled.len() as u32;
        self.receipt.tokens.extend(settled.iter().map(|token| token.origin));
    }

    /// Milliseconds that the model worked for the request.
    pub(super) fn service_ms(&self) -> f64 {
        let is_idle = |kind| matches!(kind, SpanKind::Queue | SpanKind::DecodeMedia | SpanKind::Wait);
        self.receipt.spans.iter().filter(|span| !is_idle(span.kind)).map(|span| span.ms).sum()
    }

    /// The receipt; the job holds all media that came.
    pub(super) fn close(self, job: &Job) -> Receipt {
        let text_tokens =
            (self.receipt.prompt_tokens as usize).saturating_sub(self.vision.tokens + self.audio.tokens);
        // The embeddings of media are theirs, everything else, the template included, is text.
        let text = MediaCount { tokens: text_tokens, given_tokens: text_tokens, ..MediaCount::default() };
        let counts = [(Modality::Text, text), (Modality::Vision, self.vision), (Modality::Audio, self.audio)];
        let given = counts.into_iter().filter(|&(modality, _)| job.ask.bytes(modality) > 0);
        let mut modalities: Vec<ModalityReceipt> = given
            .map(|(modality, count)| ModalityReceipt {
                modality,
                bytes: job.received_bytes(modality),
                prompt_tokens: count.tokens as u32,
                given_tokens: count.given_tokens as u32,
                inputs: count.given_inputs as u32,
                kept_inputs: count.inputs as u32,
            })
            .collect();
        let mut receipt = self.receipt;
        if let Some((heard, spans)) = job.heard() {
            // Its words are tokens of text.
            let (modality, bytes) = (Modality::Audio, heard.bytes);
            modalities.push(ModalityReceipt {
                modality,
                bytes,
                prompt_tokens: 0,
                given_tokens: 0,
                inputs: 1,
                kept_inputs: 1,
            });
            receipt.spans.splice(..0, spans.iter().copied());
            receipt.speech = Some(heard.clone());
        }
        Receipt { modalities, ..receipt }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn laps_neither_overlap_nor_leave_gaps() {
        let mut ledger = Ledger::new();
        let start = ledger.mark;
        let at = |ms| start + Duration::from_millis(ms);
        ledger.lap_until(SpanKind::Queue, at(10));
        ledger.lap_until(SpanKind::Decode, at(15));
        // Somebody else's clock, which began before what is booked.
        ledger.lap_until(SpanKind::DecodeMedia, at(12));
        ledger.lap_until(SpanKind::Decode, at(20));
        ledger.lap_until(SpanKind::Wait, at(50));
        let spans: Vec<_> = ledger.receipt.spans.iter().map(|span| (span.kind, span.ms.round())).collect();
        assert_eq!(spans, [(SpanKind::Queue, 10.0), (SpanKind::Decode, 10.0), (SpanKind::Wait, 30.0)]);
        assert_eq!(ledger.service_ms().round(), 10.0);
    }
}
