//! What the edge has written, on what it was told stands, and how far the cloud knows it.

use msao_protocol::{Candidate, Draft, RequestId, Token, TokenId};

/// What the edge is to take back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// The tokens written from then on carry it; rises with each correction.
    pub revision: u32,
    /// Position of the first of `tokens`.
    pub start: u32,
    /// The tokens that stand from there on.
    pub tokens: Vec<TokenId>,
}

/// The edge's own answer, as far as it got before the target corrected it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OwnAnswer {
    pub(super) tokens: Vec<Token>,
    /// Least probability of its tokens.
    pub(super) confidence: f64,
    /// It was written to its end.
    pub(super) is_whole: bool,
}

#[derive(Debug, Clone)]
struct Drafted {
    token: Token,
    candidates: Vec<Candidate>,
}

impl Drafted {
    /// Whether the token, and all that it was drawn from, are below an id.
    fn is_below(&self, id: TokenId) -> bool {
        self.token.id < id && self.candidates.iter().all(|candidate| candidate.id < id)
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct EdgeText {
    tokens: Vec<Drafted>,
    revision: u32,
    has_ended: bool,
    /// Positions that the cloud was told of, or that stand.
    told: usize,
    /// The cloud was told that nothing further comes.
    told_end: bool,
    own: Option<OwnAnswer>,
}

impl EdgeText {
    /// A token of another revision was written before a correction was heard of, and counts for nothing.
    pub(super) fn push(&mut self, revision: u32, index: usize, token: Token, candidates: Vec<Candidate>) {
        if revision == self.revision && index <= self.tokens.len() {
            self.tokens.truncate(index);
            self.tokens.push(Drafted { token, candidates });
            self.has_ended = false;
        }
    }

    /// The edge has written its end.
    pub(super) fn end(&mut self, revision: u32) {
        if revision == self.revision {
            self.has_ended = true;
            if revision == 0 {
                self.keep_own(true);
            }
        }
    }

    fn keep_own(&mut self, is_whole: bool) {
        let tokens: Vec<Token> = self.tokens.iter().map(|one| one.token.clone()).collect();
        let confidence = self.least_probability();
        self.own.get_or_insert(OwnAnswer { tokens, confidence, is_whole });
    }

    /// The edge's own answer; `None` while it writes.
    pub(super) fn own(&self) -> Option<&OwnAnswer> {
        self.own.as_ref()
    }

    /// Of the tokens so far.
    pub(super) fn least_probability(&self) -> f64 {
        self.tokens.iter().map(|one| f64::from(one.token.probability)).fold(1.0, f64::min)
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    pub(super) fn token(&self, position: usize) -> Option<&Token> {
        self.tokens.get(position).map(|one| &one.token)
    }

    /// Whether all that stands is what the edge wrote, as far as it got.
    pub(super) fn agrees_with(&self, standing: &[TokenId]) -> bool {
        let is_same = self.tokens.iter().zip(standing).all(|(one, stands)| one.token.id == *stands);
        is_same && !(self.has_ended && standing.len() > self.tokens.len())
    }

    /// Whether the edge has written to its end, and just what stands.
    pub(super) fn is_all_of(&self, standing: &[Token]) -> bool {
        let is_same = || self.tokens.iter().zip(standing).all(|(one, stands)| one.token.id == stands.id);
        self.has_ended && self.tokens.len() == standing.len() && is_same()
    }

    /// Whether some position that stands was told to the cloud as a draft.
    pub(super) fn told(&self) -> usize {
        self.told
    }

    /// Takes over what stands where the edge wrote otherwise; says what the edge must be told.
    pub(super) fn adopt(&mut self, standing: &[Token]) -> Option<Correction> {
        let ids: Vec<TokenId> = standing.iter().map(|token| token.id).collect();
        self.told = self.told.max(standing.len());
        if self.agrees_with(&ids) {
            return None;
        }
        if self.revision == 0 {
            self.keep_own(false);
        }
        let start = self.tokens.iter().zip(&ids).take_while(|(one, stands)| one.token.id == **stands).count();
        self.tokens.truncate(start);
        let adopted = standing[start..].iter();
        self.tokens.extend(adopted.map(|token| Drafted { token: token.clone(), candidates: Vec::new() }));
        (self.told, self.told_end, self.has_ended) = (standing.len(), false, false);
        self.revision += 1;
        Some(Correction { revision: self.revision, start: start as u32, tokens: ids[start..].to_vec() })
    }

    /// The cloud begins anew and knows nothing.
    pub(super) fn forget_told(&mut self) {
        (self.told, self.told_end) = (0, false);
    }

    /// Drafts that the cloud was not told of: those there are, if they are at least `at_least` or nothing follows them. Ids
    /// from `shared` on mean something else to the target, or nothing, so drafts end before the first of them.
    pub(super) fn due(
        &mut self,
        request_id: RequestId,
        revision: u32,
        at_least: usize,
        shared: TokenId,
    ) -> Option<Draft> {
        let untold = self.tokens.get(self.told..).unwrap_or_default();
        let fresh = &untold[..untold.iter().take_while(|one| one.is_below(shared)).count()];
        let is_last = self.has_ended || fresh.len() < untold.len();
        let is_due = (!fresh.is_empty() && fresh.len() >= at_least) || (is_last && !self.told_end);
        if !is_due {
            return None;
        }
        let is_sampled = fresh.iter().all(|one| !one.candidates.is_empty());
        let draft = Draft {
            request_id,
            revision,
            start: self.told as u32,
            tokens: fresh.iter().map(|one| one.token.id).collect(),
            distributions: match is_sampled {
                true => fresh.iter().map(|one| one.candidates.clone()).collect(),
                false => Vec::new(),
            },
            is_last,
        };
        (self.told, self.told_end) = (self.told + draft.tokens.len(), is_last);
        Some(draft)
    }

    /// Tells the cloud to wait for nothing further.
    pub(super) fn last(&mut self, request_id: RequestId, revision: u32) -> Option<Draft> {
        let is_news = !self.told_end;
        self.told_end = true;
        let start = self.told as u32;
        let (tokens, distributions) = (Vec::new(), Vec::new());
        is_news.then_some(Draft { request_id, revision, start, tokens, distributions, is_last: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: TokenId = TokenId::MAX;

    fn token(id: TokenId) -> Token {
        Token { id, text: format!(" {id}"), probability: 0.9 }
    }

    fn text(ids: &[TokenId]) -> EdgeText {
        let mut text = EdgeText::default();
        for (index, id) in ids.iter().enumerate() {
            text.push(0, index, token(*id), Vec::new());
        }
        text
    }

    fn standing(ids: &[TokenId]) -> Vec<Token> {
        ids.iter().map(|id| token(*id)).collect()
    }

    #[test]
    fn drafts_are_told_once_and_in_runs() {
        let mut edge = text(&[1, 2, 3]);
        assert_eq!(edge.due(7, 0, 4, ALL), None);
        assert_eq!(edge.due(7, 0, 2, ALL).unwrap().tokens, [1, 2, 3]);
        assert_eq!(edge.due(7, 0, 1, ALL), None);
        edge.push(0, 3, token(4), Vec::new());
        edge.end(0);
        let last = edge.due(7, 0, 9, ALL).unwrap();
        assert_eq!((last.start, last.tokens.as_slice(), last.is_last), (3, &[4][..], true));
        assert_eq!(edge.due(7, 0, 0, ALL), None);
    }

    #[test]
    fn what_the_target_does_not_know_is_no_draft_until_it_is_corrected() {
        let mut edge = text(&[1, 2, 90, 3]);
        let draft = edge.due(7, 0, 9, 50).unwrap();
        assert_eq!((draft.tokens.as_slice(), draft.is_last), (&[1, 2][..], true), "nothing follows these");
        assert_eq!(edge.due(7, 0, 1, 50), None);
        edge.adopt(&standing(&[1, 2, 4])).unwrap();
        edge.push(
            1,
            3,
            token(5),
            vec![Candidate { id: 5, probability: 0.5 }, Candidate { id: 6, probability: 0.5 }],
        );
        edge.push(
            1,
            4,
            token(6),
            vec![Candidate { id: 6, probability: 0.5 }, Candidate { id: 51, probability: 0.5 }],
        );
        let draft = edge.due(7, 1, 1, 50).unwrap();
        assert_eq!((draft.start, draft.tokens.as_slice(), draft.is_last), (3, &[5][..], true));
    }

    #[test]
    fn a_correction_keeps_the_own_answer_apart_and_voids_late_tokens() {
        let mut edge = text(&[1, 2, 3]);
        edge.due(7, 0, 1, ALL);
        assert_eq!(edge.adopt(&standing(&[1])), None, "what is right needs no correction");
        let correction = edge.adopt(&standing(&[1, 9])).unwrap();
        assert_eq!(correction, Correction { revision: 1, start: 1, tokens: vec![9] });
        let own = edge.own().unwrap();
        assert_eq!((own.tokens.len(), own.is_whole), (3, false));
        edge.push(0, 3, token(4), Vec::new());
        assert_eq!(edge.len(), 2, "written before the correction was heard of");
        edge.push(1, 2, token(5), Vec::new());
        let draft = edge.due(7, 1, 1, ALL).unwrap();
        assert_eq!((draft.start, draft.tokens.as_slice(), draft.revision), (2, &[5][..], 1));
    }

    #[test]
    fn an_end_that_comes_too_early_is_corrected() {
        let mut edge = text(&[1]);
        edge.end(0);
        assert!(edge.own().unwrap().is_whole);
        let correction = edge.adopt(&standing(&[1, 2, 3])).unwrap();
        assert_eq!((correction.start, correction.tokens.as_slice()), (1, &[2, 3][..]));
        assert!(!edge.has_ended());
    }

    #[test]
    fn sampled_drafts_carry_what_they_were_drawn_from() {
        let mut edge = EdgeText::default();
        let candidates = vec![Candidate { id: 5, probability: 1.0 }];
        edge.push(0, 0, token(5), candidates.clone());
        assert_eq!(edge.due(1, 0, 1, ALL).unwrap().distributions, [candidates]);
    }
}
