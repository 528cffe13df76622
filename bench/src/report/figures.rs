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

/// Declares the figures of a policy over a network: each name once, and how it is worked out on requests that were drawn.
macro_rules! policy_figures {
    ($($(#[$doc:meta])* $figure:ident: $of:expr,)+) => {
        /// One policy over one network. Bytes and operations are means of a request.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        pub(crate) struct PolicyFigures {
            pub(crate) network: String,
            pub(crate) policy: String,
            pub(crate) requests: usize,
            pub(crate) failures: usize,
            $($(#[$doc])* pub(crate) $figure: Option<Estimate>,)+
        }

        impl PolicyFigures {
            fn of(network: &str, policy: &str, requests: &Requests) -> Self {
                let records: Vec<&Record> = requests.values().collect();
                let [$($figure),+] = bootstrap(records.len(), |drawn| {
                    let drawn = Drawn(drawn.iter().map(|&index| records[index]).collect());
                    $(let $figure: fn(&Drawn<'_>) -> f64 = $of;)+
                    [$($figure(&drawn)),+]
                });
                Self {
                    network: network.to_owned(),
                    policy: policy.to_owned(),
                    requests: records.len(),
                    failures: records.iter().filter(|record| record.failure.is_some()).count(),
                    $($figure),+
                }
            }
        }
    };
}

policy_figures! {
    /// Share of right answers.
    accuracy: |drawn| drawn.mean(|record| f64::from(is_right(record))),
    /// Median time to the first token on the screen, drafts included.
    first_shown_ms: |drawn| drawn.quantile(0.5, |record| Some(record.first_shown_ms)),
    /// Median time to the first token that stands.
    ttft_ms: |drawn| drawn.quantile(0.5, |record| Some(record.ttft_ms)),
    /// Median time a token behind the first, of answers of two tokens or more.
    tpot_ms: |drawn| drawn.quantile(0.5, tpot_ms),
    /// Median of the time until all of the answer stands.
    p50_ms: |drawn| drawn.quantile(0.5, |record| Some(record.total_ms)),
    /// 95th percentile of it.
    p95_ms: |drawn| drawn.quantile(0.95, |record| Some(record.total_ms)),
    /// 99th percentile of it.
    p99_ms: |drawn| drawn.quantile(0.99, |record| Some(record.total_ms)),
    /// Tokens of all answers over the time of all answers.
    tokens_per_s: |drawn| {
        drawn.answered().map(|record| f64::from(record.tokens)).sum::<f64>()
            / (drawn.answered().map(|record| record.total_ms).sum::<f64>() / 1e3)
    },
    /// Bytes to the cloud.
    up_bytes: |drawn| drawn.mean(|record| record.up_bytes as f64),
    /// Of these, pictures.
    vision_bytes: |drawn| drawn.mean(|record| record.vision_bytes as f64),
    /// Of these, sound.
    audio_bytes: |drawn| drawn.mean(|record| record.audio_bytes as f64),
    /// Bytes that came back.
    down_bytes: |drawn| drawn.mean(|record| record.down_bytes as f64),
    /// Operations on the edge.
    edge_flops: |drawn| drawn.mean(|record| record.edge_flops as f64),
    /// Operations in the cloud.
    cloud_flops: |drawn| drawn.mean(|record| record.cloud_flops as f64),
    /// Accepted over proposed draft tokens.
    acceptance: |drawn| {
        drawn.mean(|record| f64::from(record.accepted_drafts)) / drawn.mean(|record| f64::from(record.proposed_drafts))
    },
    /// Share of requests that the edge's answer stood for.
    stood: |drawn| drawn.mean(|record| f64::from(record.stood)),
}

/// Requests that were drawn.
struct Drawn<'a>(Vec<&'a Record>);

impl Drawn<'_> {
    fn answered(&self) -> impl Iterator<Item = &Record> {
        self.0.iter().copied().filter(|record| record.failure.is_none())
    }

    /// Over all of them.
    fn mean(&self, of: fn(&Record) -> f64) -> f64 {
        mean(self.0.iter().map(|record| of(record)))
    }

    /// Over those that were answered and have the figure.
    fn quantile(&self, share: f64, of: fn(&Record) -> Option<f64>) -> f64 {
        quantile(&mut self.answered().filter_map(of).collect::<Vec<_>>(), share)
    }
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
        // A target behind an upstream does not say what it computes, which receipts have as 0.
        if all.iter().filter_map(|one| one.cloud_flops).all(|flops| flops.value == 0.0) {
            all.iter_mut().for_each(|one| one.cloud_flops = None);
        }
        all.sort_by(|one, other| one.place().cmp(&other.place()));
        all
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
