//! The edge engine: a loaded checkpoint that answers questions token by token, drafts on behind
//! corrections and says where the time went.
//!
//! The same code runs natively, in the Wasm SIMD module and in the WebGPU module; only the device differs. It
//! knows no browser: media come in as pixels and samples, the time as a [`Clock`], scores and tokens go out to
//! callbacks.
//!
//! With a probe a question takes two steps: the first layers of the towers, whose output the probe scores, and after the
//! scores were told the rest of them. What is sent to the cloud is thus known before most of the edge's own work.

use std::borrow::Cow;

use msao_models::preprocess::Clip;
use msao_models::speech::WhisperFiles;
use msao_models::{
    Assistant, CheckpointFiles, DeviceKind, EncodedPrompt, Flops, Generation, ModelError, ProbeFiles, Prompt,
    Splitting, device, preprocess::Tiling,
};
use msao_planner::EngineKind;
use msao_protocol::{FinishReason, Limits, Receipt, SpanKind, Vocabulary};
use serde::Serialize;

use crate::{
    accounting::{self, Inputs, Stopwatch},
    drafting::{Draft, Drafted},
    ears::Ears,
    frames::ChosenFrames,
    sampling::Sampler,
    scored::{Scored, TargetGrid},
    scoring::{KeptMedia, Scorer, check_target},
    steering::{EdgeQuestion, EdgeStep, Steer},
    tiles::{self, ChosenTiles},
};

/// Milliseconds since some fixed moment, never going back.
pub type Clock = fn() -> f64;

/// A loaded checkpoint on its device.
#[derive(Debug)]
pub struct EdgeEngine {
    assistant: Assistant,
    scorer: Option<Scorer>,
    ears: Option<Ears>,
    clock: Clock,
}

/// A complete answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EdgeAnswer {
    /// The whole text.
    pub text: String,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// That of the last correction it knows, 0 without any.
    pub revision: u32,
    /// What it took.
    pub receipt: Receipt,
}

/// All that comes before the first token.
struct Started {
    encoded: EncodedPrompt,
    generation: Generation,
    /// What the model reads, where that is not the prompt as given.
    reads: Option<Prompt>,
}

impl EdgeEngine {
    /// Validates the checkpoint and its probe, opens the device of `kind` and puts the model there. Without a probe
    /// nothing is scored.
    ///
    /// # Errors
    /// [`ModelError::Device`] where this build or machine has no such device, else what is wrong with the
    /// files.
    pub async fn load(
        files: &CheckpointFiles,
        probe: Option<&ProbeFiles>,
        kind: EngineKind,
        clock: Clock,
    ) -> Result<Self, ModelError> {
        let kind = match kind {
            EngineKind::Simd => DeviceKind::Cpu,
            EngineKind::Webgpu => DeviceKind::WebGpu,
        };
        let device = device::open(kind).await?;
        let assistant = Assistant::load(files, &device)?;
        let scorer = probe.map(|probe| Scorer::load(probe, assistant.config(), &device)).transpose()?;
        Ok(Self { assistant, scorer, ears: None, clock })
    }

    /// Gives a checkpoint that cannot hear a speech model beside it, which runs on the CPU; one that hears keeps its own ears.
    ///
    /// # Errors
    /// As [`Whisper::load`](msao_models::speech::Whisper::load).
    pub fn with_speech(mut self, name: &str, files: &WhisperFiles) -> Result<Self, ModelError> {
        if self.assistant.audio_chunk().is_none() {
            self.ears = Some(Ears::load(name, files)?);
        }
        Ok(self)
    }

    /// Whether questions are scored.
    pub fn has_probe(&self) -> bool {
        self.scorer.is_some()
    }

    /// Weights in the model.
    pub fn num_parameters(&self) -> usize {
        self.assistant.num_parameters()
    }

    /// What its token ids mean.
    pub fn vocabulary(&self) -> Vocabulary {
        let (tokens, fingerprint) = self.assistant.tokenizer().fingerprint();
        Vocabulary { tokens, fingerprint }
    }

