//! What a speech model will take in memory, which runs on a processor beside the model that answers.

use super::{FLOAT_BYTES, Kept, MemoryPlan};
use crate::speech::WhisperConfig;
use crate::weights_format::WeightsFormat;

/// Samples of a position, which is 20 ms at 16 kHz.
const POSITION_SAMPLES: usize = 320;
/// Frames of the spectrogram in a position.
const POSITION_FRAMES: usize = 2;

impl MemoryPlan {
    /// What a speech model takes while it writes down a recording of one window, 30 s. Of a longer one each second takes 0.2 MB more.
    pub fn of_speech(config: &WhisperConfig, format: WeightsFormat) -> Self {
        let format = if format == WeightsFormat::Stored { WeightsFormat::F32 } else { format };
        let kept = Kept::of(config.tensors(), format);
        // Keys and values of what is heard, and of what is written about it.
        let rows = config.max_source_positions + config.max_target_positions;
        let kv_bytes = (config.decoder_layers * rows * 2 * config.d_model) as u64 * FLOAT_BYTES;
        Self {
            format,
            context: config.max_target_positions,
            weights_bytes: kept.weights_bytes,
            tables_bytes: kept.tables_bytes,
            kv_bytes,
            activations_bytes: activations(config),
            peak_loading_bytes: kept.peak_loading_bytes(),
            largest_tensor_bytes: kept.largest_bytes,
        }
    }

    /// The plans of a format and of all that are smaller, as [`Self::of_formats`] has them.
    pub fn of_speech_formats(config: &WhisperConfig, format: WeightsFormat) -> Vec<Self> {
        let first = Self::of_speech(config, format);
        let smaller = std::iter::successors(first.format.smaller(), |format| format.smaller());
        let plans = smaller.map(|format| Self::of_speech(config, format));
        std::iter::once(first).chain(plans).collect()
    }
}

/// Bytes of the encoder's buffers for a window, with its sound.
fn activations(config: &WhisperConfig) -> u64 {
    let positions = config.max_source_positions;
    // The sound as it came and at 16 kHz; its spectrogram in twice the precision, and rounded.
    let sound = 2 * positions * POSITION_SAMPLES + 3 * positions * POSITION_FRAMES * config.num_mel_bins;
    // Both convolutions with what they gather, at the spectrogram's rate.
    let convolved = POSITION_FRAMES * (3 * config.num_mel_bins + 6 * config.d_model);
    // Residual, its copy, normed, queries, keys and values twice, attended, inner; and keys with values for the decoder.
    let layers = 12 * config.d_model + config.encoder_ffn_dim;
    (sound + positions * convolved.max(layers) + config.vocab_size) as u64 * FLOAT_BYTES
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Published sizes: width, layers of each half.
    fn whisper(d_model: usize, layers: usize) -> WhisperConfig {
        let config = json!({
            "model_type": "whisper", "d_model": d_model, "encoder_layers": layers, "decoder_layers": layers,
            "encoder_attention_heads": d_model / 64, "decoder_attention_heads": d_model / 64,
            "encoder_ffn_dim": 4 * d_model, "decoder_ffn_dim": 4 * d_model, "num_mel_bins": 80,
            "max_source_positions": 1_500, "max_target_positions": 448, "vocab_size": 51_865,
        });
        WhisperConfig::from_json(config.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_speech_model_takes_its_weights_and_a_window() {
        let (tiny, base) = (whisper(384, 4), whisper(512, 6));
        let of = |config, format| MemoryPlan::of_speech(config, format);
        let plan = of(&tiny, WeightsFormat::Stored);
        assert_eq!(plan.format, WeightsFormat::F32);
        assert_eq!(plan.weights_bytes + plan.tables_bytes, tiny.weights_bytes(WeightsFormat::F32));
        assert_eq!(plan.kv_bytes, 4 * 1_948 * 2 * 384 * 4);
        assert!(plan.peak_bytes() > plan.weights_bytes + plan.tables_bytes + (60 << 20), "{plan}");
        assert!(plan.peak_bytes() < of(&base, WeightsFormat::F32).peak_bytes());
        let plans = MemoryPlan::of_speech_formats(&base, WeightsFormat::Stored);
        let formats: Vec<WeightsFormat> = plans.iter().map(|plan| plan.format).collect();
        assert_eq!(formats, WeightsFormat::ALL);
        assert!(plans.is_sorted_by(|one, next| one.peak_bytes() > next.peak_bytes()));
        assert_eq!(MemoryPlan::of_speech_formats(&base, WeightsFormat::Int8).len(), 2);
    }
}
