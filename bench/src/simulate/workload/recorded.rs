//! Requests from the outcomes of `cargo xtask eval`: what was really sent, kept, drafted and answered.
//!
//! Outcomes hold operations for each question, not for each modality; they are shared out by tokens.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use msao_planner::plan::{Form, ModalityInput};
use msao_protocol::Modality;

use super::{Agreement, Record, Right};
use crate::eval::outcome::{self, Outcome};

/// Tokens of a typed question with the template around it; outcomes do not tell.
const QUESTION_TOKENS: f64 = 24.0;
/// Bytes of a typed question.
const QUESTION_BYTES: f64 = 40.0;
/// Tokens of the edge for one of the target: its grids are coarser.
const EDGE_TOKENS_PER_TARGET_TOKEN: f64 = 0.5;
/// Largest file that is read.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// Reads a file of outcomes, one JSON object a line.
///
/// # Errors
/// If the file cannot be read, is larger than 256 MiB, or holds something else.
pub(crate) fn read_outcomes(file: &Path) -> Result<Vec<Record>> {
    let open = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let bytes = open.metadata()?.len();
    ensure!(
        bytes <= MAX_FILE_BYTES,
        "{} has {bytes} bytes, more than the {MAX_FILE_BYTES} that are read: give fewer outcomes",
        file.display()
    );
    let lines = BufReader::new(open.take(MAX_FILE_BYTES)).lines();
    lines
        .enumerate()
        .map(|(number, line)| {
            let outcome: Outcome = serde_json::from_str(&line?)
                .with_context(|| format!("{}, line {}", file.display(), number + 1))?;
            Ok(record(&outcome))
        })
        .collect()
}

fn record(outcome: &Outcome) -> Record {
    let given = [(Modality::Vision, outcome.vision), (Modality::Audio, outcome.audio)];
    let given = || given.iter().filter_map(|(modality, given)| given.map(|given| (*modality, given)));
    let tokens = |count: fn(&outcome::Modality) -> usize| {
        QUESTION_TOKENS + given().map(|(_, given)| count(&given) as f64).sum::<f64>()
    };
    let whole_flops = outcome.flops.whole_target as f64 / tokens(|given| given.tokens);
    let kept_flops = outcome.flops.kept_target as f64 / tokens(|given| given.kept_tokens);
    let media = given().map(|(modality, given)| input(modality, &given, whole_flops, kept_flops)).collect();
    let right = |answer: &str| answer == outcome.right_answer;
    Record {
        question: Form {
            bytes: QUESTION_BYTES,
            edge_tokens: QUESTION_TOKENS,
            target_tokens: QUESTION_TOKENS,
            edge_flops: outcome.flops.edge as f64,
            target_flops: QUESTION_TOKENS * kept_flops,
        },
        media,
        answer_tokens: with_end(outcome.speculation.answer_tokens),
        edge_answer_tokens: with_end(outcome.edge.tokens),
        agreement: agreement(outcome),
        edge_confidence: outcome.edge.confidence,
        right: Right {
            edge: right(&outcome.edge.answer),
            whole: right(&outcome.whole_answer),
            kept: right(&outcome.kept_answer),
        },
    }
}

/// Tokens of an answer with its end token, which outcomes do not count.
fn with_end(tokens: usize) -> u32 {
    u32::try_from(tokens).unwrap_or(u32::MAX).saturating_add(1)
}

fn input(
    modality: Modality,
    given: &outcome::Modality,
    whole_flops_per_token: f64,
    kept_flops_per_token: f64,
) -> ModalityInput {
    let form = |bytes: usize, tokens: usize, flops_per_token: f64| Form {
        bytes: bytes as f64,
        edge_tokens: given.tokens as f64 * EDGE_TOKENS_PER_TARGET_TOKEN,
        target_tokens: tokens as f64,
        edge_flops: 0.0,
        target_flops: tokens as f64 * flops_per_token,
    };
    ModalityInput {
        modality,
        relevance: given.relevance,
        density: given.kept_tokens as f64 / given.tokens.max(1) as f64,
        locked: false,
        whole: form(given.whole_bytes, given.tokens, whole_flops_per_token),
        pruned: form(given.kept_bytes, given.kept_tokens, kept_flops_per_token),
    }
}

/// Where answers are equal every draft is accepted; else one is not, and the others as often as verification found.
fn agreement(outcome: &Outcome) -> Agreement {
    let speculation = &outcome.speculation;
    if outcome.edge_agrees() {
        return Agreement::Everywhere;
    }
    let tokens = with_end(speculation.answer_tokens);
    let (mut left, mut right) = (outcome.edge.answer.chars(), outcome.kept_answer.chars());
    let shared = (&mut left).zip(&mut right).take_while(|(left, right)| left == right).count();
    let length = outcome.kept_answer.chars().count().max(1);
    let differs_at = (f64::from(tokens - 1) * shared as f64 / length as f64) as u32;
    let others = speculation.proposed_drafts.saturating_sub(1).max(1);
    Agreement::But { differs_at, rate: (speculation.accepted_drafts as f64 / others as f64).min(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(edge: &str) -> Outcome {
        let text = r#"{"id":"a","family":"read","right_answer":"AIRPORT","needs":{"vision":true,"audio":false},
            "vision":{"relevance":1.0,"tokens":36,"kept_tokens":18,"whole_bytes":27000,"kept_bytes":18000},
            "audio":{"relevance":0.0,"tokens":60,"kept_tokens":0,"whole_bytes":153644,"kept_bytes":0},
            "kept_frames":1,"frames":1,"edge":{"answer":"EDGE","confidence":0.5,"tokens":7},
            "whole_answer":"AIRPORT","kept_answer":"AIRPORT","speculation":{"draft_tokens":2,"rounds":4,
            "proposed_drafts":6,"accepted_drafts":5,"answer_tokens":7,"is_lossless":true,"least_margin":3.0},
            "flops":{"probe":10,"edge":100,"whole_target":12000,"kept_target":4200},
            "ms":{"probe":1.0,"edge":2.0,"kept_target":3.0}}"#;
        serde_json::from_str(&text.replace("EDGE", edge)).unwrap()
    }

    #[test]
    fn an_outcome_keeps_its_bytes_operations_and_answers() {
        let record = record(&outcome("AIRBORN"));
        let sum = |of: fn(&ModalityInput) -> Form, part: fn(&Form) -> f64| {
            record.media.iter().map(|input| part(&of(input))).sum::<f64>()
        };
        assert_eq!(sum(|input| input.whole, |form| form.bytes), 180_644.0);
        assert_eq!(sum(|input| input.pruned, |form| form.bytes), 18_000.0);
        let kept = sum(|input| input.pruned, |form| form.target_flops) + record.question.target_flops;
        assert!((kept - 4200.0).abs() < 1e-6, "{kept}");
        assert_eq!(record.right, Right { edge: false, whole: true, kept: true });
        assert_eq!((record.answer_tokens, record.edge_answer_tokens), (8, 8));
    }

    #[test]
    fn drafts_agree_up_to_where_the_answers_part() {
        assert!(record(&outcome("AIRPORT")).edge_agrees());
        let differs = record(&outcome("AIRBORN"));
        assert!(!differs.edge_agrees() && !differs.agrees_at(3, 7));
        assert!(differs.agrees_at(0, 7), "5 of the 5 other drafts were accepted");
    }

    #[test]
    fn a_file_that_is_none_is_refused() {
        assert!(read_outcomes(Path::new("no/such/outcomes.jsonl")).is_err());
    }
}
