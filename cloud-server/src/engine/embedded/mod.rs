//! The model in this process: a thread that decodes media and one that runs the model for all requests together.
//!
//! | file | what happens there |
//! |---|---|
//! | [`pipeline`] | the queues between sessions and the two threads |
//! | [`media`], [`frames`], [`tiles`] | files become pixels and samples; frames that say nothing new and tiles that say little are left out where that is wanted |
//! | [`scheduler`] | the model thread: which request does what in the next step |
//! | [`fair_share`] | whose turn it is |
//! | [`prompts`], [`reading`] | which prompt is read next and where its room comes from; it goes through the models |
//! | [`retention`], [`kv_budget`], [`content`] | what is kept of finished requests, within a budget, and found by what it holds |
//! | [`verify_only`] | drafts are verified behind a finished request |
//! | [`request`], [`context`] | one answer: its context, its drafts, what stands |
//! | [`edge_drafts`](super::edge_drafts), [`co_located`] | two of the three sources of drafts; the third is [`request`]'s own past |
//! | [`verification`] | the rule, greedy or drawn, by which drafts are accepted and tokens chosen |
//! | [`logprobs`] | how likely tokens were that stand, and others in their place |
//! | [`ledger`](super::ledger) | the receipt |

mod co_located;
mod content;
mod context;
mod fair_share;
mod frames;
mod kv_budget;
mod logprobs;
mod media;
mod pipeline;
mod prompts;
mod reading;
mod request;
mod retention;
mod scheduler;
mod tiles;
mod verification;
mod verify_only;

use std::sync::Arc;
use std::task::{Wake as _, Waker};
use std::time::Duration;

use msao_models::device::{self, DeviceKind};
use msao_models::text::{PromptTemplate, TextTokenizer};
use msao_models::{Assistant, CheckpointFiles, DEFAULT_MAX_NEW_TOKENS, ModelError};
use msao_protocol::{
    AudioGrid, ClipSampling, ImageGrid, Limits, ModelInfo, PictureSize, TokenId, Vocabulary,
};

use self::fair_share::FairShare;
use self::media::MediaStage;
use self::pipeline::{Pipeline, Queued};
use self::prompts::Stalled;
use self::reading::Models;
use self::retention::{Retention, Sequence};
use self::scheduler::Scheduler;
use super::admission::Admission;
use super::ledger::Ledger;
use super::stage::spawn_stage;
use super::statistics::Counters;
use super::{Busy, Engine, EngineInfo, EngineStatistics, Job, Owner, Place, VerifyJob};
use crate::intake;

/// What an [`EmbeddedEngine`] is made of.
#[derive(Debug, Clone)]
pub struct EmbeddedConfig {
    /// Name told to clients, such as `pocket-cloud`.
    pub name: String,
    /// Where the models run.
    pub device: DeviceKind,
    /// Budgets that media are decoded under.
    pub limits: Limits,
    /// Requests that may wait or run.
    pub places: usize,
    /// Nobody waits longer than this for a prompt to be read, or than one prompt takes; others are told to come back.
    pub max_wait: Duration,
    /// Most requests that share a pass of the model, at least 1.
    pub max_batch: usize,
    /// How long announced media are waited for.
    pub attach_wait: Duration,
    /// Bytes that keys and values may take, of what runs and of what is kept of finished requests together.
    pub kv_budget_bytes: u64,
    /// How long a new prompt waits for memory that what runs will give back, before it is sent away.
    pub memory_wait: Duration,
    /// Whether tiles of pictures in which little stands out, and frames of videos in which nothing has changed, are left out where
    /// a job says nothing else.
    pub prunes_tiles: bool,
}

/// The files of the models.
#[derive(Debug)]
pub struct Checkpoints {
    /// The model that answers.
    pub target: CheckpointFiles,
    /// A smaller one that drafts for it.
    pub draft: Option<CheckpointFiles>,
}

/// A checkpoint that answers in this process.
pub struct EmbeddedEngine {
    info: EngineInfo,
    tokenizer: TextTokenizer,
    admission: Arc<Admission>,
    pipeline: Arc<Pipeline>,
    retention: Arc<Retention>,
    counters: Arc<Counters>,
}

