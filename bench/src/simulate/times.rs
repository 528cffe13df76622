//! What each step takes: measured on the running system, or reckoned by [`roofline`](super::roofline).

use anyhow::{Result, ensure};
use msao_planner::estimate::AffineMs;
use serde::{Deserialize, Serialize};

/// A pass over rows of several requests:
///
/// ```text
/// ms = base + per_request requests + max(streaming + per_context_token context, per_row rows)
/// ```
///
/// Measured on a CPU, a pass is affine in its rows: `streaming_ms` and `per_context_token_ms` are 0. On a GPU rows are
/// nearly free until their arithmetic takes longer than streaming the weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PassMs {
    /// Of any pass.
    pub(crate) base_ms: f64,
    /// For each request that takes part.
    #[serde(default)]
    pub(crate) per_request_ms: f64,
    /// Of reading the weights.
    #[serde(default)]
    pub(crate) streaming_ms: f64,
    /// Of reading keys and values, for each token of context of all that take part.
    #[serde(default)]
    pub(crate) per_context_token_ms: f64,
    /// For each row.
    pub(crate) per_row_ms: f64,
}

/// The work of one pass.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct PassWork {
    pub(crate) requests: f64,
    pub(crate) rows: f64,
    pub(crate) context_tokens: f64,
}

impl PassMs {
    /// Milliseconds of a pass; 0 where there is nothing to compute, as for a first token, which the reading of the
    /// prompt has given.
    pub(crate) fn ms(&self, work: PassWork) -> f64 {
        if work.rows == 0.0 {
            return 0.0;
        }
        let memory_ms = self.streaming_ms + self.per_context_token_ms * work.context_tokens;
        self.base_ms + self.per_request_ms * work.requests + memory_ms.max(self.per_row_ms * work.rows)
    }

    /// The line through passes of one request with 1 and with 9 rows: what the planner reckons with.
    pub(crate) fn line(&self, context_tokens: f64) -> AffineMs {
        let ms = |rows| self.ms(PassWork { requests: 1.0, rows, context_tokens });
        let per_unit_ms = (ms(9.0) - ms(1.0)) / 8.0;
        AffineMs { base_ms: ms(1.0) - per_unit_ms, per_unit_ms }
    }

    fn is_valid(&self) -> bool {
        let parts = [
            self.base_ms,
            self.per_request_ms,
            self.streaming_ms,
            self.per_context_token_ms,
            self.per_row_ms,
        ];
        parts.iter().all(|ms| ms.is_finite() && *ms >= 0.0)
    }
}

/// The layer-wise split: the first layers of the target run on the edge.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SplitTimes {
    /// Edge: encoding, and the first layers over a prompt of so many target tokens.
    pub(crate) edge_prefill: AffineMs,
    /// Edge: the first layers for one token.
    pub(crate) edge_step_ms: f64,
    /// Server: the other layers over a prompt of so many tokens.
    pub(crate) target_prefill: AffineMs,
    /// Server: a pass of the other layers.
    pub(crate) target_pass: PassMs,
    /// Bytes of a token's activations on the wire.
    pub(crate) activation_bytes: f64,
    /// Share of the target's operations for a prompt that the edge does, encoding included, in 0..=1.
    pub(crate) edge_prompt_share: f64,
    /// The same for a token of the answer.
    pub(crate) edge_token_share: f64,
}

/// Milliseconds of each step, on machines that do nothing else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepTimes {
    /// Edge: scoring a question for MAS.
    pub(crate) probe_ms: f64,
    /// Edge: what of encoding comes before scoring, or before the first pass where nothing is scored, for a prompt of so
    /// many edge tokens.
    #[serde(default)]
    pub(crate) edge_encode: AffineMs,
    /// Edge: the rest of encoding, and first pass over a prompt of so many edge tokens; its first token comes with it.
    pub(crate) edge_prefill: AffineMs,
    /// Edge: one decode step.
    pub(crate) edge_decode_ms: f64,
    /// Client: compressing a prompt of so many bytes, beside the model.
    #[serde(default)]
    pub(crate) compress: AffineMs,
    /// Server: decoding a prompt of so many bytes, beside the model, one after the other.
    #[serde(default)]
    pub(crate) decode_media: AffineMs,
    /// Target: encoding and first pass over a prompt of so many target tokens; its first token comes with it.
    pub(crate) target_prefill: AffineMs,
    /// Target: decode steps and verifications of all requests under way.
    pub(crate) target_pass: PassMs,
    /// Draft model on the server: first pass over a prompt of so many target tokens.
    pub(crate) co_located_prefill: AffineMs,
    /// Draft model on the server: a decode step of all that want drafts.
    pub(crate) co_located_pass: PassMs,
    /// Needed for the layer-wise split alone.
    #[serde(default)]
    pub(crate) split: Option<SplitTimes>,
}

impl StepTimes {
    /// Holds what came from outside to what the simulation can work with.
    ///
    /// # Errors
    /// If a time is negative or no number.
    pub(crate) fn validate(&self) -> Result<()> {
        let mut lines = vec![
            self.edge_encode,
            self.edge_prefill,
            self.compress,
            self.decode_media,
            self.target_prefill,
            self.co_located_prefill,
        ];
        let mut passes = vec![self.target_pass, self.co_located_pass];
        let mut steps = vec![self.probe_ms, self.edge_decode_ms];
        if let Some(split) = &self.split {
            lines.extend([split.edge_prefill, split.target_prefill]);
            passes.push(split.target_pass);
            steps.extend([split.edge_step_ms, split.activation_bytes]);
            let shares = [split.edge_prompt_share, split.edge_token_share];
            ensure!(
                shares.iter().all(|share| (0.0..=1.0).contains(share)),
                "the edge's shares of the split are {shares:?}: give shares in 0..=1"
            );
        }
        steps.extend(lines.iter().flat_map(|line| [line.base_ms, line.per_unit_ms]));
        ensure!(
            steps.iter().all(|ms| ms.is_finite() && *ms >= 0.0) && passes.iter().all(PassMs::is_valid),
            "a step time is negative or no number: give milliseconds of at least 0"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_free_until_their_arithmetic_outlasts_the_weights() {
        let pass = PassMs { base_ms: 1.0, streaming_ms: 10.0, per_row_ms: 0.5, ..PassMs::default() };
        let ms = |rows| pass.ms(PassWork { requests: 1.0, rows, context_tokens: 0.0 });
        assert_eq!((ms(0.0), ms(1.0), ms(20.0), ms(40.0)), (0.0, 11.0, 11.0, 21.0));
        assert_eq!(pass.line(0.0), AffineMs { base_ms: 11.0, per_unit_ms: 0.0 });
    }

    #[test]
    fn a_negative_time_is_refused() {
        let text = r#"{"probe_ms": 1, "edge_prefill": {"base_ms": 1, "per_unit_ms": 0}, "edge_decode_ms": -1,
            "target_prefill": {"base_ms": 1, "per_unit_ms": 0}, "target_pass": {"base_ms": 1, "per_row_ms": 0},
            "co_located_prefill": {"base_ms": 1, "per_unit_ms": 0}, "co_located_pass": {"base_ms": 1, "per_row_ms": 0}}"#;
        let times: StepTimes = serde_json::from_str(text).unwrap();
        assert!(times.validate().is_err());
        assert!(StepTimes { edge_decode_ms: 0.1, ..times }.validate().is_ok());
    }
}
