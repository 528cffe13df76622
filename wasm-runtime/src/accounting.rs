//! What an answer of the edge took, for its receipt: times, operations, prompt tokens.

use msao_models::{Assistant, Flops, MasProbe, ModelConfig, ModelError, Prompt};
use msao_protocol::{Modality, ModalityReceipt, Span, SpanKind};

use crate::engine::Clock;

/// Tells one span after the other.
pub(crate) struct Stopwatch {
    clock: Clock,
    since_ms: f64,
}

impl Stopwatch {
    pub(crate) fn start(clock: Clock) -> Self {
        Self { clock, since_ms: clock() }
    }

    /// The span since the last one.
    pub(crate) fn lap(&mut self, kind: SpanKind) -> Span {
        let now_ms = (self.clock)();
        Span { kind, ms: now_ms - std::mem::replace(&mut self.since_ms, now_ms) }
    }

    /// Leaves out the time since the last span.
    pub(crate) fn restart(&mut self) {
        self.since_ms = (self.clock)();
    }
}

/// Inputs of the vision tower that a question's pictures make.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Inputs {
    /// Tiles and frames that are left out among them.
    pub(crate) all: usize,
    /// Those that are looked at.
    pub(crate) kept: usize,
}

impl Inputs {
    /// Of what was given the model reads some. Tiles are left out as a whole, so the kept tokens count the inputs; frames are not in
    /// what it reads.
    pub(crate) fn of(assistant: &Assistant, given: &Prompt, reads: &Prompt) -> Self {
        let inputs = assistant.num_image_inputs(reads);
        let tokens = assistant.config().num_image_tokens().max(1);
        let kept = reads.kept.images.iter().flatten().map(|kept| kept.len() / tokens).sum();
        let drops_frames = reads.images.len() < given.images.len();
        let all = if drops_frames { assistant.num_image_inputs(given) } else { inputs };
        Self { all, kept: if reads.kept.images.is_empty() { inputs } else { kept } }
    }
}

/// Operations of the towers on all media, whole; the pictures make so many inputs.
pub(crate) fn towers_flops(config: &ModelConfig, prompt: &Prompt, inputs: usize) -> u64 {
    let flops = Flops::of(config);
    let hearing = prompt.audio.as_ref().and(config.audio_config.as_ref());
    inputs as u64 * flops.image(config.num_image_tokens())
        + hearing.map_or(0, |audio| flops.audio(audio.num_audio_tokens()))
}

/// Operations of the probe's look.
///
/// # Errors
/// As [`encode`](msao_models::TextTokenizer::encode) of the question.
pub(crate) fn probe_flops(
    assistant: &Assistant,
    probe: &MasProbe,
    prompt: &Prompt,
) -> Result<u64, ModelError> {
    let (config, shapes) = (assistant.config(), probe.config());
    let question_tokens = assistant.tokenizer().encode(&prompt.question)?.len();
    let windows = match (&prompt.audio, &config.audio_config) {
        (Some(_), Some(audio)) => audio.max_source_positions / shapes.window_frames,
        _ => 0,
    };
    Ok(probe.flops(
        question_tokens.clamp(1, shapes.max_question_tokens),
        prompt.images.len() * config.vision_config.as_ref().map_or(0, |vision| vision.num_patches()),
        windows,
    ))
}

/// Which modality became how many prompt tokens; nothing of it leaves the device.
pub(crate) fn modalities(
    config: &ModelConfig,
    prompt: &Prompt,
    inputs: Inputs,
    prompt_tokens: usize,
) -> Vec<ModalityReceipt> {
    let vision = inputs.kept * config.num_image_tokens();
    let audio = match (&prompt.audio, &config.audio_config) {
        (Some(_), Some(audio)) => audio.num_audio_tokens(),
        _ => 0,
    };
    let text = prompt_tokens - vision - audio;
    let given = [
        (Modality::Text, text, text, Inputs::default(), !prompt.question.is_empty()),
        (Modality::Vision, vision, inputs.all * config.num_image_tokens(), inputs, !prompt.images.is_empty()),
        (Modality::Audio, audio, audio, Inputs { all: 1, kept: 1 }, prompt.audio.is_some()),
    ];
    given
        .into_iter()
        .filter(|(_, _, _, _, is_given)| *is_given)
        .map(|(modality, tokens, given, inputs, _)| ModalityReceipt {
            modality,
            bytes: 0,
            prompt_tokens: tokens as u32,
            given_tokens: given as u32,
            inputs: inputs.all as u32,
            kept_inputs: inputs.kept as u32,
        })
        .collect()
}
