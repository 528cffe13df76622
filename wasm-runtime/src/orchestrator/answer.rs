//! The answer as the reader sees it: what stands, and behind it what is only proposed.

use msao_protocol::{SettledToken, Token, TokenFate, TokenId, TokenOrigin, TokenSource};

use super::edge_text::EdgeText;

/// A token of the answer, as shown.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerToken {
    /// Its text.
    pub text: String,
    /// How sure its writer was of it, in 0..=1; the target, where it has verified it.
    pub probability: f32,
    /// What is known about it.
    pub state: TokenState,
}

/// What is known about a token.
#[derive(Debug, Clone, PartialEq)]
pub enum TokenState {
    /// A draft that nobody has verified yet.
    Proposed(TokenSource),
    /// It stands; where it corrects a draft, `replaced` is what stood there.
    Settled {
        /// Who wrote it, and what became of that.
        origin: TokenOrigin,
        /// Text of the draft in its place.
        replaced: Option<String>,
    },
}

/// What every token of the edge is until the target has seen it.
pub(super) const UNVERIFIED: TokenOrigin =
    TokenOrigin { source: TokenSource::EdgeDraft, fate: TokenFate::Unverified };

/// Settled tokens of an answer, and what the target proposes behind them on partial context.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    settled: Vec<(SettledToken, Option<String>)>,
    /// Position of the first, and the tokens.
    proposed: (usize, Vec<Token>),
    revision: u32,
    is_complete: bool,
}

impl Answer {
    pub(super) fn revision(&self) -> u32 {
        self.revision
    }

    pub(super) fn len(&self) -> usize {
        self.settled.len()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    pub(super) fn standing(&self) -> Vec<Token> {
        self.settled.iter().map(|(settled, _)| settled.token.clone()).collect()
    }

    fn ids(&self) -> Vec<TokenId> {
        self.settled.iter().map(|(settled, _)| settled.token.id).collect()
    }

    pub(super) fn settle(
        &mut self,
        start: usize,
        tokens: Vec<SettledToken>,
        revision: u32,
        edge: Option<&EdgeText>,
    ) {
        self.settled.truncate(start);
        let edge = edge.filter(|edge| edge.agrees_with(&self.ids()));
        for token in tokens {
            let position = self.settled.len();
            let corrects = token.origin.fate == TokenFate::Corrected;
            let draft = if corrects { self.draft_at(position, edge) } else { None };
            let replaced = draft.map(|(draft, _)| draft.text.clone());
            self.settled.push((token, replaced));
        }
        self.revision = revision;
    }

    /// The draft at a position: the edge's, else the target's on partial context.
    fn draft_at<'a>(
        &'a self,
        position: usize,
        edge: Option<&'a EdgeText>,
    ) -> Option<(&'a Token, TokenSource)> {
        let of_edge = edge.and_then(|edge| edge.token(position)).map(|token| (token, TokenSource::EdgeDraft));
        let behind = position.checked_sub(self.proposed.0);
        let of_target = behind.and_then(|at| self.proposed.1.get(at));
        of_edge.or(of_target.map(|token| (token, TokenSource::PartialContext)))
    }

    pub(super) fn propose(&mut self, start: usize, tokens: Vec<Token>) {
        if start == self.proposed.0 + self.proposed.1.len() {
            self.proposed.1.extend(tokens);
        } else {
            self.proposed = (start, tokens);
        }
    }

    pub(super) fn complete(&mut self) {
        self.is_complete = true;
    }

    fn settled_tokens(&self) -> Vec<AnswerToken> {
        let settled = |(settled, replaced): &(SettledToken, Option<String>)| AnswerToken {
            text: settled.token.text.clone(),
            probability: settled.token.probability,
            state: TokenState::Settled { origin: settled.origin, replaced: replaced.clone() },
        };
        self.settled.iter().map(settled).collect()
    }

    /// What stands, and behind it the edge's words, which nobody verifies any more.
    pub(super) fn gone_on(&self, edge: &EdgeText) -> Vec<AnswerToken> {
        let mut tokens = self.settled_tokens();
        if edge.agrees_with(&self.ids()) {
            let rest: Vec<&Token> = (tokens.len()..).map_while(|position| edge.token(position)).collect();
            tokens.extend(standing_alone(rest.into_iter()));
        }
        tokens
    }

    /// All tokens in order: those settled, and behind them what is proposed.
    pub(super) fn tokens(&self, edge: Option<&EdgeText>) -> Vec<AnswerToken> {
        let mut tokens = self.settled_tokens();
        if self.is_complete {
            return tokens;
        }
        let edge = edge.filter(|edge| edge.agrees_with(&self.ids()));
        while let Some((draft, source)) = self.draft_at(tokens.len(), edge) {
            let (text, probability) = (draft.text.clone(), draft.probability);
            tokens.push(AnswerToken { text, probability, state: TokenState::Proposed(source) });
            if edge.is_some_and(|edge| edge.has_ended() && edge.len() == tokens.len()) {
                break;
            }
        }
        tokens
    }
}

/// The edge's tokens where nobody verifies them.
pub(super) fn standing_alone<'a>(tokens: impl Iterator<Item = &'a Token>) -> Vec<AnswerToken> {
    tokens
        .map(|token| AnswerToken {
            text: token.text.clone(),
            probability: token.probability,
            state: TokenState::Settled { origin: UNVERIFIED, replaced: None },
        })
        .collect()
}
