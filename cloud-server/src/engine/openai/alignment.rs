//! From an upstream's text to settled tokens of the edge's, and drafts compared with it.
//!
//! Bytes decide: a draft token stands when its bytes go on where what stands ends, whatever tokens the upstream made
//! the text of. So the tokens that were handed out always spell a prefix of the upstream's text, and all of it at its
//! end. Nothing is handed out of which more text could make something else: a character or token of which only a part has come
//! waits, and where no draft covers it a word waits for its end, so that its tokens are those that the edge would write.

use std::sync::Arc;

use msao_models::text::TokenStream;
use msao_protocol::{Draft, SettledToken, Token, TokenFate, TokenOrigin, TokenSource};

use super::edge_tokenizer::EdgeTokenizer;
use crate::engine::edge_drafts::EdgeDrafts;

/// Most bytes that wait for the end of a word; scripts without spaces would wait for ever.
const MAX_HELD_BYTES: usize = 48;
/// Where the upstream does not tell how sure it was.
const UNTOLD_PROBABILITY: f32 = 1.0;

/// One answer of an upstream on its way to the edge.
pub(super) struct Alignment {
    tokenizer: Arc<EdgeTokenizer>,
    edge: EdgeDrafts,
    /// What stands.
    tokens: Vec<u32>,
    /// What stands, as the characters it completes.
    text: String,
    characters: TokenStream,
    /// All text of the upstream that has come.
    received: String,
    /// Bytes of it that stand.
    settled_bytes: usize,
    max_tokens: usize,
}

/// What one look settled.
#[derive(Debug, PartialEq)]
pub(super) struct Settlement {
    /// Position in the answer of the first token.
    pub(super) start: u32,
    pub(super) tokens: Vec<SettledToken>,
    /// Corrections so far.
    pub(super) revision: u32,
    /// Draft tokens that were decided on.
    pub(super) proposed: usize,
    /// Draft tokens that stand, an end token included.
    pub(super) accepted: usize,
}

/// What may follow the text that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ahead {
    /// Any text, which may lengthen the last token.
    Text,
    /// Further tokens of the edge's own tokenizer.
    Tokens,
    /// Nothing: the answer is complete.
    Nothing,
}

/// How far drafts agree with the text that has come.
struct Comparison {
    /// Draft tokens that agree and end with a whole character.
    agreed: usize,
    /// Bytes of these.
    bytes: usize,
    /// Whether an end token behind them agrees too.
    ends: bool,
    verdict: Verdict,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// All drafts agree.
    Exhausted,
    /// The next one may agree with text to come.
    Waiting,
    /// The next one does not agree.
    Contradicted,
}

impl Alignment {
    /// For an answer of at most `max_tokens` of the edge's tokens.
    pub(super) fn new(tokenizer: Arc<EdgeTokenizer>, max_tokens: usize) -> Self {
        Self {
            characters: tokenizer.tokens().stream(),
            tokenizer,
            edge: EdgeDrafts::default(),
            tokens: Vec::new(),
            text: String::new(),
            received: String::new(),
            settled_bytes: 0,
            max_tokens,
        }
    }

    /// Takes text that the upstream wrote.
    pub(super) fn push_text(&mut self, text: &str) {
        self.received.push_str(text);
    }

    /// Takes a draft of the edge.
    pub(super) fn push_draft(&mut self, draft: Draft) {
        // An end token may follow the longest answer.
        self.edge.push(draft, &self.tokens, self.max_tokens + 1);
    }

    /// The edge is asked for drafts anew.
    pub(super) fn reopen(&mut self) {
        self.edge.reopen();
    }

    /// Forgets text that was not settled: another upstream goes on from what stands.
    pub(super) fn begin_again(&mut self) {
        self.received.truncate(self.settled_bytes);
    }

    /// The upstream's text that stands.
    pub(super) fn standing_text(&self) -> &str {
        &self.received[..self.settled_bytes]
    }

    /// Tokens that stand.
    pub(super) fn standing(&self) -> &[u32] {
        &self.tokens
    }

    /// Tokens that may follow.
    pub(super) fn remaining(&self) -> usize {
        self.max_tokens - self.tokens.len()
    }

    /// Whether no text waits.
    pub(super) fn is_all_settled(&self) -> bool {
        self.settled_bytes == self.received.len()
    }

