//! Speech to text: published configurations, and random checkpoints of their structure that write what transformers writes about
//! short and long recordings. `reference/make_speech_golden.py` made the numbers.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may fail loudly, and closeness is worth reading"
)]

#[expect(dead_code, reason = "the other family of published checkpoints has more of it")]
mod published_checkpoint;
#[allow(dead_code, reason = "a server wants them as files")]
mod speech_checkpoint;

use std::ops::ControlFlow;

use msao_models::speech::{Options, SpeechError, Task, Transcript, Whisper, WhisperConfig, WhisperTokens};
use msao_models::{ModelError, Pcm};
use published_checkpoint::{folder, published, read_json};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use speech_checkpoint::{FAMILIES, WINDOW_S, files, recording};

const RELATIVE: f32 = 1e-3;

fn golden() -> Value {
    read_json(&folder("tests/golden/speech.json"))
}

fn whisper(family: &str) -> Whisper {
    Whisper::load(&files(family)).unwrap()
}

fn floats(list: &Value) -> Vec<f32> {
    list.as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect()
}

fn tokens(list: &Value) -> Vec<u32> {
    list.as_array().unwrap().iter().map(|number| number.as_u64().unwrap() as u32).collect()
}

/// Largest difference, as a share of the reference's largest value.
fn error(found: &[f32], reference: &[f32]) -> f32 {
    assert_eq!(found.len(), reference.len());
    let largest = reference.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    found.iter().zip(reference).fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs())) / largest
}

fn transcribe(whisper: &Whisper, seconds: f64, options: &Options) -> Transcript {
    whisper.transcribe(&recording(seconds), options, &mut |_| ControlFlow::Continue(())).unwrap()
}

#[test]
fn published_configurations_ask_for_the_tensors_that_transformers_has() {
    for (name, expected) in golden()["shapes"].as_object().unwrap() {
        let json = |file: &str| published(name, file).to_string().into_bytes();
        let config = WhisperConfig::from_json(&json("config.json")).unwrap();
        let tensors = config.tensors();
        let count: usize = tensors.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        assert_eq!(expected["parameters"], count, "{name}");
        let mut lines: Vec<String> =
            tensors.iter().map(|(name, shape)| format!("{name} {shape:?}")).collect();
        lines.sort();
        assert_eq!(expected["tensors"], lines.len(), "{name}");
        let digest: String =
            Sha256::digest(lines.join("\n")).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(expected["sha256"], digest, "{name}");
        let tokens = WhisperTokens::from_json(&json("generation_config.json"), &config).unwrap();
        assert_eq!(tokens.languages.is_empty(), name.ends_with(".en"), "{name}");
        assert_eq!(tokens.first_time() as usize + 1_501, config.vocab_size, "{name}");
    }
}

#[test]
fn frames_and_scores_are_those_of_transformers() {
    for family in FAMILIES {
        let golden = &golden()["forward"][family];
        let whisper = whisper(family);
        let size = whisper.config().d_model;
        let frames = whisper.hear_start(&recording(WINDOW_S)).unwrap();
        let last = frames.len() - size;
        let mut found = [&frames[..size], &frames[last..]].concat();
        found.extend(frames.chunks_exact(size).step_by(9).map(|frame| frame[3]));
        let off = error(&found, &floats(&golden["frames"]));
        let prompt = tokens(&golden["prompt"]);
        let scores = whisper.scores(&frames, &prompt);
        let rows: Vec<&[f32]> = scores.chunks_exact(whisper.config().vocab_size).collect();
        let found: Vec<f32> = rows.last().unwrap().iter().step_by(499).copied().collect();
        let scores_off = error(&found, &floats(&golden["scores"]));
        println!("{family}: frames off by {off:.1e}, scores by {scores_off:.1e} of the largest");
        assert!(off < RELATIVE && scores_off < RELATIVE, "{family}");
        // Token by token it is the same, bit for bit.
        for (index, row) in rows.iter().enumerate() {
            let before = whisper.scores(&frames, &prompt[..=index]);
            assert_eq!(before[before.len() - row.len()..], **row, "{family}");
        }
    }
}

#[test]
fn transcripts_are_those_of_transformers_token_for_token() {
    for family in FAMILIES {
        let golden = &golden()["forward"][family];
        let whisper = whisper(family);
        for case in golden["transcripts"].as_array().unwrap() {
            let asked = &case["options"];
            let is_translation = asked["task"] == "translate";
            let options = Options {
                language: asked["language"].as_str().map(str::to_owned),
                task: if is_translation { Task::Translate } else { Task::Transcribe },
                has_times: asked["return_timestamps"] == true,
                ..Options::default()
            };
            let seconds = case["seconds"].as_f64().unwrap();
            let transcript = transcribe(&whisper, seconds, &options.greedy_once());
            let expected = case["segments"].as_array().unwrap();
            let context = format!("{family}, {seconds} s, {asked}");
            assert_eq!(transcript.segments.len(), expected.len(), "{context}");
            for (segment, expected) in transcript.segments.iter().zip(expected) {
                assert_eq!(segment.tokens, tokens(&expected["tokens"]), "{context}");
                for (found, key) in [(segment.start_s, "start"), (segment.end_s, "end")] {
                    let expected = expected[key].as_f64().unwrap();
                    assert!((found - expected).abs() < 0.021, "{context}: {key} {found}, not {expected}");
                }
            }
            let first = case["avg_logprobs"][0].as_f64().unwrap() as f32;
            let found = transcript.segments[0].avg_logprob;
            assert!((found - first).abs() < 1e-2, "{context}: {found}, not {first}");
            // It was found out in a whole window.
            let is_whole = seconds == WINDOW_S && asked["language"].is_null();
            if let Some(language) = golden["language"].as_str().filter(|_| is_whole) {
                assert_eq!(transcript.language, language);
                assert!(transcript.language_probability > 0.01);
            }
        }
    }
}

