//! What is asked: requests with their media, and how the two models answer them.
//!
//! Records come from an evaluation ([`recorded`]) or are drawn from stated distributions ([`drawn`]). Half of them
//! calibrate risk control, the other half is asked, so that a bound is never held on what it was fitted to.

mod drawn;
mod recorded;

use anyhow::{Result, ensure};
use msao_planner::{
    confidence::Judged,
    plan::{Form, ModalityInput},
};

pub(crate) use drawn::{Drawn, draw};
pub(crate) use recorded::read_outcomes;

/// Longest answer, in tokens.
const MAX_ANSWER_TOKENS: u32 = 4_096;

/// One question.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    /// The words and the template around them.
    pub(crate) question: Form,
    /// Whole and kept forms of what was given.
    pub(crate) media: Vec<ModalityInput>,
    /// Tokens of the target's answer, the end token included.
    pub(crate) answer_tokens: u32,
    /// Tokens of the edge's own answer, the end token included.
    pub(crate) edge_answer_tokens: u32,
    /// Which of the edge's drafts are the target's tokens.
    pub(crate) agreement: Agreement,
    /// What the edge says of its answer, in 0..=1.
    pub(crate) edge_confidence: f64,
    /// Which answers are right.
    pub(crate) right: Right,
}

/// How the edge's drafts compare to the target's greedy answer. Given the target's tokens before it, a greedy draft
/// either is the target's next token or is not, however often it is drafted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Agreement {
    /// At every position: the edge's answer is the target's.
    Everywhere,
    /// Nowhere from `from` to before `until`, and everywhere else.
    Except {
        /// The first position that differs.
        from: u32,
        /// The first behind it that agrees again.
        until: u32,
    },
    /// Nowhere at this position, and elsewhere with this probability.
    But {
        /// The position that differs for certain.
        differs_at: u32,
        /// Of all other positions, in 0..=1.
        rate: f64,
    },
}

/// Whether the answers are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Right {
    /// The edge's.
    pub(crate) edge: bool,
    /// The target's on everything that was given.
    pub(crate) whole: bool,
    /// The target's on what MAS keeps.
    pub(crate) kept: bool,
}

impl Record {
    /// Whether the edge's answer is the target's.
    pub(crate) fn edge_agrees(&self) -> bool {
        self.agreement == Agreement::Everywhere
    }

    /// Whether the edge's draft at `position` is the target's token; `salt` names the request.
    pub(crate) fn agrees_at(&self, position: u32, salt: u64) -> bool {
        match self.agreement {
            Agreement::Everywhere => true,
            Agreement::Except { from, until } => !(from..until).contains(&position),
            Agreement::But { differs_at, rate } => {
                position != differs_at && uniform_at(salt, position) < rate
            }
        }
    }

    /// Mean share of positions that agree.
    fn agreement_rate(&self) -> f64 {
        match self.agreement {
            Agreement::Everywhere => 1.0,
            Agreement::Except { from, until } => {
                1.0 - f64::from(until.saturating_sub(from)) / f64::from(self.answer_tokens.max(1))
            }
            Agreement::But { rate, .. } => rate * (1.0 - 1.0 / f64::from(self.answer_tokens.max(1))),
        }
    }
}

/// A number in [0, 1) for each place of each request, the same whenever it is asked for.
fn uniform_at(salt: u64, position: u32) -> f64 {
    let seed = salt ^ u64::from(position).wrapping_mul(0xd134_2543_de82_ef95);
    msao_planner::SplitMix64::new(seed).uniform()
}

/// The requests of a simulation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Workload {
    /// Requests are drawn from these with replacement.
    pub(crate) records: Vec<Record>,
    /// What risk control is calibrated on.
    pub(crate) calibration: Vec<Judged>,
    /// Mean tokens of an answer: what the planner expects.
    pub(crate) answer_tokens: f64,
    /// Mean share of drafts that are the target's tokens.
    pub(crate) acceptance: f64,
    /// The confidence from which an edge answer stands, where that is given rather than calibrated.
    pub(crate) stand_threshold: Option<f64>,
}

impl Workload {
    /// Every second record is asked, the others calibrate.
    ///
    /// # Errors
    /// If there are fewer than two records, or one has no answer.
    pub(crate) fn new(records: Vec<Record>) -> Result<Self> {
        ensure!(records.len() >= 2, "a workload of {} records: give at least 2", records.len());
        let lengths = 1..=MAX_ANSWER_TOKENS;
        ensure!(
            records.iter().all(|record| {
                lengths.contains(&record.answer_tokens) && lengths.contains(&record.edge_answer_tokens)
            }),
            "an answer without its end token, or of more than {MAX_ANSWER_TOKENS} tokens: leave it out"
        );
        let calibration = records
            .iter()
            .skip(1)
            .step_by(2)
            .map(|record| Judged { confidence: record.edge_confidence, agreed: record.edge_agrees() })
            .collect();
        let records: Vec<Record> = records.into_iter().step_by(2).collect();
        let tokens: f64 = records.iter().map(|record| f64::from(record.answer_tokens)).sum();
        let agreed: f64 =
            records.iter().map(|record| f64::from(record.answer_tokens) * record.agreement_rate()).sum();
        let answer_tokens = tokens / records.len() as f64;
        Ok(Self { calibration, answer_tokens, acceptance: agreed / tokens, records, stand_threshold: None })
    }
}
