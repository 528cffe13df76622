//! What came of a simulation.

use serde::Serialize;

use crate::summary::nearest_rank;

/// Median and tails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
}

impl Quantiles {
    /// Of some numbers, by nearest rank; zeros of none.
    fn of(mut numbers: Vec<f64>) -> Self {
        if numbers.is_empty() {
            return Self::default();
        }
        numbers.sort_by(f64::total_cmp);
        let at = |share: f64| nearest_rank(&numbers, share);
        let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
        Self { mean, p50: at(0.5), p95: at(0.95), p99: at(0.99) }
    }
}

/// The figures of one contender in one setting. Latencies are of the last two thirds of the answers; bytes and
/// operations are means over all requests, shadow verification included.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Outcome {
    pub(crate) contender: String,
    pub(crate) clients: usize,
    pub(crate) answers: usize,
    /// From asking to the settled end of the answer.
    pub(crate) latency_ms: Quantiles,
    /// To the first settled token.
    pub(crate) time_to_first_token_ms: Quantiles,
    /// To the first token on the screen, be it a draft.
    pub(crate) first_shown_ms: Quantiles,
    /// Of the tokens after the first.
    pub(crate) time_per_output_token_ms: f64,
    /// Tokens of an answer over its latency, mean over all tokens.
    pub(crate) tokens_per_s: f64,
    /// Answers of all clients.
    pub(crate) answers_per_s: f64,
    pub(crate) uplink_bytes: f64,
    pub(crate) downlink_bytes: f64,
    pub(crate) edge_gflop: f64,
    pub(crate) cloud_gflop: f64,
    /// Share of the time that the server's model was at work.
    pub(crate) server_utilisation: f64,
    /// Mean requests in a pass.
    pub(crate) batch: f64,
    /// Accepted of proposed drafts.
    pub(crate) acceptance_rate: Option<f64>,
    /// Share of right answers.
    pub(crate) accuracy: f64,
    /// Share of answers that the edge gave alone.
    pub(crate) edge_share: f64,
    /// Share of requests whose edge answer stood and is not the target's.
    pub(crate) disagreement: f64,
}

/// An answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answered {
    pub(super) asked_ms: f64,
    pub(super) shown_ms: f64,
    pub(super) first_ms: f64,
    pub(super) ended_ms: f64,
    pub(super) tokens: u32,
    pub(super) is_right: bool,
    pub(super) by_edge: bool,
    pub(super) differs: bool,
    /// What the server had worked by then.
    pub(super) busy_ms: f64,
}

/// Sums over all requests.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) answered: Vec<Answered>,
    pub(super) uplink_bytes: f64,
    pub(super) downlink_bytes: f64,
    pub(super) edge_flops: f64,
    pub(super) cloud_flops: f64,
    pub(super) busy_ms: f64,
    /// Prompts read by the server.
    pub(super) prompts: u64,
    pub(super) passes: u64,
    pub(super) seats: u64,
    pub(super) proposed_drafts: u64,
    pub(super) accepted_drafts: u64,
}

impl Tally {
    /// The figures, at the end.
    pub(super) fn outcome(&self, contender: String, clients: usize) -> Outcome {
        let all = &self.answered;
        let counted = &all[all.len() / 3..];
        let count = all.len().max(1) as f64;
        let quantiles = |of: fn(&Answered) -> f64| Quantiles::of(counted.iter().map(of).collect());
        let sum = |of: fn(&Answered) -> f64| counted.iter().map(of).sum::<f64>();
        let share =
            |of: fn(&Answered) -> bool| all.iter().filter(|answered| of(answered)).count() as f64 / count;
        let (answers_per_s, server_utilisation) = self.steady_rates();
        let later_tokens = sum(|it| f64::from(it.tokens) - 1.0);
        let ratio = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        Outcome {
            contender,
            clients,
            answers: all.len(),
            latency_ms: quantiles(|it| it.ended_ms - it.asked_ms),
            time_to_first_token_ms: quantiles(|it| it.first_ms - it.asked_ms),
            first_shown_ms: quantiles(|it| it.shown_ms - it.asked_ms),
            time_per_output_token_ms: ratio(sum(|it| it.ended_ms - it.first_ms), later_tokens),
            tokens_per_s: ratio(1000.0 * sum(|it| f64::from(it.tokens)), sum(|it| it.ended_ms - it.asked_ms)),
            answers_per_s,
            uplink_bytes: self.uplink_bytes / count,
            downlink_bytes: self.downlink_bytes / count,
            edge_gflop: self.edge_flops / count / 1e9,
            cloud_gflop: self.cloud_flops / count / 1e9,
            server_utilisation,
            batch: ratio(self.seats as f64, self.passes as f64),
            acceptance_rate: (self.proposed_drafts > 0)
                .then(|| self.accepted_drafts as f64 / self.proposed_drafts as f64),
            accuracy: share(|it| it.is_right),
            edge_share: share(|it| it.by_edge),
            disagreement: share(|it| it.differs),
        }
    }

    /// Of all answers but the first third, as in [`Self::outcome`].
    pub(super) fn latencies_ms(&self) -> Vec<f64> {
        let counted = &self.answered[self.answered.len() / 3..];
        counted.iter().map(|answered| answered.ended_ms - answered.asked_ms).collect()
    }

    /// Operations of an answer in the cloud, in 10^9: the mean of those so far that the cloud worked for.
    pub(super) fn cloud_gflop_per_answer(&self) -> f64 {
        if self.prompts == 0 { 0.0 } else { self.cloud_flops / self.prompts as f64 / 1e9 }
    }

    /// Between the first third and the last tenth, where neither the start nor the end is felt: answers a second, and
    /// the share of that time that the server worked.
    fn steady_rates(&self) -> (f64, f64) {
        let count = self.answered.len();
        let (first, last) = (count / 3, count - count / 10);
        match (self.answered.get(first), self.answered.get(last.saturating_sub(1))) {
            (Some(begin), Some(end)) if end.ended_ms > begin.ended_ms => {
                let passed_ms = end.ended_ms - begin.ended_ms;
                let busy_ms = end.busy_ms - begin.busy_ms;
                (1000.0 * (last - 1 - first) as f64 / passed_ms, (busy_ms / passed_ms).min(1.0))
            }
            _ => (0.0, 0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_by_nearest_rank() {
        let quantiles = Quantiles::of((1..=100).rev().map(f64::from).collect());
        assert_eq!(quantiles, Quantiles { mean: 50.5, p50: 50.0, p95: 95.0, p99: 99.0 });
        assert_eq!(Quantiles::of(Vec::new()), Quantiles::default());
    }
}
