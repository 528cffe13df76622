//! What the windows of a recording are like, as [`msao_planner::audio_windows`] judges them: how loud each is, and how much
//! its spectrum differs from the one before.
//!
//! The spectrum's shape is taken from the autocorrelation `r`, which is its Fourier transform (Wiener-Khinchin): the
//! distance of two `r_1 / r_0, .., r_K / r_0` is that of two smoothed spectra of equal energy, at the cost of `K`
//! products a sample and without a transform.

use msao_models::preprocess::AudioLevel;
use msao_planner::audio_windows::AudioWindow;

/// Autocorrelations compared: at 16 kHz the spectrum is resolved to some 500 Hz.
const LAGS: usize = 16;

/// Measures each window of `window_samples` samples, the last and shorter one too.
///
/// # Panics
/// If `window_samples` is 0.
pub(crate) fn measure(samples: &[f32], window_samples: usize) -> Vec<AudioWindow> {
    let mut before: Option<[f32; LAGS]> = None;
    samples
        .chunks(window_samples)
        .map(|window| {
            let shape = spectral_shape(window);
            let change = before.replace(shape).map_or(0.0, |before| distance(&before, &shape));
            AudioWindow { level_dbfs: f64::from(AudioLevel::of(window).rms_dbfs), change }
        })
        .collect()
}

/// `r_1 / r_0, .., r_K / r_0`, each in -1..=1; all zero in digital silence.
fn spectral_shape(window: &[f32]) -> [f32; LAGS] {
    let correlation = |lag: usize| -> f32 {
        let delayed = window.get(lag..).unwrap_or_default();
        delayed.iter().zip(window).map(|(a, b)| a * b).sum()
    };
    let energy = correlation(0);
    std::array::from_fn(|lag| if energy > 0.0 { correlation(lag + 1) / energy } else { 0.0 })
}

fn distance(left: &[f32; LAGS], right: &[f32; LAGS]) -> f64 {
    left.iter().zip(right).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(cycles_per_sample: f32, amplitude: f32, samples: usize) -> Vec<f32> {
        (0..samples)
            .map(|at| amplitude * (std::f32::consts::TAU * cycles_per_sample * at as f32).sin())
            .collect()
    }

    #[test]
    fn a_new_pitch_is_change_and_a_new_loudness_is_not() {
        let recording = [tone(0.05, 0.1, 2_000), tone(0.05, 0.4, 1_000), tone(0.2, 0.4, 1_000)].concat();
        let windows = measure(&recording, 1_000);
        let changes: Vec<f64> = windows.iter().map(|window| window.change).collect();
        assert!(changes[..3].iter().all(|change| *change < 0.05), "{changes:?}");
        assert!(changes[3] > 1.0, "{changes:?}");
        assert!((windows[2].level_dbfs - windows[1].level_dbfs - 12.04).abs() < 0.1);
    }

    #[test]
    fn silence_and_short_ends_are_measured() {
        let windows = measure(&[vec![0.0; 20], vec![0.5; 3]].concat(), 10);
        assert_eq!(windows.len(), 3);
        assert!(windows.iter().all(|window| window.change.is_finite()));
        assert_eq!(windows[0].level_dbfs, f64::NEG_INFINITY);
        assert!(measure(&[], 10).is_empty());
    }
}
