//! A file's hashes, of the whole and of each piece, kept on disk by name, size and time.
//!
//! Pieces have hashes of their own because browsers hash no stream: a page checks each piece as it comes, keeps no more
//! than one in memory, and fetches a damaged one alone.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::folder::Stamp;

/// Bytes of a piece: small enough to be fetched again without regret, large enough that a gigabyte has a hundred.
pub(super) const PIECE_BYTES: u64 = 8 << 20;
/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;

/// The hashes of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hashes {
    /// SHA-256 of all of it, in hexadecimal digits.
    pub(super) sha256: String,
    /// Of each piece, where there is more than one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) pieces: Vec<String>,
}

/// A file that was hashed before.
#[derive(Serialize, Deserialize)]
struct Kept {
    stamp: Stamp,
    piece_bytes: u64,
    hashes: Hashes,
}

/// The hashes of a folder's file, from the last time where it has not changed since.
pub(super) fn hashes(folder: &Path, stamp: &Stamp) -> io::Result<Hashes> {
    let kept = kept_at(folder, &stamp.name);
    if let Some(known) = kept.as_deref().and_then(|path| read_kept(path, stamp)) {
        return Ok(known);
    }
    let found = hash(&folder.join(&stamp.name), PIECE_BYTES)?;
    // Small files are hashed sooner than what is kept of them is read.
    if let Some(path) = kept.filter(|_| stamp.bytes > PIECE_BYTES) {
        let kept = Kept { stamp: stamp.clone(), piece_bytes: PIECE_BYTES, hashes: found.clone() };
        if let Err(error) = write_kept(&path, &kept) {
            tracing::debug!(%error, "hashes are not kept; they are made anew at the next start");
        }
    }
    Ok(found)
}

/// Hashes a file in one pass.
fn hash(path: &Path, piece_bytes: u64) -> io::Result<Hashes> {
    let mut file = File::open(path)?;
    let (mut whole, mut piece, mut pieces) = (Sha256::new(), Sha256::new(), Vec::new());
    let (mut buffer, mut in_piece) = (vec![0; READ_BYTES.min(piece_bytes as usize)], 0);
    loop {
        let room = (piece_bytes - in_piece).min(buffer.len() as u64) as usize;
        let count = file.read(&mut buffer[..room])?;
        if count == 0 {
            break;
        }
        whole.update(&buffer[..count]);
        piece.update(&buffer[..count]);
        in_piece += count as u64;
        if in_piece == piece_bytes {
            pieces.push(hex(piece.finalize_reset().as_slice()));
            in_piece = 0;
        }
    }
    if in_piece > 0 {
        pieces.push(hex(piece.finalize().as_slice()));
    }
    let pieces = if pieces.len() > 1 { pieces } else { Vec::new() };
    Ok(Hashes { sha256: hex(whole.finalize().as_slice()), pieces })
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where hashes of this file are kept; `None` where the system names no folder for such things.
fn kept_at(folder: &Path, name: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = cache.or_else(|| Some(std::env::home_dir()?.join(".cache")))?;
    let whole = folder.canonicalize().ok()?.join(name);
    let digest = Sha256::digest(whole.as_os_str().as_encoded_bytes());
    Some(cache.join("msao/hashes").join(format!("{}.json", hex(&digest[..16]))))
}

fn read_kept(path: &Path, stamp: &Stamp) -> Option<Hashes> {
    let kept: Kept = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (kept.stamp == *stamp && kept.piece_bytes == PIECE_BYTES).then_some(kept.hashes)
}

/// Whole or not at all: another server may read it meanwhile.
fn write_kept(path: &Path, kept: &Kept) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let file = tempfile::NamedTempFile::new_in(folder)?;
    fs::write(file.path(), serde_json::to_vec(kept)?)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn written(content: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), content).unwrap();
        file
    }

    #[test]
    fn a_file_of_one_piece_has_no_pieces() {
        let hashes = hash(written(b"abc").path(), 3).unwrap();
        assert_eq!(hashes, Hashes { sha256: ABC.to_owned(), pieces: vec![] });
    }

    #[test]
    fn each_piece_has_the_hash_of_its_own_bytes() {
        let hashes = hash(written(b"abcabcabcx").path(), 3).unwrap();
        assert_eq!(hashes.pieces[..3], [ABC, ABC, ABC]);
        assert_eq!(hashes.pieces.len(), 4);
        assert_eq!(hashes.pieces[3], hash(written(b"x").path(), 3).unwrap().sha256);
        assert_eq!(hashes.sha256, hash(written(b"abcabcabcx").path(), 64).unwrap().sha256);
        assert!(hash(written(b"").path(), 3).unwrap().pieces.is_empty());
    }

    #[test]
    fn what_is_kept_counts_for_the_same_size_and_time_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below/kept.json");
        let stamp = Stamp { name: "a".into(), bytes: 3, modified_ns: 7 };
        let hashes = Hashes { sha256: ABC.into(), pieces: vec![] };
        let kept = Kept { stamp: stamp.clone(), piece_bytes: PIECE_BYTES, hashes: hashes.clone() };
        write_kept(&path, &kept).unwrap();
        assert_eq!(read_kept(&path, &stamp), Some(hashes));
        assert_eq!(read_kept(&path, &Stamp { bytes: 4, ..stamp.clone() }), None);
        assert_eq!(read_kept(&path, &Stamp { modified_ns: 8, ..stamp }), None);
    }
}