    /// The text of what stands.
    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// Whether the edge said that no draft follows before a correction.
    pub(super) fn drafts_are_over(&self) -> bool {
        self.edge.is_last()
    }

    /// The drafts behind what stands as text, as far as they are whole characters; without an end token.
    pub(super) fn drafted(&self) -> (Vec<u32>, String) {
        let mut bytes = Vec::new();
        let mut whole = (0, 0);
        for (index, &id) in self.edge.behind(&self.tokens).iter().take(self.remaining()).enumerate() {
            let token = self.tokenizer.tokens().token_bytes(id);
            if token.is_empty() {
                break;
            }
            bytes.extend_from_slice(token);
            match std::str::from_utf8(&bytes) {
                Ok(_) => whole = (index + 1, bytes.len()),
                // A character may go on in the next token; anything else never becomes text.
                Err(error) if error.error_len().is_some() => break,
                Err(_) => {}
            }
        }
        bytes.truncate(whole.1);
        let ids = self.edge.behind(&self.tokens)[..whole.0].to_vec();
        (ids, String::from_utf8(bytes).unwrap_or_default())
    }

    /// Settles what can be.
    pub(super) fn settle(&mut self, ahead: Ahead) -> Option<Settlement> {
        let drafts: Vec<u32> = self.edge.behind(&self.tokens).to_vec();
        let Comparison { agreed, bytes, ends, verdict } = self.compare(&drafts, ahead);
        let of_draft = TokenOrigin { source: TokenSource::EdgeDraft, fate: TokenFate::Accepted };
        let mut settled: Vec<(u32, TokenOrigin)> =
            drafts[..agreed].iter().map(|&id| (id, of_draft)).collect();
        let rest = &self.received[self.settled_bytes + bytes..];
        let own = match verdict {
            Verdict::Waiting => Vec::new(),
            _ if ahead == Ahead::Text => self.tokenizer.encode(&rest[..whole_words(rest)]),
            _ => self.tokenizer.encode(rest),
        };
        // A contradiction is told together with what stands instead, which may have to wait for the end of its word.
        let is_corrected = verdict == Verdict::Contradicted && (!own.is_empty() || ahead == Ahead::Nothing);
        for (index, id) in own.into_iter().enumerate() {
            let fate = if is_corrected && index == 0 { TokenFate::Corrected } else { TokenFate::Written };
            settled.push((id, TokenOrigin { source: TokenSource::Target, fate }));
        }
        settled.truncate(self.remaining());
        let accepted = agreed.min(settled.len()) + usize::from(ends);
        let proposed = if is_corrected { drafts.len() } else { accepted };
        if settled.is_empty() && !is_corrected && !ends {
            return None;
        }
        let start = self.tokens.len() as u32;
        let tokens = settled.into_iter().map(|(id, origin)| self.stand(id, origin)).collect();
        self.edge.settle(&self.tokens, is_corrected);
        Some(Settlement { start, tokens, revision: self.edge.revision(), proposed, accepted })
    }

    fn stand(&mut self, id: u32, origin: TokenOrigin) -> SettledToken {
        let tokens = self.tokenizer.tokens();
        self.tokens.push(id);
        self.settled_bytes += tokens.token_bytes(id).len();
        let text = self.characters.push(tokens, id);
        self.text.push_str(&text);
        SettledToken { token: Token { id, text, probability: UNTOLD_PROBABILITY }, origin }
    }

