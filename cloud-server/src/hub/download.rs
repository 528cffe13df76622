//! One content from the hub into the cache: gone on with where it was cut, held to its length and hash, and under its name
//! only when it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE, RANGE};
use reqwest::{Response, StatusCode};

use super::cache::RepositoryCache;
use super::digest::{ContentHash, Hasher};
use super::error::HubError;
use super::http::{Failure, Hub, Reply, answer, header};
use super::info::RemoteFile;
use super::progress::Meter;
use super::retry::Retry;

/// An attempt that brings as much is no failure.
const PROGRESS_BYTES: u64 = 1 << 20;
const PIECE_BYTES: usize = 1 << 20;
/// Damaged contents are fetched anew so often.
const CONTENT_ATTEMPTS: usize = 2;

/// Puts a file into the cache and its link into the commit's folder. What is there already is kept, and read if `verify`
/// says so.
///
/// # Errors
/// When the hub does not give it, it is damaged time and again, or it cannot be written.
pub(super) async fn file(
    hub: &Hub<'_>,
    cache: &RepositoryCache,
    commit: &str,
    file: &RemoteFile,
    verify: bool,
    meter: &mut Meter<'_>,
) -> Result<(), HubError> {
    meter.begin(&file.name);
    let blob = cache.blob(&file.hash);
    if !is_here(&blob, file, verify)? {
        let _lock = cache.lock(&file.hash, &file.name).await?;
        // Whoever held the lock may have fetched it.
        if !is_here(&blob, file, false)? {
            content(hub, cache, commit, file, meter).await?;
        }
    }
    cache.link(commit, &file.name, &file.hash)
}

/// Whether a content is in the cache, whole; what is there and differs is deleted.
fn is_here(blob: &Path, file: &RemoteFile, verify: bool) -> Result<bool, HubError> {
    let Ok(found) = fs::metadata(blob) else { return Ok(false) };
    let is_whole = found.len() == file.bytes && (!verify || digits(blob, file)? == file.hash.as_str());
    if !is_whole {
        tracing::warn!(file = file.name, "the file in the cache is damaged; it is fetched anew");
        fs::remove_file(blob).map_err(HubError::cache(blob))?;
    }
    Ok(is_whole)
}

fn digits(path: &Path, file: &RemoteFile) -> Result<String, HubError> {
    let mut hasher = file.hash.hasher(file.bytes);
    let mut reader = File::open(path).map_err(HubError::cache(path))?;
    read_into(&mut hasher, &mut reader).map_err(HubError::cache(path))?;
    Ok(hasher.digits())
}

fn read_into(hasher: &mut Hasher, reader: &mut File) -> std::io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match reader.read(&mut piece)? {
            0 => return Ok(()),
            read => hasher.update(&piece[..read]),
        }
    }
}

async fn content(
    hub: &Hub<'_>,
    cache: &RepositoryCache,
    commit: &str,
    file: &RemoteFile,
    meter: &mut Meter<'_>,
) -> Result<(), HubError> {
    let path = cache.part(&file.hash);
    let mut reason = String::new();
    for _attempt in 0..CONTENT_ATTEMPTS {
        let mut part = Part::open(&path, file)?;
        if let Err(error) = fetch(hub, commit, file, &mut part, meter).await {
            if part.bytes == 0 {
                fs::remove_file(&path).map_err(HubError::cache(&path))?;
            }
            return Err(error);
        }
        let found = part.hasher.digits();
        if found == file.hash.as_str() {
            part.file.sync_all().map_err(HubError::cache(&path))?;
            return fs::rename(&path, cache.blob(&file.hash)).map_err(HubError::cache(&path));
        }
        meter.go_back(file.bytes);
        fs::remove_file(&path).map_err(HubError::cache(&path))?;
        reason = format!("its hash is {found} instead of {}", file.hash.as_str());
        tracing::warn!(file = file.name, reason, "the file came damaged; it was deleted");
    }
    Err(HubError::Damaged { file: file.name.clone(), reason })
}

/// What has come of a content, on the disk and in its hash.
struct Part {
    path: PathBuf,
    file: File,
    bytes: u64,
    hasher: Hasher,
    fresh: Hasher,
}

impl Part {
    fn open(path: &Path, expected: &RemoteFile) -> Result<Self, HubError> {
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = open.map_err(HubError::cache(path))?;
        let fresh = expected.hash.hasher(expected.bytes);
        let mut hasher = fresh.clone();
        let mut bytes = file.metadata().map_err(HubError::cache(path))?.len();
        if bytes > expected.bytes {
            file.set_len(0).map_err(HubError::cache(path))?;
            bytes = 0;
        }
        read_into(&mut hasher, &mut file).map_err(HubError::cache(path))?;
        Ok(Self { path: path.to_owned(), file, bytes, hasher, fresh })
    }

