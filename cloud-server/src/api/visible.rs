//! What of an answer a client sees: without the blank that the model begins with, and up to a stop sequence.
//!
//! A stop sequence may span tokens, so text that could be the beginning of one is held back until it cannot be. Of
//! several the one that is complete first counts, and so it does not matter how the text is cut into tokens.

use std::collections::VecDeque;

use crate::engine::TokenLogprobs;

/// Text that may be shown, with the log-probabilities of the tokens that it is made of.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) logprobs: Vec<TokenLogprobs>,
}

/// Holds text back where it has to be.
#[derive(Debug)]
pub(super) struct Visible {
    stops: Vec<String>,
    /// Text that may yet be part of a stop sequence.
    held: String,
    /// Bytes that were let through.
    shown: usize,
    has_begun: bool,
    is_stopped: bool,
    /// Tokens not told yet, each with the number of visible bytes up to its end.
    tokens: VecDeque<(usize, TokenLogprobs)>,
}

impl Visible {
    pub(super) fn new(stops: Vec<String>) -> Self {
        Self {
            stops,
            held: String::new(),
            shown: 0,
            has_begun: false,
            is_stopped: false,
            tokens: VecDeque::new(),
        }
    }

    /// Whether a stop sequence was found; nothing is let through after it.
    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Takes the text of one token and returns what may be shown now.
    pub(super) fn push(&mut self, text: &str, logprobs: Option<TokenLogprobs>) -> Piece {
        if self.is_stopped {
            return Piece::default();
        }
        let text = if self.has_begun { text } else { text.trim_start() };
        self.has_begun |= !text.is_empty();
        self.held.push_str(text);
        if let Some(logprobs) = logprobs {
            self.tokens.push_back((self.shown + self.held.len(), logprobs));
        }
        if let Some(stop) = first_complete(&self.held, &self.stops) {
            self.is_stopped = true;
            self.held.truncate(stop);
            let piece = self.release(stop);
            self.tokens.clear();
            return piece;
        }
        let may_go_on = self.stops.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        self.release(self.held.len() - may_go_on)
    }

    /// The answer is over: what was held back is no stop sequence.
    pub(super) fn finish(&mut self) -> Piece {
        self.release(self.held.len())
    }

    fn release(&mut self, bytes: usize) -> Piece {
        let text: String = self.held.drain(..bytes).collect();
        self.shown += bytes;
        let count = self.tokens.iter().take_while(|(end, _)| *end <= self.shown).count();
        let logprobs = self.tokens.drain(..count).map(|(_, logprobs)| logprobs).collect();
        Piece { text, logprobs }
    }
}

/// Where the stop sequence begins that is complete first; of those that end together, the longest.
fn first_complete(text: &str, stops: &[String]) -> Option<usize> {
    let found = stops.iter().filter_map(|stop| text.find(stop.as_str()).map(|at| (at + stop.len(), at)));
    found.min().map(|(_end, at)| at)
}

/// Bytes at the end of `text` with which `stop` begins.
fn overlap(text: &str, stop: &str) -> usize {
    let most = text.len().min(stop.len() - 1);
    (1..=most)
        .rev()
        .find(|&bytes| stop.is_char_boundary(bytes) && text.ends_with(&stop[..bytes]))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::engine::TokenLogprob;

    fn logprobs(id: u32) -> TokenLogprobs {
        TokenLogprobs { chosen: TokenLogprob { id, bytes: vec![], logprob: -1.0 }, top: vec![] }
    }

    /// The pieces that come of these tokens.
    fn pieces(stops: &[&str], tokens: &[&str]) -> Vec<String> {
        let mut visible = Visible::new(stops.iter().map(|&stop| stop.to_owned()).collect());
        let mut pieces: Vec<String> = tokens.iter().map(|token| visible.push(token, None).text).collect();
        pieces.push(visible.finish().text);
        pieces
    }

    #[test]
    fn text_is_held_back_only_while_it_could_be_a_stop() {
        assert_eq!(pieces(&[], &[" a", "b"]), ["a", "b", ""]);
        assert_eq!(pieces(&["\n\n"], &["a\n", "b\n", "\nc"]), ["a", "\nb", "", ""]);
        assert_eq!(pieces(&["END"], &["xE", "N", "d"]), ["x", "", "ENd", ""]);
        assert_eq!(pieces(&["END"], &["xE", "N"]), ["x", "", "EN"]);
        assert_eq!(pieces(&["née"], &["un n", "é", "ant"]), ["un ", "", "néant", ""]);
        // The answer is only a stop.
        assert_eq!(pieces(&["a"], &[" a", "b"]), ["", "", ""]);
    }

    #[test]
    fn tokens_are_told_with_their_text() {
        let mut visible = Visible::new(vec!["cd".into()]);
        let ids = |piece: Piece| piece.logprobs.iter().map(|one| one.chosen.id).collect::<Vec<_>>();
        assert_eq!(ids(visible.push(" ", Some(logprobs(1)))), [1]);
        assert_eq!(ids(visible.push("a", Some(logprobs(2)))), [2]);
        assert!(ids(visible.push("bc", Some(logprobs(3)))).is_empty());
        assert_eq!(ids(visible.push("e", Some(logprobs(4)))), [3, 4]);
        assert!(ids(visible.push("c", Some(logprobs(5)))).is_empty());
        assert!(ids(visible.push("dx", Some(logprobs(6)))).is_empty());
        assert!(visible.is_stopped());
        assert_eq!(visible.finish(), Piece::default());
    }

    proptest! {
        #[test]
        fn the_cut_is_where_the_text_says_however_it_comes(
            text in "[abé]{0,24}",
            stops in proptest::collection::vec("[abé]{1,3}", 0..4),
            cuts in proptest::collection::vec(0_usize..25, 0..12),
        ) {
            // Looked at character by character: the shortest beginning that ends with a stop sequence.
            let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
            let stopping = |end: usize| {
                let lengths = stops.iter().filter(|stop| text[..end].ends_with(stop.as_str())).map(String::len);
                lengths.max().map(|length| end - length)
            };
            let expected = ends.filter_map(stopping).next().map_or(&text[..], |cut| &text[..cut]);

            let mut visible = Visible::new(stops.clone());
            let mut cuts: Vec<usize> =
                cuts.into_iter().filter(|&cut| cut <= text.len() && text.is_char_boundary(cut)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut shown = String::new();
            for pair in cuts.windows(2) {
                shown.push_str(&visible.push(&text[pair[0]..pair[1]], None).text);
                prop_assert!(expected.starts_with(&shown));
            }
            shown.push_str(&visible.finish().text);
            prop_assert_eq!(shown, expected);
        }
    }
}
