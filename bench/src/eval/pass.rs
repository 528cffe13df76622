//! One question through edge, probe and target, as the running system would take it, without a network between.

use std::{collections::HashMap, fs, path::Path, time::Instant};

use anyhow::{Context, Result};
use msao_models::{
    Assistant, CheckpointFiles, Flops, Generation, MasProbe, Pcm, ProbeFiles, Prompt, RgbImage,
    preprocess::{
        AudioBudget,
        decode::{ImageBudget, decode_image},
        read_wav,
    },
};
use msao_planner::EngineKind;
use msao_protocol::{self as protocol, SpanKind};
use msao_runtime::{
    engine::EdgeEngine,
    scored::{Scored, TargetGrid},
    steering::{EdgeQuestion, EdgeStep, Steer},
};
use msao_tests::{native, places};
use pollster::block_on;

use super::{
    keep::{self, KeptMedia},
    left_out::Folds,
    outcome::{EdgeOutcome, FlopCounts, Modality, Outcome, Question, Speculation, Times},
    sampling::{Pair, softmax},
};
use crate::clock::{ms_since, now_ms};

/// Draft lengths, in turn.
const DRAFT_TOKENS: [usize; 5] = [1, 2, 4, 8, 16];
/// Temperature that spreads the pair's sharp distributions.
pub(crate) const TEMPERATURE: f64 = 2.0;

/// Most tokens of an answer.
const MAX_NEW_TOKENS: usize = 96;

/// The shipped pair: the edge as its engine runs it, and by itself for drafts after a correction.
pub(crate) struct Models {
    engine: EdgeEngine,
    edge: Assistant,
    probe: MasProbe,
    folds: Folds,
    target: Assistant,
    grid: TargetGrid,
}

/// What the edge made of a question.
struct EdgeRun {
    scored: Scored,
    tokens: Vec<u32>,
    answer: String,
    confidence: f64,
    receipt: protocol::Receipt,
}

/// A scene's media, read once for all its questions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Media {
    pub(crate) images: Vec<RgbImage>,
    pub(crate) audio: Option<Pcm>,
}

/// Reads media of the evaluation set, keeping those of the last scene.
pub(crate) struct MediaReader<'a> {
    folder: &'a Path,
    last: HashMap<String, Media>,
}

impl<'a> MediaReader<'a> {
    /// Reads from an evaluation set.
    pub(crate) fn new(folder: &'a Path) -> Self {
        Self { folder, last: HashMap::new() }
    }

    /// The media of a question.
    ///
    /// # Errors
    /// If a file is missing or unusable.
    pub(crate) fn read(&mut self, question: &Question) -> Result<Media> {
        let key = format!("{:?}{:?}", question.images, question.audio);
        if let Some(media) = self.last.get(&key) {
            return Ok(media.clone());
        }
        let file = |name: &String| {
            let path = self.folder.join(name);
            fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let mut media = Media::default();
        for name in &question.images {
            media.images.push(decode_image(&file(name)?, &ImageBudget::default())?);
        }
        if let Some(name) = &question.audio {
            media.audio = Some(read_wav(&file(name)?, &AudioBudget::default())?);
        }
        self.last = HashMap::from([(key, media.clone())]);
        Ok(media)
    }
}

impl Models {
    /// Loads the shipped pair.
    ///
    /// # Errors
    /// If something is missing.
    pub(crate) fn load() -> Result<Self> {
        let folder = places::weights().join("pocket-edge");
        let files = CheckpointFiles::from_dir(&folder)?;
        let probe_files = ProbeFiles::from_dir(&folder)?.context("pocket-edge has no probe")?;
        let engine = block_on(EdgeEngine::load(&files, Some(&probe_files), EngineKind::Simd, now_ms))?;
        let edge = native::load("pocket-edge")?;
        let probe = MasProbe::load(&probe_files, edge.config(), edge.device())?;
        let folds = Folds::load(&places::evaluation().join("probe_folds"), &edge)?;
        let target = native::load("pocket-cloud")?;
        let grid = keep::grid_of(&target);
        Ok(Self { engine, edge, probe, folds, target, grid })
    }

