//! A recording in memory: mono samples with their rate, and how loud it is.
//!
//! It knows nothing of file formats (see [`super::wav`]) and nothing of any model's input.

use std::fmt;

use super::MediaError;

/// Mono sound; full scale is -1 to 1.
#[derive(Clone, PartialEq)]
pub struct Pcm {
    sample_rate_hz: u32,
    samples: Vec<f32>,
}

/// How loud a recording is, in dB relative to full scale; -infinity when every sample is the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AudioLevel {
    /// Largest deviation from the mean.
    pub peak_dbfs: f32,
    /// Root mean square around the mean.
    pub rms_dbfs: f32,
}

impl AudioLevel {
    /// Below this peak nothing was said: a muted input or a quiet converter's own noise. Quiet speech across
    /// a room peaks around -40 dBFS.
    pub const SILENCE_PEAK_DBFS: f32 = -54.0;

    /// Measures samples around their mean, since cheap sound cards add a constant.
    pub fn of(samples: &[f32]) -> Self {
        let count = samples.len().max(1) as f64;
        let mean = samples.iter().map(|&sample| f64::from(sample)).sum::<f64>() / count;
        let (mut peak, mut energy) = (0.0_f64, 0.0_f64);
        for &sample in samples {
            let deviation = f64::from(sample) - mean;
            peak = peak.max(deviation.abs());
            energy += deviation * deviation;
        }
        let dbfs = |amplitude: f64| (20.0 * amplitude.log10()) as f32;
        Self { peak_dbfs: dbfs(peak), rms_dbfs: dbfs((energy / count).sqrt()) }
    }

    /// Whether the peak stays below [`Self::SILENCE_PEAK_DBFS`].
    pub fn is_silent(&self) -> bool {
        self.peak_dbfs < Self::SILENCE_PEAK_DBFS
    }
}

impl fmt::Debug for Pcm {
    /// Without the samples, which nobody wants in a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rate, count) = (self.sample_rate_hz, self.samples.len());
        let mut fields = formatter.debug_struct("Pcm");
        fields.field("sample_rate_hz", &rate).field("samples", &count).finish()
    }
}

impl Pcm {
    /// Lowest sampling rate accepted (telephone sound has 8 kHz).
    pub const MIN_RATE_HZ: u32 = 4_000;
    /// Highest sampling rate accepted.
    pub const MAX_RATE_HZ: u32 = 384_000;
    /// Longest recording accepted in memory; budgets for uploads are shorter.
    pub const MAX_SECONDS: f64 = 600.0;
    /// Most interleaved channels that are mixed down.
    pub const MAX_CHANNELS: usize = 8;

    /// Wraps mono samples.
    ///
    /// # Errors
    /// When there is no sample, the rate is out of range, the recording is longer than [`Self::MAX_SECONDS`]
    /// or a sample is not finite.
    pub fn from_mono(sample_rate_hz: u32, samples: Vec<f32>) -> Result<Self, MediaError> {
        check_extent(sample_rate_hz, samples.len() as u64, Self::MAX_SECONDS)?;
        if let Some(index) = samples.iter().position(|sample| !sample.is_finite()) {
            return Err(MediaError::NonFiniteSample { index });
        }
        Ok(Self { sample_rate_hz, samples })
    }

