//! What named machines can do at best, from their data sheets, and how much of that a runtime attains.

use serde::Serialize;

/// A machine that runs a model in 16-bit floating point.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Hardware {
    /// As tables show it.
    pub(crate) name: &'static str,
    /// Dense 16-bit floating-point operations a second.
    pub(crate) peak_flops_per_s: f64,
    /// Memory bandwidth.
    pub(crate) bandwidth_bytes_per_s: f64,
}

/// NVIDIA Ampere GA102 white paper: 71 TFLOP/s dense FP16 with FP32 accumulation, 936 GB/s.
pub(crate) const RTX_3090: Hardware =
    Hardware { name: "RTX 3090", peak_flops_per_s: 71e12, bandwidth_bytes_per_s: 936e9 };

/// NVIDIA A100 data sheet, 40 GB SXM: 312 TFLOP/s dense BF16, 1,555 GB/s.
pub(crate) const A100_40GB: Hardware =
    Hardware { name: "A100 40 GB", peak_flops_per_s: 312e12, bandwidth_bytes_per_s: 1_555e9 };

/// NVIDIA H200 data sheet, SXM: 1,979 TFLOP/s BF16 with sparsity, half of that dense, and 4.8 TB/s.
pub(crate) const H200: Hardware =
    Hardware { name: "H200", peak_flops_per_s: 989e12, bandwidth_bytes_per_s: 4_800e9 };

/// A laptop with Apple's M3: 100 GB/s (Apple); 10 GPU cores of 128 lanes at 1.38 GHz, reckoned, not published.
pub(crate) const LAPTOP_M3: Hardware =
    Hardware { name: "laptop (M3)", peak_flops_per_s: 3.5e12, bandwidth_bytes_per_s: 100e9 };

/// A phone with Snapdragon 8 Gen 3: LPDDR5X at 4.8 GHz, 77 GB/s (Qualcomm); 1,536 GPU lanes at 0.9 GHz with FP16 at
/// twice the FP32 rate, reckoned, not published.
pub(crate) const PHONE_8_GEN_3: Hardware =
    Hardware { name: "phone (8 Gen 3)", peak_flops_per_s: 5.5e12, bandwidth_bytes_per_s: 77e9 };

/// What a runtime attains of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Runtime {
    /// As tables show it.
    pub(crate) name: &'static str,
    /// Share of the peak operations that large products attain, in (0, 1].
    pub(crate) attainable_flops: f64,
    /// Share of the bandwidth that reading weights attains, in (0, 1].
    pub(crate) attainable_bandwidth: f64,
    /// What each layer costs beside its arithmetic: dispatch and small kernels.
    pub(crate) layer_overhead_ms: f64,
}

/// PyTorch without graphs, as the paper's figures suggest: 0.5 ms a layer give 37 and 54 tokens a second for the paper's
/// target on its A100 and draft on its RTX 3090, where the paper reports 35 and about 60. (`transformers` on an H200
/// took 0.6 ms a layer of a small model.)
pub(crate) const EAGER: Runtime =
    Runtime { name: "eager", attainable_flops: 0.5, attainable_bandwidth: 0.8, layer_overhead_ms: 0.5 };

/// A serving engine with captured graphs: 20 us a layer.
pub(crate) const GRAPHS: Runtime =
    Runtime { name: "graphs", attainable_flops: 0.5, attainable_bandwidth: 0.8, layer_overhead_ms: 0.02 };

impl Hardware {
    /// Milliseconds of a step by the roofline: the longer of arithmetic and memory traffic.
    pub(crate) fn roofline_ms(&self, runtime: &Runtime, flops: f64, bytes: f64) -> f64 {
        self.compute_ms(runtime, flops).max(self.memory_ms(runtime, bytes))
    }

    /// Milliseconds of so many operations.
    pub(crate) fn compute_ms(&self, runtime: &Runtime, flops: f64) -> f64 {
        flops / (self.peak_flops_per_s * runtime.attainable_flops) * 1000.0
    }

    /// Milliseconds of reading so many bytes.
    pub(crate) fn memory_ms(&self, runtime: &Runtime, bytes: f64) -> f64 {
        bytes / (self.bandwidth_bytes_per_s * runtime.attainable_bandwidth) * 1000.0
    }
}
