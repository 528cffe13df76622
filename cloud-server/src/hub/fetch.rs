//! A whole checkpoint: what is in the cache first, then the hub's word, then what is missing.

use std::fs;
use std::path::PathBuf;

use msao_models::{ModelError, WeightHeaders};

use super::cache::RepositoryCache;
use super::error::HubError;
use super::headers;
use super::http::Hub;
use super::info::{RemoteFile, RepositoryInfo};
use super::licence::licence_of;
use super::needed::{self, CONFIG, Configuration, INDEX, MAX_SMALL_BYTES, MemoryLimit, Needed, Purpose};
use super::options::HubSettings;
use super::progress::{Event, Meter, Summary};
use super::reference::HubReference;
use super::{download, http};

/// Of the disk, to be left to others.
const DISK_RESERVE_BYTES: u64 = 256 << 20;

/// What is asked of a checkpoint beside being there.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// What it is to do.
    pub purpose: Purpose,
    /// Memory that it has to fit; none where another machine loads it.
    pub memory: Option<MemoryLimit>,
    /// Whether files that are in the cache are held to their hashes again.
    pub verify: bool,
}

/// A checkpoint that is in the cache, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Its folder, named as the checkpoint is.
    pub folder: PathBuf,
    /// As it was named.
    pub reference: HubReference,
    /// The commit that it is of.
    pub commit: String,
    /// What its card says; `None` where it says nothing.
    pub licence: Option<String>,
    /// Bytes of its files.
    pub total_bytes: u64,
    /// Bytes that came over the network.
    pub fetched_bytes: u64,
}

