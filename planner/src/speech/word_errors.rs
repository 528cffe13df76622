//! How far a transcript is from what was said.

/// Word error rate: the least insertions, deletions and substitutions of words that make one of the other, over the words that were
/// said. Case and punctuation do not count. 0 where nothing was said and nothing is written; words where nothing was said
/// count 1 each.
///
/// Words are what white space divides, so it is no measure for scripts that are written without.
pub fn word_error_rate(said: &str, written: &str) -> f64 {
    let (said, written) = (words(said), words(written));
    distance(&said, &written) as f64 / said.len().max(1) as f64
}

fn words(text: &str) -> Vec<String> {
    let letters = |word: &str| {
        let kept = word.chars().filter(|letter| letter.is_alphanumeric());
        kept.flat_map(char::to_lowercase).collect::<String>()
    };
    text.split_whitespace().map(letters).filter(|word| !word.is_empty()).collect()
}

/// Levenshtein's, row by row.
fn distance(said: &[String], written: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=written.len()).collect();
    for (done, word) in said.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = done + 1;
        for (at, other) in written.iter().enumerate() {
            let substituted = diagonal + usize::from(word != other);
            diagonal = row[at + 1];
            row[at + 1] = substituted.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[written.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn errors_are_counted_in_words() {
        assert_eq!(word_error_rate("What is this?", "what is this"), 0.0);
        assert_eq!(word_error_rate("what is this", "what was this"), 1.0 / 3.0);
        assert_eq!(word_error_rate("what is this", "this"), 2.0 / 3.0);
        assert_eq!(word_error_rate("a b", "a x b y"), 1.0);
        assert_eq!(word_error_rate("", ""), 0.0);
        assert_eq!(word_error_rate("", "thank you"), 2.0);
        assert_eq!(word_error_rate("Don’t", "Don't"), 0.0);
    }

    proptest! {
        #[test]
        fn it_is_a_distance(left in "[a-c ]{0,12}", right in "[a-c ]{0,12}", between in "[a-c ]{0,12}") {
            let [left, right, between] = [left, right, between].map(|text| words(&text));
            prop_assert_eq!(distance(&left, &left), 0);
            prop_assert_eq!(distance(&left, &right), distance(&right, &left));
            prop_assert!(distance(&left, &right) <= distance(&left, &between) + distance(&between, &right));
            prop_assert!(distance(&left, &right) >= left.len().abs_diff(right.len()));
        }
    }
}