    /// Runs every shape once, so that no question waits for kernels to be compiled.
    ///
    /// # Errors
    /// [`ModelError::ReadBack`] if the device fails.
    pub async fn warm_up(&self) -> Result<(), ModelError> {
        self.assistant.warm_up().await?;
        if self.scorer.is_some() {
            // The probe sees one picture or a clip of four.
            for images in [1, 4] {
                self.start(&self.fixed_prompt(images)?, &mut Receipt::default()).await?;
            }
        }
        Ok(())
    }

    /// Answers a question.
    ///
    /// With a probe, and where the question wants it, `on_scored` hears exactly once what it needs, before most of the work is
    /// done and before any token; with a target, with what is kept cut out on its grids. It answers whether to go on. `on_step`
    /// hears each token as soon as it is written, and the end where the question awaits the target, and answers how to go
    /// on. Both may await, for example to let other messages in, and that time is in no span.
    ///
    /// A correction is adopted before the next token is written. The receipt counts the times and operations of all
    /// drafting; its tokens are those of the answer when it ended for the first time.
    ///
    /// # Errors
    /// A [`ModelError`] for a prompt that does not fit the checkpoint, an impossible target, sampling or correction, or a
    /// device that fails.
    pub async fn ask(
        &self,
        question: &EdgeQuestion<'_>,
        on_scored: impl AsyncFnOnce(Scored) -> bool,
        mut on_step: impl AsyncFnMut(EdgeStep<'_>) -> Steer,
    ) -> Result<EdgeAnswer, ModelError> {
        let EdgeQuestion { prompt, target, max_new_tokens, sampling, awaits_target, wants_scores } =
            *question;
        check(prompt)?;
        let perceived = awaits_target.then(|| self.perceivable(prompt)).flatten();
        let prompt = perceived.as_ref().unwrap_or(prompt);
        target.map_or(Ok(()), check_target)?;
        let sampler = sampling.map(Sampler::new).transpose()?;
        let mut receipt = Receipt::default();
        let heard = match &self.ears {
            Some(ears) => ears.hear(prompt, &mut receipt, Stopwatch::start(self.clock)).await?,
            None => Cow::Borrowed(prompt),
        };
        let prompt = &*heard;
        let target = target.filter(|_| wants_scores);
        let scorer = self.scorer.as_ref().filter(|_| wants_scores);
        let started = self.start_with(scorer, prompt, target, on_scored, &mut receipt).await?;
        let Some(Started { encoded, generation, reads }) = started else {
            let (text, finish_reason) = (String::new(), FinishReason::Cancelled);
            return Ok(EdgeAnswer { text, finish_reason, revision: 0, receipt });
        };
        let (config, prompt_tokens) = (self.assistant.config(), encoded.num_tokens());
        let reads = reads.as_ref().unwrap_or(prompt);
        let inputs = Inputs::of(&self.assistant, prompt, reads);
        receipt.prompt_tokens = prompt_tokens as u32;
        receipt.modalities = accounting::modalities(config, reads, inputs, prompt_tokens);
        receipt.flops += Flops::of(config).decoder(prompt_tokens, 0, 1);
        let generation = generation.with_max_new_tokens(max_new_tokens);
        let mut draft = Draft::new(&self.assistant, generation, sampler, self.clock);
        loop {
            let steer = match draft.next().await? {
                Drafted::Token { index, token, candidates } => {
                    let (revision, token, candidates) = (draft.revision(), &token, &candidates[..]);
                    on_step(EdgeStep::Token { revision, index, token, candidates }).await
                }
                Drafted::Ended(finish_reason) => {
                    let answer = draft.answer(finish_reason, &receipt);
                    if !awaits_target {
                        return Ok(answer);
                    }
                    match on_step(EdgeStep::Ended { answer: &answer }).await {
                        Steer::GoOn | Steer::Stop => return Ok(answer),
                        correct @ Steer::Correct(_) => correct,
                    }
                }
            };
            match steer {
                Steer::GoOn => (),
                Steer::Stop => return Ok(draft.answer(FinishReason::Cancelled, &receipt)),
                Steer::Correct(correction) => draft.correct(&correction)?,
            }
        }
    }

    /// When the frames of a video were, as this checkpoint is told; `None` where it has not learned about videos.
    pub fn clip(&self, clip: &msao_protocol::Clip) -> Option<Clip> {
        let seconds = |&ms: &u32| f64::from(ms) / 1e3;
        self.assistant.video_sampling()?;
        let times_s = clip.times_ms.iter().map(seconds).collect();
        Some(Clip { duration_s: seconds(&clip.duration_ms), times_s })
    }

    /// The prompt without media that this checkpoint cannot see or hear; `None` where there are none of those. What it writes
    /// from the rest is good enough for a draft, and not for an answer.
    fn perceivable(&self, prompt: &Prompt) -> Option<Prompt> {
        let config = self.assistant.config();
        let blind = config.vision_config.is_none() && !prompt.images.is_empty();
        let deaf = config.audio_config.is_none() && prompt.audio.is_some();
        (blind || deaf).then(|| Prompt {
            question: prompt.question.clone(),
            images: if blind { Vec::new() } else { prompt.images.clone() },
            splitting: prompt.splitting,
            clip: prompt.clip.clone().filter(|_| !blind),
            audio: prompt.audio.clone().filter(|_| !deaf),
            ..Prompt::default()
        })
    }

    /// Scores of the answer's first token over the whole vocabulary, before softmax: what two engines are
    /// compared by.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn first_token_logits(&self, prompt: &Prompt) -> Result<Vec<f32>, ModelError> {
        Ok(self.assistant.start(prompt).await?.first_logits().to_vec())
    }

