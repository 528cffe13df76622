//! The answer as the reader sees it: what stands, and behind it what is only proposed.

use msao_protocol::{SettledToken, Token, TokenFate, TokenId, TokenOrigin, TokenSource};

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

/// Drafts and settled tokens of one answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    edge: Vec<Token>,
    edge_ended: bool,
    settled: Vec<(SettledToken, Option<String>)>,
    /// Position of the first, and the tokens.
    proposed: (usize, Vec<Token>),
    revision: u32,
    is_complete: bool,
}

impl Answer {
    /// A token 0 after others means that the edge began anew.
    pub(super) fn edge_token(&mut self, index: usize, token: Token) {
        self.edge.truncate(index);
        if index == self.edge.len() {
            self.edge.push(token);
        }
    }

    pub(super) fn edge_ended(&mut self) {
        self.edge_ended = true;
    }

    pub(super) fn edge_len(&self) -> usize {
        self.edge.len()
    }

    pub(super) fn edge_ids(&self, start: usize) -> Vec<TokenId> {
        self.edge.iter().skip(start).map(|token| token.id).collect()
    }

    pub(super) fn edge_origins(&self) -> Vec<TokenOrigin> {
        vec![UNVERIFIED; self.edge.len()]
    }

    pub(super) fn revision(&self) -> u32 {
        self.revision
    }

    pub(super) fn settled_len(&self) -> usize {
        self.settled.len()
    }

    pub(super) fn settle(&mut self, start: usize, tokens: Vec<SettledToken>, revision: u32) {
        self.settled.truncate(start);
        for token in tokens {
            let position = self.settled.len();
            let corrects = token.origin.fate == TokenFate::Corrected;
            let replaced =
                if corrects { self.draft_at(position).map(|draft| draft.text.clone()) } else { None };
            self.settled.push((token, replaced));
        }
        self.revision = revision;
    }

    /// The draft at a position: the edge's while it was right so far, else the target's on partial context.
    fn draft_at(&self, position: usize) -> Option<&Token> {
        let of_edge = if self.revision == 0 { self.edge.get(position) } else { None };
        of_edge.or_else(|| position.checked_sub(self.proposed.0).and_then(|at| self.proposed.1.get(at)))
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

    pub(super) fn unsettle(&mut self) {
        *self = Self { edge: std::mem::take(&mut self.edge), edge_ended: self.edge_ended, ..Self::default() };
    }

    /// All tokens in order; `edge_stands` where nobody verifies the edge.
    pub(super) fn tokens(&self, edge_stands: bool) -> Vec<AnswerToken> {
        let settled = |(settled, replaced): &(SettledToken, Option<String>)| AnswerToken {
            text: settled.token.text.clone(),
            probability: settled.token.probability,
            state: TokenState::Settled { origin: settled.origin, replaced: replaced.clone() },
        };
        let mut tokens: Vec<AnswerToken> = self.settled.iter().map(settled).collect();
        if self.is_complete {
            return tokens;
        }
        while let Some(draft) = self.draft_at(tokens.len()) {
            let is_edge = self.revision == 0 && tokens.len() < self.edge.len();
            let source = if is_edge { TokenSource::EdgeDraft } else { TokenSource::PartialContext };
            let state = if edge_stands {
                TokenState::Settled { origin: UNVERIFIED, replaced: None }
            } else {
                TokenState::Proposed(source)
            };
            tokens.push(AnswerToken { text: draft.text.clone(), probability: draft.probability, state });
            if self.revision == 0 && self.edge_ended && tokens.len() == self.edge.len() {
                break;
            }
        }
        tokens
    }
}

const UNVERIFIED: TokenOrigin = TokenOrigin { source: TokenSource::EdgeDraft, fate: TokenFate::Unverified };
