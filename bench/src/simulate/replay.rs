//! Holds the simulator to a measured run: step times and requests from a journal, simulated again and compared.
//!
//! What each request really took to read stands in for its tokens: prompts are in milliseconds of the machine that
//! measured. Passes are fitted over all records,
//!
//! ```text
//! decode + verify = base passes + per_row rows
//! ```
//!
//! so that what is compared is what the simulator adds: links, order, rounds and waits. Contenders that need a confidence
//! or a draft model beside the target are left out, since journals do not tell their steps apart.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use msao_planner::{cost::TokenFlops, estimate::AffineMs, plan::Form, plan::ModalityInput};
use msao_protocol::Modality;

use super::scenario::{Contender, Network};
use super::settings::{Base, PairTimes, Setting};
use super::times::{PassMs, StepTimes};
use super::workload::{Agreement, Record as Question, Right, Workload};
use crate::record::Record;

/// Largest journal that is read.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// Requests that share a pass; one client shares with nobody.
const BATCH: usize = 8;
/// Spans of the cloud until it has read a prompt, and of the edge.
const CLOUD_READS: [&str; 4] = ["cloud.queue", "cloud.decode_media", "cloud.encode", "cloud.prefill"];
const EDGE_READS: [&str; 3] = ["edge.queue", "edge.encode", "edge.prefill"];
const EDGE_SCORES: [&str; 4] = ["edge.score", "edge.prune", "edge.plan", "edge.compress"];

/// A contender's mean latency, measured and simulated.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Compared {
    pub(crate) policy: &'static str,
    pub(crate) measured_ms: f64,
    pub(crate) simulated_ms: f64,
}

impl Compared {
    /// Simulated over measured, less 1.
    pub(crate) fn error(&self) -> f64 {
        self.simulated_ms / self.measured_ms - 1.0
    }

    /// In words.
    pub(crate) fn described(&self) -> String {
        format!(
            "{}: measured {:.1} ms, simulated {:.1} ms ({:+.1} %).",
            self.policy,
            self.measured_ms,
            self.simulated_ms,
            100.0 * self.error()
        )
    }
}

type Records = BTreeMap<String, Record>;

/// The answers of one network in a journal, by policy and request.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    policies: BTreeMap<String, Records>,
}

impl Journal {
    /// Reads the records of `network`, one JSON object a line; failures are left out.
    ///
    /// # Errors
    /// If the file cannot be read, is larger than 256 MiB, or holds something else.
    pub(crate) fn read(file: &Path, network: &str) -> Result<Self> {
        let open = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        let bytes = open.metadata()?.len();
        ensure!(
            bytes <= MAX_FILE_BYTES,
            "{} has {bytes} bytes, more than the {MAX_FILE_BYTES} that are read: replay a part of it",
            file.display()
        );
        let mut journal = Self::default();
        for (number, line) in BufReader::new(open.take(MAX_FILE_BYTES)).lines().enumerate() {
            let record: Record = serde_json::from_str(&line?)
                .with_context(|| format!("{}, line {}", file.display(), number + 1))?;
            if record.network == network {
                journal.add(record);
            }
        }
        Ok(journal)
    }

    fn add(&mut self, record: Record) {
        if record.failure.is_none() {
            let records = self.policies.entry(record.policy.clone()).or_default();
            records.insert(record.request.clone(), record);
        }
    }

    fn of(&self, policy: &str, request: &str) -> Option<&Record> {
        self.policies.get(policy)?.get(request)
    }

    fn all(&self) -> impl Iterator<Item = &Record> {
        self.policies.values().flat_map(Records::values)
    }

    /// Simulates one client with what the journal tells, and compares.
    ///
    /// # Errors
    /// If there are no answers of the cloud alone and of the edge alone.
    pub(crate) fn replay(&self, network: Network, seed: u64) -> Result<(Vec<Compared>, Setting)> {
        let base = Base { pair: self.pair()?, workload: self.workload()?, seed };
        let drafts = ratio(self.sum("distributed", drafts), self.sum("distributed", |it| it.rounds.into()));
        let distributed =
            Contender::Distributed { draft_tokens: drafts.round().max(1.0) as u8, pipelined: false };
        let replayed = [
            ("edge_only", Contender::EdgeOnly),
            ("cloud_only", Contender::CloudOnly),
            ("distributed", distributed),
            ("msao_without_speculation", Contender::MsaoWithoutSpeculation),
        ];
        let replayed: Vec<_> =
            replayed.into_iter().filter(|(policy, _)| self.policies.contains_key(*policy)).collect();
        let contenders: Vec<Contender> = replayed.iter().map(|(_, contender)| *contender).collect();
        let setting = base.unloaded_of("the measured run again".to_owned(), network, &contenders)?;
        let compared = replayed
            .iter()
            .zip(&setting.outcomes)
            .map(|((policy, _), outcome)| Compared {
                policy,
                measured_ms: self.mean(policy, |record| record.total_ms),
                simulated_ms: outcome.latency_ms.mean,
            })
            .collect();
        Ok((compared, setting))
    }

