//! From configuration to a listening server, with an error that says the remedy for each thing that can be
//! missing.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::{HttpServer, web};
use msao_models::speech::{Whisper, WhisperFiles};
use msao_models::{CheckpointFiles, DeviceKind, ModelConfig, ModelError};

use crate::access::{Access, AccessError};
use crate::app::{AppState, create_app};
use crate::assets::Assets;
use crate::checkpoint_places::CheckpointPlaces;
use crate::config::{ServerConfig, Timeouts};
use crate::edge_models::EdgeModels;
use crate::engine::{Checkpoints, EmbeddedConfig, EmbeddedEngine, Engine, Hearing, Speech};
use crate::hub::{HubError, Provenance, Settled, settle};
use crate::memory::{Outcome, ServerPlan, available_bytes};
use crate::origin::Origins;
use crate::upstream_config::{self, UpstreamConfigError};

/// HTTP is a few files and some upgrades; the cores belong to the model.
const HTTP_WORKERS: usize = 2;
/// What `--draft-model` says for no draft model.
const NO_DRAFT_MODEL: &str = "none";
/// The shipped pair: the one drafts for the other.
const SHIPPED_MODEL: &str = "pocket-cloud";
const SHIPPED_DRAFT_MODEL: &str = "pocket-edge";
/// How long a question waits for memory that running answers will give back.
const MEMORY_WAIT: Duration = Duration::from_secs(5);
/// Open connections of one worker; more wait to be accepted.
const CONNECTIONS_PER_WORKER: usize = 1_024;

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartupError {
    /// Another program listens there.
    #[error("{0} is in use by another program: stop it, or choose another port with --listen")]
    AddressInUse(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another address with --listen")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// Who may do what cannot be held as configured.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// A checkpoint folder is not there.
    #[error(
        "there is no checkpoint in {0}: name the folder of checkpoints with --weights, and the checkpoints in it with --model and --edge-model; or name a published checkpoint's own folder with --weights"
    )]
    NoCheckpoint(PathBuf),
    /// With upstream engines, tokens on the wire are those of a model for the page.
    #[error("upstream engines are asked in tokens of the page's model: name one with --edge-model")]
    NoEdgeModel,
    /// Two checkpoints for the page have one name, so no address tells them apart.
    #[error(
        "two of the checkpoints that --edge-model names are called `{0}`: name each once, or rename a folder"
    )]
    SameName(String),
    /// The draft model's folder is not there.
    #[error("there is no checkpoint in {0}: name the folder of a draft model with --draft-model, or `none`")]
    NoDraftModel(PathBuf),
    /// A checkpoint cannot be used.
    #[error("the checkpoint in {path} cannot be used: {source}")]
    Checkpoint {
        /// Its folder.
        path: PathBuf,
        /// What is wrong with it.
        source: ModelError,
    },
    /// Everything together does not fit the memory.
    #[error("this machine has too little memory: {0}")]
    TooLarge(String),
    /// The speech model has no thread to run on.
    #[error(
        "the system gives no thread for the speech model: {0}; allow this server more, or leave --speech out"
    )]
    SpeechThread(#[source] io::Error),
    /// A checkpoint cannot be had from the hub.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The upstream engines cannot be used as told.
    #[error(transparent)]
    Upstream(#[from] UpstreamConfigError),
}

/// Loads the model and puts the application's state together.
///
/// # Errors
/// When a checkpoint is missing or cannot be used, or the device is not there.
pub fn prepare(config: &ServerConfig) -> Result<AppState, StartupError> {
    let Settled { config, target } = settle(config)?;
    let config = &config;
    let places = CheckpointPlaces::find(config)?;
    let downloads = places.edge_models.iter().chain(&places.edge_speech);
    let public = downloads.map(|(name, _folder)| name.clone()).collect();
    let access = Access::configured(&config.access, public)?;
    access.permit_listening(config.listen)?;
    places.edge_models.iter().try_for_each(|(_name, folder)| check_edge_model(folder))?;
    check_memory(config, &places)?;
    let provenance = target.as_ref().map_or_else(|| Provenance::of_folder(&places.target), Provenance::from);
    let engine: Arc<dyn Engine> = if config.upstream.is_used() {
        let (_name, edge) = places.edge_models.first().ok_or(StartupError::NoEdgeModel)?;
        Arc::new(upstream_config::start(config, edge)?)
    } else {
        Arc::new(start_embedded(config, &places)?)
    };
    let speech = config.speech.as_ref().map(|path| start_speech(config, path)).transpose()?;
    let engine = match &speech {
        Some(speech) => {
            let attach_wait = Duration::from_secs(config.attach_s.into());
            Hearing::before(engine, speech, config.limits, attach_wait)
        }
        None => engine,
    };
    let edge_models = EdgeModels::new(places.edge_models).with_speech(places.edge_speech)?;
    edge_models.prepare();
    let assets = Assets { page: config.page.clone(), edge_models };
    let timeouts = Timeouts { idle: Duration::from_secs(config.idle_s.into()), ..Timeouts::default() };
    let origins = Origins::new(config.allow_origins.clone());
    let mut state =
        AppState::new(engine, config.limits, timeouts, origins, assets, config.max_sessions.into());
    state.access = access;
    state.speech = speech;
    state.provenance = provenance;
    Ok(state.with_image_hosts(config.image_hosts.clone()))
}

/// Refuses a checkpoint that no engine runs before anybody downloads it.
fn check_edge_model(folder: &Path) -> Result<(), StartupError> {
    let unusable = |source| StartupError::Checkpoint { path: folder.to_path_buf(), source };
    let path = folder.join("config.json");
    let read = fs::read(&path);
    let json =
        read.map_err(|source| unusable(ModelError::File { path: path.display().to_string(), source }))?;
    ModelConfig::from_json(&json).map(drop).map_err(unusable)
}

/// Refuses what would not fit the memory before anything is loaded, and warns where it is tight.
fn check_memory(config: &ServerConfig, places: &CheckpointPlaces) -> Result<(), StartupError> {
    let Some(plan) = ServerPlan::of(config, places) else { return Ok(()) };
    match plan.outcome() {
        Outcome::Fits => tracing::info!(%plan, "memory"),
        Outcome::Tight(says) => tracing::warn!("memory is short: {says}"),
        Outcome::TooLarge(says) => return Err(StartupError::TooLarge(says)),
    }
    Ok(())
}

fn start_embedded(config: &ServerConfig, places: &CheckpointPlaces) -> Result<EmbeddedEngine, StartupError> {
    let path = places.target.clone();
    let draft_path = draft_model(config, &places.name)?;
    msao_models::device::set_threads(config.threads.into());
    tracing::info!(checkpoint = %path.display(), device = %config.device, "loading the model");
    let embedded = EmbeddedConfig {
        name: places.name.clone(),
        device: config.device,
        limits: config.limits,
        places: config.queue.into(),
        max_wait: Duration::from_millis(config.max_wait_ms.into()),
        max_batch: config.max_batch.into(),
        attach_wait: Duration::from_secs(config.attach_s.into()),
        kv_budget_bytes: u64::from(config.kv_budget_mb) << 20,
        memory_wait: MEMORY_WAIT,
        prunes_tiles: config.prune_tiles,
    };
    let read = |path: PathBuf| {
        let weights_format = config.weights_format;
        // On a GPU the weights pass through the host's memory, tensor by tensor.
        let is_here = config.device == DeviceKind::Cpu;
        let memory_limit_bytes = is_here.then(available_bytes).flatten();
        let kept = |files| CheckpointFiles { weights_format, memory_limit_bytes, ..files };
        let files = CheckpointFiles::from_dir(&path);
        files.map(kept).map_err(|source| StartupError::Checkpoint { path, source })
    };
    let checkpoints = Checkpoints { target: read(path.clone())?, draft: draft_path.map(read).transpose()? };
    EmbeddedEngine::start(&checkpoints, &embedded).map_err(|source| StartupError::Checkpoint { path, source })
}

/// Loads what writes recordings down.
fn start_speech(config: &ServerConfig, path: &Path) -> Result<Speech, StartupError> {
    let unusable = |source| StartupError::Checkpoint { path: path.to_owned(), source };
    tracing::info!(checkpoint = %path.display(), "loading the speech model");
    let files = WhisperFiles::from_dir(path).map_err(unusable)?;
    let (weights_format, memory_limit_bytes) = (config.weights_format, available_bytes());
    let files = WhisperFiles { weights_format, memory_limit_bytes, ..files };
    let whisper = Whisper::load(&files).map_err(unusable)?;
    let name = path.canonicalize().ok();
    let name = name.as_deref().unwrap_or(path).file_name().map(|name| name.to_string_lossy());
    Speech::start(&name.unwrap_or("whisper".into()), whisper).map_err(StartupError::SpeechThread)
}

/// The folder of the draft model: the one named, or the shipped model's own small sibling.
pub(crate) fn draft_model(config: &ServerConfig, model: &str) -> Result<Option<PathBuf>, StartupError> {
    let is_checkpoint = |path: &PathBuf| path.join("config.json").is_file();
    match &config.draft_model {
        Some(none) if none.as_os_str() == NO_DRAFT_MODEL => Ok(None),
        Some(path) if is_checkpoint(path) => Ok(Some(path.clone())),
        Some(path) => Err(StartupError::NoDraftModel(path.clone())),
        None if model == SHIPPED_MODEL => {
            Ok(Some(config.weights.join(SHIPPED_DRAFT_MODEL)).filter(is_checkpoint))
        }
        None => Ok(None),
    }
}

/// Listens; port 0 takes a free one. The server runs once its future is polled, and leaves signals alone.
///
/// # Errors
/// When the address is taken or not this machine's, or everyone could use the server and nobody said so.
pub fn listen(state: web::Data<AppState>, address: SocketAddr) -> Result<(Server, SocketAddr), StartupError> {
    let bind = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => StartupError::AddressInUse(address),
        _ => StartupError::Bind { address, source },
    };
    state.access.permit_listening(address)?;
    let tls = state.access.tls();
    let server = HttpServer::new(move || create_app(state.clone()))
        .workers(HTTP_WORKERS)
        // A client that never reads holds its connection, though not its session, until its own side ends.
        .max_connections(CONNECTIONS_PER_WORKER)
        // A small message behind another one would wait for its acknowledgement, some 40 ms.
        .tcp_nodelay(true)
        // A client that has hung up is noticed at once, and what it asked for is cancelled.
        .h1_allow_half_closed(false)
        .disable_signals()
        // Sessions have been told to finish before, so nothing worth waiting for is left.
        .shutdown_timeout(1);
    let server = match tls {
        Some(tls) => server.bind_rustls_0_23(address, tls),
        None => server.bind(address),
    };
    let server = server.map_err(bind)?;
    let bound = server.addrs().first().copied().unwrap_or(address);
    Ok((server.run(), bound))
}