/// Makes a checkpoint be there. Dropping the future cancels it, and keeps what came.
///
/// Nothing is asked for where a commit is named that is in the cache. Where the hub is out of reach, what it last had serves.
///
/// # Errors
/// [`HubError`], each with its remedy, and all that can be known before the weights move before they do.
pub async fn fetch(
    settings: &HubSettings,
    reference: &HubReference,
    wanted: Wanted,
    tell: &mut dyn FnMut(&Event<'_>),
) -> Result<Fetched, HubError> {
    let here = cached(settings, reference);
    if settings.is_offline {
        let folder = settings.cache.clone();
        return here.ok_or_else(|| HubError::Offline { reference: reference.to_string(), folder });
    }
    if let Some(here) = here.as_ref().filter(|_| reference.is_pinned() && !wanted.verify) {
        return Ok(here.clone());
    }
    match from_hub(settings, reference, wanted, tell).await {
        Err(error) if error.is_outage() && here.is_some() => {
            tracing::warn!(checkpoint = %reference, %error, "what the cache has of it is used");
            here.ok_or(error)
        }
        done => done,
    }
}

/// What the cache has of a checkpoint, without asking anybody; `None` where it is not whole.
pub fn cached(settings: &HubSettings, reference: &HubReference) -> Option<Fetched> {
    let cache = RepositoryCache::new(settings, reference);
    let commit = cache.commit()?;
    let snapshot = cache.snapshot(&commit);
    let names = needed::whole(reference, &snapshot)?;
    let bytes = |name: &String| fs::metadata(snapshot.join(name)).map_or(0, |file| file.len());
    Some(Fetched {
        folder: cache.named(&commit, names.iter().map(String::as_str)),
        reference: reference.clone(),
        licence: licence_of(&snapshot),
        total_bytes: names.iter().map(bytes).sum(),
        fetched_bytes: 0,
        commit,
    })
}

async fn from_hub(
    settings: &HubSettings,
    reference: &HubReference,
    wanted: Wanted,
    tell: &mut dyn FnMut(&Event<'_>),
) -> Result<Fetched, HubError> {
    let hub = Hub::new(settings, reference)?;
    let info = RepositoryInfo::ask(&hub).await?;
    if info.is_gated && settings.token.is_none() {
        return Err(hub.gated());
    }
    let needed = Needed::among(reference, info.names())?;
    let cache = RepositoryCache::new(settings, reference);
    cache.prepare(&info.commit)?;
    let mut run =
        Run { hub: &hub, cache: &cache, info: &info, verify: wanted.verify, meter: Meter::new(tell) };

    let unsuitable = |source: ModelError| HubError::Unsuitable { id: reference.id(), source };
    let configuration = Configuration::read(&run.small(CONFIG).await?, wanted.purpose).map_err(unsuitable)?;
    needed.check(reference, &configuration)?;
    if let Some(limit) = wanted.memory {
        configuration.check_memory(limit).map_err(unsuitable)?;
    }
    let index = if needed.has_shards { Some(run.small(INDEX).await?) } else { None };
    let weights = run.files(&needed.weights(index.as_deref())?).await?;
    let small = run.files(&needed.small).await?;
    if let Some(large) = small.iter().find(|file| file.bytes > MAX_SMALL_BYTES) {
        return Err(http::answer(&large.name, format!("it has {} bytes", large.bytes)));
    }
    let files = || small.iter().chain(&weights);
    let missing_bytes = files().map(|file| file.bytes.saturating_sub(cache.bytes_here(&file.hash))).sum();
    let total_bytes = files().map(|file| file.bytes).sum();
    run.check_disk(missing_bytes)?;
    run.check_headers(&configuration, &weights).await.map_err(|error| match error {
        HeaderError::Hub(error) => error,
        HeaderError::Model(source) => unsuitable(source),
    })?;

    let (commit, licence) = (info.commit.clone(), info.licence.clone());
    let reference_text = reference.to_string();
    run.meter.plan(&Summary {
        reference: reference_text,
        commit: commit.clone(),
        licence: licence.clone(),
        files: files().count(),
        total_bytes,
        missing_bytes,
    });
    for file in files() {
        run.fetch(file).await?;
    }
    cache.remember(&commit)?;
    let fetched_bytes = run.meter.fetched_bytes();
    let licence = licence.or_else(|| licence_of(&cache.snapshot(&commit)));
    let folder = cache.named(&commit, files().map(|file| file.name.as_str()));
    Ok(Fetched { folder, reference: reference.clone(), commit, licence, total_bytes, fetched_bytes })
}

enum HeaderError {
    Hub(HubError),
    Model(ModelError),
}

/// One checkpoint on its way.
struct Run<'a> {
    hub: &'a Hub<'a>,
    cache: &'a RepositoryCache,
    info: &'a RepositoryInfo,
    verify: bool,
    meter: Meter<'a>,
}

impl Run<'_> {
    async fn files(&self, names: &[String]) -> Result<Vec<RemoteFile>, HubError> {
        let mut files = Vec::with_capacity(names.len());
        for name in names {
            files.push(self.info.file(self.hub, name).await?);
        }
        Ok(files)
    }

    async fn fetch(&mut self, file: &RemoteFile) -> Result<(), HubError> {
        download::file(self.hub, self.cache, &self.info.commit, file, self.verify, &mut self.meter).await
    }

    /// Fetches a file that is no weights, and reads it.
    async fn small(&mut self, name: &str) -> Result<Vec<u8>, HubError> {
        let file = self.info.file(self.hub, name).await?;
        if file.bytes > MAX_SMALL_BYTES {
            return Err(http::answer(
                name,
                format!("it has {} bytes, at most {MAX_SMALL_BYTES} are taken", file.bytes),
            ));
        }
        self.fetch(&file).await?;
        let path = self.cache.snapshot(&self.info.commit).join(name);
        fs::read(&path).map_err(HubError::cache(path))
    }

    fn check_disk(&self, missing_bytes: u64) -> Result<(), HubError> {
        let needed_bytes = missing_bytes + DISK_RESERVE_BYTES;
        match self.cache.free_bytes() {
            Some(free_bytes) if missing_bytes > 0 && free_bytes < needed_bytes => Err(HubError::DiskFull {
                id: self.hub.reference.id(),
                folder: self.cache.top().to_owned(),
                needed_bytes,
                free_bytes,
            }),
            _ => Ok(()),
        }
    }

    /// Holds the headers of the weights against the configuration, unless all of them are here: then they were before.
    async fn check_headers(
        &self,
        configuration: &Configuration,
        weights: &[RemoteFile],
    ) -> Result<(), HeaderError> {
        if weights.iter().all(|file| self.cache.blob(&file.hash).is_file()) {
            return Ok(());
        }
        let mut headers = WeightHeaders::default();
        for file in weights {
            headers::read(self.hub, &self.info.commit, file, &mut headers).await.map_err(HeaderError::Hub)?;
        }
        headers.check(configuration.tensors.iter().cloned()).map_err(HeaderError::Model)
    }
}
