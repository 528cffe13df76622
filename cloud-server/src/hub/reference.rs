//! How a checkpoint on the hub is named: `hub:OWNER/NAME` or `hub:OWNER/NAME@REVISION`.

use std::fmt::{self, Display, Formatter};
use std::path::Path;
use std::str::FromStr;

/// What a name on the hub begins with, to tell it from a folder.
const PREFIX: &str = "hub:";
/// What is taken where nobody names a revision.
const DEFAULT_REVISION: &str = "main";
/// Longest owner and longest name.
const MAX_NAME_CHARS: usize = 96;
const MAX_REVISION_CHARS: usize = 200;
/// Hexadecimal digits of a commit.
const COMMIT_CHARS: usize = 40;

/// A checkpoint on the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubReference {
    owner: String,
    name: String,
    revision: String,
}

/// Why something names no checkpoint on the hub.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names nothing on the hub: write hub:OWNER/NAME, such as hub:HuggingFaceTB/SmolVLM-256M-Instruct, and @REVISION behind it for a branch, tag or commit"
)]
pub struct InvalidReference(String);

impl HubReference {
    /// The reference that stands where a folder may; `None` for a folder.
    ///
    /// # Errors
    /// [`InvalidReference`] where it begins with `hub:` and is none.
    pub fn of_path(path: &Path) -> Result<Option<Self>, InvalidReference> {
        match path.to_str() {
            Some(text) if text.starts_with(PREFIX) => text.parse().map(Some),
            _ => Ok(None),
        }
    }

    /// The same checkpoint at another revision.
    ///
    /// # Errors
    /// [`InvalidReference`] for what is no revision.
    pub fn at(&self, revision: &str) -> Result<Self, InvalidReference> {
        format!("{PREFIX}{}@{revision}", self.id()).parse()
    }

    /// `OWNER/NAME`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// The name without its owner, which is what the checkpoint is called here.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Branch, tag or commit.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// Whether it names one commit, which can never change.
    pub fn is_pinned(&self) -> bool {
        is_commit(&self.revision)
    }
}

impl FromStr for HubReference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let invalid = || InvalidReference(text.to_owned());
        let rest = text.strip_prefix(PREFIX).ok_or_else(invalid)?;
        let (id, revision) = rest.split_once('@').unwrap_or((rest, DEFAULT_REVISION));
        let (owner, name) = id.split_once('/').ok_or_else(invalid)?;
        if !is_name(owner) || !is_name(name) || !is_revision(revision) {
            return Err(invalid());
        }
        Ok(Self { owner: owner.to_owned(), name: name.to_owned(), revision: revision.to_owned() })
    }
}

impl Display for HubReference {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{PREFIX}{}", self.id())?;
        if self.revision == DEFAULT_REVISION { Ok(()) } else { write!(formatter, "@{}", self.revision) }
    }
}

/// Whether a text is a commit as the hub writes it.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == COMMIT_CHARS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// What the hub allows as owner or name. Both become folders here, so nothing else may pass.
fn is_name(text: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let ends_well =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let bytes = text.as_bytes();
    bytes.len() <= MAX_NAME_CHARS
        && bytes.iter().copied().all(is_known)
        && ends_well(bytes.first())
        && ends_well(bytes.last())
        // The cache joins owner and name by two dashes.
        && !text.contains("..")
        && !text.contains("--")
}

/// A branch may have parts, such as `refs/pr/1`; none of them may lead elsewhere.
fn is_revision(text: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_part = |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(is_known);
    text.len() <= MAX_REVISION_CHARS && text.split('/').all(is_part) && !text.contains("..")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_reference_has_an_owner_a_name_and_a_revision() {
        let plain: HubReference = "hub:HuggingFaceTB/SmolVLM2-2.2B-Instruct".parse().unwrap();
        assert_eq!((plain.id().as_str(), plain.revision()), ("HuggingFaceTB/SmolVLM2-2.2B-Instruct", "main"));
        assert_eq!(plain.to_string(), "hub:HuggingFaceTB/SmolVLM2-2.2B-Instruct");
        let branch = plain.at("refs/pr/1").unwrap();
        assert_eq!((branch.revision(), branch.is_pinned()), ("refs/pr/1", false));
        assert!(plain.at(&"0a".repeat(20)).unwrap().is_pinned());
        assert_eq!(HubReference::of_path(Path::new("models/weights")), Ok(None));
        assert!(HubReference::of_path(Path::new("hub:nobody")).is_err());
    }

    #[test]
    fn nothing_that_leads_out_of_the_cache_is_a_reference() {
        for text in [
            "a/b",
            "hub:",
            "hub:a",
            "hub:/b",
            "hub:a/",
            "hub:a/b/c",
            "hub:../b",
            "hub:a/..",
            "hub:a/b@",
            "hub:.a/b",
            "hub:a/b@../c",
            "hub:a/b@/c",
            "hub:a/b@c/../d",
            "hub:a/b@c\\d",
            "hub:a/b?c",
            "hub:a--b/c",
            "hub:a/b@c d",
            "hub:a\0/b",
            "hub:a/b@.git",
            "hub:https://host/a/b",
        ] {
            assert!(text.parse::<HubReference>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same(text in "hub:[a-zA-Z0-9._/@-]{1,24}") {
            if let Ok(reference) = text.parse::<HubReference>() {
                let again: HubReference = reference.to_string().parse().unwrap();
                prop_assert_eq!(&again, &reference);
                let folders = [reference.id(), reference.revision().to_owned()];
                for part in folders.iter().flat_map(|path| path.split('/')) {
                    prop_assert!(!part.is_empty() && !part.starts_with('.'), "{}", part);
                }
            }
        }
    }
}
