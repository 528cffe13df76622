//! From records to figures: each policy over each network, and two policies on the same requests.
//!
//! A failed request counts as a wrong answer, and in what was sent and computed; its times count nowhere, and the
//! number of failures stands beside them.

use serde::Serialize;

use super::{
    journal::{Measured, Requests},
    policies,
    statistics::{Estimate, bootstrap, mean, quantile, requests_for},
};
use crate::record::Record;

/// Half the width of the interval that an accuracy is wanted with, in percentage points: that of the goals.
pub(crate) const WANTED_POINTS: f64 = 0.3;

/// One policy over one network. Bytes and operations are means of a request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct PolicyFigures {
    pub(crate) network: String,
    pub(crate) policy: String,
    pub(crate) requests: usize,
    pub(crate) failures: usize,
    /// Share of right answers.
    pub(crate) accuracy: Option<Estimate>,
    /// Median time to the first token on the screen, drafts included.
    pub(crate) first_shown_ms: Option<Estimate>,
    /// Median time to the first token that stands.
    pub(crate) ttft_ms: Option<Estimate>,
    /// Median time a token behind the first, of answers of two tokens or more.
    pub(crate) tpot_ms: Option<Estimate>,
    /// Quantiles of the time until all of the answer stands.
    pub(crate) p50_ms: Option<Estimate>,
    pub(crate) p95_ms: Option<Estimate>,
    pub(crate) p99_ms: Option<Estimate>,
    /// Tokens of all answers over the time of all answers.
    pub(crate) tokens_per_s: Option<Estimate>,
    pub(crate) up_bytes: Option<Estimate>,
    pub(crate) vision_bytes: Option<Estimate>,
    pub(crate) audio_bytes: Option<Estimate>,
    pub(crate) down_bytes: Option<Estimate>,
    pub(crate) edge_flops: Option<Estimate>,
    pub(crate) cloud_flops: Option<Estimate>,
    /// Accepted over proposed draft tokens.
    pub(crate) acceptance: Option<Estimate>,
    /// Share of requests that the edge's answer stood for.
    pub(crate) stood: Option<Estimate>,
}

/// One policy against another, on the requests that both have.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Against {
    pub(crate) network: String,
    pub(crate) policy: String,
    pub(crate) baseline: String,
    pub(crate) requests: usize,
    /// Accuracy less the baseline's, in percentage points.
    pub(crate) accuracy_points: Option<Estimate>,
    /// Requests that bring the interval of `accuracy_points` to 0.3 points on either side.
    pub(crate) requests_for_points: u64,
    /// Median latency over the baseline's, on requests that both answered.
    pub(crate) p50_ratio: Option<Estimate>,
    /// Bytes to the cloud over the baseline's.
    pub(crate) up_bytes_ratio: Option<Estimate>,
    /// Operations in the cloud over the baseline's.
    pub(crate) cloud_flops_ratio: Option<Estimate>,
    /// Share of requests with the same answer.
    pub(crate) same_answer: Option<Estimate>,
}

impl PolicyFigures {
    /// All policies over all networks, in the order of tables.
    pub(super) fn all(measured: &Measured) -> Vec<Self> {
        let pairs = measured.networks.iter().flat_map(|(network, policies)| {
            policies.iter().map(move |(policy, requests)| Self::of(network, policy, requests))
        });
        let mut all: Vec<Self> = pairs.collect();
        all.sort_by(|one, other| one.place().cmp(&other.place()));
        all
    }

