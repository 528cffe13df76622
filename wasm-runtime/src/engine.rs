//! The edge engine: a loaded checkpoint that answers questions token by token and says where the time went.
//!
//! The same code runs natively, in the Wasm SIMD module and in the WebGPU module; only the device differs. It
//! knows no browser: media come in as pixels and samples, the time as a [`Clock`], tokens go out to a callback.

use msao_models::{
    Assistant, CheckpointFiles, DeviceKind, EncodedPrompt, Generation, ModelError, Prompt, TokenProposal,
    device,
};
use msao_planner::EngineKind;
use msao_protocol::{FinishReason, Limits, Modality, ModalityReceipt, Receipt, Span, SpanKind, Token};
use serde::Serialize;

/// Milliseconds since some fixed moment, never going back.
pub type Clock = fn() -> f64;

/// A loaded checkpoint on its device.
#[derive(Debug)]
pub struct EdgeEngine {
    assistant: Assistant,
    clock: Clock,
}

/// A complete answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EdgeAnswer {
    /// The whole text.
    pub text: String,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// What it took.
    pub receipt: Receipt,
}

impl EdgeEngine {
    /// Validates the checkpoint, opens the device of `kind` and puts the model there.
    ///
    /// # Errors
    /// [`ModelError::Device`] where this build or machine has no such device, else what is wrong with the
    /// checkpoint.
    pub async fn load(files: &CheckpointFiles, kind: EngineKind, clock: Clock) -> Result<Self, ModelError> {
        let kind = match kind {
            EngineKind::Simd => DeviceKind::Cpu,
            EngineKind::Webgpu => DeviceKind::WebGpu,
        };
        let device = device::open(kind).await?;
        Ok(Self { assistant: Assistant::load(files, &device)?, clock })
    }

    /// Weights in the model.
    pub fn num_parameters(&self) -> usize {
        self.assistant.num_parameters()
    }

    /// Runs every shape once, so that no question waits for kernels to be compiled.
    ///
    /// # Errors
    /// [`ModelError::ReadBack`] if the device fails.
    pub async fn warm_up(&self) -> Result<(), ModelError> {
        self.assistant.warm_up().await
    }

    /// Answers a question. `on_token` hears each token with its index as soon as it is written, and answers
    /// whether to go on; it may await, for example to let other messages in, and that time is in no span.
    ///
    /// # Errors
    /// A [`ModelError`] for a prompt that does not fit the checkpoint, or a device that fails.
    pub async fn ask(
        &self,
        prompt: &Prompt,
        max_new_tokens: usize,
        mut on_token: impl AsyncFnMut(u32, &Token) -> bool,
    ) -> Result<EdgeAnswer, ModelError> {
        check(prompt)?;
        let mut receipt = Receipt::default();
        let (encoded, generation) = self.start(prompt, &mut receipt).await?;
        receipt.prompt_tokens = encoded.num_tokens() as u32;
        receipt.modalities = self.modalities(prompt, encoded.num_tokens());
        let mut generation = generation.with_max_new_tokens(max_new_tokens);

        let mut text = String::new();
        let mut decode_ms = 0.0;
        let finish_reason = loop {
            if generation.is_finished() {
                break FinishReason::Length;
            }
            let started = (self.clock)();
            let proposal = generation.next_token().await?;
            decode_ms += (self.clock)() - started;
            let Some(TokenProposal { token_id, text: piece, probability }) = proposal else {
                break FinishReason::Stop;
            };
            text.push_str(&piece);
            let index = receipt.completion_tokens;
            receipt.completion_tokens += 1;
            if !on_token(index, &Token { id: token_id, text: piece, probability }).await {
                break FinishReason::Cancelled;
            }
        };
        receipt.spans.push(Span { kind: SpanKind::Decode, ms: decode_ms });
        Ok(EdgeAnswer { text, finish_reason, receipt })
    }

    /// Scores of the answer's first token over the whole vocabulary, before softmax: what two engines are
    /// compared by.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn first_token_logits(&self, prompt: &Prompt) -> Result<Vec<f32>, ModelError> {
        Ok(self.assistant.start(prompt).await?.first_logits().to_vec())
    }

    /// Encodes and prefills, and notes both spans. On a GPU the encoders' work shows in the prefill, which is
    /// the first to wait for it.
    pub(crate) async fn start(
        &self,
        prompt: &Prompt,
        receipt: &mut Receipt,
    ) -> Result<(EncodedPrompt, Generation), ModelError> {
        let started = (self.clock)();
        let encoded = self.assistant.encode(prompt)?;
        let encoded_at = (self.clock)();
        let generation = self.assistant.prefill(&encoded).await?;
        let prefilled_at = (self.clock)();
        receipt.spans.push(Span { kind: SpanKind::Encode, ms: encoded_at - started });
        receipt.spans.push(Span { kind: SpanKind::Prefill, ms: prefilled_at - encoded_at });
        Ok((encoded, generation))
    }

    pub(crate) fn now_ms(&self) -> f64 {
        (self.clock)()
    }

    pub(crate) fn can_hear(&self) -> bool {
        self.assistant.config().audio_config.is_some()
    }

    /// Which modality became how many prompt tokens; nothing of it leaves the device.
    fn modalities(&self, prompt: &Prompt, prompt_tokens: usize) -> Vec<ModalityReceipt> {
        let config = self.assistant.config();
        let vision = prompt.images.len() * config.num_image_tokens();
        let audio = match (&prompt.audio, &config.audio_config) {
            (Some(_), Some(audio)) => audio.num_audio_tokens(),
            _ => 0,
        };
        let text = prompt_tokens - vision - audio;
        let given = [
            (Modality::Text, text, !prompt.question.is_empty()),
            (Modality::Vision, vision, !prompt.images.is_empty()),
            (Modality::Audio, audio, prompt.audio.is_some()),
        ];
        given
            .into_iter()
            .filter(|(_, _, is_given)| *is_given)
            .map(|(modality, tokens, _)| ModalityReceipt { modality, bytes: 0, prompt_tokens: tokens as u32 })
            .collect()
    }
}

/// Refuses what the cloud would refuse as well, so that both sides say the same.
fn check(prompt: &Prompt) -> Result<(), ModelError> {
    let refuse = |reason: String| Err(ModelError::Prompt { reason });
    let Some(audio) = &prompt.audio else {
        return if prompt.question.trim().is_empty() {
            refuse("the question is empty; type one or record one".to_owned())
        } else {
            Ok(())
        };
    };
    let (seconds, limit) = (audio.seconds(), f64::from(Limits::default().audio_s));
    if seconds > limit {
        return refuse(format!(
            "the recording lasts {seconds:.1} s, the limit is {limit} s; record a shorter one"
        ));
    }
    Ok(audio.require_audible()?)
}