    fn append(&mut self, piece: &[u8]) -> Result<(), HubError> {
        self.file.write_all(piece).map_err(HubError::cache(&self.path))?;
        self.hasher.update(piece);
        self.bytes += piece.len() as u64;
        Ok(())
    }

    fn restart(&mut self, meter: &mut Meter<'_>) -> Result<(), HubError> {
        meter.go_back(self.bytes);
        self.file.set_len(0).map_err(HubError::cache(&self.path))?;
        self.file.seek(SeekFrom::Start(0)).map_err(HubError::cache(&self.path))?;
        (self.bytes, self.hasher) = (0, self.fresh.clone());
        Ok(())
    }
}

/// Fetches what is missing of a part.
async fn fetch(
    hub: &Hub<'_>,
    commit: &str,
    file: &RemoteFile,
    part: &mut Part,
    meter: &mut Meter<'_>,
) -> Result<(), HubError> {
    let mut retry = Retry::new(&file.name, hub.settings.patience);
    // Of whoever sent the last bytes; the rest is to be of the same.
    let mut validator = None;
    while part.bytes < file.bytes {
        let before = part.bytes;
        if let Err(failure) = attempt(hub, commit, file, part, meter, &mut validator).await {
            if part.bytes >= before + PROGRESS_BYTES {
                retry.progressed();
            }
            retry.after(failure).await?;
        }
    }
    Ok(())
}

async fn attempt(
    hub: &Hub<'_>,
    commit: &str,
    file: &RemoteFile,
    part: &mut Part,
    meter: &mut Meter<'_>,
    validator: &mut Option<HeaderValue>,
) -> Result<(), Failure> {
    let mut headers = HeaderMap::new();
    if part.bytes > 0 {
        if let Ok(range) = HeaderValue::from_str(&format!("bytes={}-", part.bytes)) {
            headers.insert(RANGE, range);
        }
        if let Some(validator) = validator.clone() {
            headers.insert(IF_RANGE, validator);
        }
    }
    let reply = hub.get(hub.file_address(commit, &file.name), &file.name, &headers).await?;
    is_same(&reply, commit, file)?;
    let mut response = reply.response;
    begin(&response, file, part, meter)?;
    *validator = response.headers().get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/")).cloned();
    while let Some(piece) = hub.piece(&mut response).await? {
        let piece = piece.as_ref();
        if part.bytes + piece.len() as u64 > file.bytes {
            part.restart(meter)?;
            return Err(Failure::transient("it has more bytes than were published"));
        }
        part.append(piece)?;
        meter.advance(piece.len() as u64);
    }
    if part.bytes < file.bytes {
        return Err(Failure::transient(format!("it was cut after {} of {} bytes", part.bytes, file.bytes)));
    }
    Ok(())
}

/// Whether the hub speaks of the same file as before.
fn is_same(reply: &Reply, commit: &str, file: &RemoteFile) -> Result<(), HubError> {
    let told = header(&reply.told, "x-linked-etag").or_else(|| header(&reply.told, "etag"));
    let is_other = match (told.and_then(ContentHash::parse), &file.hash) {
        (Some(ContentHash::Sha256(told)), ContentHash::Sha256(known))
        | (Some(ContentHash::GitBlob(told)), ContentHash::GitBlob(known)) => told != *known,
        _ => false,
    };
    if is_other || header(&reply.told, "x-repo-commit").is_some_and(|told| told != commit) {
        return Err(HubError::Changed { file: file.name.clone() });
    }
    Ok(())
}

/// Makes the part fit what is going to come.
fn begin(
    response: &Response,
    file: &RemoteFile,
    part: &mut Part,
    meter: &mut Meter<'_>,
) -> Result<(), Failure> {
    let anew = |reason: &str| Failure::Transient { reason: reason.to_owned(), pause: Some(Duration::ZERO) };
    match response.status() {
        StatusCode::PARTIAL_CONTENT => match content_range(response.headers()) {
            Some((first, total)) if first == part.bytes && total.is_none_or(|total| total == file.bytes) => {
                Ok(())
            }
            _ => {
                part.restart(meter)?;
                Err(anew("it sends another range"))
            }
        },
        // Whoever knows no ranges, or has another file by now, begins anew.
        StatusCode::OK => {
            if let Some(bytes) = response.content_length().filter(|&bytes| bytes != file.bytes) {
                return Err(Failure::transient(format!("it has {bytes} bytes instead of {}", file.bytes)));
            }
            Ok(part.restart(meter)?)
        }
        StatusCode::RANGE_NOT_SATISFIABLE if part.bytes > 0 => {
            part.restart(meter)?;
            Err(anew("it has no such range"))
        }
        status => Err(answer(&file.name, format!("status {}", status.as_u16())).into()),
    }
}

/// The first byte of a range, and how many the whole has.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?.trim().strip_prefix("bytes ")?;
    let (range, total) = text.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, total.parse().ok()))
}
