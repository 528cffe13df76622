//! Holds the simulator to a measured run: half of its requests calibrate, the other half is simulated and compared.
//!
//! | taken from | what |
//! |---|---|
//! | spans of the calibration requests | all step times, and how much they vary ([`fit`]) |
//! | the compared requests | their work: operations, bytes, tokens, which drafts agree, which edge answers stand |
//! | the network's name | its round trip and rates |
//!
//! Which drafts agree is the models' doing and not the system's. It is told from the answers, and from how many drafts were
//! proposed and rejected where the edge drafts in every round. No time of a compared request is used. The halves then change places, so that every request is compared once, with step
//! times that it had no part in. Operations are not compared. What comes out is what the simulator adds: the order of
//! things, links, rounds, waits, and the planner's decisions.

mod compared;
mod fit;
mod journal;
#[cfg(test)]
mod tests;

use anyhow::{Context, Result, ensure};
use msao_planner::{
    cost::{TokenFlops, WireSizes},
    plan::{Form, ModalityInput},
};
use msao_protocol::{Modality, Policy};

pub(crate) use self::{
    compared::{Compared, table},
    journal::Journal,
};
use self::{
    fit::{Fitted, Work, sent},
    journal::{Run, ms},
};
use super::decide;
use super::scenario::{Contender, EdgeFirst, Load, Network, Scenario, ServerSettings};
use super::workload::{Agreement, Record as Question, Right, Workload};
use super::world::simulate_answers;
use crate::record::Record;

/// Requests that share a pass; one client shares with nobody.
const BATCH: usize = 8;
/// Longest draft that a client plans with.
const MAX_DRAFT_TOKENS: u8 = 8;
/// Time between an answer and the next question.
const PAUSE_MS: f64 = 1_000.0;
/// An edge answer that stood has a confidence of 1, another one of 0.
const STOOD: f64 = 0.5;
/// The bound that risk-controlled runs are measured at.
const EPSILON: f64 = 0.01;

impl Journal {
    /// Simulates the run over a network as one client, each policy for `requests` requests, and compares.
    ///
    /// # Errors
    /// If the network is not in the journal, or not measured with the cloud alone and with the edge alone.
    pub(crate) fn replay(
        &self,
        name: &str,
        network: Network,
        requests: usize,
        seed: u64,
    ) -> Result<Vec<Compared>> {
        let (run, asked) = self.asked(name)?;
        let first = self.latencies_ms(name, network, 0, requests / 2, seed)?;
        let second = self.latencies_ms(name, network, 1, requests / 2, seed)?;
        let simulated = first.into_iter().zip(second).map(|(first, second)| [first, second].concat());
        Ok(POLICIES
            .iter()
            .zip(simulated)
            .filter_map(|(policy, simulated_ms)| {
                let records = run.get(policy.name)?;
                let measured_ms: Vec<f64> =
                    asked.iter().filter_map(|request| Some(records.get(*request)?.total_ms)).collect();
                Compared::of(policy.name, name, &measured_ms, simulated_ms)
            })
            .collect())
    }

    /// A network's answers, and the requests that both models answered alone.
    fn asked(&self, name: &str) -> Result<(&Run, Vec<&str>)> {
        let networks = || self.networks().collect::<Vec<_>>().join(", ");
        let run = self.networks.get(name);
        let run = run.with_context(|| format!("nothing of {name} in the journal: it has {}", networks()))?;
        let answers_of = |policy| run.get(policy).into_iter().flat_map(|records| records.keys());
        let asked: Vec<&str> = answers_of("cloud_only")
            .filter(|request| run.get("edge_only").is_some_and(|records| records.contains_key(*request)))
            .map(String::as_str)
            .collect();
        ensure!(
            asked.len() >= 4,
            "{} requests of {name} with answers of both cloud_only and edge_only: measure at least 4",
            asked.len()
        );
        Ok((run, asked))
    }

    /// Simulated latencies of each policy, in ms, none for one that was not measured: of every second request from `half`
    /// on, with step times of the others.
    fn latencies_ms(
        &self,
        name: &str,
        network: Network,
        half: usize,
        requests: usize,
        seed: u64,
    ) -> Result<Vec<Vec<f64>>> {
        let (run, asked) = self.asked(name)?;
        let every_second = |from| asked.iter().skip(from).step_by(2).copied().collect::<Vec<&str>>();
        let fold = Fold::new(run, &every_second(1 - half), &every_second(half))?;
        let simulate = |policy: &Replayed| match run.contains_key(policy.name) {
            true => fold.simulate(policy, network, requests, seed),
            false => Ok(Vec::new()),
        };
        POLICIES.iter().map(simulate).collect()
    }
}

/// A policy of the journal, and what it is here.
struct Replayed {
    name: &'static str,
    contender: fn(u8) -> Contender,
    /// Whose draft length the contender is given.
    drafts_as: Option<Policy>,
}

const fn replayed(name: &'static str, contender: fn(u8) -> Contender, drafts_as: Option<Policy>) -> Replayed {
    Replayed { name, contender, drafts_as }
}

const POLICIES: [Replayed; 9] = [
    replayed("edge_only", |_| Contender::EdgeOnly, None),
    replayed("cloud_only", |_| Contender::CloudOnly, None),
    replayed("co_located", |draft_tokens| Contender::CoLocated { draft_tokens }, Some(Policy::CoLocated)),
    replayed(
        "distributed",
        |draft_tokens| Contender::Distributed { draft_tokens, pipelined: false },
        Some(Policy::Distributed),
    ),
    replayed(fit::SPLIT, |_| Contender::LayerSplit, None),
    replayed("msao", |_| Contender::MsaoVerified { prices_server: false }, None),
    replayed(
        "msao_risk",
        |_| Contender::MsaoRiskControlled {
            epsilon: EPSILON,
            edge_first: EdgeFirst::WhenCheaper,
            prices_server: false,
        },
        None,
    ),
    replayed("msao_without_mas", |_| Contender::MsaoWithoutMas, None),
    replayed("msao_without_speculation", |_| Contender::MsaoWithoutSpeculation, None),
];

