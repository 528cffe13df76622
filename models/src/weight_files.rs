//! The files of a checkpoint's weights: one, or several with an index of which tensor is in which.
//!
//! A folder's files are mapped into memory where the system can, so that reading a checkpoint of gigabytes takes no copy of it
//! and headers are known before values are touched. Whoever cuts such a file short while it is read ends this process, as
//! with every mapped file. Files elsewhere, such as a browser's buffers outside of Wasm's memory, which never shrinks, are
//! read piece by piece through [`ReadAt`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::{Component, Path};
use std::sync::Arc;

use memmap2::Mmap;
use serde::Deserialize;

use crate::error::ModelError;

const WHOLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// An index names each tensor once; the largest published ones are a tenth of this.
const MAX_INDEX_BYTES: u64 = 16 << 20;

/// A file of weights that is read piece by piece, at most a few megabytes or one tensor at a time.
///
/// Its bytes need not be in this program's memory: what is read is packed and dropped before more is asked for.
pub trait ReadAt: fmt::Debug + Send + Sync {
    /// Bytes of the whole file.
    fn len_bytes(&self) -> u64;

    /// Fills `into` with the bytes from `offset` on. All of them lie inside the file.
    ///
    /// # Errors
    /// Whatever the file's home says; it ends the loading with the file's name.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;

    /// Hears that nothing more of this file is needed, so that its bytes can be let go while others are read.
    fn release(&self) {}
}

/// The weights of a checkpoint, as bytes. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct WeightFiles {
    files: Vec<WeightFile>,
    /// Which tensor is in which file, where an index says so.
    places: BTreeMap<String, String>,
}

/// One safetensors file.
#[derive(Debug, Clone)]
pub(crate) struct WeightFile {
    pub(crate) name: String,
    bytes: Arc<Storage>,
}

enum Storage {
    Memory(Vec<u8>),
    Mapped(Mmap),
    Elsewhere(Box<dyn ReadAt>),
}

/// The bytes of a file: here, or somewhere to read them from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FileBytes<'a> {
    Here(&'a [u8]),
    Elsewhere(&'a dyn ReadAt),
}

impl<'a> FileBytes<'a> {
    pub(crate) fn len(self) -> u64 {
        match self {
            Self::Here(bytes) => bytes.len() as u64,
            Self::Elsewhere(file) => file.len_bytes(),
        }
    }

    /// Some of the bytes, copied only where they are elsewhere.
    ///
    /// # Panics
    /// If they are not inside the file.
    pub(crate) fn read(self, range: Range<u64>) -> io::Result<Cow<'a, [u8]>> {
        assert!(range.start <= range.end && range.end <= self.len(), "{range:?} of {} bytes", self.len());
        match self {
            Self::Here(bytes) => Ok(Cow::Borrowed(&bytes[range.start as usize..range.end as usize])),
            Self::Elsewhere(file) => {
                let mut bytes = vec![0; (range.end - range.start) as usize];
                file.read_at(range.start, &mut bytes)?;
                Ok(Cow::Owned(bytes))
            }
        }
    }

    /// Lets go of what is elsewhere.
    pub(crate) fn release(self) {
        if let Self::Elsewhere(file) = self {
            file.release();
        }
    }
}

impl fmt::Debug for Storage {
    /// Without the weights, which nobody wants in a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, bytes) = match self {
            Self::Memory(bytes) => ("in memory", bytes.len()),
            Self::Mapped(bytes) => ("mapped", bytes.len()),
            Self::Elsewhere(file) => return write!(formatter, "{file:?}"),
        };
        write!(formatter, "{bytes} bytes {kind}")
    }
}