#[test]
fn other_attempts_are_made_where_one_goes_wrong_and_come_out_alike() {
    let whisper = whisper("multilingual");
    let options =
        Options { logprob_threshold: f32::INFINITY, no_speech_threshold: 1.0, ..Options::default() };
    let found = transcribe(&whisper, 1.5, &options);
    assert!(found.segments.iter().all(|segment| segment.temperature == 1.0));
    assert_eq!(found, transcribe(&whisper, 1.5, &options));
    let otherwise = transcribe(&whisper, 1.5, &Options { seed: 7, ..options.clone() });
    assert_ne!(found.segments[0].tokens, otherwise.segments[0].tokens);
    // Unlikely, and nobody speaks: silence.
    let silent = transcribe(&whisper, 1.5, &Options { no_speech_threshold: -1.0, ..options });
    assert_eq!((silent.segments.len(), silent.text().as_str(), silent.confidence()), (0, "", 0.0));
}

#[test]
fn a_transcription_ends_when_somebody_says_so() {
    let whisper = whisper("multilingual");
    let mut looks = 0;
    let result = whisper.transcribe(&recording(WINDOW_S), &Options::default(), &mut |_| {
        looks += 1;
        if looks == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(result, Err(SpeechError::Cancelled)));
    assert_eq!(looks, 5);
}

#[test]
fn what_cannot_be_asked_for_is_refused_before_any_work() {
    let refused = |whisper: &Whisper, options: Options| {
        whisper.transcribe(&recording(1.5), &options, &mut |_| panic!("nothing is worked on")).unwrap_err()
    };
    let (multilingual, english) = (whisper("multilingual"), whisper("english"));
    let language = |language: &str| Options { language: Some(language.to_owned()), ..Options::default() };
    assert!(matches!(refused(&multilingual, language("tlh")), SpeechError::Language { .. }));
    assert!(matches!(refused(&english, language("German")), SpeechError::Language { .. }));
    let translation = Options { task: Task::Translate, ..Options::default() };
    assert!(matches!(refused(&english, translation), SpeechError::CannotTranslate));
    let short = Options { max_seconds: 1.0, ..Options::default() };
    assert!(matches!(refused(&english, short), SpeechError::TooLong { .. }));
    let prompt = Options { prompt: Some("word ".repeat(60)), ..Options::default() };
    assert!(matches!(refused(&multilingual, prompt), SpeechError::PromptTooLong { .. }));
}

#[test]
fn a_prompt_is_read_and_none_of_it_becomes_a_special_token() {
    let whisper = whisper("multilingual");
    let with = |prompt: &str| {
        let options = Options { prompt: Some(prompt.to_owned()), ..Options::default() };
        transcribe(&whisper, 1.5, &options.greedy_once()).segments[0].tokens.clone()
    };
    assert_ne!(with("the"), with("<|endoftext|>"));
    assert_eq!(with(" "), transcribe(&whisper, 1.5, &Options::default().greedy_once()).segments[0].tokens);
}

#[test]
fn damaged_and_foreign_checkpoints_are_refused_by_name() {
    let refused = |change: &dyn Fn(&mut msao_models::speech::WhisperFiles)| {
        let mut files = files("multilingual");
        change(&mut files);
        Whisper::load(&files).unwrap_err()
    };
    let config = |key: &str, value: Value| {
        let mut config: Value = serde_json::from_slice(&files("multilingual").config_json).unwrap();
        config[key] = value;
        config.to_string().into_bytes()
    };
    for (key, value) in
        [("model_type", Value::from("llama")), ("d_model", 33.into()), ("max_target_positions", 0.into())]
    {
        let found = refused(&|files| files.config_json = config(key, value.clone()));
        assert!(matches!(&found, ModelError::Config { file: "config.json", .. }), "{key}: {found}");
    }
    let found = refused(&|files| files.config_json = config("decoder_layers", 3.into()));
    assert!(
        matches!(&found, ModelError::MissingTensor { name } if name.contains("decoder.layers.2")),
        "{found}"
    );
    let found = refused(&|files| files.generation_json = b"{}".to_vec());
    assert!(matches!(found, ModelError::Config { file: "generation_config.json", .. }));
    let found = refused(&|files| files.memory_limit_bytes = Some(1 << 20));
    assert!(matches!(found, ModelError::TooLarge { .. }));
    let found = refused(&|files| files.preprocessor_json = files_of_large());
    assert!(matches!(found, ModelError::Config { file: "preprocessor_config.json", .. }));
}

/// 128 bands, which the small ones do not have.
fn files_of_large() -> Vec<u8> {
    files("large").preprocessor_json
}

#[test]
fn recordings_of_any_rate_are_taken() {
    let whisper = whisper("english");
    let sound = Pcm::from_mono(48_000, (0..48_000).map(|n| (n as f32 / 20.0).sin() / 2.0).collect()).unwrap();
    let options = Options::default().greedy_once();
    let found = whisper.transcribe(&sound, &options, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!((found.windows, found.duration_s, found.language.as_str()), (1, 1.0, "en"));
    assert!(found.confidence() > 0.0 && found.confidence() <= 1.0);
}