    /// Encodes, scores where there is a probe, and prefills; notes the spans, and the operations up to prefill. `None`
    /// if `on_scored` does not want to go on.
    ///
    /// On a GPU the encoders' work shows in the next step that waits for it: scoring, then prefill.
    async fn start_with(
        &self,
        scorer: Option<&Scorer>,
        prompt: &Prompt,
        target: Option<&TargetGrid>,
        on_scored: impl AsyncFnOnce(Scored) -> bool,
        receipt: &mut Receipt,
    ) -> Result<Option<Started>, ModelError> {
        let mut watch = Stopwatch::start(self.clock);
        let tiling = target.and_then(tiles::tiling);
        let sees_tiles = self.assistant.config().vision_config.is_some()
            && !prompt.images.is_empty()
            && prompt.clip.is_none();
        let mut reads = None;
        let encoded = match (scorer, tiling) {
            (None, None) if target.is_some_and(|target| target.drops_frames) => {
                let chosen = ChosenFrames::new(&prompt.images);
                receipt.flops += prompt.images.iter().map(|frame| frame.pixels().len() as u64).sum::<u64>();
                receipt.spans.push(watch.lap(SpanKind::Score));
                if !on_scored(chosen.scored()).await {
                    return Ok(None);
                }
                watch.restart();
                reads = chosen.on_edge(prompt);
                self.assistant.encode(reads.as_ref().unwrap_or(prompt))?
            }
            (None, None) => self.assistant.encode(prompt)?,
            (_, Some(tiling)) if sees_tiles => {
                let (chosen, sound) = self.choose_tiles(scorer, prompt, target, tiling, receipt).await?;
                receipt.spans.push(watch.lap(SpanKind::Score));
                let mut scored = match target {
                    Some(target) => sound.cut(prompt, target),
                    None => sound.into_scores(),
                };
                scored.images = chosen.cut(&prompt.images);
                receipt.spans.push(watch.lap(SpanKind::Prune));
                if !on_scored(scored).await {
                    return Ok(None);
                }
                watch.restart();
                let own = reads.insert(chosen.on_edge(&self.assistant, prompt));
                self.assistant.encode(own)?
            }
            // There is nothing to look at, and nothing to say but that.
            (None, Some(_)) => {
                if !on_scored(Scored::default()).await {
                    return Ok(None);
                }
                watch.restart();
                self.assistant.encode(prompt)?
            }
            (Some(_), _) if prompt.images.is_empty() && prompt.audio.is_none() => {
                if !on_scored(Scored::default()).await {
                    return Ok(None);
                }
                watch.restart();
                self.assistant.encode(prompt)?
            }
            (Some(scorer), _) => {
                let looked = self.assistant.look(prompt, &scorer.probe)?;
                receipt.spans.push(watch.lap(SpanKind::Encode));
                let scores = self.assistant.score(&looked, &scorer.probe).await?;
                let kept = scorer.keep(prompt, &scores, target);
                receipt.flops += accounting::probe_flops(&self.assistant, &scorer.probe, prompt)?;
                receipt.spans.push(watch.lap(SpanKind::Score));
                let scored = match target {
                    Some(target) => {
                        let scored = kept.cut(prompt, target);
                        receipt.spans.push(watch.lap(SpanKind::Prune));
                        scored
                    }
                    None => kept.into_scores(),
                };
                if !on_scored(scored).await {
                    return Ok(None);
                }
                watch.restart();
                self.assistant.encode_rest(looked)
            }
        };
        receipt.spans.push(watch.lap(SpanKind::Encode));
        let inputs = Inputs::of(&self.assistant, prompt, reads.as_ref().unwrap_or(prompt));
        receipt.flops += accounting::towers_flops(self.assistant.config(), prompt, inputs.kept);
        let generation = self.assistant.prefill(&encoded).await?;
        receipt.spans.push(watch.lap(SpanKind::Prefill));
        Ok(Some(Started { encoded, generation, reads }))
    }

