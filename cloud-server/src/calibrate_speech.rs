//! `msao-server calibrate-speech`: from which confidence on a transcript replaces its sound, found on one's own recordings.
//!
//! What comes out is written beside the speech model, and pages are told it with the model.

use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use msao_models::Pcm;
use msao_models::preprocess::{AudioBudget, read_wav};
use msao_models::speech::{Options, Whisper, WhisperFiles};
use msao_planner::risk::{NOTHING_STANDS, RiskBound};
use msao_planner::speech::{Transcribed, calibrate, word_error_rate};
use serde::{Deserialize, Serialize};

use crate::edge_models::SPEECH_CONFIDENCE;

/// Largest file of sound that is read.
const MAX_WAV_BYTES: u64 = 64 << 20;
/// Largest file of words that is read.
const MAX_TEXT_BYTES: u64 = 1 << 20;

/// Calibrate from which confidence on a speech model's words stand
#[derive(Debug, Clone, Args)]
pub struct CalibrateSpeechCommand {
    /// Folder of recordings, each NAME.wav with its words in NAME.txt
    #[arg(value_name = "RECORDINGS")]
    recordings: PathBuf,
    /// Folder of the Whisper checkpoint
    #[arg(long, value_name = "FOLDER")]
    speech: PathBuf,
    /// Share of words that a good transcript may have wrong
    #[arg(long, default_value_t = 0.1, value_parser = share)]
    most_word_errors: f64,
    /// Share of recordings whose words may stand though they are not good
    #[arg(long, default_value_t = 0.05, value_parser = share)]
    epsilon: f64,
    /// Share of calibrations that may miss that
    #[arg(long, default_value_t = 0.1, value_parser = share)]
    delta: f64,
}

/// What is written beside the speech model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct SpeechConfidence {
    /// Confidence from which a transcript stands; above 1 where none may.
    pub(crate) threshold: f64,
    /// Share of words that a good transcript may have wrong.
    pub(crate) most_word_errors: f64,
    /// Share of recordings whose words may stand though they are not good.
    pub(crate) epsilon: f64,
    /// Share of calibrations that may miss that.
    pub(crate) delta: f64,
    /// Recordings it comes from.
    pub(crate) recordings: u64,
}

fn share(written: &str) -> Result<f64, String> {
    let share = written.parse().ok().filter(|share| (0.0..1.0).contains(share) && *share > 0.0);
    share.ok_or_else(|| format!("`{written}` is no share between 0 and 1"))
}

impl CalibrateSpeechCommand {
    /// Writes all recordings down, tells `log` of each, and keeps the threshold beside the speech model.
    ///
    /// # Errors
    /// For a speech model or a recording that cannot be read, and for too few recordings to let anything stand.
    pub fn run(&self, log: &mut dyn Write) -> anyhow::Result<()> {
        let wavs = self.wavs()?;
        let whisper = Whisper::load(&WhisperFiles::from_dir(&self.speech)?)?;
        let mut samples = Vec::with_capacity(wavs.len());
        for wav in &wavs {
            let sample = transcribed(&whisper, wav)?;
            let name = wav.file_name().unwrap_or_default().display();
            let (confidence, errors) = (sample.confidence, 100.0 * sample.word_error_rate);
            writeln!(log, "{name}: confidence {confidence:.3}, {errors:.0} % of the words wrong")?;
            samples.push(sample);
        }
        let bound = RiskBound::HighProbability { delta: self.delta };
        let found = calibrate(&samples, self.most_word_errors, self.epsilon, bound);
        if found.confidence >= NOTHING_STANDS {
            bail!(
                "{} recordings do not show that any confidence is enough: record more (at least {}), or take another speech model",
                samples.len(),
                (self.delta.ln() / (1.0 - self.epsilon).ln()).ceil()
            );
        }
        let kept = SpeechConfidence {
            threshold: found.confidence,
            most_word_errors: self.most_word_errors,
            epsilon: self.epsilon,
            delta: self.delta,
            recordings: found.samples,
        };
        let path = self.speech.join(SPEECH_CONFIDENCE);
        fs::write(&path, serde_json::to_string_pretty(&kept)? + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
        writeln!(
            log,
            "words stand from a confidence of {:.3} on: {} of {} would have, {} of them not good; kept in {}",
            found.confidence,
            found.stood,
            found.samples,
            found.differed,
            path.display()
        )?;
        Ok(())
    }

    /// The recordings, in order.
    fn wavs(&self) -> anyhow::Result<Vec<PathBuf>> {
        let folder = fs::read_dir(&self.recordings)
            .with_context(|| format!("cannot read {}", self.recordings.display()))?;
        let files = folder.map(|file| file.map(|file| file.path())).collect::<Result<Vec<_>, _>>()?;
        let is_wav = |path: &PathBuf| path.extension().is_some_and(|is| is.eq_ignore_ascii_case("wav"));
        let mut wavs: Vec<PathBuf> = files.into_iter().filter(is_wav).collect();
        wavs.sort();
        if wavs.is_empty() {
            bail!(
                "{} holds no NAME.wav; put recordings there, each with its words in NAME.txt",
                self.recordings.display()
            );
        }
        Ok(wavs)
    }
}

fn transcribed(whisper: &Whisper, wav: &Path) -> anyhow::Result<Transcribed> {
    let words = wav.with_extension("txt");
    let said = String::from_utf8(read(&words, MAX_TEXT_BYTES)?)
        .with_context(|| format!("{} is not UTF-8", words.display()))?;
    let budget = AudioBudget { max_bytes: MAX_WAV_BYTES, max_seconds: Pcm::MAX_SECONDS };
    let recording = read_wav(&read(wav, MAX_WAV_BYTES)?, &budget)
        .with_context(|| format!("{} cannot be used", wav.display()))?;
    let mut go_on = |_: &_| ControlFlow::Continue(());
    let transcript = whisper.transcribe(&recording, &Options::default(), &mut go_on)?;
    Ok(Transcribed {
        confidence: transcript.confidence().into(),
        word_error_rate: word_error_rate(&said, &transcript.text()),
    })
}

/// A file within its budget.
fn read(path: &Path, max_bytes: u64) -> anyhow::Result<Vec<u8>> {
    let about = || format!("cannot read {}", path.display());
    let bytes = fs::metadata(path).with_context(about)?.len();
    if bytes > max_bytes {
        bail!("{} has {bytes} bytes, at most {max_bytes} are read: cut it", path.display());
    }
    fs::read(path).with_context(about)
}
