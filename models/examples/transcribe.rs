//! What a Whisper checkpoint writes about a recording, as JSON: for comparisons by hand (`tests/reference/check_speech_true_size.py`).
//!
//!     transcribe FOLDER FILE.wav ONCE|FALLBACK [WEIGHTS_FORMAT]

#![expect(clippy::print_stdout, reason = "what it is for")]

use std::error::Error;
use std::ops::ControlFlow;
use std::time::Instant;

use msao_models::preprocess::{AudioBudget, Pcm, read_wav};
use msao_models::speech::{Options, Whisper, WhisperFiles};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, file, attempts, format @ ..] = args.as_slice() else {
        return Err("give a folder, a WAV file, and ONCE or FALLBACK".into());
    };
    let began = Instant::now();
    let weights_format = format.first().map_or(Ok(msao_models::WeightsFormat::F32), |name| name.parse())?;
    let whisper = Whisper::load(&WhisperFiles { weights_format, ..WhisperFiles::from_dir(folder)? })?;
    let load_s = began.elapsed().as_secs_f64();
    let budget = AudioBudget { max_bytes: 64 << 20, max_seconds: Pcm::MAX_SECONDS };
    let recording = read_wav(&std::fs::read(file)?, &budget)?;
    let began = Instant::now();
    whisper.hear_start(&recording)?;
    let encode_s = began.elapsed().as_secs_f64();
    let options =
        Options { language: whisper.is_multilingual().then(|| "en".to_owned()), ..Options::default() };
    let options = if attempts == "ONCE" { options.greedy_once() } else { options };
    let began = Instant::now();
    let transcript = whisper.transcribe(&recording, &options, &mut |_| ControlFlow::Continue(()))?;
    let transcribe_s = began.elapsed().as_secs_f64();
    let seconds = serde_json::json!({"load": load_s, "encode": encode_s, "transcribe": transcribe_s});
    println!("{}", serde_json::json!({"transcript": transcript, "seconds": seconds}));
    Ok(())
}
