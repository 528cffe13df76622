//! Recordings as WAV files: what the wire carries.
//!
//! 16 kHz, mono, 16-bit PCM: 32 kB a second. Both models hear 16 kHz; more would be sent for nothing.

/// Samples in a second of an encoded recording.
pub const SAMPLE_RATE_HZ: u32 = 16_000;

/// Bytes of a RIFF header with one `fmt ` and one `data` chunk.
const HEADER_BYTES: u32 = 44;
/// Half the width of the interpolation filter, in zero crossings.
const ZERO_CROSSINGS: f64 = 16.0;

/// Encodes one channel of `samples` in -1..=1, taken at `sample_rate_hz`, as a 16 kHz mono 16-bit WAV file.
/// Values outside the range are clipped; a rate of 0 gives an empty recording.
pub fn encode_wav(samples: &[f32], sample_rate_hz: u32) -> Vec<u8> {
    let samples = resample(samples, sample_rate_hz);
    let data_bytes = u32::try_from(samples.len() * 2).unwrap_or(u32::MAX - HEADER_BYTES);
    let mut wav = Vec::with_capacity(HEADER_BYTES as usize + samples.len() * 2);
    wav.extend(b"RIFF");
    wav.extend((HEADER_BYTES - 8 + data_bytes).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16_u32.to_le_bytes()); // bytes of this chunk
    wav.extend(1_u16.to_le_bytes()); // PCM
    wav.extend(1_u16.to_le_bytes()); // channels
    wav.extend(SAMPLE_RATE_HZ.to_le_bytes());
    wav.extend((SAMPLE_RATE_HZ * 2).to_le_bytes()); // bytes a second
    wav.extend(2_u16.to_le_bytes()); // bytes a frame
    wav.extend(16_u16.to_le_bytes()); // bits a sample
    wav.extend(b"data");
    wav.extend(data_bytes.to_le_bytes());
    for sample in samples {
        let scaled = (sample.clamp(-1.0, 1.0) * f32::from(i16::MAX)).round();
        wav.extend((scaled as i16).to_le_bytes());
    }
    wav
}

/// Band-limited resampling to [`SAMPLE_RATE_HZ`] with a Hann-windowed sinc; what lies above the lower of the
/// two Nyquist frequencies is removed.
fn resample(samples: &[f32], sample_rate_hz: u32) -> Vec<f32> {
    if sample_rate_hz == SAMPLE_RATE_HZ || samples.is_empty() {
        return samples.to_vec();
    }
    if sample_rate_hz == 0 {
        return Vec::new();
    }
    let step = f64::from(sample_rate_hz) / f64::from(SAMPLE_RATE_HZ);
    let cutoff = (1.0 / step).min(1.0);
    let half_width = ZERO_CROSSINGS / cutoff;
    let length = (samples.len() as f64 / step).floor() as usize;
    (0..length)
        .map(|index| {
            let centre = index as f64 * step;
            let first = (centre - half_width).ceil().max(0.0) as usize;
            let last = ((centre + half_width).floor() as usize).min(samples.len() - 1);
            let (mut sum, mut weights) = (0.0, 0.0);
            for (offset, &sample) in samples[first..=last].iter().enumerate() {
                let distance = (first + offset) as f64 - centre;
                let weight = sinc(distance * cutoff) * hann(distance / half_width);
                sum += weight * f64::from(sample);
                weights += weight;
            }
            (sum / weights) as f32
        })
        .collect()
}

/// `sin(pi x) / (pi x)`.
fn sinc(x: f64) -> f64 {
    let angle = std::f64::consts::PI * x;
    if angle.abs() < 1e-9 { 1.0 } else { angle.sin() / angle }
}

/// Hann's window over -1..=1.
fn hann(x: f64) -> f64 {
    0.5 + 0.5 * (std::f64::consts::PI * x).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(frequency_hz: f64, sample_rate_hz: u32, seconds: f64) -> Vec<f32> {
        let count = (f64::from(sample_rate_hz) * seconds) as usize;
        let angle = std::f64::consts::TAU * frequency_hz / f64::from(sample_rate_hz);
        (0..count).map(|index| (0.5 * (angle * index as f64).sin()) as f32).collect()
    }

    fn root_mean_square(samples: &[f32]) -> f32 {
        (samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32).sqrt()
    }

    #[test]
    fn the_header_describes_the_data() {
        let wav = encode_wav(&[0.0, 1.0, -2.0], SAMPLE_RATE_HZ);
        assert_eq!(wav.len(), 50);
        assert_eq!(&wav[..4], b"RIFF");
        assert_eq!(u32::from_le_bytes(wav[4..8].try_into().unwrap()) as usize, wav.len() - 8);
        assert_eq!(u32::from_le_bytes(wav[24..28].try_into().unwrap()), SAMPLE_RATE_HZ);
        assert_eq!(u32::from_le_bytes(wav[40..44].try_into().unwrap()), 6);
        assert_eq!(&wav[44..], [0, 0, 0xff, 0x7f, 0x01, 0x80]);
    }

    #[test]
    fn a_tone_keeps_its_form_at_any_rate() {
        let expected = tone(440.0, SAMPLE_RATE_HZ, 0.5);
        for rate in [8_000, 44_100, 48_000] {
            let resampled = resample(&tone(440.0, rate, 0.5), rate);
            assert!(resampled.len().abs_diff(expected.len()) <= 1, "{rate}");
            let inner = 100..resampled.len() - 100;
            let worst = inner.map(|i| (resampled[i] - expected[i]).abs()).fold(0.0, f32::max);
            assert!(worst < 2e-3, "off by {worst} from {rate} Hz");
        }
    }

    #[test]
    fn what_16_khz_cannot_hold_is_removed() {
        let resampled = resample(&tone(11_000.0, 48_000, 0.5), 48_000);
        assert!(root_mean_square(&resampled[100..resampled.len() - 100]) < 2e-3);
    }

    #[test]
    fn nothing_stays_nothing() {
        assert_eq!(encode_wav(&[], 48_000).len(), HEADER_BYTES as usize);
        assert_eq!(encode_wav(&[0.5], 0).len(), HEADER_BYTES as usize);
    }
}
