//! Any engine that speaks OpenAI's chat completions as the target: vLLM, SGLang, llama.cpp, mistral.rs, `transformers serve`.
//!
//! | file | what happens there |
//! |---|---|
//! | [`answer`] | one question: asked, streamed, settled; asked elsewhere when an upstream goes away |
//! | [`alignment`] | the upstream's text becomes tokens of the edge's; drafts are compared with it |
//! | [`edge_tokenizer`] | the tokenizer that these tokens are of |
//! | [`scoring`] | drafts verified by scores, where an upstream tells them |
//! | [`pool`], [`health`] | which upstream answers, which are out, when they are back |
//! | [`wire`], [`kind`] | requests and answers as JSON, and how engines differ in them |
//! | [`media`] | pictures and recordings as parts of a message |
//! | [`http`], [`sse`] | connections and streams, each within a budget |
//! | [`error`] | what can go wrong, and whom it is told of |
//!
//! One thread runs all of it, since it only waits for others; files are decoded beside it. Decisions and limits for operators stand
//! in docs/upstreams.md.

mod alignment;
mod answer;
mod edge_tokenizer;
mod error;
mod health;
mod http;
mod kind;
mod media;
mod pool;
mod scoring;
mod sse;
mod wire;

pub use edge_tokenizer::{EdgeTokenizer, TokenizerError};
pub use error::UpstreamError;
pub use http::ClientError;
pub use kind::Kind;
pub use media::Inputs;
pub use pool::UpstreamStatus;

use std::sync::Arc;
use std::time::Duration;

use msao_protocol::{AudioGrid, ImageGrid, Limits, ModelInfo, PictureSize, TokenId};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

use self::http::Endpoint;
use self::pool::Pool;
use super::admission::Admission;
use super::statistics::{Counters, KvStatistics};
use super::{Busy, Engine, EngineInfo, EngineStatistics, Job, Owner, Place, Readiness};
use crate::intake;

/// Recordings are cut as Whisper hears them, in windows of 80 ms.
const SAMPLE_RATE_HZ: u32 = 16_000;
const WINDOW_SAMPLES: u32 = 1_280;
/// Longest answer and question; the operator's limits are lower.
const MAX_NEW_TOKENS: u32 = 8_192;
const MAX_QUESTION_CHARS: u32 = 100_000;
/// What the model is called where neither the operator nor an upstream has said so at the start.
const UNKNOWN_MODEL: &str = "upstream";

/// What an [`OpenAiEngine`] is made of.
#[derive(Debug, Clone)]
pub struct OpenAiConfig {
    /// Addresses such as `http://host:8000/v1`, at least one.
    pub upstreams: Vec<String>,
    /// The model to ask for; `None` takes the first that each upstream lists.
    pub model: Option<String>,
    /// Sent as a bearer token.
    pub key: Option<String>,
    /// What the upstreams are.
    pub kind: Kind,
    /// The tokenizer that tokens on the wire are of.
    pub tokenizer: EdgeTokenizer,
    /// Whether the upstreams have that tokenizer too.
    pub shares_tokenizer: bool,
    /// What the model takes beside text.
    pub inputs: Inputs,
    /// How the page cuts pictures.
    pub image: ImageGrid,
    /// Budgets that media are decoded under.
    pub limits: Limits,
    /// Requests that may wait or run.
    pub places: usize,
    /// How long announced media are waited for.
    pub attach_wait: Duration,
    /// How long an upstream may say nothing.
    pub idle: Duration,
}

/// Upstream engines as one target.
pub struct OpenAiEngine {
    info: EngineInfo,
    shared: Arc<Shared>,
    /// Taken when the engine is dropped.
    runtime: Option<Runtime>,
}

/// What all questions share.
struct Shared {
    /// As told to clients, but for a name that an upstream tells.
    info: EngineInfo,
    admission: Admission,
    counters: Counters,
    places: usize,
    /// Held while files are decoded.
    decoding: Arc<Semaphore>,
    pool: Arc<Pool>,
    endpoints: Vec<Endpoint>,
    /// As told by the operator.
    model: Option<String>,
    kind: Kind,
    tokenizer: Arc<EdgeTokenizer>,
    shares_tokenizer: bool,
    inputs: Inputs,
    limits: Limits,
    attach_wait: Duration,
    idle: Duration,
}

impl Shared {
    /// Learns how long an answer took, for those who are told to try again. Unlike answers of one model here they do not
    /// wait for each other, so the queue's length does not add to it.
    fn note_service(&self, service_ms: f64) {
        let one_after_the_other = self.places.div_ceil(2).max(1) as f64;
        let took = Duration::from_secs_f64(service_ms.max(0.0) / 1000.0 / one_after_the_other);
        self.admission.record_service(took);
    }
}

/// Why the engine cannot start. Upstreams that are not up are no reason: they are waited for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenAiStartError {
    /// No HTTP client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No thread.
    #[error("no thread for the upstreams: {0}; raise the limit on threads")]
    Thread(#[from] std::io::Error),
}

