//! What each cut costs over a network, and the best cut.
//!
//! ```text
//! T(k) = encode + edge prefill(k) + prompt bytes / up rate + RTT + cloud prefill(k)
//!      + steps * (edge step(k) + row bytes / up rate + RTT + cloud step(k))
//! ```
//!
//! Times are medians of questions that were answered with each `k` without a network between. Bytes do not depend on
//! `k`, every layer being as wide as the next; what decides is where a layer runs faster.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use msao_models::{Assistant, Prompt};

use super::{SplitAnswer, SplitRunner, wire};
use crate::summary::Summary;

/// Tokens of an answer while measuring.
const MAX_NEW_TOKENS: usize = 16;

/// What of a network the choice depends on; the way down carries a token at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Uplink {
    /// Bits that pass in a second from edge to cloud.
    pub(crate) rate_bits_per_s: f64,
    /// Delay there and back.
    pub(crate) rtt_ms: f64,
}

/// Measured times of every cut, on the machines they were measured on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CutTimes {
    cuts: Vec<Cut>,
    prompt_bytes: f64,
    row_bytes: f64,
    steps: f64,
}

/// Medians with the edge running so many layers.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cut {
    layers: usize,
    edge_ms: f64,
    cloud_ms: f64,
    edge_step_ms: f64,
    cloud_step_ms: f64,
}

impl CutTimes {
    /// Answers `prompts` with every cut, over the connection to `cloud` alone, after one unmeasured answer.
    ///
    /// # Errors
    /// If there is no prompt, none has an answer of two tokens, or answering fails.
    pub(crate) fn measure(target: &Assistant, cloud: SocketAddr, prompts: &[Prompt]) -> Result<Self> {
        ensure!(!prompts.is_empty(), "a question is needed to measure layers on");
        let mut runner = SplitRunner::start(target.clone(), cloud, 1)?;
        runner.ask(&prompts[0], MAX_NEW_TOKENS)?;
        let mut cuts = Vec::new();
        let mut answers = Vec::new();
        for layers in 1..target.model().decoder.num_layers() {
            runner.cut_behind(layers);
            answers.clear();
            for prompt in prompts {
                answers.push(runner.ask(prompt, MAX_NEW_TOKENS)?);
            }
            cuts.push(Cut::of(layers, &answers)?);
        }
        let row_bytes = wire::row_bytes(target.config()) as f64;
        let median_of = |of: fn(&SplitAnswer) -> f64| median(answers.iter().map(of));
        Ok(Self {
            cuts,
            prompt_bytes: median_of(|answer| answer.prompt_tokens as f64) * row_bytes,
            row_bytes,
            steps: median_of(|answer| answer.work.steps as f64),
        })
    }

    /// Expected milliseconds until the answer's end with the edge running `layers` layers; `None` for a cut that was not
    /// measured.
    pub(crate) fn predicted_ms(&self, layers: usize, network: Uplink) -> Option<f64> {
        let cut = self.cuts.iter().find(|cut| cut.layers == layers)?;
        let up_ms = |bytes: f64| bytes * 8e3 / network.rate_bits_per_s;
        let first = cut.edge_ms + up_ms(self.prompt_bytes) + network.rtt_ms + cut.cloud_ms;
        let step = cut.edge_step_ms + up_ms(self.row_bytes) + network.rtt_ms + cut.cloud_step_ms;
        Some(first + self.steps * step)
    }

    /// The cut with the least expected latency; of equals the one with the least work for the edge.
    pub(crate) fn best(&self, network: Uplink) -> usize {
        let predicted = |cut: &Cut| self.predicted_ms(cut.layers, network).unwrap_or(f64::INFINITY);
        let best = self.cuts.iter().min_by(|one, other| predicted(one).total_cmp(&predicted(other)));
        best.map_or(1, |cut| cut.layers)
    }
}

impl Cut {
    fn of(layers: usize, answers: &[SplitAnswer]) -> Result<Self> {
        let stepped = || answers.iter().filter(|answer| answer.work.steps > 0);
        ensure!(
            stepped().count() > 0,
            "a question with an answer of two tokens is needed to measure layers on"
        );
        let all = |of: fn(&SplitAnswer) -> f64| median(answers.iter().map(of));
        let a_step = |of: fn(&SplitAnswer) -> f64| {
            median(stepped().map(|answer| of(answer) / answer.work.steps as f64))
        };
        Ok(Self {
            layers,
            edge_ms: all(|answer| answer.work.edge_encode_ms + answer.work.edge_prefill_ms),
            cloud_ms: all(|answer| answer.work.cloud_prefill_ms),
            edge_step_ms: a_step(|answer| answer.work.edge_decode_ms),
            cloud_step_ms: a_step(|answer| answer.work.cloud_decode_ms),
        })
    }
}

/// The middle of some values; 0 without any.
fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    Summary::of(values).map_or(0.0, |summary| summary.median)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Layers of `edge_ms` and `cloud_ms` each, with steps a tenth of that.
    fn times(edge_ms: f64, cloud_ms: f64) -> CutTimes {
        let cut = |layers: usize| {
            let (first, last) = (layers as f64, 6.0 - layers as f64);
            Cut {
                layers,
                edge_ms: 30.0 + first * edge_ms,
                cloud_ms: last * cloud_ms,
                edge_step_ms: first * edge_ms / 10.0,
                cloud_step_ms: last * cloud_ms / 10.0,
            }
        };
        CutTimes { cuts: (1..6).map(cut).collect(), prompt_bytes: 100_000.0, row_bytes: 768.0, steps: 4.0 }
    }

    #[test]
    fn layers_go_where_they_run_faster() {
        let network = Uplink { rate_bits_per_s: 2e8, rtt_ms: 20.0 };
        assert_eq!(times(10.0, 1.0).best(network), 1);
        assert_eq!(times(1.0, 10.0).best(network), 5);
        assert_eq!(times(5.0, 5.0).best(network), 1, "of equals the least work for the edge");
    }

    #[test]
    fn the_expected_latency_is_the_sum_of_its_parts() {
        let network = Uplink { rate_bits_per_s: 8e6, rtt_ms: 40.0 };
        // 30 + 2 * 3 + 100 kB / 1 MB/s + 40 + 4 * 1, then 4 * (0.6 + 0.768 + 40 + 0.4)
        let expected = 180.0 + 4.0 * 41.768;
        let found = times(3.0, 1.0).predicted_ms(2, network).unwrap();
        assert!((found - expected).abs() < 1e-9, "{found} instead of {expected}");
        assert_eq!(times(3.0, 1.0).predicted_ms(6, network), None);
    }
}
