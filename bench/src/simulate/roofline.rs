//! Step times of a pair of models on named machines, by the roofline: the longer of arithmetic and memory traffic, and
//! an overhead for each layer.
//!
//! Prompts are reckoned per token at the operations of a typical one, so that they stay affine; encoding an image counts
//! with its tokens. Early layers of the edge's encoder are the probe.

use msao_planner::{cost::TokenFlops, estimate::AffineMs};

use super::hardware::{Hardware, Runtime};
use super::model_size::ModelSize;
use super::times::{PassMs, SplitTimes, StepTimes};

/// Layers of the edge's encoder that MAS looks at.
const PROBE_LAYERS: f64 = 2.0;
/// Bytes of an activation on the wire.
const ACTIVATION_BYTES: f64 = 2.0;

/// A draft model on the edge and a target in the cloud.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pair {
    pub(crate) edge: Hardware,
    pub(crate) cloud: Hardware,
    pub(crate) draft: ModelSize,
    pub(crate) target: ModelSize,
    pub(crate) runtime: Runtime,
    /// Tokens of a typical prompt, nearly all of them of an image.
    pub(crate) prompt_tokens: f64,
    /// Layers of the target that the layer-wise split runs on the edge.
    pub(crate) split_layers: f64,
}

impl Pair {
    /// All step times.
    pub(crate) fn step_times(&self) -> StepTimes {
        StepTimes {
            probe_ms: self.probe_ms(),
            edge_prefill: self.prefill(&self.edge, &self.draft),
            edge_decode_ms: self.pass(&self.edge, &self.draft).line(self.prompt_tokens).ms(1.0),
            target_prefill: self.prefill(&self.cloud, &self.target),
            target_pass: self.pass(&self.cloud, &self.target),
            co_located_prefill: self.prefill(&self.cloud, &self.draft),
            co_located_pass: self.pass(&self.cloud, &self.draft),
            split: Some(self.split()),
            ..StepTimes::default()
        }
    }

    /// Operations of one token of each model.
    pub(crate) fn token_flops(&self) -> TokenFlops {
        TokenFlops {
            edge: self.draft.token_flops(self.prompt_tokens),
            target: self.target.token_flops(self.prompt_tokens),
            co_located: self.draft.token_flops(self.prompt_tokens),
        }
    }

    fn probe_ms(&self) -> f64 {
        let vision = &self.draft.vision;
        let share = PROBE_LAYERS / vision.layers;
        let (flops, bytes) =
            (vision.flops(self.prompt_tokens), vision.weights() * self.draft.bytes_per_weight);
        self.edge.roofline_ms(&self.runtime, share * flops, share * bytes)
            + PROBE_LAYERS * self.runtime.layer_overhead_ms
    }

    /// Encoding and reading a prompt.
    fn prefill(&self, machine: &Hardware, model: &ModelSize) -> AffineMs {
        let overhead_ms = self.runtime.layer_overhead_ms * (model.layers + model.vision.layers);
        let flops = model.prompt_flops(self.prompt_tokens) + model.vision.flops(self.prompt_tokens);
        let bytes = (model.step_weights() + model.vision.weights()) * model.bytes_per_weight;
        self.affine(machine, overhead_ms, flops, bytes)
    }

    /// The line from reading the weights alone to the typical prompt.
    fn affine(&self, machine: &Hardware, overhead_ms: f64, flops: f64, bytes: f64) -> AffineMs {
        let compute_ms = machine.compute_ms(&self.runtime, flops);
        let memory_ms = machine.memory_ms(&self.runtime, bytes);
        if compute_ms > memory_ms {
            AffineMs { base_ms: overhead_ms, per_unit_ms: compute_ms / self.prompt_tokens }
        } else {
            AffineMs { base_ms: overhead_ms + memory_ms, per_unit_ms: 0.0 }
        }
    }

    fn pass(&self, machine: &Hardware, model: &ModelSize) -> PassMs {
        let bytes = model.step_weights() * model.bytes_per_weight;
        PassMs {
            base_ms: self.runtime.layer_overhead_ms * model.layers,
            per_request_ms: 0.0,
            streaming_ms: machine.memory_ms(&self.runtime, bytes),
            per_context_token_ms: machine.memory_ms(&self.runtime, model.kv_bytes_per_token()),
            per_row_ms: machine.compute_ms(&self.runtime, model.token_flops(self.prompt_tokens)),
        }
    }

