//! WAV files: uncompressed integer or float PCM, checked against a budget before any sample is decoded.

use std::io::Cursor;

use hound::{SampleFormat, WavReader};

use super::audio::check_extent;
use super::{MediaError, Pcm};

/// Highest sample of a file of floats. Some programs write them on the scale of 16-bit integers; what is above that would
/// leave the range of numbers on its way through the model.
const MAX_AMPLITUDE: f32 = 65_536.0;

/// What a WAV file may cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AudioBudget {
    /// Longest file in bytes.
    pub max_bytes: u64,
    /// Longest recording in seconds.
    pub max_seconds: f64,
}

impl Default for AudioBudget {
    /// One minute, in up to 16 MiB.
    fn default() -> Self {
        Self { max_bytes: 16 << 20, max_seconds: 60.0 }
    }
}

/// Widest sample. An extensible header can claim any width, whatever its samples have.
const MAX_BITS: u16 = 32;

/// Reads a WAV file as mono.
///
/// Silence is not refused here, since a caller may want to measure it: see [`Pcm::require_audible`].
///
/// # Errors
/// When the file is over budget, not a WAV file, cut off, or of a kind that is not read here.
pub fn read_wav(bytes: &[u8], budget: &AudioBudget) -> Result<Pcm, MediaError> {
    if bytes.len() as u64 > budget.max_bytes {
        return Err(MediaError::FileTooLarge { bytes: bytes.len() as u64, max_bytes: budget.max_bytes });
    }
    if bytes.len() < 12 || &bytes[..4] != b"RIFF" || &bytes[8..12] != b"WAVE" {
        return Err(MediaError::NotWav);
    }
    let reader = WavReader::new(Cursor::new(bytes)).map_err(refusal)?;
    let spec = reader.spec();
    let channels = usize::from(spec.channels);
    if !(1..=Pcm::MAX_CHANNELS).contains(&channels) {
        return Err(MediaError::UnsupportedWav { detail: format!("{channels} channels") });
    }
    if !(1..=MAX_BITS).contains(&spec.bits_per_sample) {
        let detail = format!("{} bits a sample", spec.bits_per_sample);
        return Err(MediaError::UnsupportedWav { detail });
    }
    check_extent(spec.sample_rate, u64::from(reader.duration()), budget.max_seconds)?;
    // No sample is made of a file that holds fewer than it promises.
    let promised_bytes = u64::from(reader.len()) * u64::from(spec.bits_per_sample / 8);
    if promised_bytes > bytes.len() as u64 {
        return Err(MediaError::TruncatedWav);
    }
    let interleaved = decode(reader)?;
    if let Some(index) = interleaved.iter().position(|sample| sample.abs() > MAX_AMPLITUDE) {
        let detail = format!("sample {index} is {}, where full scale is 1", interleaved[index]);
        return Err(MediaError::UnsupportedWav { detail });
    }
    Pcm::from_interleaved(spec.sample_rate, channels, &interleaved)
}

fn decode(reader: WavReader<Cursor<&[u8]>>) -> Result<Vec<f32>, MediaError> {
    let spec = reader.spec();
    let samples = match spec.sample_format {
        SampleFormat::Float => reader.into_samples::<f32>().collect::<Result<_, _>>(),
        SampleFormat::Int => {
            let full_scale = (1_i64 << (spec.bits_per_sample - 1)) as f32;
            reader.into_samples::<i32>().map(|sample| sample.map(|value| value as f32 / full_scale)).collect()
        }
    };
    samples.map_err(refusal)
}

