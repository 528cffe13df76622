//! Change of sampling rate by a Kaiser-windowed sinc, without a clock or a stream: a whole recording at once.
//!
//! The filter is the one that torchaudio and resampy call `kaiser_best`: 64 zero crossings a side, cut off at
//! 0.9476 of the lower Nyquist frequency, beta 14.77, so that what would alias is far below hearing. Its
//! phases are tabulated once per pair of rates.

/// Zero crossings of the sinc on each side of its centre.
const ZERO_CROSSINGS: f64 = 64.0;
/// Cut-off relative to the lower of the two Nyquist frequencies.
const ROLLOFF: f64 = 0.947_593_716_739_959_6;
/// Shape of the Kaiser window.
const BETA: f64 = 14.769_656_459_379_492;
/// Rates whose ratio has more phases than this are interpolated between [`COARSE_PHASES`] of them.
const MAX_EXACT_PHASES: u32 = 640;
/// Linear interpolation between so many phases errs by less than -90 dB.
const COARSE_PHASES: u32 = 512;

/// Converts between two fixed sampling rates.
#[derive(Debug, Clone)]
pub struct Resampler {
    /// Input and output samples after which the phases repeat (the rates over their greatest divisor).
    input_period: u64,
    output_period: u64,
    /// Taps on each side of the output position, in input samples.
    half_taps: usize,
    /// `phases + 1` filters of `2 * half_taps` taps; the last is the first, shifted by one sample.
    filters: Vec<f32>,
    phases: u32,
}

impl Resampler {
    /// Tabulates the filters from one rate to another.
    ///
    /// # Panics
    /// When a rate is zero; [`super::Pcm`] guarantees rates far from it.
    pub fn new(from_hz: u32, to_hz: u32) -> Self {
        assert!(from_hz > 0 && to_hz > 0, "resampling from {from_hz} Hz to {to_hz} Hz");
        let divisor = greatest_common_divisor(from_hz, to_hz);
        let output_period = to_hz / divisor;
        let phases = if output_period <= MAX_EXACT_PHASES { output_period } else { COARSE_PHASES };
        // In units of half the input rate.
        let cutoff = ROLLOFF * (f64::from(to_hz) / f64::from(from_hz)).min(1.0);
        let half_width = ZERO_CROSSINGS / cutoff;
        let half_taps = half_width.ceil() as usize;
        let window_peak = bessel_i0(BETA);
        let mut filters = Vec::with_capacity((phases as usize + 1) * 2 * half_taps);
        for phase in 0..=phases {
            let fraction = f64::from(phase) / f64::from(phases);
            for tap in 0..2 * half_taps {
                // Distance from the output position to input sample `floor(position) + 1 - half_taps + tap`.
                let distance = tap as f64 + 1.0 - half_taps as f64 - fraction;
                let edge = distance / half_width;
                let weight = if edge.abs() >= 1.0 {
                    0.0
                } else {
                    cutoff * sinc(cutoff * distance) * bessel_i0(BETA * (1.0 - edge * edge).sqrt())
                        / window_peak
                };
                filters.push(weight as f32);
            }
        }
        let (input_period, output_period) = (u64::from(from_hz / divisor), u64::from(output_period));
        Self { input_period, output_period, half_taps, filters, phases }
    }

    /// Resamples a whole recording, with silence before and after it, but makes no more than `max_outputs`
    /// samples (a model looks at the first seconds only). Equal rates copy.
    pub fn resample(&self, samples: &[f32], max_outputs: usize) -> Vec<f32> {
        if self.input_period == self.output_period {
            return samples[..samples.len().min(max_outputs)].to_vec();
        }
        let whole = (samples.len() as u64 * self.output_period).div_ceil(self.input_period);
        let outputs = whole.min(max_outputs as u64);
        (0..outputs).map(|output| self.output_sample(samples, output)).collect()
    }

    fn output_sample(&self, samples: &[f32], output: u64) -> f32 {
        let position = output * self.input_period;
        let whole = (position / self.output_period) as usize;
        // Exact where the table holds every phase: then the remainder below is zero.
        let scaled = (position % self.output_period) * u64::from(self.phases);
        let phase = (scaled / self.output_period) as usize;
        let between = (scaled % self.output_period) as f32 / self.output_period as f32;
        let lower = self.filtered(samples, whole, phase);
        if between == 0.0 {
            return lower;
        }
        lower + between * (self.filtered(samples, whole, phase + 1) - lower)
    }

