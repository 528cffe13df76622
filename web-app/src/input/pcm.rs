//! Sound as numbers: level, silence, the window the models hear, waveform, WAV bytes. Knows no browser.

use std::ops::Range;

/// Sample rate of everything behind the microphone, in Hz.
pub const SAMPLE_RATE_HZ: u32 = 16_000;

/// Seconds of sound the models hear at a time.
pub const WINDOW_S: f64 = 4.8;

/// Samples of that window.
pub const WINDOW_SAMPLES: usize = 76_800;

/// Samples of a level frame: 20 ms.
const FRAME_SAMPLES: usize = 320;

/// A recording whose loudest 20 ms stay below this root mean square (-60 dB of full scale) is silent.
const SILENCE_RMS: f32 = 0.001;

/// Quietest level the meter shows, in dB of full scale.
const METER_FLOOR_DB: f32 = -60.0;

/// Root mean square of samples in -1..=1; 0 for none.
pub fn rms(samples: &[f32]) -> f32 {
    if samples.is_empty() {
        return 0.0;
    }
    let power = samples.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>() / samples.len() as f64;
    power.sqrt() as f32
}

/// Level for a meter in 0..=1, linear in decibels from -60 dB to full scale.
pub fn meter_level(samples: &[f32]) -> f32 {
    let db = 20.0 * rms(samples).max(1e-9).log10();
    ((db - METER_FLOOR_DB) / -METER_FLOOR_DB).clamp(0.0, 1.0)
}

/// Whether nothing can be heard: no 20 ms reach -60 dB.
pub fn is_silent(samples: &[f32]) -> bool {
    samples.chunks(FRAME_SAMPLES).all(|frame| rms(frame) < SILENCE_RMS)
}

/// The part of `length` samples that the models hear: all of it, or the window with most energy.
///
/// Windows start at multiples of 20 ms; of equally loud ones the first is taken.
pub fn loudest_window(samples: &[f32], window: usize) -> Range<usize> {
    if samples.len() <= window {
        return 0..samples.len();
    }
    // Energy up to each sample, so that a window's energy is one subtraction.
    let mut energy = Vec::with_capacity(samples.len() + 1);
    let mut sum = 0.0;
    energy.push(sum);
    for &x in samples {
        sum += f64::from(x) * f64::from(x);
        energy.push(sum);
    }
    let (mut best, mut best_energy) = (0, -1.0);
    for start in (0..=samples.len() - window).step_by(FRAME_SAMPLES) {
        let here = energy[start + window] - energy[start];
        if here > best_energy {
            (best, best_energy) = (start, here);
        }
    }
    best..best + window
}

/// Says which part of a long recording was kept; `None` if it was kept whole.
pub fn trim_notice(name: &str, length: usize, kept: &Range<usize>) -> Option<String> {
    let s = |samples: usize| samples as f64 / f64::from(SAMPLE_RATE_HZ);
    (kept.len() < length).then(|| {
        format!(
            "{name} lasts {:.1} s and the models hear {} s: kept its loudest part, from {:.1} s to {:.1} s.",
            s(length),
            s(kept.len()),
            s(kept.start),
            s(kept.end)
        )
    })
}

/// Averages channels into one.
pub fn mix_down(channels: &[Vec<f32>]) -> Vec<f32> {
    let Some(length) = channels.iter().map(Vec::len).min() else { return Vec::new() };
    let scale = 1.0 / channels.len() as f32;
    (0..length).map(|i| channels.iter().map(|channel| channel[i]).sum::<f32>() * scale).collect()
}

/// Largest absolute sample of each of `bars` equal stretches, scaled so that the loudest is 1 (a waveform).
pub fn peaks(samples: &[f32], bars: usize) -> Vec<f32> {
    if samples.is_empty() || bars == 0 {
        return Vec::new();
    }
    let peak = |part: &[f32]| part.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    let raw: Vec<f32> = (0..bars)
        .map(|bar| {
            let start = bar * samples.len() / bars;
            let end = ((bar + 1) * samples.len() / bars).max(start + 1).min(samples.len());
            peak(&samples[start..end])
        })
        .collect();
    let most = raw.iter().copied().fold(f32::EPSILON, f32::max);
    raw.into_iter().map(|bar| bar / most).collect()
}