    fn pair(&self) -> Result<PairTimes> {
        let steps = self.sum("edge_only", |record| f64::from(record.tokens));
        let decode_ms = self.sum("edge_only", |record| ms(record, &["edge.decode"]));
        let in_ms = AffineMs { base_ms: 0.0, per_unit_ms: 1.0 };
        let target_pass = self.pass()?;
        Ok(PairTimes {
            times: StepTimes {
                probe_ms: self.mean("msao_without_speculation", |record| ms(record, &EDGE_SCORES)),
                edge_prefill: in_ms,
                edge_decode_ms: ratio(decode_ms, steps),
                target_prefill: in_ms,
                target_pass,
                co_located_prefill: AffineMs::default(),
                co_located_pass: PassMs::default(),
                split: None,
            },
            token_flops: TokenFlops::default(),
            max_batch: BATCH,
        })
    }

    /// Least squares for passes and rows; a pass without rows takes nothing.
    fn pass(&self) -> Result<PassMs> {
        let (mut pp, mut pr, mut rr, mut pm, mut rm) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for record in self.all().filter(|record| record.rounds > 0) {
            let rounds = f64::from(record.rounds);
            let passes = if record.proposed_drafts > 0 { rounds } else { rounds - 1.0 };
            let rows = drafts(record) + rounds - 1.0;
            let took_ms = ms(record, &["cloud.decode", "cloud.verify"]);
            pp += passes * passes;
            pr += passes * rows;
            rr += rows * rows;
            pm += passes * took_ms;
            rm += rows * took_ms;
        }
        ensure!(rr > 0.0, "no passes of the target in the journal: replay one with cloud_only");
        let determinant = pp * rr - pr * pr;
        // Where passes and rows always grow together, or rows seem to gain time, rows alone explain it.
        let (base_ms, per_row_ms) = if determinant > 1e-9 * pp * rr {
            ((pm * rr - rm * pr) / determinant, (rm * pp - pm * pr) / determinant)
        } else {
            (0.0, rm / rr)
        };
        Ok(match (base_ms >= 0.0, per_row_ms >= 0.0) {
            (true, true) => PassMs { base_ms, per_row_ms, ..PassMs::default() },
            (true, false) => PassMs { base_ms: pm / pp, ..PassMs::default() },
            (false, _) => PassMs { per_row_ms: rm / rr, ..PassMs::default() },
        })
    }

    fn workload(&self) -> Result<Workload> {
        let cloud = self.policies.get("cloud_only").map_or(0, BTreeMap::len);
        let records: Vec<Question> = self
            .policies
            .get("cloud_only")
            .into_iter()
            .flatten()
            .filter_map(|(request, cloud)| {
                self.of("edge_only", request).map(|edge| self.question(cloud, edge))
            })
            .collect();
        ensure!(
            !records.is_empty(),
            "{cloud} answers of cloud_only and none of edge_only to the same requests: measure both"
        );
        // All of them are asked; nothing is calibrated.
        let doubled = records.iter().flat_map(|record| [record.clone(), record.clone()]).collect();
        Workload::new(doubled)
    }

    fn question(&self, cloud: &Record, edge: &Record) -> Question {
        let form = |sent: &Record| Form {
            bytes: sent.up_bytes as f64,
            edge_tokens: ms(edge, &EDGE_READS),
            target_tokens: ms(sent, &CLOUD_READS),
            edge_flops: edge.edge_flops as f64,
            target_flops: sent.cloud_flops as f64,
        };
        let kept = self.of("msao_without_speculation", &cloud.request);
        let tokens = cloud.tokens.saturating_add(1);
        let distributed = self.of("distributed", &cloud.request);
        let rate = distributed.map_or(0.5, |record| ratio(f64::from(record.accepted_drafts), drafts(record)));
        Question {
            question: Form::default(),
            media: vec![ModalityInput {
                modality: Modality::Vision,
                relevance: 1.0,
                density: if kept.is_some() { 0.5 } else { 1.0 },
                locked: false,
                whole: form(cloud),
                pruned: form(kept.unwrap_or(cloud)),
            }],
            answer_tokens: tokens,
            edge_answer_tokens: edge.tokens.saturating_add(1),
            agreement: if edge.answer == cloud.answer {
                Agreement::Everywhere
            } else {
                Agreement::But { differs_at: (f64::from(tokens) * rate.min(0.99)) as u32, rate }
            },
            edge_confidence: 0.0,
            right: Right {
                edge: edge.is_right,
                whole: cloud.is_right,
                kept: kept.is_some_and(|kept| kept.is_right),
            },
        }
    }