fn refusal(error: hound::Error) -> MediaError {
    match error {
        // Memory cannot fail to be read, so its end was reached.
        hound::Error::IoError(_) => MediaError::TruncatedWav,
        hound::Error::FormatError("Failed to read enough bytes.") => MediaError::TruncatedWav,
        other => MediaError::UnsupportedWav { detail: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use hound::{WavSpec, WavWriter};

    use super::*;

    fn wav(spec: WavSpec, write: impl FnOnce(&mut WavWriter<&mut Cursor<Vec<u8>>>)) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        let mut writer = WavWriter::new(&mut bytes, spec).expect("a valid format");
        write(&mut writer);
        writer.finalize().expect("a whole number of frames");
        bytes.into_inner()
    }

    fn pcm16(sample_rate: u32, channels: u16, samples: &[i16]) -> Vec<u8> {
        let spec = WavSpec { channels, sample_rate, bits_per_sample: 16, sample_format: SampleFormat::Int };
        wav(spec, |writer| samples.iter().for_each(|&sample| writer.write_sample(sample).expect("memory")))
    }

    fn read(bytes: &[u8]) -> Result<Pcm, MediaError> {
        read_wav(bytes, &AudioBudget::default())
    }

    #[test]
    fn integers_and_floats_of_any_width_read_alike() {
        let expected = [0.0, 0.5, -0.5, -1.0];
        for (bits_per_sample, sample_format) in [
            (8, SampleFormat::Int),
            (16, SampleFormat::Int),
            (24, SampleFormat::Int),
            (32, SampleFormat::Int),
            (32, SampleFormat::Float),
        ] {
            let spec = WavSpec { channels: 1, sample_rate: 22_050, bits_per_sample, sample_format };
            let bytes = wav(spec, |writer| {
                for value in expected {
                    match sample_format {
                        SampleFormat::Float => writer.write_sample(value),
                        SampleFormat::Int => {
                            let full_scale = f64::from(1_u32 << (bits_per_sample - 1));
                            writer.write_sample((f64::from(value) * full_scale) as i32)
                        }
                    }
                    .expect("memory");
                }
            });
            let pcm = read(&bytes).expect("a valid file");
            assert_eq!(
                (pcm.sample_rate_hz(), pcm.samples()),
                (22_050, &expected[..]),
                "{bits_per_sample} bits"
            );
        }
    }

    #[test]
    fn bad_files_are_told_apart() {
        let good = pcm16(16_000, 2, &[1_000; 32_000]);
        assert_eq!(read(&good).expect("a valid file").samples().len(), 16_000);
        assert_eq!(read(b"\x89PNG\r\n\x1a\n0000"), Err(MediaError::NotWav));
        assert_eq!(read(b""), Err(MediaError::NotWav));
        for length in [20, 40, 1_000, good.len() - 1] {
            assert_eq!(read(&good[..length]), Err(MediaError::TruncatedWav), "{length} bytes");
        }
        assert_eq!(read(&pcm16(16_000, 1, &[])), Err(MediaError::EmptyAudio));
        assert!(matches!(read(&pcm16(16_000, 20, &[0; 20])), Err(MediaError::UnsupportedWav { .. })));
        assert!(matches!(read(&pcm16(100, 1, &[0; 20])), Err(MediaError::UnsupportedSampleRate { .. })));
        let mut alaw = good.clone();
        alaw[20] = 6;
        assert!(matches!(read(&alaw), Err(MediaError::UnsupportedWav { .. })));
        let muted = read(&pcm16(16_000, 1, &[0; 16_000])).expect("a valid file");
        assert!(matches!(muted.require_audible(), Err(MediaError::SilentAudio { .. })));
    }

    #[test]
    fn what_is_over_budget_is_refused_before_decoding() {
        let ten_minutes = pcm16(8_000, 1, &vec![100; 4_800_000]);
        let start = Instant::now();
        assert!(
            matches!(read(&ten_minutes), Err(MediaError::AudioTooLong { seconds, .. }) if seconds == 600.0)
        );
        // A short file whose header promises hours.
        let mut promise = pcm16(16_000, 1, &[100; 100]);
        promise[40..44].copy_from_slice(&0x7FFF_FFFE_u32.to_le_bytes());
        assert!(matches!(read(&promise), Err(MediaError::AudioTooLong { .. })));
        let budget = AudioBudget { max_bytes: 1_000, ..AudioBudget::default() };
        assert!(matches!(read_wav(&ten_minutes, &budget), Err(MediaError::FileTooLarge { .. })));
        assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
    }

    #[test]
    fn damaged_files_never_panic() {
        let good = pcm16(16_000, 2, &[1_000; 200]);
        let mut state = 1_u32;
        let mut random = |below: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as usize % below
        };
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..=random(4) {
                let position = 12 + random(40);
                bytes[position] = random(256) as u8;
            }
            // Either outcome is right; what matters is that it is one of the two.
            let _outcome = read(&bytes);
        }
    }
}
