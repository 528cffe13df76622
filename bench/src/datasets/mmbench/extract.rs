//! Which choice a model's answer names: the exact rules of the published evaluators (VLMEvalKit, lmms-eval), without the
//! model that these ask where the rules find nothing.
//!
//! 1. Exactly one letter stands alone as a word; but not if "A" is a word among more than three, where it may be an
//!    article.
//! 2. Else exactly one letter stands as a word with punctuation: `A.`, `A,`, `A:`, `A)`, `A).`, `(A)`, `(A).`, `:A` and
//!    the like, tried in this order.
//! 3. Else the text of exactly one choice occurs in the answer, whatever its case.

use super::table::LETTERS;

/// Those that a rule looks for. The fifth is what evaluators let a model say that finds no choice right.
const NAMED: [char; 5] = ['A', 'B', 'C', 'D', 'E'];

/// What may stand before and behind a letter.
const AROUND: [(&str, &str); 12] = [
    ("", "."),
    ("", ","),
    ("", ":"),
    ("", ")"),
    ("", ")."),
    ("(", ")"),
    ("(", ")."),
    (":", ""),
    (":", ","),
    (":", "."),
    (":", ")"),
    (":", ")."),
];

/// More words than this and "A" may be an article.
const MOST_WORDS_WITH_LETTER_A: usize = 3;

/// The letter that an answer names; `None` if none or several.
pub(super) fn letter(answer: &str, choices: &[String]) -> Option<char> {
    let words: Vec<&str> = answer.split_whitespace().collect();
    let named = |before: &str, behind: &str| {
        let is_there = |letter: &&char| words.contains(&format!("{before}{letter}{behind}").as_str());
        the_only(NAMED.iter().filter(is_there))
    };
    let may_be_article = words.len() > MOST_WORDS_WITH_LETTER_A && words.contains(&"A");
    let alone = if may_be_article { None } else { named("", "") };
    let with_marks = || AROUND.iter().find_map(|(before, behind)| named(before, behind));
    alone.or_else(with_marks).or_else(|| by_text(answer, choices)).copied()
}

fn by_text(answer: &str, choices: &[String]) -> Option<&'static char> {
    let answer = answer.to_lowercase();
    let occurs = |(_, choice): &(&char, &String)| answer.contains(&choice.to_lowercase());
    the_only(LETTERS.iter().zip(choices).filter(occurs).map(|(letter, _)| letter))
}

fn the_only<T>(mut found: impl Iterator<Item = T>) -> Option<T> {
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_texts_are_recognised() {
        let choices = ["cat", "dog", "red bird", "bird"].map(str::to_owned);
        for (answer, expected) in [
            ("B", Some('B')),
            (" (C) ", Some('C')),
            ("D.", Some('D')),
            ("The answer is B", Some('B')),
            ("It is a DOG.", Some('B')),
            ("A cat can be seen", Some('A')),
            ("A very small dog", Some('B')),
            ("B or C", None),
            ("red bird", None),
            ("b", None),
            ("", None),
        ] {
            assert_eq!(letter(answer, &choices), expected, "{answer:?}");
        }
    }
}
