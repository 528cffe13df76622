//! Cuts text into the words that merges stay inside of, as Hugging Face's pre-tokenizers do.
//!
//! Knows the components that byte-level checkpoints of our size use: GPT-2's word pattern, single digits, and
//! a split on one class of characters. Other files are refused when they are loaded, not misread.

use serde_json::Value;
use unicode_general_category::{GeneralCategory, get_general_category};

/// The steps of a `pre_tokenizer`, each of which cuts the pieces of the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PreTokenizer {
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// GPT-2's pattern: contractions, words, numbers and signs with the space before them, white space.
    Words,
    /// Every numeric character by itself.
    SingleDigits,
    /// Runs of numeric characters.
    DigitRuns,
    /// Every character of a class by itself.
    Class(Vec<(char, char)>),
}

impl PreTokenizer {
    /// Reads the `pre_tokenizer` section of a tokenizer.json, which must contain `ByteLevel`.
    pub(super) fn from_json(section: &Value) -> Result<Self, String> {
        let mut steps = Vec::new();
        let mut is_byte_level = false;
        let single = std::slice::from_ref(section);
        let components =
            if section["type"] == "Sequence" { section["pretokenizers"].as_array() } else { None };
        for component in components.map_or(single, Vec::as_slice) {
            match component["type"].as_str().unwrap_or("none") {
                "ByteLevel" => {
                    is_byte_level = true;
                    if component["add_prefix_space"] == true {
                        return Err(
                            "pre_tokenizer ByteLevel has add_prefix_space; it must be false".to_owned()
                        );
                    }
                    if component["use_regex"] != false {
                        steps.push(Step::Words);
                    }
                }
                // After ByteLevel the text is no longer characters but bytes in disguise.
                kind if is_byte_level => return Err(format!("pre_tokenizer {kind} comes after ByteLevel")),
                "Digits" if component["individual_digits"] == true => steps.push(Step::SingleDigits),
                "Digits" => steps.push(Step::DigitRuns),
                "Split" => steps.push(read_split(component)?),
                kind => return Err(format!("pre_tokenizer {kind} is not supported")),
            }
        }
        if is_byte_level { Ok(Self { steps }) } else { Err("pre_tokenizer is not ByteLevel".to_owned()) }
    }

    /// The pieces of a text, in order and without gaps.
    pub(super) fn split<'text>(&self, text: &'text str) -> Vec<&'text str> {
        let mut pieces = vec![text];
        for step in &self.steps {
            pieces = pieces.into_iter().flat_map(|piece| step.split(piece)).collect();
        }
        pieces
    }
}

fn read_split(component: &Value) -> Result<Step, String> {
    let pattern = &component["pattern"];
    let text = pattern["Regex"].as_str().unwrap_or_default();
    let unsupported = || format!("pre_tokenizer Split on {pattern} is not supported");
    if component["behavior"] != "Isolated" || component["invert"] == true {
        return Err(unsupported());
    }
    parse_class(text).map(Step::Class).ok_or_else(unsupported)
}

/// Parses `[A-Z0-9]`: characters and ranges of ASCII letters and digits.
fn parse_class(pattern: &str) -> Option<Vec<(char, char)>> {
    let mut characters = pattern.strip_prefix('[')?.strip_suffix(']')?.chars().peekable();
    let mut ranges = Vec::new();
    while let Some(first) = characters.next() {
        let last = if characters.next_if_eq(&'-').is_some() { characters.next()? } else { first };
        if !first.is_ascii_alphanumeric() || !last.is_ascii_alphanumeric() || first > last {
            return None;
        }
        ranges.push((first, last));
    }
    (!ranges.is_empty()).then_some(ranges)
}