    fn filtered(&self, samples: &[f32], whole: usize, phase: usize) -> f32 {
        let taps = 2 * self.half_taps;
        let filter = &self.filters[phase * taps..(phase + 1) * taps];
        // Input positions first..first+taps, of which those outside the recording are silent.
        let skipped = (self.half_taps - 1).saturating_sub(whole);
        let first = (whole + 1 + skipped).saturating_sub(self.half_taps);
        let available = &samples[first.min(samples.len())..];
        dot(available, &filter[skipped..])
    }
}

/// Sums in eight lanes, which compilers turn into SIMD; stops at the shorter of the two.
fn dot(left: &[f32], right: &[f32]) -> f32 {
    let length = left.len().min(right.len());
    let (left_lanes, left_rest) = left[..length].as_chunks::<8>();
    let (right_lanes, right_rest) = right[..length].as_chunks::<8>();
    let mut sums = [0.0_f32; 8];
    for (a, b) in left_lanes.iter().zip(right_lanes) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = left_rest.iter().zip(right_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = x * std::f64::consts::PI;
    x.sin() / x
}

/// Modified Bessel function of the first kind and order zero, by its power series.
fn bessel_i0(x: f64) -> f64 {
    let quarter_square = x * x / 4.0;
    let (mut sum, mut term, mut k) = (1.0, 1.0, 1.0);
    while term > sum * 1e-17 {
        term *= quarter_square / (k * k);
        sum += term;
        k += 1.0;
    }
    sum
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preprocess::AudioLevel;

    fn tone(frequency_hz: f64, rate_hz: u32, seconds: f64) -> Vec<f32> {
        let count = (f64::from(rate_hz) * seconds) as usize;
        let step = std::f64::consts::TAU * frequency_hz / f64::from(rate_hz);
        (0..count).map(|n| (step * n as f64).sin() as f32).collect()
    }

    #[test]
    fn what_would_alias_is_removed() {
        for (frequency_hz, rate_hz) in [(12_000.0, 48_000), (8_500.0, 44_100), (20_000.0, 44_100)] {
            let output =
                Resampler::new(rate_hz, 16_000).resample(&tone(frequency_hz, rate_hz, 1.0), usize::MAX);
            // The tone's hard start and end are broadband, so look between them.
            let level = AudioLevel::of(&output[1_000..15_000]);
            assert!(level.peak_dbfs < -80.0, "{frequency_hz} Hz at {rate_hz} Hz leaves {level:?}");
        }
    }

    #[test]
    fn what_can_be_heard_is_kept_at_any_rate() {
        for rate_hz in
            [8_000, 11_025, 15_999, 22_050, 24_000, 44_100, 44_101, 48_000, 96_000, 192_000, 384_000]
        {
            let output = Resampler::new(rate_hz, 16_000).resample(&tone(1_000.0, rate_hz, 0.5), usize::MAX);
            assert_eq!(output.len(), 8_000, "{rate_hz} Hz");
            let expected = tone(1_000.0, 16_000, 0.5);
            let error = output[1_000..7_000].iter().zip(&expected[1_000..7_000]).map(|(a, b)| (a - b).abs());
            let error = error.fold(0.0, f32::max);
            assert!(error < 1e-4, "{rate_hz} Hz: off by {error}");
        }
    }

    #[test]
    fn only_the_asked_for_samples_are_made() {
        let input = tone(440.0, 48_000, 1.0);
        let resampler = Resampler::new(48_000, 16_000);
        let whole = resampler.resample(&input, usize::MAX);
        assert_eq!(resampler.resample(&input, 100), whole[..100]);
        assert!(resampler.resample(&[], usize::MAX).is_empty());
        assert_eq!(resampler.resample(&[1.0], usize::MAX).len(), 1);
        assert_eq!(Resampler::new(16_000, 16_000).resample(&input, 5), input[..5]);
    }
}