    fn compare(&self, drafts: &[u32], ahead: Ahead) -> Comparison {
        let pending = &self.received.as_bytes()[self.settled_bytes..];
        let (mut bytes, mut ends) = (0, false);
        // Tokens and bytes up to the last whole character.
        let mut whole = (0, 0);
        let mut verdict = Verdict::Exhausted;
        for (index, &id) in drafts.iter().enumerate() {
            let left = &pending[bytes..];
            if Some(id) == self.tokenizer.end() {
                (verdict, ends) = match (left.is_empty(), ahead == Ahead::Nothing) {
                    (true, true) => (Verdict::Exhausted, true),
                    (true, false) => (Verdict::Waiting, false),
                    (false, _) => (Verdict::Contradicted, false),
                };
                break;
            }
            let token = self.tokenizer.tokens().token_bytes(id);
            // Other special tokens have no text.
            if !token.is_empty() && left.starts_with(token) {
                bytes += token.len();
                if self.received.is_char_boundary(self.settled_bytes + bytes) {
                    whole = (index + 1, bytes);
                }
                continue;
            }
            let may_agree = match ahead {
                Ahead::Text => token.starts_with(left),
                Ahead::Tokens => left.is_empty(),
                Ahead::Nothing => false,
            } && !token.is_empty();
            verdict = if may_agree { Verdict::Waiting } else { Verdict::Contradicted };
            break;
        }
        let (agreed, whole_bytes) = whole;
        if whole_bytes < bytes
            && verdict == Verdict::Exhausted
            && ahead == Ahead::Text
            && !self.edge.is_last()
        {
            // The rest of a character is still to be drafted.
            verdict = Verdict::Waiting;
        }
        Comparison { agreed, bytes: whole_bytes, ends: ends && whole_bytes == bytes, verdict }
    }
}

