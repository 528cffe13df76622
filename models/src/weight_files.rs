//! The files of a checkpoint's weights: one, or several with an index of which tensor is in which.
//!
//! A folder's files are mapped into memory where the system can, so that reading a checkpoint of gigabytes takes no copy of it
//! and headers are known before values are touched. Whoever cuts such a file short while it is read ends this process, as
//! with every mapped file.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::path::{Component, Path};
use std::sync::Arc;

use memmap2::Mmap;
use serde::Deserialize;

use crate::error::ModelError;

const WHOLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// An index names each tensor once; the largest published ones are a tenth of this.
const MAX_INDEX_BYTES: u64 = 16 << 20;

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
}

impl fmt::Debug for Storage {
    /// Without the weights, which nobody wants in a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, bytes) = match self {
            Self::Memory(bytes) => ("in memory", bytes.len()),
            Self::Mapped(bytes) => ("mapped", bytes.len()),
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
        let bytes =
            fs::metadata(&index).map(|file| file.len()).map_err(|source| file_error(&index, source))?;
        if bytes > MAX_INDEX_BYTES {
            return Err(unusable(format!("it has {bytes} bytes, at most {MAX_INDEX_BYTES} are read")));
        }
        let text = fs::read(&index).map_err(|source| file_error(&index, source))?;
        let Index { weight_map: places } =
            serde_json::from_slice(&text).map_err(|source| ModelError::json(INDEX, &source))?;
        let mut names: Vec<&String> = places.values().collect();
        names.sort();
        names.dedup();
        if names.is_empty() {
            return Err(unusable("it names no file".to_owned()));
        }
        if let Some(name) = names.iter().find(|name| !is_plain(name)) {
            return Err(unusable(format!("`{name}` is not the name of a file beside it")));
        }
        let files = names.into_iter().map(|name| WeightFile::open(folder, name)).collect::<Result<_, _>>()?;
        Ok(Self { files, places })
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

    pub(crate) fn bytes(&self) -> &[u8] {
        match &*self.bytes {
            Storage::Memory(bytes) => bytes,
            Storage::Mapped(bytes) => bytes,
        }
    }
}

/// Whether a name stays in its folder.
fn is_plain(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let is_one = matches!((components.next(), components.next()), (Some(Component::Normal(_)), None));
    is_one && !name.contains(['/', '\\']) && name.ends_with(".safetensors")
}

fn file_error(path: &Path, source: std::io::Error) -> ModelError {
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
