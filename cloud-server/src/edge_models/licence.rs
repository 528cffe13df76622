//! Under which licence a checkpoint stands, as far as its folder says.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// What is read of a model card or a licence; front matter stands at the beginning.
const MAX_BYTES: u64 = 64 << 10;
/// Longest name of a licence that is shown.
const MAX_CHARS: usize = 80;

/// The licence by the front matter of README.md, else by the first line of a licence file.
pub(super) fn licence(folder: &Path) -> Option<String> {
    let by_card = read(&folder.join("README.md")).and_then(|card| in_front_matter(&card));
    by_card.or_else(|| {
        let files = ["LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE"];
        let text = files.iter().find_map(|name| read(&folder.join(name)))?;
        let title =
            text.lines().map(|line| line.trim_matches(['#', ' ', '\t'])).find(|line| !line.is_empty());
        title.map(shortened)
    })
}

fn in_front_matter(card: &str) -> Option<String> {
    let mut lines = card.lines();
    lines.next().filter(|line| line.trim_end() == "---")?;
    let fields: Vec<&str> = lines.take_while(|line| line.trim_end() != "---").collect();
    let field = |key: &str| {
        let value = fields.iter().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix(':'))?;
        let value = value.trim().trim_matches(['"', '\'']);
        (!value.is_empty()).then(|| shortened(value))
    };
    match field("license") {
        // `other` has its name in a field of its own.
        Some(other) if other == "other" => field("license_name").or(Some(other)),
        found => found,
    }
}

fn shortened(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(MAX_CHARS).collect()
}

fn read(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_card_names_the_licence() {
        for (card, expected) in [
            ("---\nlicense: apache-2.0\ntags:\n- x\n---\n# A model", Some("apache-2.0")),
            ("---\nlicense: \"mit\"\n---\n", Some("mit")),
            ("---\nlicense: other\nlicense_name: llama3\n---\n", Some("llama3")),
            ("---\ntags: []\n---\nlicense: mit\n", None),
            ("license: mit\n", None),
        ] {
            assert_eq!(in_front_matter(card).as_deref(), expected, "{card}");
        }
    }

    #[test]
    fn else_a_licence_file_does() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(licence(folder.path()), None);
        std::fs::write(folder.path().join("LICENSE"), "\n# MIT License\n\nCopyright").unwrap();
        assert_eq!(licence(folder.path()).as_deref(), Some("MIT License"));
        std::fs::write(folder.path().join("README.md"), "---\nlicense: apache-2.0\n---\n").unwrap();
        assert_eq!(licence(folder.path()).as_deref(), Some("apache-2.0"));
    }
}
