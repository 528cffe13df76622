//! How what is said becomes part of a question.

/// What stands before the words of a recording where something was typed as well.
const SAID: &str = "Recording: ";

/// A question from what was typed and what was said in its recording: one of both, or the typed text and a line `Recording: ...`. Edge and
/// server put it alike.
pub fn question_of(typed: &str, said: &str) -> String {
    match (typed.trim_end(), said.trim()) {
        ("", said) => said.to_owned(),
        (typed, "") => typed.to_owned(),
        (typed, said) => format!("{typed}\n{SAID}{said}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_words_come_first_and_neither_is_needed() {
        assert_eq!(question_of("Why? ", " It rains."), "Why?\nRecording: It rains.");
        assert_eq!(question_of("", " It rains."), "It rains.");
        assert_eq!(question_of("Why?", ""), "Why?");
        assert_eq!(question_of(" \n", " "), "");
    }
}
