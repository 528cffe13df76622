//! The user's own data: VQAv2 and MMBench, answered by a running system and scored as their own evaluators score.
//!
//! Nothing here knows who answers: [`run`] asks an [`Answerer`](run::Answerer), and [`answer`] takes any.
//!
//! | module | what it is |
//! |---|---|
//! | [`vqa`] | questions, annotations, official accuracy and results file |
//! | [`mmbench`] | the TSV, CircularEval, and the TSV of predictions |
//! | [`answer`] | a data set from its files to its results |
//! | [`cloud`] | a running server answers, over its own protocol |
//! | [`policy`] | a policy of the bench answers, through the real edge and server |
//! | [`openai`] | an OpenAI-compatible server answers, over HTTP |
//! | [`run`] | asks one question after the other; a cut run goes on where it was |
//! | [`journal`] | what has been answered |
//! | [`tally`], [`cost`] | accuracies by group, and what answers took |
//! | [`files`] | reading within budgets |

mod answer;
mod cloud;
mod command;
mod cost;
mod error;
mod files;
mod journal;
mod mmbench;
mod openai;
mod policy;
mod run;
#[cfg(test)]
mod scratch;
mod tally;
mod vqa;

pub(crate) use self::command::{Command, run};

/// Most tokens of an answer that the target alone gives: a short one, and room for a model that says a sentence.
const MAX_NEW_TOKENS: u32 = 64;
