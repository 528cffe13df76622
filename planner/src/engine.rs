//! Which of the browser's two engines serves, from a short measurement of both.

use serde::{Deserialize, Serialize};

/// An engine module of the edge runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineKind {
    /// WebAssembly with 128-bit SIMD on one CPU thread.
    Simd,
    /// WebGPU compute.
    Webgpu,
}

/// What a warmed-up engine took for one and the same short prompt.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EngineTimings {
    /// Encoding the media and the first pass over the prompt, in milliseconds.
    pub prefill_ms: f64,
    /// One decode step, in milliseconds.
    pub decode_step_ms: f64,
}

impl EngineTimings {
    /// Time to the end of an answer of `tokens` tokens: `prefill + (tokens - 1) * decode_step`, in milliseconds.
    pub fn answer_ms(&self, tokens: u32) -> f64 {
        self.prefill_ms + f64::from(tokens.saturating_sub(1)) * self.decode_step_ms
    }
}

/// Tokens of a typical answer, for which the engines are compared.
const TYPICAL_ANSWER_TOKENS: u32 = 16;

/// WebGPU has to win by this factor before the page moves to it: a change costs a second download, and the
/// measurement is short and noisy.
const WEBGPU_ADVANTAGE: f64 = 0.8;

/// Chooses the engine that answers sooner; SIMD when WebGPU is absent, broken or not clearly faster.
///
/// WebGPU is often the slower one for small models: each layer costs several dispatches whatever its size.
pub fn choose_engine(simd: EngineTimings, webgpu: Option<EngineTimings>) -> EngineKind {
    let Some(webgpu) = webgpu else { return EngineKind::Simd };
    let (simd_ms, webgpu_ms) =
        (simd.answer_ms(TYPICAL_ANSWER_TOKENS), webgpu.answer_ms(TYPICAL_ANSWER_TOKENS));
    if webgpu_ms < WEBGPU_ADVANTAGE * simd_ms { EngineKind::Webgpu } else { EngineKind::Simd }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn timings(prefill_ms: f64, decode_step_ms: f64) -> EngineTimings {
        EngineTimings { prefill_ms, decode_step_ms }
    }

    #[test]
    fn without_webgpu_simd_serves() {
        assert_eq!(choose_engine(timings(1e9, 1e9), None), EngineKind::Simd);
    }

    #[test]
    fn a_near_tie_stays_on_simd() {
        assert_eq!(choose_engine(timings(100.0, 2.0), Some(timings(95.0, 1.9))), EngineKind::Simd);
    }

    #[test]
    fn a_broken_measurement_never_selects_webgpu() {
        assert_eq!(choose_engine(timings(100.0, 2.0), Some(timings(f64::NAN, 0.1))), EngineKind::Simd);
    }

    proptest! {
        #[test]
        fn the_choice_is_never_the_slower_one(
            simd in (0.1..1e4, 0.01..1e3), webgpu in (0.1..1e4, 0.01..1e3),
        ) {
            let (simd, webgpu) = (timings(simd.0, simd.1), timings(webgpu.0, webgpu.1));
            if choose_engine(simd, Some(webgpu)) == EngineKind::Webgpu {
                prop_assert!(webgpu.answer_ms(TYPICAL_ANSWER_TOKENS) < simd.answer_ms(TYPICAL_ANSWER_TOKENS));
            }
        }
    }
}