impl From<Vec<u8>> for WeightFiles {
    /// The one file `model.safetensors`.
    fn from(bytes: Vec<u8>) -> Self {
        let file = WeightFile { name: WHOLE.to_owned(), bytes: Arc::new(Storage::Memory(bytes)) };
        Self { files: vec![file], places: BTreeMap::new() }
    }
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl WeightFiles {
    /// Opens `model.safetensors` of a folder, or the files that `model.safetensors.index.json` names.
    ///
    /// # Errors
    /// [`ModelError::File`] naming the file that could not be read, [`ModelError::Config`] for an index that is no good.
    pub fn from_dir(folder: &Path) -> Result<Self, ModelError> {
        let index = folder.join(INDEX);
        if folder.join(WHOLE).exists() || !index.exists() {
            return Ok(Self { files: vec![WeightFile::open(folder, WHOLE)?], places: BTreeMap::new() });
        }
        let Index { weight_map: places } = read_index(&index)?;
        let names = names_in(&places)?;
        let files = names.into_iter().map(|name| WeightFile::open(folder, name)).collect::<Result<_, _>>()?;
        Ok(Self { files, places })
    }

    /// Files that are read piece by piece, each with its name.
    pub fn from_sources(files: impl IntoIterator<Item = (String, Box<dyn ReadAt>)>) -> Self {
        let file = |(name, source)| WeightFile { name, bytes: Arc::new(Storage::Elsewhere(source)) };
        Self { files: files.into_iter().map(file).collect(), places: BTreeMap::new() }
    }

    /// The files in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &WeightFile> {
        self.files.iter()
    }

    /// Which tensor is in which file; empty where no index says so.
    pub(crate) fn places(&self) -> &BTreeMap<String, String> {
        &self.places
    }
}

impl WeightFile {
    fn open(folder: &Path, name: &str) -> Result<Self, ModelError> {
        let path = folder.join(name);
        let file = File::open(&path).map_err(|source| file_error(&path, source))?;
        // SAFETY: the map is read-only and private to this process. That nobody changes the file meanwhile is asked of
        // whoever runs it, as the module says.
        let bytes = match unsafe { Mmap::map(&file) } {
            Ok(map) => Storage::Mapped(map),
            // An empty file, or a file system that maps nothing.
            Err(_) => Storage::Memory(fs::read(&path).map_err(|source| file_error(&path, source))?),
        };
        Ok(Self { name: name.to_owned(), bytes: Arc::new(bytes) })
    }

    pub(crate) fn bytes(&self) -> FileBytes<'_> {
        match &*self.bytes {
            Storage::Memory(bytes) => FileBytes::Here(bytes),
            Storage::Mapped(bytes) => FileBytes::Here(bytes),
            Storage::Elsewhere(file) => FileBytes::Elsewhere(&**file),
        }
    }
}

/// The names of the files that a folder's `model.safetensors.index.json` names, in order.
///
/// # Errors
/// As [`WeightFiles::from_dir`] for the index; whether the files are there is not looked at.
pub fn shards_of(folder: &Path) -> Result<Vec<String>, ModelError> {
    let Index { weight_map } = read_index(&folder.join(INDEX))?;
    Ok(names_in(&weight_map)?.into_iter().cloned().collect())
}

fn read_index(path: &Path) -> Result<Index, ModelError> {
    let bytes = fs::metadata(path).map(|file| file.len()).map_err(|source| file_error(path, source))?;
    if bytes > MAX_INDEX_BYTES {
        return Err(unusable(format!("it has {bytes} bytes, at most {MAX_INDEX_BYTES} are read")));
    }
    let text = fs::read(path).map_err(|source| file_error(path, source))?;
    serde_json::from_slice(&text).map_err(|source| ModelError::json(INDEX, &source))
}

/// The files that an index names, each once.
fn names_in(places: &BTreeMap<String, String>) -> Result<Vec<&String>, ModelError> {
    let mut names: Vec<&String> = places.values().collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        return Err(unusable("it names no file".to_owned()));
    }
    match names.iter().find(|name| !is_plain(name)) {
        Some(name) => Err(unusable(format!("`{name}` is not the name of a file beside it"))),
        None => Ok(names),
    }
}

/// Whether a name stays in its folder.
fn is_plain(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let is_one = matches!((components.next(), components.next()), (Some(Component::Normal(_)), None));
    is_one && !name.contains(['/', '\\']) && name.ends_with(".safetensors")
}

fn file_error(path: &Path, source: io::Error) -> ModelError {
    ModelError::File { path: path.display().to_string(), source }
}

fn unusable(reason: String) -> ModelError {
    ModelError::Config { file: INDEX, reason }
}

#[cfg(test)]
mod tests {
    use super::is_plain;

    #[test]
    fn an_index_names_files_beside_it_only() {
        assert!(is_plain("model-00001-of-00002.safetensors"));
        for name in
            ["", "..", "../a.safetensors", "/a.safetensors", "a/b.safetensors", "a\\b.safetensors", "a.bin"]
        {
            assert!(!is_plain(name), "{name}");
        }
    }
}