    fn run_edge(&self, prompt: &Prompt) -> Result<EdgeRun> {
        let (mut kept, mut tokens, mut confidence) = (None, Vec::new(), 1.0_f64);
        let on_scored = async |scored: Scored| {
            kept = Some(scored);
            true
        };
        let on_step = async |step: EdgeStep<'_>| {
            if let EdgeStep::Token { token, .. } = step {
                tokens.push(token.id);
                confidence = confidence.min(token.probability.into());
            }
            Steer::GoOn
        };
        let question = EdgeQuestion {
            prompt,
            target: Some(&self.grid),
            max_new_tokens: MAX_NEW_TOKENS,
            sampling: None,
            awaits_target: false,
            wants_scores: true,
        };
        let answer = block_on(self.engine.ask(&question, on_scored, on_step))?;
        Ok(EdgeRun {
            scored: kept.context("the engine has a probe and must score")?,
            tokens,
            answer: answer.text.trim().to_owned(),
            confidence,
            receipt: answer.receipt,
        })
    }

    /// Measures one question; `index` chooses the draft length. The pair of distributions is that of the answer's
    /// first token. `None` where the recording is so quiet that edge and server both refuse it.
    ///
    /// # Errors
    /// If media cannot be read or a model fails.
    pub(crate) fn measure(
        &self,
        question: &Question,
        index: usize,
        media: &mut MediaReader<'_>,
    ) -> Result<Option<(Outcome, Pair)>> {
        let given = media.read(question)?;
        if given.audio.as_ref().is_some_and(|audio| audio.require_audible().is_err()) {
            return Ok(None);
        }
        let whole = keep::as_sent_whole(&given.images, given.audio.as_ref(), &self.target)?;

        let prompt = Prompt {
            question: question.question.clone(),
            images: given.images.clone(),
            audio: given.audio.clone(),
            ..Prompt::default()
        };
        let edge = self.run_edge(&prompt)?;
        let kept = keep::keep(&edge.scored, &whole, &self.grid, &self.target)?;

        let whole_start = block_on(self.target.start(&whole.prompt(&question.question)))?;
        let whole_prompt_tokens = whole_start.prompt_tokens();
        let (whole_tokens, whole_answer, _) = write(whole_start)?;
        let targeting = Instant::now();
        let kept_start = block_on(self.target.start(&kept.prompt(&question.question)))?;
        let kept_prompt_tokens = kept_start.prompt_tokens();
        let target_scores = kept_start.first_logits().to_vec();
        let (alone, kept_answer, least_margin) = write_with_margin(kept_start.clone())?;
        let kept_target_ms = ms_since(targeting);
        let draft_tokens = DRAFT_TOKENS[index % DRAFT_TOKENS.len()];
        let mut speculation = self.speculate(&prompt, &edge.tokens, kept_start, draft_tokens)?;
        speculation.is_lossless = speculation.tokens == alone;

        let target_flops = |media: &KeptMedia, prompt_tokens, tokens| {
            let flops = Flops::of(self.target.config());
            media.flops(&flops) + flops.answer(prompt_tokens, tokens)
        };
        let outcome = Outcome {
            id: question.id.clone(),
            family: question.family.clone(),
            right_answer: question.answer.clone(),
            needs: question.needs,
            vision: keep::relevance(&edge.scored, protocol::Modality::Vision).map(|relevance| Modality {
                relevance: relevance.into(),
                tokens: whole.image_tokens(),
                kept_tokens: kept.image_tokens(),
                whole_bytes: whole.image_bytes,
                kept_bytes: kept.image_bytes,
            }),
            audio: keep::relevance(&edge.scored, protocol::Modality::Audio).map(|relevance| Modality {
                relevance: relevance.into(),
                tokens: whole.audio_tokens(),
                kept_tokens: kept.audio_tokens(),
                whole_bytes: whole.audio_bytes,
                kept_bytes: kept.audio_bytes,
            }),
            left_out: self.folds.score(&self.edge, &prompt, &question.family)?,
            kept_frames: kept.images.len(),
            frames: given.images.len(),
            edge: EdgeOutcome { answer: edge.answer, confidence: edge.confidence, tokens: edge.tokens.len() },
            whole_answer,
            kept_answer,
            flops: FlopCounts {
                probe: self.probe.flops(
                    prompt_length(&self.edge, &question.question)?,
                    given.images.len()
                        * self.edge.config().vision_config.as_ref().map_or(0, |vision| vision.num_patches()),
                    if given.audio.is_some() { self.probe_windows() } else { 0 },
                ),
                edge: edge.receipt.flops,
                whole_target: target_flops(&whole, whole_prompt_tokens, whole_tokens.len()),
                kept_target: target_flops(&kept, kept_prompt_tokens, alone.len()),
            },
            speculation: Speculation { least_margin, ..speculation.figures(draft_tokens) },
            ms: Times {
                probe: edge.receipt.ms(SpanKind::Score),
                edge: edge.receipt.spans.iter().map(|span| span.ms).sum(),
                kept_target: kept_target_ms,
            },
        };
        let pair = Pair {
            target: softmax(&target_scores, TEMPERATURE),
            draft: softmax(&block_on(self.engine.first_token_logits(&prompt))?, TEMPERATURE),
        };
        Ok(Some((outcome, pair)))
    }

