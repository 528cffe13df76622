//! Under which licence a checkpoint is published, as its folder says, offline as well: the front matter of its card (README.md), else
//! the title of its licence file.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// The front matter of a card is a few lines, a licence's title is the first; what is behind this is not looked at.
const MAX_BYTES: u64 = 256 << 10;
const LICENCE_FILES: [&str; 4] = ["LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE"];
/// Longest name or address of a licence that is told on.
const MAX_LICENCE_CHARS: usize = 200;

/// The licence that the card in a checkpoint's folder names, else that of its licence file; `None` where neither says.
pub fn licence_of(folder: &Path) -> Option<String> {
    let by_card = beginning(&folder.join("README.md")).and_then(|card| of_card(&card));
    by_card.or_else(|| {
        let text = LICENCE_FILES.iter().find_map(|name| beginning(&folder.join(name)))?;
        let mut titles = text.lines().map(|line| line.trim_matches(['#', ' ', '\t']));
        titles.find(|line| !line.is_empty()).map(plain)
    })
}

fn beginning(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn plain(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(MAX_LICENCE_CHARS).collect()
}

fn of_card(card: &str) -> Option<String> {
    let mut lines = card.lines();
    if lines.next()?.trim_end() != "---" {
        return None;
    }
    let front: Vec<&str> = lines.take_while(|line| line.trim_end() != "---").collect();
    let value = |key: &str| {
        let line = front.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        let value = line.trim().trim_matches(['"', '\'']).trim();
        (!value.is_empty()).then_some(value)
    };
    of_fields(value("license"), value("license_name"))
}

/// One name of the two that a card can have: `other` is named by the second.
pub(super) fn of_fields(license: Option<&str>, name: Option<&str>) -> Option<String> {
    let licence = match license {
        None | Some("other") => name.or(license),
        known => known,
    };
    licence.map(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_names_its_licence_in_front() {
        let card = |front: &str| of_card(&format!("---\n{front}\n---\n\nlicense: not this\n"));
        assert_eq!(card("library_name: transformers\nlicense: apache-2.0").as_deref(), Some("apache-2.0"));
        assert_eq!(card("license: \"mit\"").as_deref(), Some("mit"));
        assert_eq!(card("license: other\nlicense_name: llama3").as_deref(), Some("llama3"));
        assert_eq!(card("license: other").as_deref(), Some("other"));
        assert_eq!(card("language: en"), None);
        assert_eq!(of_card("# A card\nlicense: mit\n"), None);
        assert_eq!(of_card(""), None);
    }

    #[test]
    fn else_a_licence_file_does() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(licence_of(folder.path()), None);
        std::fs::write(folder.path().join("LICENSE"), "\n# MIT License\n\nCopyright").unwrap();
        assert_eq!(licence_of(folder.path()).as_deref(), Some("MIT License"));
        std::fs::write(folder.path().join("README.md"), "---\nlicense: apache-2.0\n---\n").unwrap();
        assert_eq!(licence_of(folder.path()).as_deref(), Some("apache-2.0"));
    }
}