impl Step {
    fn split<'text>(&self, mut text: &'text str) -> Vec<&'text str> {
        let mut pieces = Vec::new();
        while !text.is_empty() {
            let (piece, rest) = text.split_at(self.piece_length(text));
            pieces.push(piece);
            text = rest;
        }
        pieces
    }

    /// Bytes of the first piece of a text that is not empty; at least one character.
    fn piece_length(&self, text: &str) -> usize {
        match self {
            Self::Words => word_length(text),
            Self::SingleDigits => isolated_length(text, char::is_numeric),
            Self::DigitRuns => {
                let numeric = text.starts_with(char::is_numeric);
                run_length(text, |character| character.is_numeric() == numeric)
            }
            Self::Class(ranges) => {
                isolated_length(text, |c| ranges.iter().any(|(first, last)| (*first..=*last).contains(&c)))
            }
        }
    }
}

/// One character of the class, or everything before the next one.
fn isolated_length(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    match text.chars().next() {
        Some(first) if belongs(first) => first.len_utf8(),
        _ => run_length(text, |character| !belongs(character)),
    }
}

/// Bytes of the longest start of a text whose characters all belong.
fn run_length(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|character| !belongs(character)).unwrap_or(text.len())
}

/// The first match of `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`.
fn word_length(text: &str) -> usize {
    const CONTRACTIONS: [&str; 7] = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];
    if let Some(contraction) = CONTRACTIONS.iter().find(|contraction| text.starts_with(**contraction)) {
        return contraction.len();
    }
    let space = usize::from(text.starts_with(' '));
    let word = &text[space..];
    if let Some(class) = word.chars().next().map(Class::of).filter(|class| *class != Class::Space) {
        return space + run_length(word, |character| Class::of(character) == class);
    }
    let run = run_length(text, char::is_whitespace);
    let last = text[..run].chars().next_back().map_or(0, char::len_utf8);
    // The last of several spaces goes with the word that follows.
    if run < text.len() && run > last { run - last } else { run }
}

#[derive(PartialEq, Eq)]
enum Class {
    Letter,
    Number,
    Space,
    Other,
}

impl Class {
    fn of(character: char) -> Self {
        use GeneralCategory::{
            LowercaseLetter, ModifierLetter, OtherLetter, TitlecaseLetter, UppercaseLetter,
        };
        if character.is_whitespace() {
            return Self::Space;
        }
        if character.is_numeric() {
            return Self::Number;
        }
        // Alphabetic also covers marks, which the pattern does not count as letters.
        match get_general_category(character) {
            UppercaseLetter | LowercaseLetter | TitlecaseLetter | ModifierLetter | OtherLetter => {
                Self::Letter
            }
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn words(text: &str) -> Vec<&str> {
        PreTokenizer { steps: vec![Step::Words] }.split(text)
    }

    #[test]
    fn words_take_the_space_before_them() {
        assert_eq!(words("what's  the colour?"), ["what", "'s", " ", " the", " colour", "?"]);
        assert_eq!(words("a\n\n b\t "), ["a", "\n\n", " b", "\t "]);
        assert_eq!(words(" 12.5 naïve हिन्दी"), [" 12", ".", "5", " naïve", " ह", "ि", "न", "्", "द", "ी"]);
        assert_eq!(words("don'T 'smile"), ["don", "'", "T", " '", "smile"]);
    }

    #[test]
    fn sequences_cut_what_came_before() {
        let section = json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": "[A-Z0-9]"}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true}]});
        let pre_tokenizer = PreTokenizer::from_json(&section).expect("supported");
        assert_eq!(pre_tokenizer.split("It says AB12 x"), ["I", "t", " says", " ", "A", "B", "1", "2", " x"]);
        assert!(pre_tokenizer.split("").is_empty());
    }

    #[test]
    fn unknown_components_are_refused() {
        for section in [
            json!(null),
            json!({"type": "Whitespace"}),
            json!({"type": "ByteLevel", "add_prefix_space": true}),
            json!({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true}]}),
            json!({"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}, {"type": "Digits"}]}),
            json!({"type": "Split", "pattern": {"Regex": "\\p{L}+"}, "behavior": "Isolated"}),
            json!({"type": "Split", "pattern": {"Regex": "[A-Z]"}, "behavior": "Removed"}),
        ] {
            assert!(PreTokenizer::from_json(&section).is_err(), "{section}");
        }
    }
}
