//! The checkpoints that the page may choose from, any folder as Hugging Face lays it out.
//!
//! A page needs sizes and hashes before it downloads. Folders that come without a `MANIFEST.json` get one made: their
//! files are hashed in the background, once, and what came out is kept on disk, so that a server with gigabytes of weights
//! starts at once. It knows no web framework.
//!
//! | file | what happens there |
//! |---|---|
//! | `folder` | which files of a folder belong to the checkpoint |
//! | `hashing` | a file's hashes, whole and piece by piece, kept on disk |
//! | `manifest` | what the page is told before it downloads |
//! | `listing` | what it is told before it chooses |
//! | `speech` | the one that writes recordings down for the others |

mod folder;
mod hashing;
mod listing;
mod manifest;
mod speech;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use folder::{MANIFEST, SPEECH_CONFIDENCE, is_servable};
pub(crate) use listing::Listing;
pub(crate) use manifest::ManifestError;

use manifest::Making;

/// A checkpoint that the page may download.
#[derive(Debug)]
pub struct EdgeModel {
    name: String,
    folder: PathBuf,
    making: Making,
}

/// All of them, the page's default first. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct EdgeModels {
    models: Arc<[EdgeModel]>,
    speech: Option<Arc<EdgeModel>>,
}

impl EdgeModels {
    /// Checkpoints by the names that they are served under, and their folders.
    pub fn new(models: impl IntoIterator<Item = (String, PathBuf)>) -> Self {
        Self { models: models.into_iter().map(EdgeModel::new).collect(), speech: None }
    }

    /// Their names, in order; without that of the speech model.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.models.iter().map(|model| model.name.as_str())
    }

    /// The one of this name.
    pub(crate) fn find(&self, name: &str) -> Option<&EdgeModel> {
        self.models.iter().chain(self.speech.as_deref()).find(|model| model.name == name)
    }

    /// Those that answer, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &EdgeModel> {
        self.models.iter()
    }

    /// What writes recordings down.
    pub(crate) fn speech(&self) -> Option<&EdgeModel> {
        self.speech.as_deref()
    }

    /// Begins to hash what has no manifest, so that the first visitor need not wait for all of it.
    pub(crate) fn prepare(&self) {
        for model in self.iter().chain(self.speech()).filter(|model| !model.has_own_manifest()) {
            if let Err(error) = model.making.begin(model) {
                tracing::warn!(checkpoint = model.name, %error, "a model for the page cannot be downloaded");
            }
        }
    }
}

impl EdgeModel {
    fn new((name, folder): (String, PathBuf)) -> Self {
        Self { name, folder, making: Making::default() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the folder came with a manifest of what is in it.
    pub(crate) fn has_own_manifest(&self) -> bool {
        self.folder.join(MANIFEST).is_file()
    }

    /// The manifest made for a folder without one, as JSON; waits for its hashes.
    ///
    /// # Errors
    /// [`ManifestError::Pending`] where that takes longer than a request should, else what is wrong with the folder.
    pub(crate) async fn manifest(&self) -> Result<Arc<str>, ManifestError> {
        self.making.json(self).await
    }
}
