//! Names on the hub in the server's configuration become folders of the cache.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use msao_models::DeviceKind;
use serde::Serialize;

use super::error::HubError;
use super::fetch::{Fetched, Wanted, cached, fetch};
use super::licence::licence_of;
use super::needed::{MemoryLimit, Purpose};
use super::options::HubSettings;
use super::progress::Event;
use super::reference::HubReference;
use crate::config::ServerConfig;
use crate::memory::available_bytes;

/// Between two lines of the log about a download.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// Where a checkpoint comes from and under which licence it is, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Provenance {
    /// Its name on the hub with its commit; `None` for a folder.
    pub source: Option<String>,
    /// The licence that its card names.
    pub license: Option<String>,
}

impl Provenance {
    /// That of a checkpoint's folder which comes from nowhere else.
    pub(crate) fn of_folder(folder: &Path) -> Self {
        Self { source: None, license: licence_of(folder) }
    }
}

impl From<&Fetched> for Provenance {
    fn from(fetched: &Fetched) -> Self {
        let source = format!("hub:{}@{}", fetched.reference.id(), fetched.commit);
        Self { source: Some(source), license: fetched.licence.clone() }
    }
}

/// A configuration that names folders only.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) config: ServerConfig,
    /// What answers, where it is from the hub.
    pub(crate) target: Option<Fetched>,
}

/// Fetches what the configuration names on the hub. Whoever ends the process meanwhile finds later what came.
///
/// # Errors
/// [`HubError`] for the first checkpoint that cannot be had.
pub(crate) fn settle(config: &ServerConfig) -> Result<Settled, HubError> {
    let is_here = config.device == DeviceKind::Cpu;
    let limit = is_here.then(available_bytes).flatten();
    let memory = limit.map(|bytes| MemoryLimit { bytes, format: config.weights_format });
    replace(config, &mut |settings, reference, answers_here, purpose| {
        let memory = memory.filter(|_| answers_here);
        run(settings, reference, Wanted { purpose, memory, verify: false }, &mut log())
    })
}

/// As [`settle`], from the cache alone; `tell` hears of each checkpoint and whether it is there.
///
/// # Errors
/// [`HubError::Offline`] for one that is not.
pub(crate) fn settle_cached(
    config: &ServerConfig,
    tell: &mut dyn FnMut(&HubReference, Option<&Fetched>),
) -> Result<Settled, HubError> {
    replace(config, &mut |settings, reference, _answers_here, _purpose| {
        let found = cached(settings, reference);
        tell(reference, found.as_ref());
        let folder = settings.cache.clone();
        found.ok_or_else(|| HubError::Offline { reference: reference.to_string(), folder })
    })
}

type Get<'g> = dyn FnMut(&HubSettings, &HubReference, bool, Purpose) -> Result<Fetched, HubError> + 'g;

fn replace(config: &ServerConfig, get: &mut Get<'_>) -> Result<Settled, HubError> {
    let mut config = config.clone();
    let options = config.hub.clone();
    let mut folder_for =
        |path: &Path, answers_here: bool, purpose: Purpose| -> Result<Option<Fetched>, HubError> {
            let Some(reference) = HubReference::of_path(path)? else { return Ok(None) };
            get(&options.settings()?, &reference, answers_here, purpose).map(Some)
        };
    let target = folder_for(&config.weights, true, Purpose::Answers)?;
    if let Some(target) = &target {
        config.weights.clone_from(&target.folder);
    }
    if let Some(draft) = config.draft_model.as_mut()
        && let Some(fetched) = folder_for(draft, false, Purpose::Answers)?
    {
        *draft = fetched.folder;
    }
    for edge_model in &mut config.edge_models {
        if let Some(fetched) = folder_for(Path::new(edge_model), false, Purpose::Answers)? {
            *edge_model = as_text(fetched.folder);
        }
    }
    for speech in [&mut config.speech, &mut config.edge_speech].into_iter().flatten() {
        if let Some(fetched) = folder_for(speech, false, Purpose::Speech)? {
            *speech = fetched.folder;
        }
    }
    Ok(Settled { config, target })
}

fn as_text(folder: PathBuf) -> String {
    folder.into_os_string().into_string().unwrap_or_else(|text| text.to_string_lossy().into_owned())
}

/// Runs a download on a thread and runtime of its own, whatever runs the caller.
///
/// # Errors
/// As [`fetch`].
pub(super) fn run(
    settings: &HubSettings,
    reference: &HubReference,
    wanted: Wanted,
    tell: &mut (dyn FnMut(&Event<'_>) + Send),
) -> Result<Fetched, HubError> {
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| HubError::Client(error.to_string()))?;
        runtime.block_on(fetch(settings, reference, wanted, &mut |event| tell(event)))
    };
    let done = thread::scope(|scope| scope.spawn(work).join());
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Tells the log what is going to move, and now and then how far it is.
fn log() -> impl FnMut(&Event<'_>) + Send {
    let mut told: Option<Instant> = None;
    move |event| match event {
        Event::Planned(summary) => tracing::info!(
            checkpoint = summary.reference,
            commit = summary.commit,
            licence = summary.licence.as_deref().unwrap_or("not told"),
            files = summary.files,
            megabytes = summary.total_bytes >> 20,
            missing_megabytes = summary.missing_bytes >> 20,
            "from the hub"
        ),
        Event::Moved(progress) => {
            let is_whole = progress.done_bytes == progress.total_bytes;
            if !is_whole && told.is_some_and(|told| told.elapsed() < LOG_INTERVAL) {
                return;
            }
            told = Some(Instant::now());
            tracing::info!(
                file = progress.file,
                megabytes = progress.done_bytes >> 20,
                of = progress.total_bytes >> 20,
                megabytes_per_s = (progress.bytes_per_s / 1e5).round() / 10.0,
                seconds_left = progress.seconds_left.map(|seconds| seconds.round() as u64),
                "fetching"
            );
        }
    }
}