    /// Mixes interleaved channels down to their mean.
    ///
    /// # Errors
    /// As [`Self::from_mono`], and when the channels are none, more than [`Self::MAX_CHANNELS`], or do not
    /// divide the samples.
    pub fn from_interleaved(
        sample_rate_hz: u32,
        channels: usize,
        interleaved: &[f32],
    ) -> Result<Self, MediaError> {
        let samples = interleaved.len();
        if !(1..=Self::MAX_CHANNELS).contains(&channels) || !samples.is_multiple_of(channels) {
            return Err(MediaError::ChannelLayout { channels, samples, max_channels: Self::MAX_CHANNELS });
        }
        check_extent(sample_rate_hz, (samples / channels) as u64, Self::MAX_SECONDS)?;
        let scale = 1.0 / channels as f32;
        let mono = interleaved.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() * scale);
        Self::from_mono(sample_rate_hz, mono.collect())
    }

    /// Samples a second.
    pub fn sample_rate_hz(&self) -> u32 {
        self.sample_rate_hz
    }

    /// The samples, at least one, all finite.
    pub fn samples(&self) -> &[f32] {
        &self.samples
    }

    /// Length in seconds.
    pub fn seconds(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.sample_rate_hz)
    }

    /// How loud it is.
    pub fn level(&self) -> AudioLevel {
        AudioLevel::of(&self.samples)
    }

    /// Refuses a recording in which nothing can be heard.
    ///
    /// # Errors
    /// [`MediaError::SilentAudio`] when [`AudioLevel::is_silent`].
    pub fn require_audible(&self) -> Result<(), MediaError> {
        let level = self.level();
        if level.is_silent() {
            return Err(MediaError::SilentAudio { peak_dbfs: level.peak_dbfs });
        }
        Ok(())
    }
}

/// Checks rate and length before any sample is looked at.
pub(super) fn check_extent(rate_hz: u32, frames: u64, max_seconds: f64) -> Result<(), MediaError> {
    let (min_hz, max_hz) = (Pcm::MIN_RATE_HZ, Pcm::MAX_RATE_HZ);
    if !(min_hz..=max_hz).contains(&rate_hz) {
        return Err(MediaError::UnsupportedSampleRate { rate_hz, min_hz, max_hz });
    }
    if frames == 0 {
        return Err(MediaError::EmptyAudio);
    }
    let seconds = frames as f64 / f64::from(rate_hz);
    if seconds > max_seconds {
        return Err(MediaError::AudioTooLong { seconds, max_seconds });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_recordings_are_refused() {
        assert_eq!(Pcm::from_mono(16_000, vec![]), Err(MediaError::EmptyAudio));
        assert!(matches!(Pcm::from_mono(0, vec![0.0]), Err(MediaError::UnsupportedSampleRate { .. })));
        assert_eq!(
            Pcm::from_mono(16_000, vec![0.0, f32::NAN]),
            Err(MediaError::NonFiniteSample { index: 1 })
        );
        assert!(matches!(Pcm::from_mono(4_000, vec![0.0; 2_400_001]), Err(MediaError::AudioTooLong { .. })));
        for (channels, samples) in [(0, 2), (2, 3), (9, 9)] {
            let refused = Pcm::from_interleaved(16_000, channels, &vec![0.0; samples]);
            assert!(matches!(refused, Err(MediaError::ChannelLayout { .. })), "{channels} channels");
        }
    }

    #[test]
    fn channels_mix_to_their_mean() {
        let pcm = Pcm::from_interleaved(48_000, 2, &[1.0, 0.0, -0.5, -0.5]).expect("stereo");
        assert_eq!(pcm.samples(), [0.5, -0.5]);
    }

    #[test]
    fn levels_are_those_of_a_sine() {
        let sine =
            |amplitude: f32| (0..16_000).map(move |n| amplitude * (n as f32 * 0.1 * 6.283_185_5).sin());
        // A sine's RMS lies 3.01 dB below its peak; the constant must not count.
        let level = AudioLevel::of(&sine(0.5).map(|sample| sample + 0.25).collect::<Vec<_>>());
        assert!((level.rms_dbfs + 9.03).abs() < 0.05, "{level:?}");
        assert!((level.peak_dbfs + 6.46).abs() < 0.5, "{level:?}");
        assert!(!level.is_silent());
        assert!(AudioLevel::of(&sine(0.001).collect::<Vec<_>>()).is_silent());
        assert!(AudioLevel::of(&[0.3; 100]).is_silent());
        let muted = Pcm::from_mono(16_000, vec![0.0; 1_000]).expect("valid");
        assert!(matches!(muted.require_audible(), Err(MediaError::SilentAudio { .. })));
    }
}