/// One half that calibrates, and the other as a workload.
struct Fold {
    fitted: Fitted,
    workload: Workload,
    /// Whether the measured edge looked at media before every question.
    always_looks: bool,
}

impl Fold {
    fn new(run: &Run, calibrating: &[&str], compared: &[&str]) -> Result<Self> {
        let of = |policy: &str, request: &str| run.get(policy)?.get(request);
        let work =
            |request: &str| Some(Work { whole: of("cloud_only", request)?, edge: of("edge_only", request)? });
        let records: Vec<(&Record, Work<'_>)> = run
            .values()
            .flat_map(|records| calibrating.iter().filter_map(|request| records.get(*request)))
            .filter_map(|record| Some((record, work(&record.request)?)))
            .collect();
        let fitted = Fitted::of(&records)?;
        let questions: Vec<Question> = compared
            .iter()
            .filter_map(|request| {
                let one = One {
                    work: work(request)?,
                    kept: of("msao_without_speculation", request),
                    drafted: of("distributed", request),
                    stood: of("msao_risk", request).is_some_and(|record| record.stood),
                };
                Some(one.question(&fitted))
            })
            .collect();
        // All of them are asked, and nothing is calibrated on them but how often edge answers stand.
        let doubled = questions.into_iter().flat_map(|question| [question.clone(), question]).collect();
        let workload = Workload { stand_threshold: Some(STOOD), ..Workload::new(doubled)? };
        let mut looking = ["msao", "msao_without_speculation"]
            .iter()
            .flat_map(|policy| calibrating.iter().filter_map(|request| of(policy, request)));
        let always_looks =
            looking.all(|record| ms(record, &["edge.score"]) > 0.0 || sent(record) == (false, false));
        Ok(Self { fitted, workload, always_looks })
    }

    /// Latencies in ms.
    fn simulate(&self, policy: &Replayed, network: Network, requests: usize, seed: u64) -> Result<Vec<f64>> {
        let mut scenario = Scenario {
            contender: Contender::CloudOnly,
            workload: &self.workload,
            times: self.fitted.times,
            paces: &self.fitted.paces,
            token_flops: TokenFlops::default(),
            wire: WireSizes::default(),
            network,
            load: Load::Closed { think_ms: PAUSE_MS },
            server: ServerSettings {
                max_batch: BATCH,
                holds_draft_model: true,
                max_draft_tokens: MAX_DRAFT_TOKENS,
            },
            always_looks: self.always_looks,
            clients: 1,
            requests,
            seed,
        };
        let draft_tokens = match policy.drafts_as {
            Some(drafts_as) => decide::usual_draft_tokens(&scenario, drafts_as)?,
            None => 0,
        };
        scenario.contender = (policy.contender)(draft_tokens);
        Ok(simulate_answers(&scenario)?.latencies_ms())
    }
}

/// What the journal knows of one request's work.
struct One<'a> {
    work: Work<'a>,
    /// Asked with what MAS keeps.
    kept: Option<&'a Record>,
    /// Asked with everything, with drafts of the edge in every round.
    drafted: Option<&'a Record>,
    stood: bool,
}

impl One<'_> {
    fn question(&self, fitted: &Fitted) -> Question {
        let Work { whole, edge } = self.work;
        let edge_ms = fitted.edge_ms(&self.work);
        let form = |sent: &Record| Form {
            bytes: sent.up_bytes as f64,
            edge_tokens: edge_ms,
            target_tokens: fitted.cloud_ms(sent),
            ..Form::default()
        };
        let kept = self.kept.unwrap_or(whole);
        let is_pruned = sent(kept) != sent(whole) || kept.up_bytes < whole.up_bytes;
        Question {
            question: Form::default(),
            media: vec![ModalityInput {
                modality: Modality::Vision,
                relevance: 1.0,
                density: if is_pruned { kept.up_bytes as f64 / whole.up_bytes as f64 } else { 1.0 },
                locked: false,
                whole: form(whole),
                pruned: form(kept),
            }],
            // Journals do not count the end token.
            answer_tokens: whole.tokens.saturating_add(1),
            edge_answer_tokens: edge.tokens.saturating_add(1),
            agreement: self.agreement(),
            edge_confidence: f64::from(u8::from(self.stood)),
            right: Right { edge: edge.is_right, whole: whole.is_right, kept: kept.is_right },
        }
    }

    /// Where the edge's drafts part from the target's answer. With drafts in every round each round but the last ends with
    /// one that is rejected; if there was one, the drafts behind it tell where, since the edge drafts to its end anew.
    fn agreement(&self) -> Agreement {
        let Work { whole, edge } = self.work;
        if edge.answer == whole.answer {
            return Agreement::Everywhere;
        }
        let Some(drafted) = self.drafted else { return Agreement::Except { from: 0, until: 1 } };
        let rejected = drafted.rounds.saturating_sub(1).max(1);
        let both = edge.tokens + whole.tokens.saturating_sub(1);
        let from = if rejected == 1 { both.saturating_sub(drafted.proposed_drafts) } else { 0 };
        let from = from.min(whole.tokens.saturating_sub(1));
        Agreement::Except { from, until: from + rejected }
    }
}
