//! Drafts verified by an upstream's own scores of them, where it tells any.
//!
//! The drafts are sent as the end of the prompt, and the engine tells for each of them which token is the most likely one at its place. A
//! draft stands while it is that one, as in this server's own greedy verification; one request settles all drafts and the
//! token behind them. Tokens must mean the same on both sides, so this needs a tokenizer that is known to be the edge's; where
//! what is told does not fit the drafts all the same, nothing is concluded.
//!
//! Each mapping is tested on documents in the published form, **not against a running engine**.

pub(super) mod sglang;
pub(super) mod vllm;

use msao_protocol::FinishReason;

use super::edge_tokenizer::EdgeTokenizer;
use super::wire::Usage;

/// What the upstream thinks of drafts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scored {
    /// The first so many stand.
    pub(super) accepted: usize,
    pub(super) next: Next,
    pub(super) usage: Option<Usage>,
}

/// What follows the drafts that stand.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A token's text.
    Text(String),
    /// The answer ends.
    End(FinishReason),
    /// Not told, or nothing that can be used: to be asked for.
    Unknown,
}

impl Next {
    /// What a token of the edge's tokenizer means; one that is only a part of a character cannot be used.
    fn of_token(id: u32, tokenizer: &EdgeTokenizer) -> Self {
        if Some(id) == tokenizer.end() {
            return Self::End(FinishReason::Stop);
        }
        match str::from_utf8(tokenizer.tokens().token_bytes(id)) {
            Ok(text) if !text.is_empty() => Self::Text(text.to_owned()),
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    pub(super) fn tokenizer() -> EdgeTokenizer {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/weights/pocket-edge");
        EdgeTokenizer::from_dir(&folder).unwrap()
    }
}
