//! Who wrote which token of an answer.

use msao_protocol::{TokenFate, TokenOrigin, TokenSource};

/// Every author, in the order that legends list them.
pub const AUTHORS: [TokenSource; 4] =
    [TokenSource::EdgeDraft, TokenSource::CoLocatedDraft, TokenSource::PartialContext, TokenSource::Target];

/// What an author wrote of an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// Who wrote it first.
    pub author: TokenSource,
    /// Tokens of the final answer.
    pub tokens: usize,
    /// Share of the answer, in 0..=1.
    pub share: f64,
}

/// The authors that there are, with what they wrote.
pub fn shares(tokens: &[TokenOrigin]) -> Vec<Share> {
    let share = |author| {
        let written = tokens.iter().filter(|token| token.source == author).count();
        Share { author, tokens: written, share: written as f64 / tokens.len().max(1) as f64 }
    };
    AUTHORS.into_iter().map(share).filter(|share| share.tokens > 0).collect()
}

/// An author in words.
pub fn label(author: TokenSource) -> &'static str {
    match author {
        TokenSource::EdgeDraft => "this device",
        TokenSource::CoLocatedDraft => "the draft model on the server",
        TokenSource::PartialContext => "the cloud, before all had arrived",
        TokenSource::Target => "the cloud",
    }
}

/// An author's name for tests and styles.
pub fn name(author: TokenSource) -> &'static str {
    match author {
        TokenSource::EdgeDraft => "edge_draft",
        TokenSource::CoLocatedDraft => "co_located_draft",
        TokenSource::PartialContext => "partial_context",
        TokenSource::Target => "target",
    }
}

/// A letter for an author, where there is no room for words.
pub fn letter(author: TokenSource) -> &'static str {
    match author {
        TokenSource::EdgeDraft => "D",
        TokenSource::CoLocatedDraft => "S",
        TokenSource::PartialContext => "P",
        TokenSource::Target => "C",
    }
}

/// What became of a token, in words.
pub fn fate(fate: TokenFate) -> &'static str {
    match fate {
        TokenFate::Accepted => "accepted",
        TokenFate::Corrected => "corrected",
        TokenFate::Written => "written by the cloud",
        TokenFate::Unverified => "unverified",
    }
}

/// The whole answer in a sentence.
pub fn sentence(tokens: &[TokenOrigin]) -> String {
    let said = shares(tokens).into_iter().map(|share| {
        let percent = (share.share * 100.0).round();
        format!("{} by {} ({percent} %)", share.tokens, label(share.author))
    });
    let said: Vec<_> = said.collect();
    if said.is_empty() { "No token".to_owned() } else { format!("Tokens: {}", said.join(", ")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::receipt::fixtures::receipt;

    #[test]
    fn each_author_is_said_with_a_share() {
        assert_eq!(
            sentence(&receipt().plan.tokens),
            "Tokens: 1 by this device (50 %), 1 by the cloud (50 %)"
        );
        assert_eq!(sentence(&[]), "No token");
    }

    proptest! {
        #[test]
        fn shares_add_up(authors in proptest::collection::vec(0_usize..4, 1..60)) {
            let tokens: Vec<_> = authors
                .iter()
                .map(|index| TokenOrigin { source: AUTHORS[*index], fate: TokenFate::Accepted })
                .collect();
            let shares = shares(&tokens);
            prop_assert_eq!(shares.iter().map(|share| share.tokens).sum::<usize>(), tokens.len());
            prop_assert!((shares.iter().map(|share| share.share).sum::<f64>() - 1.0).abs() < 1e-9);
        }
    }
}
