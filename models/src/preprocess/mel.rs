//! Whisper's log-mel spectrogram.
//!
//! Follows `WhisperFeatureExtractor` of transformers: frames of `n_fft` samples every `hop_length`, centred
//! with reflected edges, a periodic Hann window, the power spectrum through Slaney's mel filters, log10, at
//! most 8 below the clip's maximum, then (x + 4) / 4. Computed in f64, so that faint bands agree as well.

use std::f64::consts::TAU;

use super::fft::Fft;

/// Power below which everything is the same silence.
const POWER_FLOOR: f64 = 1e-10;
/// Span of the kept dynamic range, in powers of ten.
const DYNAMIC_RANGE: f64 = 8.0;

/// The numbers that define a log-mel spectrogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MelConfig {
    /// Samples a second of the input.
    pub sample_rate_hz: u32,
    /// Length of a frame and of its transform, in samples; even.
    pub n_fft: usize,
    /// Samples from one frame to the next.
    pub hop_length: usize,
    /// Number of mel bands.
    pub num_mel_bins: usize,
}

/// Computes log-mel spectrograms; its tables are made once.
#[derive(Debug, Clone)]
pub struct MelSpectrogram {
    config: MelConfig,
    window: Vec<f64>,
    filters: Vec<MelFilter>,
    transform: Fft,
}

/// One triangle over the bins of the power spectrum.
#[derive(Debug, Clone)]
struct MelFilter {
    first_bin: usize,
    weights: Vec<f64>,
}

impl MelSpectrogram {
    /// Makes the window, the filters and the transform.
    ///
    /// # Panics
    /// When a number of the configuration is zero or `n_fft` is odd; [`super::Preprocessor`] refuses such files.
    pub fn new(config: MelConfig) -> Self {
        let MelConfig { sample_rate_hz, n_fft, hop_length, num_mel_bins } = config;
        assert!(n_fft > 0 && n_fft.is_multiple_of(2), "n_fft is {n_fft}");
        assert!(sample_rate_hz > 0 && hop_length > 0 && num_mel_bins > 0, "{config:?}");
        let window = (0..n_fft).map(|n| 0.5 - 0.5 * (TAU * n as f64 / n_fft as f64).cos()).collect();
        let filters = slaney_filters(f64::from(sample_rate_hz), n_fft / 2 + 1, num_mel_bins);
        Self { config, window, filters, transform: Fft::new(n_fft) }
    }

    /// Frames that a clip of `samples` samples gives.
    pub fn num_frames(&self, samples: usize) -> usize {
        samples / self.config.hop_length
    }

    /// The log-mel spectrogram of a clip at the configured rate.
    ///
    /// # Shapes
    /// `[num_mel_bins, num_frames(samples.len())]`, row-major.
    ///
    /// # Panics
    /// When the clip is not longer than half a frame, so that its edges cannot be reflected.
    pub fn log_mel(&self, samples: &[f32]) -> Vec<f32> {
        let half = self.config.n_fft / 2;
        assert!(samples.len() > half, "{} samples cannot be reflected by {half}", samples.len());
        let frames = self.num_frames(samples.len());
        let bins = self.config.num_mel_bins;
        let mut log_power = vec![0.0_f64; bins * frames];
        let mut windowed = vec![0.0_f64; self.config.n_fft];
        let mut spectrum = vec![[0.0_f64; 2]; self.config.n_fft];
        let mut power = vec![0.0_f64; half + 1];
        for frame in 0..frames {
            let start = (frame * self.config.hop_length) as isize - half as isize;
            for (n, (value, weight)) in windowed.iter_mut().zip(&self.window).enumerate() {
                let sample = samples[reflect(start + n as isize, samples.len())];
                *value = f64::from(sample) * weight;
            }
            self.transform.transform(&windowed, &mut spectrum);
            for (value, [real, imaginary]) in power.iter_mut().zip(&spectrum) {
                *value = real * real + imaginary * imaginary;
            }
            for (band, filter) in self.filters.iter().enumerate() {
                let covered = &power[filter.first_bin..];
                let energy: f64 = filter.weights.iter().zip(covered).map(|(weight, bin)| weight * bin).sum();
                log_power[band * frames + frame] = energy.max(POWER_FLOOR).log10();
            }
        }
        let floor = log_power.iter().copied().fold(f64::NEG_INFINITY, f64::max) - DYNAMIC_RANGE;
        log_power.iter().map(|&value| ((value.max(floor) + 4.0) / 4.0) as f32).collect()
    }
}