    fn split(&self) -> SplitTimes {
        let target = &self.target;
        let share = (self.split_layers / target.layers).clamp(0.0, 1.0);
        let part = |share: f64| ModelSize { layers: share * target.layers, ..*target };
        let (first, rest) = (part(share), part(1.0 - share));
        let overhead_ms = self.runtime.layer_overhead_ms * (first.layers + target.vision.layers);
        let first_bytes = first.layers * first.layer_weights() * first.bytes_per_weight;
        let first_flops = first.prompt_flops(self.prompt_tokens) - 2.0 * first.head_weights();
        let edge_flops = first_flops + target.vision.flops(self.prompt_tokens);
        let edge_bytes = first_bytes + target.vision.weights() * target.bytes_per_weight;
        let rest_ms = self.runtime.layer_overhead_ms * rest.layers;
        let rest_bytes = rest.step_weights() * rest.bytes_per_weight;
        SplitTimes {
            edge_prefill: self.affine(&self.edge, overhead_ms, edge_flops, edge_bytes),
            edge_step_ms: self.runtime.layer_overhead_ms * first.layers
                + self.edge.memory_ms(&self.runtime, first_bytes),
            target_prefill: self.affine(
                &self.cloud,
                rest_ms,
                rest.prompt_flops(self.prompt_tokens),
                rest_bytes,
            ),
            target_pass: self.pass(&self.cloud, &rest),
            activation_bytes: target.hidden_size * ACTIVATION_BYTES,
            edge_prompt_share: edge_flops
                / (target.prompt_flops(self.prompt_tokens) + target.vision.flops(self.prompt_tokens)),
            edge_token_share: 1.0
                - rest.token_flops(self.prompt_tokens) / target.token_flops(self.prompt_tokens),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::hardware::{A100_40GB, EAGER, GRAPHS, H200, RTX_3090};
    use crate::simulate::model_size::{QWEN2_5_VL_7B, QWEN2_VL_2B};
    use crate::simulate::times::PassWork;

    fn pair(cloud: Hardware, runtime: Runtime) -> Pair {
        Pair {
            edge: RTX_3090,
            cloud,
            draft: QWEN2_VL_2B,
            target: QWEN2_5_VL_7B,
            runtime,
            prompt_tokens: 400.0,
            split_layers: 8.0,
        }
    }

    fn decode_ms(times: &StepTimes) -> f64 {
        times.target_pass.ms(PassWork { requests: 1.0, rows: 1.0, context_tokens: 400.0 })
    }

    #[test]
    fn the_papers_speeds_come_out_within_a_fifth() {
        let times = pair(A100_40GB, EAGER).step_times();
        let (cloud, edge) = (1000.0 / decode_ms(&times), 1000.0 / times.edge_decode_ms);
        assert!((cloud / 35.0 - 1.0).abs() < 0.2, "{cloud} tokens a second in the cloud");
        assert!((edge / 60.0 - 1.0).abs() < 0.2, "{edge} tokens a second on the edge");
    }

    #[test]
    fn faster_machines_and_fewer_layers_are_faster() {
        let (a100, h200) = (pair(A100_40GB, GRAPHS).step_times(), pair(H200, GRAPHS).step_times());
        assert!(decode_ms(&h200) < 0.4 * decode_ms(&a100));
        assert!(h200.target_prefill.ms(400.0) < 0.4 * a100.target_prefill.ms(400.0));
        let split = a100.split.unwrap();
        assert!(split.target_prefill.ms(400.0) < a100.target_prefill.ms(400.0));
        assert!((0.3..0.6).contains(&split.edge_prompt_share), "{}", split.edge_prompt_share);
    }

    #[test]
    fn a_batch_shares_the_weights() {
        let pass = pair(A100_40GB, GRAPHS).step_times().target_pass;
        let ms =
            |requests: f64| pass.ms(PassWork { requests, rows: requests, context_tokens: 400.0 * requests });
        assert!(ms(32.0) < 1.2 * ms(1.0), "{} for {}", ms(32.0), ms(1.0));
        assert!(ms(400.0) > 2.0 * ms(1.0));
    }
}