/// Bytes of a growing text that make whole words: tokenizers split before a space that ends a word, so no text that
/// follows changes the tokens before it.
fn whole_words(text: &str) -> usize {
    let mut end = 0;
    let mut previous = ' ';
    for (at, character) in text.char_indices() {
        if character.is_whitespace() && !previous.is_whitespace() {
            end = at;
        }
        previous = character;
    }
    if text.len() - end > MAX_HELD_BYTES { text.len() } else { end }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    fn tokenizer() -> Arc<EdgeTokenizer> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/weights/pocket-edge");
        Arc::new(EdgeTokenizer::from_dir(&folder).unwrap())
    }

    fn draft(alignment: &Alignment, start: usize, tokens: Vec<u32>) -> Draft {
        Draft {
            request_id: 1,
            revision: alignment.edge.revision(),
            start: start as u32,
            tokens,
            distributions: Vec::new(),
            is_last: false,
        }
    }

    fn fates(settlement: &Settlement) -> Vec<(String, TokenFate)> {
        settlement.tokens.iter().map(|one| (one.token.text.clone(), one.origin.fate)).collect()
    }

    #[test]
    fn drafts_stand_as_far_as_their_text_does_and_the_rest_is_corrected() {
        let tokenizer = tokenizer();
        let mut alignment = Alignment::new(Arc::clone(&tokenizer), 99);
        let mut ids = tokenizer.encode(" red star");
        ids.extend(tokenizer.end());
        alignment.push_draft(draft(&alignment, 0, ids));
        alignment.push_text(" re");
        assert_eq!(alignment.settle(Ahead::Text), None, "a part of a token may become another one");
        alignment.push_text("d");
        let first = alignment.settle(Ahead::Text).unwrap();
        assert_eq!(fates(&first), [(" red".to_owned(), TokenFate::Accepted)]);
        alignment.push_text(" cir");
        assert_eq!(alignment.settle(Ahead::Text), None, "the word is not whole yet");
        alignment.push_text("cle");
        let last = alignment.settle(Ahead::Nothing).unwrap();
        assert_eq!(fates(&last), [(" circle".to_owned(), TokenFate::Corrected)]);
        assert_eq!((last.proposed, last.accepted, last.revision, last.start), (2, 0, 1, 1));
        assert_eq!(alignment.into_text(), " red circle");
    }

    #[test]
    fn an_end_token_stands_where_the_text_ends_and_nowhere_else() {
        let tokenizer = tokenizer();
        let drafted = |text: &str, whole: &str| {
            let mut alignment = Alignment::new(Arc::clone(&tokenizer), 99);
            let mut ids = tokenizer.encode(text);
            ids.extend(tokenizer.end());
            alignment.push_draft(draft(&alignment, 0, ids));
            alignment.push_text(whole);
            let settled = alignment.settle(Ahead::Nothing).unwrap();
            (settled.proposed, settled.accepted, settled.revision, alignment.into_text())
        };
        assert_eq!(drafted(" red star", " red star"), (3, 3, 0, " red star".into()));
        assert_eq!(drafted(" red", " red star"), (2, 1, 1, " red star".into()));
        assert_eq!(drafted(" red star", " red"), (3, 1, 1, " red".into()));
        assert_eq!(drafted("", ""), (1, 1, 0, String::new()));
    }

    #[test]
    fn the_longest_answer_is_cut_at_its_tokens() {
        let tokenizer = tokenizer();
        let mut alignment = Alignment::new(Arc::clone(&tokenizer), 2);
        alignment.push_text(" a red star and");
        assert_eq!(alignment.settle(Ahead::Text).unwrap().tokens.len(), 2);
        assert_eq!((alignment.remaining(), alignment.is_all_settled()), (0, false));
        assert_eq!(alignment.settle(Ahead::Nothing), None);
        assert_eq!(alignment.into_text(), " a red");
    }

    #[test]
    fn tokens_of_the_same_kind_wait_for_nothing() {
        let tokenizer = tokenizer();
        let mut alignment = Alignment::new(Arc::clone(&tokenizer), 99);
        alignment.push_draft(draft(&alignment, 0, tokenizer.encode(" a red star")));
        alignment.push_text(" a blue");
        let settled = alignment.settle(Ahead::Tokens).unwrap();
        let expected = [(" a".to_owned(), TokenFate::Accepted), (" blue".to_owned(), TokenFate::Corrected)];
        assert_eq!((fates(&settled), settled.revision), (expected.to_vec(), 1));
        assert!(alignment.drafted().0.is_empty());
    }

    #[test]
    fn only_what_stands_is_kept_when_another_upstream_goes_on() {
        let mut alignment = Alignment::new(tokenizer(), 99);
        alignment.push_text(" a red st");
        alignment.settle(Ahead::Text);
        alignment.begin_again();
        assert_eq!(alignment.standing_text(), " a red");
        alignment.push_text(" cross");
        alignment.settle(Ahead::Nothing);
        assert_eq!(alignment.into_text(), " a red cross");
    }

    proptest! {
        /// Whatever is drafted, in whatever pieces the text comes: the answer is the text, no character wrong or double,
        /// and what the wire saw spells it.
        #[test]
        fn the_answer_is_the_upstream_s_text(
            text in "[ a-zA-Z0-9é€🙂漢'.,\n]{0,60}",
            other in "[ a-z€🙂]{0,20}",
            shared in 0_usize..60,
            cuts in proptest::collection::vec(0_usize..60, 0..8),
            draft_at in 0_usize..8,
            cut_draft in 0_usize..40,
            ends in any::<bool>(),
        ) {
            let tokenizer = tokenizer();
            let characters: Vec<char> = text.chars().collect();
            let drafted: String = characters.iter().take(shared).copied().chain(other.chars()).collect();
            let mut ids = tokenizer.encode(&drafted);
            ids.truncate(cut_draft);
            if ends {
                ids.extend(tokenizer.end());
            }
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(characters.len())).collect();
            cuts.push(characters.len());
            cuts.sort_unstable();
            let mut alignment = Alignment::new(Arc::clone(&tokenizer), 400);
            let (mut seen, mut begun, mut revision) = (Vec::new(), 0, 0);
            let mut take = |alignment: &mut Alignment, ahead| -> Result<(), TestCaseError> {
                let Some(settlement) = alignment.settle(ahead) else { return Ok(()) };
                prop_assert_eq!(settlement.start as usize, seen.len());
                prop_assert!(settlement.accepted <= settlement.proposed);
                prop_assert!(settlement.revision >= revision);
                revision = settlement.revision;
                seen.extend(settlement.tokens.iter().map(|one| one.token.id));
                let spelled = tokenizer.tokens().decode(&seen);
                prop_assert!(text.starts_with(&spelled), "{:?} after {:?}", spelled, text);
                Ok(())
            };
            for (index, &cut) in cuts.iter().enumerate() {
                if index == draft_at {
                    let start = alignment.standing().len();
                    // As an edge that began with the answer: what it wrote behind what stands.
                    let behind = ids.get(start..).unwrap_or_default().to_vec();
                    alignment.push_draft(draft(&alignment, start, behind));
                }
                alignment.push_text(&characters[begun..cut].iter().collect::<String>());
                begun = cut;
                take(&mut alignment, Ahead::Text)?;
            }
            take(&mut alignment, Ahead::Nothing)?;
            prop_assert!(alignment.is_all_settled());
            prop_assert_eq!(tokenizer.tokens().decode(&seen), text.clone());
            prop_assert_eq!(alignment.into_text(), text);
        }
    }
}
