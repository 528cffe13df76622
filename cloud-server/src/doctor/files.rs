//! The files that the server needs: the page, and checkpoints as their manifests say.

use std::fs::{self, File};
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{Finding, Verdict};
use crate::checkpoint_places::CheckpointPlaces;
use crate::config::ServerConfig;

const PIECE_BYTES: usize = 1 << 20;

/// What a checkpoint's MANIFEST.json says about its files.
#[derive(Deserialize)]
struct Manifest {
    files: std::collections::BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    bytes: u64,
    sha256: String,
}

/// Whether there is a page to serve.
pub(super) fn page(folder: &Path) -> Finding {
    if folder.join("index.html").is_file() {
        return Finding::new("page", Verdict::Good, format!("found in {}", folder.display()));
    }
    let says = format!(
        "there is none in {}: build it with `cargo xtask page`, or name its folder with --page; all else works without",
        folder.display()
    );
    Finding::new("page", Verdict::Doubtful, says)
}

/// The checkpoint folders in use that are there; what is missing is told when the model is to be loaded.
pub(super) fn checkpoints(config: &ServerConfig) -> Vec<PathBuf> {
    let (edge, here) = match CheckpointPlaces::find(config) {
        Ok(places) => (places.edge_models.into_iter().map(|(_name, folder)| folder).collect(), places.target),
        Err(_) => {
            let edge: Vec<PathBuf> =
                config.edge_models.iter().map(|name| config.weights.join(name)).collect();
            (edge, config.weights.join(&config.model))
        }
    };
    // With an upstream, nothing else is loaded.
    let here = (!config.upstream.is_used()).then_some(here);
    let draft = here.as_ref().and(config.draft_model.clone());
    let mut folders: Vec<PathBuf> = edge.into_iter().chain(here).chain(draft).collect();
    folders.retain(|folder| folder.join("config.json").is_file());
    folders.sort();
    folders.dedup();
    folders
}

/// Whether a checkpoint is whole; `None` if it has no manifest to tell by.
pub(super) fn as_manifest_says(folder: &Path) -> Option<Finding> {
    let text = fs::read(folder.join("MANIFEST.json")).ok()?;
    let name = folder.display();
    let finding = |verdict, says| Some(Finding::new("weights", verdict, says));
    let manifest: Manifest = match serde_json::from_slice(&text) {
        Ok(manifest) => manifest,
        Err(error) => return finding(Verdict::Doubtful, format!("{name}/MANIFEST.json: {error}")),
    };
    for (file, entry) in &manifest.files {
        if let Some(wrong) = differs(&folder.join(file), entry) {
            return finding(Verdict::Bad, format!("{name}/{file} {wrong}: fetch the checkpoint again"));
        }
    }
    finding(Verdict::Good, format!("{name} is as its manifest says"))
}

/// In what a file differs from its entry.
fn differs(path: &Path, entry: &Entry) -> Option<String> {
    match fs::metadata(path) {
        Err(error) => return Some(format!("cannot be read ({error})")),
        Ok(file) if file.len() != entry.bytes => {
            return Some(format!("has {} bytes where its manifest says {}", file.len(), entry.bytes));
        }
        Ok(_) => {}
    }
    match sha256(path) {
        Err(error) => Some(format!("cannot be read ({error})")),
        Ok(hash) if hash != entry.sha256 => Some("is not what its manifest says (SHA-256)".to_owned()),
        Ok(_) => None,
    }
}

/// Piece by piece, since weights can be larger than memory.
fn sha256(path: &Path) -> io::Result<String> {
    let mut reader = BufReader::new(File::open(path)?);
    let (mut hash, mut piece) = (Sha256::new(), vec![0; PIECE_BYTES]);
    loop {
        match reader.read(&mut piece)? {
            0 => break,
            read => hash.update(&piece[..read]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_cut_or_changed_is_found() {
        let folder = std::env::temp_dir().join(format!("msao-doctor-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let manifest = format!(r#"{{"files": {{"a.bin": {{"bytes": 3, "sha256": "{sha256}"}}}}}}"#);
        assert_eq!(as_manifest_says(&folder), None);
        fs::write(folder.join("MANIFEST.json"), manifest).unwrap();
        for (content, verdict) in [("abc", Verdict::Good), ("abd", Verdict::Bad), ("ab", Verdict::Bad)] {
            fs::write(folder.join("a.bin"), content).unwrap();
            let finding = as_manifest_says(&folder).unwrap();
            assert_eq!(finding.verdict, verdict, "{finding}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
