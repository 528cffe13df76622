//! How the hub names contents: large files by their SHA-256, small ones as git does.

use sha1::{Digest as _, Sha1};
use sha2::Sha256;

/// The name of a content, which is also the name of its file in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ContentHash {
    /// SHA-256 of the content, of files in large file storage.
    Sha256(String),
    /// SHA-1 of git's blob: a header with the length, then the content.
    GitBlob(String),
}

/// Reads a content as it comes.
#[derive(Debug, Clone)]
pub(super) enum Hasher {
    Sha256(Sha256),
    GitBlob(Sha1),
}

impl ContentHash {
    /// The hash that these hexadecimal digits are; `None` where they are none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_start_matches("W/").trim_matches('"');
        let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match text.len() {
            64 if is_hex => Some(Self::Sha256(text.to_owned())),
            40 if is_hex => Some(Self::GitBlob(text.to_owned())),
            _ => None,
        }
    }

    /// Its digits.
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Sha256(digits) | Self::GitBlob(digits) => digits,
        }
    }

    /// A hasher for a content of this length.
    pub(super) fn hasher(&self, bytes: u64) -> Hasher {
        match self {
            Self::Sha256(_) => Hasher::Sha256(sha2::Digest::new()),
            Self::GitBlob(_) => Hasher::GitBlob(Sha1::new_with_prefix(format!("blob {bytes}\0"))),
        }
    }
}

impl Hasher {
    /// Reads on.
    pub(super) fn update(&mut self, piece: &[u8]) {
        match self {
            Self::Sha256(hash) => sha2::Digest::update(hash, piece),
            Self::GitBlob(hash) => hash.update(piece),
        }
    }

    /// The digits of what was read.
    pub(super) fn digits(self) -> String {
        let bytes = match self {
            Self::Sha256(hash) => sha2::Digest::finalize(hash).to_vec(),
            Self::GitBlob(hash) => hash.finalize().to_vec(),
        };
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits(hash: &ContentHash, content: &[u8]) -> String {
        let mut hasher = hash.hasher(content.len() as u64);
        content.chunks(2).for_each(|piece| hasher.update(piece));
        hasher.digits()
    }

    #[test]
    fn contents_are_named_as_git_and_its_large_file_storage_name_them() {
        // `printf abc | sha256sum` and `printf abc | git hash-object --stdin`.
        for known in [
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f",
        ] {
            let hash = ContentHash::parse(&format!("W/\"{known}\"")).unwrap();
            assert_eq!(digits(&hash, b"abc"), known);
            assert_ne!(digits(&hash, b"abd"), known);
        }
        for wrong in ["", "abc", "../../../etc/passwd", &"g".repeat(40), &"A".repeat(64)] {
            assert_eq!(ContentHash::parse(wrong), None, "{wrong}");
        }
    }
}