    fn sum(&self, policy: &str, of: impl Fn(&Record) -> f64) -> f64 {
        self.policies.get(policy).into_iter().flat_map(Records::values).map(of).sum()
    }

    fn mean(&self, policy: &str, of: impl Fn(&Record) -> f64) -> f64 {
        ratio(self.sum(policy, of), self.policies.get(policy).map_or(0, BTreeMap::len) as f64)
    }
}

fn drafts(record: &Record) -> f64 {
    f64::from(record.proposed_drafts)
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// Milliseconds of some spans together.
fn ms(record: &Record, names: &[&str]) -> f64 {
    let named = record.spans.iter().filter(|(name, _)| names.contains(&name.as_str()));
    named.map(|(_, ms)| ms).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record whose latency is what its spans and a link of 1 MB/s with 40 ms add up to.
    fn record(
        policy: &str,
        request: u32,
        spans: &[(&str, f64)],
        drafts: u32,
        rounds: u32,
        bytes: u64,
    ) -> Record {
        let text = format!(
            r#"{{"request":"q{request}","family":"f","network":"n","policy":"{policy}","answer":"a","is_right":true,
            "first_shown_ms":0,"ttft_ms":0,"total_ms":0,"tokens":9,"up_bytes":{bytes},"down_bytes":9,"vision_bytes":0,
            "audio_bytes":0,"edge_flops":1,"cloud_flops":2,"proposed_drafts":{drafts},"accepted_drafts":{drafts},
            "rounds":{rounds},"strategy":"cloud","stood":false,"shadow_agreed":null,"predicted_ms":null,"spans":[],
            "failure":null}}"#
        );
        let mut record: Record = serde_json::from_str(&text).unwrap();
        record.spans = spans.iter().map(|(name, ms)| ((*name).to_owned(), *ms)).collect();
        let travels_ms = if bytes > 0 { bytes as f64 / 1000.0 + 40.0 } else { 0.0 };
        record.total_ms = travels_ms + spans.iter().map(|(_, ms)| ms).sum::<f64>();
        record
    }

    fn journal() -> Journal {
        let mut journal = Journal::default();
        for request in 0..30 {
            let read_ms = 50.0 + f64::from(request);
            let bytes = 10_000 + 1_000 * u64::from(request);
            let edge = [("edge.prefill", 30.0), ("edge.decode", 18.0)];
            journal.add(record("edge_only", request, &edge, 0, 0, 0));
            // Ten decisions: nine passes of 6 ms behind the prompt.
            let cloud = [("cloud.prefill", read_ms), ("cloud.decode", 54.0)];
            journal.add(record("cloud_only", request, &cloud, 0, 10, bytes));
            let kept = [("edge.score", 2.0), ("cloud.prefill", read_ms / 2.0), ("cloud.decode", 54.0)];
            journal.add(record("msao_without_speculation", request, &kept, 0, 10, bytes / 2));
            // Two passes with eight drafts and a row between them: 2 * 5 + 9 ms.
            let verified = [("cloud.prefill", read_ms), ("cloud.verify", 19.0)];
            journal.add(record("distributed", request, &verified, 8, 2, bytes));
        }
        journal
    }

    #[test]
    fn passes_are_told_from_rows() {
        let pass = journal().pass().unwrap();
        assert!((pass.base_ms - 5.0).abs() < 1e-9 && (pass.per_row_ms - 1.0).abs() < 1e-9, "{pass:?}");
    }

    #[test]
    fn a_run_without_contention_comes_out_again() {
        let (compared, _) = journal().replay(Network::symmetric(8.0, 40.0), 1).unwrap();
        for policy in ["edge_only", "cloud_only", "msao_without_speculation"] {
            let one = compared.iter().find(|one| one.policy == policy).unwrap();
            assert!(one.error().abs() < 0.02, "{one:?}");
        }
    }

    #[test]
    fn half_a_run_is_refused() {
        let mut journal = journal();
        journal.policies.remove("edge_only");
        assert!(journal.replay(Network::symmetric(8.0, 40.0), 1).is_err());
    }
}