/// Mirrors a position at both ends, without repeating the end itself.
fn reflect(position: isize, length: usize) -> usize {
    let last = length as isize - 1;
    let position = position.abs();
    (if position > last { 2 * last - position } else { position }) as usize
}

/// Triangles that are evenly spaced in mel, each of unit area, from 0 Hz to half the rate.
fn slaney_filters(sample_rate_hz: f64, num_bins: usize, num_mel_bins: usize) -> Vec<MelFilter> {
    let top_mel = hertz_to_mel(sample_rate_hz / 2.0);
    let edge_hz = |index: usize| mel_to_hertz(top_mel * index as f64 / (num_mel_bins + 1) as f64);
    let bin_hz = |bin: usize| sample_rate_hz / 2.0 * bin as f64 / (num_bins - 1) as f64;
    (0..num_mel_bins)
        .map(|band| {
            let (low, center, high) = (edge_hz(band), edge_hz(band + 1), edge_hz(band + 2));
            let weight = |bin| {
                let (rising, falling) =
                    ((bin_hz(bin) - low) / (center - low), (high - bin_hz(bin)) / (high - center));
                rising.min(falling).max(0.0) * 2.0 / (high - low)
            };
            let first_bin = (0..num_bins).find(|&bin| weight(bin) > 0.0).unwrap_or(0);
            let weights = (first_bin..num_bins).map(weight).take_while(|&weight| weight > 0.0).collect();
            MelFilter { first_bin, weights }
        })
        .collect()
}

/// Slaney's scale turns from linear to logarithmic here.
const KNEE_HZ: f64 = 1000.0;
const KNEE_MEL: f64 = 15.0;
const LINEAR_HZ_PER_MEL: f64 = 200.0 / 3.0;

/// Logarithmic steps above the knee: 27 mel for each factor of 6.4.
fn log_step() -> f64 {
    27.0 / 6.4_f64.ln()
}

fn hertz_to_mel(hertz: f64) -> f64 {
    if hertz < KNEE_HZ { hertz / LINEAR_HZ_PER_MEL } else { KNEE_MEL + (hertz / KNEE_HZ).ln() * log_step() }
}

fn mel_to_hertz(mel: f64) -> f64 {
    if mel < KNEE_MEL { mel * LINEAR_HZ_PER_MEL } else { KNEE_HZ * ((mel - KNEE_MEL) / log_step()).exp() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHISPER: MelConfig =
        MelConfig { sample_rate_hz: 16_000, n_fft: 400, hop_length: 160, num_mel_bins: 80 };

    #[test]
    fn silence_is_the_floor() {
        let mel = MelSpectrogram::new(WHISPER).log_mel(&[0.0; 1_600]);
        assert_eq!(mel, vec![-1.5; 80 * 10]);
    }

    #[test]
    fn a_tone_lights_its_own_band() {
        let tone: Vec<f32> =
            (0..16_000).map(|n| (TAU * 1_000.0 * f64::from(n) / 16_000.0).sin() as f32).collect();
        let mel = MelSpectrogram::new(WHISPER).log_mel(&tone);
        let middle = |band: usize| mel[band * 100 + 50];
        let loudest = (0..80).max_by(|&a, &b| middle(a).total_cmp(&middle(b))).expect("bands");
        // 1,000 Hz is mel 15 of 45.2; band b is centred on mel 45.2 (b + 1) / 81.
        assert!((25..=27).contains(&loudest), "band {loudest}");
    }

    #[test]
    fn mel_and_hertz_are_inverse() {
        for hertz in [0.0, 440.0, 1_000.0, 7_999.0] {
            assert!((mel_to_hertz(hertz_to_mel(hertz)) - hertz).abs() < 1e-9);
        }
    }
}