impl EmbeddedEngine {
    /// Loads the checkpoints, warms them up and starts the threads.
    ///
    /// # Errors
    /// When the device or a checkpoint cannot be used, the two do not share a vocabulary, or no thread can be started.
    pub fn start(checkpoints: &Checkpoints, config: &EmbeddedConfig) -> Result<Self, ModelError> {
        let device = pollster::block_on(device::open(config.device))?;
        let target = Assistant::load(&checkpoints.target, &device)?;
        pollster::block_on(target.warm_up())?;
        let draft = match &checkpoints.draft {
            None => None,
            Some(files) => {
                let draft = Assistant::load(files, &device)?;
                check_vocabulary(&target, &draft)?;
                pollster::block_on(draft.warm_up())?;
                Some(draft)
            }
        };
        let info = describe(&target, draft.is_some(), config);
        let limits = intake::effective_limits(config.limits, &info);
        let admission = Arc::new(Admission::new(config.places, config.max_wait));
        let pipeline = Arc::new(Pipeline::default());
        let counters = Arc::new(Counters::default());
        let retention = Arc::new(Retention::new(config.kv_budget_bytes));
        let longest = Sequence::bytes(&target, target.max_sequence());
        if longest > config.kv_budget_bytes {
            tracing::warn!(
                longest_bytes = longest,
                budget_bytes = config.kv_budget_bytes,
                "the longest prompt does not fit the memory for keys and values: raise --kv-budget-mb"
            );
        }
        let media = MediaStage {
            limits,
            info: info.clone(),
            target: target.clone(),
            prunes_tiles: config.prunes_tiles,
        };
        let tokenizer = target.tokenizer().clone();
        let scheduler = Scheduler {
            models: Models {
                target,
                draft,
                retention: Arc::clone(&retention),
                counters: Arc::clone(&counters),
            },
            pipeline: Arc::clone(&pipeline),
            admission: Arc::clone(&admission),
            counters: Arc::clone(&counters),
            max_batch: config.max_batch.max(1),
            attach_wait: config.attach_wait,
            memory_wait: config.memory_wait,
            running: Vec::new(),
            verifications: Vec::new(),
            stalled: Stalled::default(),
            shares: FairShare::default(),
            next_key: 0,
            passes: 0,
        };
        let no_thread = |error: std::io::Error| ModelError::Device {
            device: config.device.to_string(),
            reason: format!("no thread for the engine: {error}; raise the limit on threads"),
        };
        let (queues, kept) = (Arc::clone(&pipeline), Arc::clone(&retention));
        spawn_stage("media", move || media.run(&queues, &kept)).map_err(no_thread)?;
        spawn_stage("model", move || scheduler.run()).map_err(no_thread)?;
        Ok(Self { info, tokenizer, admission, pipeline, retention, counters })
    }
}

impl Drop for EmbeddedEngine {
    fn drop(&mut self) {
        self.pipeline.stop();
    }
}

impl Engine for EmbeddedEngine {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn reserve(&self) -> Result<Place, Busy> {
        self.admission.reserve()
    }

    fn reserve_for(&self, owner: Owner) -> Result<Place, Busy> {
        self.admission.reserve_for(owner)
    }

    fn submit(&self, place: Place, job: Job) {
        job.wake_on_news(Waker::from(Arc::clone(&self.pipeline)));
        self.pipeline.submit(Queued { place, job, ledger: Ledger::new() });
    }

    fn occupancy(&self) -> usize {
        self.admission.occupancy()
    }

    fn statistics(&self) -> EngineStatistics {
        self.counters.snapshot(&self.admission, self.retention.statistics())
    }

    fn verify(&self, place: Place, job: VerifyJob) {
        self.pipeline.submit_verification(place, job);
    }

    fn forget(&self, owner: Owner) {
        self.retention.forget(owner);
        // Somebody may wait for that memory.
        self.pipeline.wake_by_ref();
    }

    fn tokenize(&self, text: &str) -> Option<Vec<TokenId>> {
        self.tokenizer.encode(text).ok()
    }

    fn gives_logprobs(&self) -> bool {
        true
    }
}

fn describe(target: &Assistant, co_located_draft: bool, config: &EmbeddedConfig) -> EngineInfo {
    let model = target.config();
    // A checkpoint that cannot see takes no pictures, so its grid means nothing.
    let (side_px, tokens_per_side) = model.image_grid().unwrap_or((1, 1));
    let image = ImageGrid { side_px, tokens_per_side };
    let (tokens, fingerprint) = target.tokenizer().fingerprint();
    let heard = model.audio_config.as_ref().map(|audio| audio.num_audio_tokens());
    let audio = target.audio_chunk().zip(heard).map(|((sample_rate_hz, samples), heard)| AudioGrid {
        sample_rate_hz,
        window_samples: (samples / heard) as u32,
        tokens: heard as u32,
    });
    let window_s = |(rate, samples)| samples as f64 / f64::from(rate);
    EngineInfo {
        model: ModelInfo {
            name: config.name.clone(),
            parameters: target.num_parameters() as u64,
            device: config.device.to_string(),
            image,
            audio,
            co_located_draft,
            vocabulary: Vocabulary { tokens, fingerprint },
            pictures: target.tiling().map_or_else(PictureSize::default, |tiling| PictureSize {
                longest_edge_px: tiling.longest_edge,
                tile_px: tiling.tile,
            }),
            clips: target.video_sampling().map(|sampling| ClipSampling {
                fps: sampling.fps as f32,
                max_frames: sampling.max_frames.min(PromptTemplate::MAX_IMAGES) as u32,
                longest_edge_px: side_px,
            }),
        },
        sees: model.vision_config.is_some(),
        audio_window_s: target.audio_chunk().map(window_s),
        max_new_tokens: DEFAULT_MAX_NEW_TOKENS as u32,
        question_chars: PromptTemplate::MAX_QUESTION_CHARS as u32,
        vocab_size: model.text_config.vocab_size as u32,
    }
}

/// Drafts are token ids, so both models must mean the same by them.
fn check_vocabulary(target: &Assistant, draft: &Assistant) -> Result<(), ModelError> {
    let vocabulary = |model: &Assistant| {
        (model.tokenizer().vocab_size(), model.end_of_utterance_id(), model.config().text_config.vocab_size)
    };
    let (of_target, of_draft) = (vocabulary(target), vocabulary(draft));
    if of_target == of_draft {
        return Ok(());
    }
    let reason = format!(
        "the draft model has {} tokens, the model it drafts for {}: choose one with the same tokenizer as --draft-model, or none",
        of_draft.0, of_target.0
    );
    Err(ModelError::Tokenizer { reason })
}
