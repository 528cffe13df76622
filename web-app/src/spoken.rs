//! What screen readers hear of an answer that settles: finished sentences, each once, never tokens. Knows no browser.

/// How much of an answer was said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spoken {
    said: String,
}

impl Spoken {
    /// The sentences that have been finished since the last call; `None` if there are none. `settled` is the part of the
    /// answer that stands, from its beginning; of a complete answer the rest counts as a sentence.
    ///
    /// What was said and then changed, as after a lost connection, is said anew.
    pub fn next(&mut self, settled: &str, is_complete: bool) -> Option<String> {
        if !settled.starts_with(&self.said) {
            self.said.clear();
        }
        let end = if is_complete { settled.len() } else { finished(settled) };
        let news = settled.get(self.said.len()..end)?.trim();
        let news = (!news.is_empty()).then(|| news.to_owned());
        settled[..end].clone_into(&mut self.said);
        news
    }

    /// Whether anything was said.
    pub fn has_begun(&self) -> bool {
        !self.said.is_empty()
    }
}

/// Bytes up to the end of the last finished sentence: one that white space follows, so that neither a number such as
/// 4.5 nor a point that is still to be followed counts as an end.
fn finished(text: &str) -> usize {
    let mut end = 0;
    let mut letters = text.char_indices().peekable();
    while let Some((index, letter)) = letters.next() {
        let is_end = matches!(letter, '.' | '!' | '?' | '…' | '。' | '！' | '？');
        if is_end && letters.peek().is_some_and(|(_, next)| next.is_whitespace()) {
            end = index + letter.len_utf8();
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_said_once_and_when_it_is_finished() {
        let mut spoken = Spoken::default();
        assert_eq!(spoken.next("It is a", false), None);
        assert_eq!(spoken.next("It is a star.", false), None, "it may go on: 4.5");
        assert_eq!(spoken.next("It is a star. It", false).as_deref(), Some("It is a star."));
        assert_eq!(spoken.next("It is a star. It is", false), None);
        assert_eq!(spoken.next("It is a star. It is red", true).as_deref(), Some("It is red"));
        assert_eq!(spoken.next("It is a star. It is red", true), None);
    }

    #[test]
    fn an_answer_without_a_full_stop_is_said_at_its_end() {
        let mut spoken = Spoken::default();
        assert_eq!(spoken.next("4.5 metres", false), None);
        assert!(!spoken.has_begun());
        assert_eq!(spoken.next("4.5 metres", true).as_deref(), Some("4.5 metres"));
        assert!(spoken.has_begun());
    }

    #[test]
    fn several_sentences_are_said_together_and_changes_anew() {
        let mut spoken = Spoken::default();
        assert_eq!(spoken.next("One. Two! Three? Fo", false).as_deref(), Some("One. Two! Three?"));
        assert_eq!(spoken.next("Another. Answer", false).as_deref(), Some("Another."));
        assert_eq!(spoken.next("", false), None);
    }
}