    /// Looks at the whole of each picture; chooses tiles, by the probe where there is one, which hears as well.
    async fn choose_tiles<'a>(
        &self,
        scorer: Option<&Scorer>,
        prompt: &'a Prompt,
        target: Option<&TargetGrid>,
        tiling: Tiling,
        receipt: &mut Receipt,
    ) -> Result<(ChosenTiles, KeptMedia<'a>), ModelError> {
        let images = &prompt.images;
        let (patches, relevance, kept) = match scorer {
            None => {
                let mut patches = Vec::with_capacity(images.len());
                for image in images {
                    patches.push(self.assistant.saliency(image).await?);
                }
                receipt.flops += images.len() as u64 * self.assistant.saliency_flops();
                (patches, 1.0, KeptMedia::default())
            }
            Some(scorer) => {
                let in_one_piece = Prompt { splitting: Splitting::Never, ..prompt.clone() };
                let looked = self.assistant.look(&in_one_piece, &scorer.probe)?;
                let scores = self.assistant.score(&looked, &scorer.probe).await?;
                receipt.flops += accounting::probe_flops(&self.assistant, &scorer.probe, prompt)?;
                let kept = scorer.keep(prompt, &scores, target);
                (scores.patches, scores.vision_relevance.unwrap_or(1.0), kept)
            }
        };
        let chosen = ChosenTiles::new(tiling, images, patches, relevance);
        let kept = kept.with_vision(chosen.scores());
        Ok((chosen, kept))
    }

    /// All that comes before the first token of a prompt that nothing is sent of, scores included.
    pub(crate) async fn start(&self, prompt: &Prompt, receipt: &mut Receipt) -> Result<(), ModelError> {
        self.start_with(self.scorer.as_ref(), prompt, None, async |_| true, receipt).await.map(drop)
    }

    pub(crate) fn now_ms(&self) -> f64 {
        (self.clock)()
    }

    pub(crate) fn assistant(&self) -> &Assistant {
        &self.assistant
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