    fn probe_windows(&self) -> usize {
        let positions =
            self.edge.config().audio_config.as_ref().map_or(0, |audio| audio.max_source_positions);
        positions / self.probe.config().window_frames
    }

    /// Drafts of the edge, verified in passes of the target; after a correction the edge goes on from it.
    fn speculate(
        &self,
        prompt: &Prompt,
        drafted: &[u32],
        mut target: Generation,
        draft_tokens: usize,
    ) -> Result<Speculated> {
        let mut done =
            Speculated { tokens: Vec::new(), rounds: 0, proposed: 0, accepted: 0, is_lossless: true };
        let (mut drafted, mut edge) = (drafted.to_vec(), None);
        while !target.is_finished() {
            let standing = target.tokens().len();
            let drafts = drafted.get(standing..).unwrap_or_default();
            let drafts = drafts[..drafts.len().min(draft_tokens)].to_vec();
            let outcome = block_on(target.verify(&drafts))?;
            done.rounds += 1;
            done.proposed += drafts.len();
            done.accepted += outcome.accepted;
            let settled = target.tokens();
            if !target.is_finished() && drafted.get(..settled.len()) != Some(settled) {
                let edge = match &mut edge {
                    Some(edge) => edge,
                    None => edge.insert(block_on(self.edge.start(prompt))?),
                };
                edge.roll_back(0);
                edge.adopt(settled)?;
                while block_on(edge.next_token())?.is_some() {}
                drafted = edge.tokens().to_vec();
            }
        }
        done.tokens = target.tokens().to_vec();
        Ok(done)
    }
}

fn prompt_length(edge: &Assistant, question: &str) -> Result<usize> {
    Ok(edge.tokenizer().encode(question)?.len())
}

/// The greedy answer: its tokens, its text and the least probability among them.
fn write(mut generation: Generation) -> Result<(Vec<u32>, String, f64)> {
    let (mut text, mut least) = (String::new(), 1.0_f64);
    while let Some(token) = block_on(generation.next_token())? {
        text.push_str(&token.text);
        least = least.min(token.probability.into());
    }
    Ok((generation.tokens().to_vec(), text.trim().to_owned(), least))
}

/// As [`write`], with the least distance between the two best scores instead of the probability.
fn write_with_margin(mut generation: Generation) -> Result<(Vec<u32>, String, f64)> {
    let (mut text, mut least) = (String::new(), f64::INFINITY);
    while !generation.is_finished() {
        let scores = block_on(generation.score(&[]))?;
        let row = scores.rows().next().context("one place is scored")?;
        let (mut best, mut second) = ((0, f32::NEG_INFINITY), f32::NEG_INFINITY);
        for (token, &score) in row.iter().enumerate() {
            if score > best.1 {
                second = best.1;
                best = (token as u32, score);
            } else if score > second {
                second = score;
            }
        }
        least = least.min(f64::from(best.1 - second));
        for token in generation.settle(&[], &scores, 0, Some(best.0))? {
            text.push_str(&token.text);
        }
    }
    Ok((generation.tokens().to_vec(), text.trim().to_owned(), least))
}

/// Outcome of a speculative answer.
struct Speculated {
    tokens: Vec<u32>,
    rounds: usize,
    proposed: usize,
    accepted: usize,
    is_lossless: bool,
}

impl Speculated {
    fn figures(&self, draft_tokens: usize) -> Speculation {
        Speculation {
            draft_tokens,
            rounds: self.rounds,
            proposed_drafts: self.proposed,
            accepted_drafts: self.accepted,
            answer_tokens: self.tokens.len(),
            is_lossless: self.is_lossless,
            least_margin: 0.0,
        }
    }
}
