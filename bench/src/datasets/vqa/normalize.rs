//! How the official evaluator makes answers comparable (`vqaEval.py` of VQAv2's authors).
//!
//! Its rules are reproduced with their quirks, since scores are compared to those of others:
//! - punctuation is removed where it stands beside a space anywhere in the text, or the text has a comma between digits;
//!   elsewhere it becomes a space;
//! - periods go unless a digit follows, at most 32 of them: a flag is passed where a count belongs;
//! - digits, articles and contractions are made alike in the model's answer only; people's answers, which are normal in
//!   the data set, lose their punctuation, and only where they differ.

use unicode_general_category::{GeneralCategory, get_general_category};

use super::contractions;

const PUNCTUATION: [char; 21] = [
    ';', '/', '[', ']', '"', '{', '}', '(', ')', '=', '+', '\\', '_', '-', '>', '<', '@', '`', ',', '?', '!',
];

const MOST_PERIODS: usize = 32;

const ARTICLES: [&str; 3] = ["a", "an", "the"];

const NUMBER_WORDS: [(&str, &str); 12] = [
    ("none", "0"),
    ("zero", "0"),
    ("one", "1"),
    ("two", "2"),
    ("three", "3"),
    ("four", "4"),
    ("five", "5"),
    ("six", "6"),
    ("seven", "7"),
    ("eight", "8"),
    ("nine", "9"),
    ("ten", "10"),
];

/// A model's answer in its normal form.
pub(super) fn answer(text: &str) -> String {
    let text = text.replace(['\n', '\t'], " ");
    words(&punctuation(text.trim_matches(is_space)))
}

/// A text without punctuation.
pub(super) fn punctuation(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let has_comma_in_number =
        characters.windows(3).any(|three| is_digit(three[0]) && three[1] == ',' && is_digit(three[2]));
    let is_beside_space = |mark: char| {
        characters
            .windows(2)
            .any(|two| (two[0] == mark && two[1] == ' ') || (two[0] == ' ' && two[1] == mark))
    };
    let removed = PUNCTUATION.map(|mark| (mark, has_comma_in_number || is_beside_space(mark)));
    let mut without = Vec::with_capacity(characters.len());
    for character in characters {
        match removed.iter().find(|(mark, _)| *mark == character) {
            None => without.push(character),
            Some((_, true)) => {}
            Some((_, false)) => without.push(' '),
        }
    }
    let mut periods = 0;
    let keeps = |place: usize| {
        let is_stripped = without[place] == '.'
            && periods < MOST_PERIODS
            && !without.get(place + 1).is_some_and(|next| is_digit(*next));
        periods += usize::from(is_stripped);
        !is_stripped
    };
    let kept: Vec<bool> = (0..without.len()).map(keeps).collect();
    without.iter().zip(kept).filter_map(|(character, keep)| keep.then_some(*character)).collect()
}

/// Lower case, number words as digits, no articles, contractions with their apostrophe, single spaces.
fn words(text: &str) -> String {
    let lower = text.to_lowercase();
    let words = lower.split(is_space).filter(|word| !word.is_empty());
    let digits = words.map(|word| {
        NUMBER_WORDS.iter().find(|(number, _)| *number == word).map_or(word, |(_, digits)| digits)
    });
    let content = digits.filter(|word| !ARTICLES.contains(word));
    let whole: Vec<&str> = content.map(|word| contractions::whole(word).unwrap_or(word)).collect();
    whole.join(" ")
}

/// What the evaluator's language calls a space: Unicode's, and four separators of ASCII.
fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// A decimal digit of any script.
fn is_digit(character: char) -> bool {
    get_general_category(character) == GeneralCategory::DecimalNumber
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_published_rules_hold() {
        let cases = [
            ("Yes.", "yes"),
            ("  The red car\n", "red car"),
            ("two", "2"),
            ("dont", "don't"),
            ("1,000", "1000"),
            ("3.5", "3.5"),
            ("t.v.", "tv"),
            ("cat/dog", "cat dog"),
            ("cat / dog", "cat dog"),
            ("blue-green", "blue green"),
            ("it's", "it's"),
            ("a", ""),
        ];
        for (raw, normal) in cases {
            assert_eq!(answer(raw), normal, "{raw:?}");
        }
    }

    proptest! {
        /// Whatever a model says, its normal form has neither an upper-case ASCII letter, nor two spaces, nor an article.
        #[test]
        fn a_normal_form_is_plain(text in "\\PC{0,40}|[a-zA-Z .,'/-]{0,40}") {
            let normal = answer(&text);
            prop_assert!(!normal.contains(|one: char| one.is_ascii_uppercase()));
            prop_assert!(!normal.contains("  ") && normal.trim() == normal);
            prop_assert!(normal.split(' ').all(|word| !ARTICLES.contains(&word)));
        }
    }
}
