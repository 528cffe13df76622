//! A recording as Chromium's fake microphone plays it (`--use-file-for-fake-audio-capture`).
//!
//! The first tenths of a second are lost while the browser connects its audio graph, so a second of silence leads.

use std::path::Path;

use anyhow::{Context, Result, bail};
use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

/// Seconds of silence before the recording.
pub const LEAD_S: f32 = 1.0;

/// Writes `recording`, a 16-bit mono WAV, with the lead before it and half a second of silence after it.
/// Returns the seconds from the start of the file to the end of the recording.
///
/// # Errors
/// If the recording cannot be read or the new file cannot be written.
pub fn with_lead(recording: &Path, file: &Path) -> Result<f32> {
    let reader =
        WavReader::open(recording).with_context(|| format!("cannot read {}", recording.display()))?;
    let spec = reader.spec();
    if (spec.channels, spec.bits_per_sample, spec.sample_format) != (1, 16, SampleFormat::Int) {
        bail!("{} is not 16-bit mono: {spec:?}", recording.display());
    }
    let samples: Vec<i16> = reader.into_samples().collect::<Result<_, _>>()?;
    let rate = spec.sample_rate as f32;
    let silence = |seconds: f32| std::iter::repeat_n(0, (seconds * rate) as usize);
    let end_s = LEAD_S + samples.len() as f32 / rate;
    write(file, spec.sample_rate, silence(LEAD_S).chain(samples).chain(silence(0.5)))?;
    Ok(end_s)
}

/// Writes seconds of silence.
///
/// # Errors
/// If the file cannot be written.
pub fn silence(sample_rate_hz: u32, seconds: u32, file: &Path) -> Result<()> {
    write(file, sample_rate_hz, std::iter::repeat_n(0, (sample_rate_hz * seconds) as usize))
}

/// Writes seconds of a sine tone at half of full scale.
///
/// # Errors
/// If the file cannot be written.
pub fn tone(sample_rate_hz: u32, seconds: f32, frequency_hz: f32, file: &Path) -> Result<()> {
    let sample = move |index: u32| {
        let phase = std::f32::consts::TAU * frequency_hz * index as f32 / sample_rate_hz as f32;
        (phase.sin() * 16_000.0) as i16
    };
    write(file, sample_rate_hz, (0..(seconds * sample_rate_hz as f32) as u32).map(sample))
}

fn write(file: &Path, sample_rate: u32, samples: impl Iterator<Item = i16>) -> Result<()> {
    let spec = WavSpec { channels: 1, sample_rate, bits_per_sample: 16, sample_format: SampleFormat::Int };
    let mut writer =
        WavWriter::create(file, spec).with_context(|| format!("cannot make {}", file.display()))?;
    for sample in samples {
        writer.write_sample(sample)?;
    }
    writer.finalize()?;
    Ok(())
}
