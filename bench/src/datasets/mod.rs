//! The user's own data: VQAv2 and MMBench, answered by a running system and scored as their own evaluators score.
//!
//! Nothing here knows who answers: [`run`] asks an [`Answerer`](run::Answerer), of which [`cloud`] is one; [`answer`] takes any.
//!
//! | module | what it is |
//! |---|---|
//! | [`vqa`] | questions, annotations, official accuracy and results file |
//! | [`mmbench`] | the TSV, CircularEval, and the TSV of predictions |
//! | [`answer`] | a data set from its files to its results |
//! | [`run`] | asks one question after the other; a cut run goes on where it was |
//! | [`journal`] | what has been answered |
//! | [`tally`] | accuracies by group |
//! | [`files`] | reading within budgets |

mod answer;
mod cloud;
mod command;
mod error;
mod files;
mod journal;
mod mmbench;
mod run;
#[cfg(test)]
mod scratch;
mod tally;
mod vqa;

pub(crate) use self::command::{Command, run};