impl OpenAiEngine {
    /// Looks at all upstreams once, a few seconds at most, and goes on looking.
    ///
    /// # Errors
    /// When there is no client or thread; upstreams that are not up are no error.
    pub fn start(config: OpenAiConfig) -> Result<Self, OpenAiStartError> {
        let needs_tls = config.upstreams.iter().any(|url| url.starts_with("https:"));
        let client = http::client(config.key.as_deref(), needs_tls)?;
        let endpoints: Vec<_> =
            config.upstreams.iter().map(|base| Endpoint::new(client.clone(), base)).collect();
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("upstream").enable_all().build()?;
        let mut info = describe(&config);
        let shared = Arc::new(Shared {
            admission: Admission::new(config.places, Duration::MAX),
            counters: Counters::default(),
            places: config.places,
            decoding: Arc::new(Semaphore::new(1)),
            pool: Arc::new(Pool::new(endpoints.len())),
            endpoints,
            model: config.model,
            kind: config.kind,
            tokenizer: Arc::new(config.tokenizer),
            shares_tokenizer: config.shares_tokenizer,
            inputs: config.inputs,
            limits: intake::effective_limits(config.limits, &info),
            attach_wait: config.attach_wait,
            idle: config.idle,
            info: info.clone(),
        });
        let (checked, first_checks) = std::sync::mpsc::channel();
        for index in 0..shared.endpoints.len() {
            let (shared, checked) = (Arc::clone(&shared), checked.clone());
            runtime.spawn(async move {
                health::check(&shared, index).await;
                // Nobody listens any more where another upstream took too long.
                let _ = checked.send(());
                health::watch(shared, index).await;
            });
        }
        drop(checked);
        // A check ends by itself; this ends when all have.
        first_checks.iter().take(shared.endpoints.len()).for_each(drop);
        match shared.pool.lease(&[]) {
            Some(lease) if shared.model.is_none() => info.model.name.clone_from(&lease.checked.model),
            Some(_) => {}
            None => tracing::warn!("no upstream engine is up yet; they are looked at every few seconds"),
        }
        Ok(Self { info, shared, runtime: Some(runtime) })
    }

    /// What is known of each upstream, in the order of the configuration.
    pub fn upstreams(&self) -> Vec<UpstreamStatus> {
        self.shared.pool.status()
    }
}

impl Drop for OpenAiEngine {
    fn drop(&mut self) {
        // Waiting for tasks is not allowed on an executor's thread, and they have nobody to work for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Engine for OpenAiEngine {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn reserve(&self) -> Result<Place, Busy> {
        self.shared.admission.reserve()
    }

    fn reserve_for(&self, owner: Owner) -> Result<Place, Busy> {
        self.shared.admission.reserve_for(owner)
    }

    fn submit(&self, mut place: Place, job: Job) {
        // Upstreams have queues of their own.
        place.begin_unread();
        if let Some(runtime) = &self.runtime {
            runtime.spawn(answer::run(Arc::clone(&self.shared), place, job));
        }
    }

    fn occupancy(&self) -> usize {
        self.shared.admission.occupancy()
    }

    fn statistics(&self) -> EngineStatistics {
        self.shared.counters.snapshot(&self.shared.admission, KvStatistics::default())
    }

    fn tokenize(&self, text: &str) -> Option<Vec<TokenId>> {
        Some(self.shared.tokenizer.encode(text))
    }

    fn readiness(&self) -> Readiness {
        let upstreams = self.upstreams();
        if upstreams.iter().any(|upstream| upstream.is_up) {
            return Readiness::Ready;
        }
        Readiness::NotReady { reason: format!("none of {} upstream engines is up", upstreams.len()) }
    }
}

fn describe(config: &OpenAiConfig) -> EngineInfo {
    let audio = AudioGrid {
        sample_rate_hz: SAMPLE_RATE_HZ,
        window_samples: WINDOW_SAMPLES,
        tokens: (f64::from(config.limits.audio_s) * f64::from(SAMPLE_RATE_HZ) / f64::from(WINDOW_SAMPLES))
            .ceil() as u32,
    };
    let hears = config.inputs.audio && audio.tokens > 0;
    EngineInfo {
        model: ModelInfo {
            name: config.model.clone().unwrap_or_else(|| UNKNOWN_MODEL.to_owned()),
            // Upstreams do not tell.
            parameters: 0,
            device: "upstream".to_owned(),
            image: config.image,
            audio: hears.then_some(audio),
            co_located_draft: false,
            vocabulary: config.tokenizer.vocabulary(),
            pictures: PictureSize::default(),
            // Frames go upstream as pictures.
            clips: None,
        },
        sees: true,
        audio_window_s: hears.then_some(f64::from(config.limits.audio_s)),
        max_new_tokens: MAX_NEW_TOKENS,
        question_chars: MAX_QUESTION_CHARS,
        vocab_size: config.tokenizer.vocab_size(),
    }
}