/// A WAV file: 16-bit mono PCM at [`SAMPLE_RATE_HZ`].
pub fn wav(samples: &[f32]) -> Vec<u8> {
    let data_bytes = (samples.len() * 2) as u32;
    let mut file = Vec::with_capacity(44 + samples.len() * 2);
    file.extend(b"RIFF");
    file.extend((36 + data_bytes).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16u32.to_le_bytes());
    file.extend(1u16.to_le_bytes());
    file.extend(1u16.to_le_bytes());
    file.extend(SAMPLE_RATE_HZ.to_le_bytes());
    file.extend((SAMPLE_RATE_HZ * 2).to_le_bytes());
    file.extend(2u16.to_le_bytes());
    file.extend(16u16.to_le_bytes());
    file.extend(b"data");
    file.extend(data_bytes.to_le_bytes());
    file.extend(samples.iter().flat_map(|x| to_s16(*x).to_le_bytes()));
    file
}

/// The nearest 16-bit sample; the inverse of dividing by 32,768, as browsers decode.
fn to_s16(x: f32) -> i16 {
    (x * 32_768.0).round().clamp(-32_768.0, 32_767.0) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(samples: usize, amplitude: f32) -> Vec<f32> {
        (0..samples).map(|i| amplitude * (i as f32 * 0.2).sin()).collect()
    }

    #[test]
    fn the_window_has_the_seconds_it_says() {
        assert_eq!(WINDOW_SAMPLES as f64, WINDOW_S * f64::from(SAMPLE_RATE_HZ));
    }

    #[test]
    fn silence_is_silent_and_a_whisper_is_not() {
        assert!(is_silent(&[]));
        assert!(is_silent(&[0.0; 16_000]));
        assert!(is_silent(&tone(16_000, 0.0005)));
        assert!(!is_silent(&tone(16_000, 0.005)));
        let mut short_beep = vec![0.0; 160_000];
        short_beep[80_000..81_600].copy_from_slice(&tone(1_600, 0.1));
        assert!(!is_silent(&short_beep), "a short sound in long silence can be heard");
    }

    #[test]
    fn the_meter_spans_sixty_decibels() {
        assert_eq!(meter_level(&[0.0; 100]), 0.0);
        assert_eq!(meter_level(&[1.0; 100]), 1.0);
        assert!((meter_level(&[0.0316; 100]) - 0.5).abs() < 0.01);
    }

    #[test]
    fn the_loudest_window_holds_the_sound() {
        let mut samples = vec![0.0; 10 * 16_000];
        samples[100_000..110_000].copy_from_slice(&tone(10_000, 0.5));
        let kept = loudest_window(&samples, WINDOW_SAMPLES);
        assert_eq!(kept.len(), WINDOW_SAMPLES);
        assert!(kept.start <= 100_000 && kept.end >= 110_000, "{kept:?}");
        let notice = trim_notice("a.wav", samples.len(), &kept).unwrap();
        assert!(notice.contains("10.0 s"), "{notice}");
    }

    #[test]
    fn a_short_recording_is_kept_whole() {
        let samples = tone(1_000, 0.5);
        let kept = loudest_window(&samples, WINDOW_SAMPLES);
        assert_eq!(kept, 0..1_000);
        assert_eq!(trim_notice("a.wav", 1_000, &kept), None);
    }

    #[test]
    fn waveforms_are_scaled_to_the_loudest_bar() {
        assert_eq!(peaks(&[0.1, -0.2, 0.05, 0.0], 2), [1.0, 0.25]);
        assert_eq!(peaks(&[], 4), Vec::<f32>::new());
        assert_eq!(peaks(&[0.5], 3).len(), 3);
    }

    #[test]
    fn sixteen_bit_samples_survive_the_browser_and_back() {
        let originals: Vec<i16> = (i16::MIN..=i16::MAX).step_by(97).collect();
        let decoded: Vec<f32> = originals.iter().map(|&s| f32::from(s) / 32_768.0).collect();
        let file = wav(&decoded);
        let back: Vec<i16> = file[44..].chunks(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
        assert_eq!(back, originals);
        assert_eq!(file.len(), 44 + originals.len() * 2);
    }

    #[test]
    fn channels_are_averaged() {
        assert_eq!(mix_down(&[vec![1.0, 0.0], vec![0.0, 0.5]]), [0.5, 0.25]);
        assert!(mix_down(&[]).is_empty());
    }
}
