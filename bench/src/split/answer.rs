//! An answer of the split model, and what it took.

use msao_models::{Assistant, Flops, Prompt};

use super::{POLICY, wire};
use crate::record::Record;

/// Milliseconds and bytes of one answer.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Work {
    pub(super) edge_encode_ms: f64,
    pub(super) edge_prefill_ms: f64,
    pub(super) edge_decode_ms: f64,
    pub(super) cloud_prefill_ms: f64,
    pub(super) cloud_decode_ms: f64,
    /// From a message up to the token down, without the cloud's own work.
    pub(super) network_ms: f64,
    pub(super) up_bytes: u64,
    pub(super) down_bytes: u64,
    /// Rows that were sent behind the prompt.
    pub(super) steps: usize,
}

/// A complete answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SplitAnswer {
    /// The answer, trimmed.
    pub(crate) text: String,
    /// Its tokens without the end token.
    pub(crate) tokens: Vec<u32>,
    /// Milliseconds from the question to the first token.
    pub(crate) ttft_ms: f64,
    /// Milliseconds from the question to the end.
    pub(crate) total_ms: f64,
    /// Operations of the towers and the first layers.
    pub(crate) edge_flops: u64,
    /// Operations of the last layers and the head.
    pub(crate) cloud_flops: u64,
    pub(super) prompt_tokens: usize,
    pub(super) work: Work,
    vision_bytes: u64,
    audio_bytes: u64,
}

impl SplitAnswer {
    pub(super) fn new(
        target: &Assistant,
        prompt: &Prompt,
        layers: usize,
        prompt_tokens: usize,
        work: Work,
        tokens: Vec<u32>,
        text: String,
    ) -> Self {
        let config = target.config();
        let (flops, media) = (Flops::of(config), MediaTokens::of(target, prompt));
        let of_layers = |count: usize| {
            let steps = (0..work.steps).map(|step| flops.layers(count, 1, prompt_tokens + step));
            flops.layers(count, prompt_tokens, 0) + steps.sum::<u64>()
        };
        let towers = media.images.iter().map(|&tokens| flops.image(tokens)).sum::<u64>()
            + media.audio.map_or(0, |tokens| flops.audio(tokens));
        let bytes = |tokens: usize| (tokens * wire::row_bytes(config)) as u64;
        Self {
            text,
            tokens,
            ttft_ms: 0.0,
            total_ms: 0.0,
            edge_flops: towers + of_layers(layers),
            cloud_flops: of_layers(config.text_config.num_hidden_layers - layers)
                + flops.head(1) * (1 + work.steps as u64),
            prompt_tokens,
            work,
            vision_bytes: bytes(media.images.iter().sum()),
            audio_bytes: bytes(media.audio.unwrap_or(0)),
        }
    }

    /// When its first token came and when it ended.
    pub(super) fn at(self, ttft_ms: f64, total_ms: f64) -> Self {
        Self { ttft_ms, total_ms, ..self }
    }

    /// Its line of the journal. Bytes are those of the frames; what TCP adds is not in them. Rows of image and audio
    /// tokens count as pictures and sound.
    pub(crate) fn record(&self, request: &str, family: &str, network: &str, is_right: bool) -> Record {
        let work = &self.work;
        let spans = [
            ("edge.encode", work.edge_encode_ms),
            ("edge.prefill", work.edge_prefill_ms),
            ("edge.decode", work.edge_decode_ms),
            ("cloud.prefill", work.cloud_prefill_ms),
            ("cloud.decode", work.cloud_decode_ms),
            ("network", work.network_ms),
        ];
        Record {
            request: request.to_owned(),
            family: family.to_owned(),
            models: None,
            network: network.to_owned(),
            policy: POLICY.to_owned(),
            answer: self.text.clone(),
            is_right,
            first_shown_ms: self.ttft_ms,
            ttft_ms: self.ttft_ms,
            total_ms: self.total_ms,
            tokens: u32::try_from(self.tokens.len()).unwrap_or(u32::MAX),
            up_bytes: work.up_bytes,
            down_bytes: work.down_bytes,
            vision_bytes: self.vision_bytes,
            audio_bytes: self.audio_bytes,
            edge_flops: self.edge_flops,
            cloud_flops: self.cloud_flops,
            proposed_drafts: 0,
            accepted_drafts: 0,
            rounds: u32::try_from(1 + work.steps).unwrap_or(u32::MAX),
            strategy: POLICY.to_owned(),
            stood: false,
            shadow_agreed: None,
            predicted_ms: None,
            spans: spans.map(|(name, ms)| (name.to_owned(), ms)).to_vec(),
            failure: None,
        }
    }
}

/// Prompt tokens that a question's media become.
struct MediaTokens {
    images: Vec<usize>,
    audio: Option<usize>,
}

impl MediaTokens {
    fn of(target: &Assistant, prompt: &Prompt) -> Self {
        let config = target.config();
        // Its pictures are not split: what is measured here is the shipped pair.
        let image = |index| prompt.kept.image(index).map_or(config.num_image_tokens(), <[usize]>::len);
        let heard = config.audio_config.as_ref().map_or(0, |audio| audio.num_audio_tokens());
        Self {
            images: (0..prompt.images.len()).map(image).collect(),
            audio: prompt.audio.as_ref().map(|_| prompt.kept.audio.as_ref().map_or(heard, Vec::len)),
        }
    }
}
