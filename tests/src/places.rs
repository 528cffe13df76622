//! Where things lie in the repository.

use std::path::{Path, PathBuf};

/// The repository's root.
///
/// # Panics
/// Never: this package lies in a folder of the repository.
pub fn root() -> PathBuf {
    // Not by "..": a browser does not read files by such paths.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package has a parent folder").to_owned()
}

/// The built page, as `cargo xtask page` leaves it.
pub fn page() -> PathBuf {
    root().join("dist")
}

/// The shipped checkpoints.
pub fn weights() -> PathBuf {
    root().join("models/weights")
}

/// The shipped evaluation files: `gallery/` and `cards/`.
pub fn evaluation() -> PathBuf {
    root().join("models/eval")
}

/// Where screenshots go. Made if missing.
///
/// # Errors
/// If the folder cannot be made.
pub fn screenshots() -> std::io::Result<PathBuf> {
    let folder = root().join("target/screenshots");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
