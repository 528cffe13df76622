//! What a question to the edge engine is, what is heard while it is answered, and what can be said to that.
//!
//! The edge's answer is a draft of the target's. When the target decides otherwise, a [`Correction`] says what stands,
//! and the edge writes on behind it while earlier drafts are still being verified. Types only: the work is in
//! [`engine`](crate::engine) and `drafting.rs`; who corrects, and why, is not known here.

use msao_models::Prompt;
use msao_protocol::{Candidate, Sampling, Token, TokenId};
use serde::{Deserialize, Serialize};

use crate::{engine::EdgeAnswer, scored::TargetGrid};

/// A question and how it is to be answered.
#[derive(Debug, Clone, Copy)]
pub struct EdgeQuestion<'a> {
    /// The question with its media.
    pub prompt: &'a Prompt,
    /// What the media are cut for; `None` if nothing of them is to be sent.
    pub target: Option<&'a TargetGrid>,
    /// Most tokens the answer may have, corrections included.
    pub max_new_tokens: usize,
    /// How tokens are drawn; `None` takes the most likely one each time.
    pub sampling: Option<Sampling>,
    /// Whether [`EdgeStep::Ended`] is told, so that a correction can come after the end; else the question ends there.
    pub awaits_target: bool,
    /// Whether what it needs of its media is told, where there is a probe. Where nobody asks, the answer comes sooner.
    pub wants_scores: bool,
}

/// What is heard while a question is answered.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum EdgeStep<'a> {
    /// A token is written.
    Token {
        /// That of the last correction, 0 before any.
        revision: u32,
        /// Position in the answer, from 0.
        index: u32,
        /// The token.
        token: &'a Token,
        /// Where tokens are drawn: the distribution it was drawn from, most likely first, summing to 1. Else empty.
        candidates: &'a [Candidate],
    },
    /// The answer has ended; a correction takes it up again, all else ends the question.
    Ended {
        /// As far as it stands. Its receipt notes the tokens as they were when the answer ended for the first time.
        answer: &'a EdgeAnswer,
    },
}

/// What is said to a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Steer {
    /// Write on.
    GoOn,
    /// Stop here.
    Stop,
    /// Write on behind what stands.
    Correct(Correction),
}

/// From a position on these tokens stand; before it stand the edge's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Correction {
    /// What tokens written from then on carry; higher than in any correction before.
    pub revision: u32,
    /// Position of the first of `tokens`, at most the length of what the edge has written.
    pub start: u32,
    /// The tokens, without an end token. Those beyond the bound of the answer are left out.
    pub tokens: Vec<TokenId>,
}