    fn of(network: &str, policy: &str, requests: &Requests) -> Self {
        let records: Vec<&Record> = requests.values().collect();
        let figures = bootstrap(records.len(), |drawn| {
            let all = || drawn.iter().map(|&index| records[index]);
            let of = |value: fn(&Record) -> f64| mean(all().map(value));
            let answered = || all().filter(|record| record.failure.is_none());
            let median =
                |value: fn(&Record) -> f64| quantile(&mut answered().map(value).collect::<Vec<_>>(), 0.5);
            let mut totals: Vec<f64> = answered().map(|record| record.total_ms).collect();
            let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|share| quantile(&mut totals, share));
            let mut tpot: Vec<f64> = answered().filter_map(tpot_ms).collect();
            let sum = |value: fn(&Record) -> f64| all().map(value).sum::<f64>();
            [
                of(|record| f64::from(is_right(record))),
                median(|record| record.first_shown_ms),
                median(|record| record.ttft_ms),
                quantile(&mut tpot, 0.5),
                p50,
                p95,
                p99,
                answered().map(|record| f64::from(record.tokens)).sum::<f64>()
                    / (totals.iter().sum::<f64>() / 1e3),
                of(|record| record.up_bytes as f64),
                of(|record| record.vision_bytes as f64),
                of(|record| record.audio_bytes as f64),
                of(|record| record.down_bytes as f64),
                of(|record| record.edge_flops as f64),
                of(|record| record.cloud_flops as f64),
                sum(|record| f64::from(record.accepted_drafts))
                    / sum(|record| f64::from(record.proposed_drafts)),
                of(|record| f64::from(record.stood)),
            ]
        });
        let [
            accuracy,
            first_shown_ms,
            ttft_ms,
            tpot_ms,
            p50_ms,
            p95_ms,
            p99_ms,
            tokens_per_s,
            up_bytes,
            vision_bytes,
            audio_bytes,
            down_bytes,
            edge_flops,
            cloud_flops,
            acceptance,
            stood,
        ] = figures;
        Self {
            network: network.to_owned(),
            policy: policy.to_owned(),
            requests: records.len(),
            failures: records.iter().filter(|record| record.failure.is_some()).count(),
            accuracy,
            first_shown_ms,
            ttft_ms,
            tpot_ms,
            p50_ms,
            p95_ms,
            p99_ms,
            tokens_per_s,
            up_bytes,
            vision_bytes,
            audio_bytes,
            down_bytes,
            edge_flops,
            cloud_flops,
            acceptance,
            stood,
        }
    }

    fn place(&self) -> impl Ord + '_ {
        (policies::network_place(&self.network), policies::place(&self.policy))
    }
}

impl Against {
    /// `None` where one of the two was not measured, or they share no request.
    pub(super) fn of(measured: &Measured, network: &str, policy: &str, baseline: &str) -> Option<Self> {
        let (ours, theirs) = (measured.of(network, policy)?, measured.of(network, baseline)?);
        let pairs: Vec<(&Record, &Record)> =
            ours.iter().filter_map(|(request, record)| Some((record, theirs.get(request)?))).collect();
        if pairs.is_empty() {
            return None;
        }
        let gained = |(one, other): (&Record, &Record)| f64::from(is_right(one)) - f64::from(is_right(other));
        let differences: Vec<f64> = pairs.iter().copied().map(gained).collect();
        let figures = bootstrap(pairs.len(), |drawn| {
            let all = || drawn.iter().map(|&index| pairs[index]);
            let ratio = |value: fn(&Record) -> u64| {
                let (ours, theirs) = all().fold((0.0, 0.0), |(ours, theirs), (one, other)| {
                    (ours + value(one) as f64, theirs + value(other) as f64)
                });
                ours / theirs
            };
            let both = || all().filter(|(one, other)| one.failure.is_none() && other.failure.is_none());
            let mut ours: Vec<f64> = both().map(|(one, _)| one.total_ms).collect();
            let mut theirs: Vec<f64> = both().map(|(_, other)| other.total_ms).collect();
            [
                100.0 * mean(drawn.iter().map(|&index| differences[index])),
                quantile(&mut ours, 0.5) / quantile(&mut theirs, 0.5),
                ratio(|record| record.up_bytes),
                ratio(|record| record.cloud_flops),
                mean(all().map(|(one, other)| f64::from(one.answer == other.answer))),
            ]
        });
        let [accuracy_points, p50_ratio, up_bytes_ratio, cloud_flops_ratio, same_answer] = figures;
        Some(Self {
            network: network.to_owned(),
            policy: policy.to_owned(),
            baseline: baseline.to_owned(),
            requests: pairs.len(),
            accuracy_points,
            requests_for_points: requests_for(&differences, WANTED_POINTS / 100.0),
            p50_ratio,
            up_bytes_ratio,
            cloud_flops_ratio,
            same_answer,
        })
    }
}

fn is_right(record: &Record) -> bool {
    record.is_right && record.failure.is_none()
}

fn tpot_ms(record: &Record) -> Option<f64> {
    let behind_first = record.tokens.checked_sub(1).filter(|tokens| *tokens > 0)?;
    Some((record.total_ms - record.ttft_ms) / f64::from(behind_first))
}
