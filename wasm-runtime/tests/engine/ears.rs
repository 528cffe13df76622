//! A checkpoint that cannot hear, with a speech model beside it; both of published structure, with random weights.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use msao_models::Prompt;
use msao_models::speech::{Options, Whisper, WhisperFiles, question_of};
use msao_planner::EngineKind;
use msao_protocol::{Modality, SpanKind};
use msao_runtime::ears::Ears;
use msao_runtime::engine::{EdgeAnswer, EdgeEngine};
use pollster::block_on;

use crate::now_ms;
use crate::published_checkpoint::checkpoint;
use crate::speech_checkpoint::{files, recording};

fn deaf() -> EdgeEngine {
    block_on(EdgeEngine::load(&checkpoint("Llama"), None, EngineKind::Simd, now_ms)).unwrap()
}

fn answer(engine: &EdgeEngine, prompt: &Prompt) -> EdgeAnswer {
    crate::answer(engine, prompt, 6, async |_, _| true).unwrap()
}

fn spoken(question: &str) -> Prompt {
    Prompt { question: question.to_owned(), audio: Some(recording(1.5)), ..Prompt::default() }
}

#[test]
fn what_is_said_is_answered_on_the_device_as_if_it_had_been_typed() {
    let engine = deaf().with_speech("whisper-tiny.en", &files("english")).unwrap();
    let whisper = Whisper::load(&files("english")).unwrap();
    let transcript =
        whisper.transcribe(&recording(1.5), &Options::default(), &mut |_| ControlFlow::Continue(())).unwrap();
    for typed in ["", "Why?"] {
        let question = question_of(typed, &transcript.text());
        let expected = answer(&engine, &Prompt { question, ..Prompt::default() });
        let found = answer(&engine, &spoken(typed));
        assert_eq!(found.text, expected.text, "{typed:?}");
        assert_eq!(found.receipt.prompt_tokens, expected.receipt.prompt_tokens);
        let heard = found.receipt.speech.as_ref().unwrap();
        assert_eq!(
            (heard.model.as_str(), heard.language.as_str(), heard.seconds),
            ("whisper-tiny.en", "en", 1.5)
        );
        assert_eq!((heard.confidence, heard.bytes), (transcript.confidence(), 0));
        assert_eq!(found.receipt.spans[0].kind, SpanKind::Transcribe);
        assert!(found.receipt.modalities.iter().all(|one| one.modality != Modality::Audio));
        assert!(expected.receipt.speech.is_none());
    }
}

#[test]
fn without_a_speech_model_a_recording_is_refused() {
    let engine = deaf();
    let refused = crate::answer(&engine, &spoken("Why?"), 6, async |_, _| true);
    assert!(refused.unwrap_err().to_string().contains("audio tower"));
}

#[test]
fn ears_alone_write_down_what_the_model_writes_and_tell_how_far_they_are() {
    let given = files("english");
    // As a page hands them over.
    let small = [
        ("config.json", &given.config_json),
        ("generation_config.json", &given.generation_json),
        ("preprocessor_config.json", &given.preprocessor_json),
        ("tokenizer.json", &given.tokenizer_json),
    ];
    let small: BTreeMap<String, Vec<u8>> =
        small.into_iter().map(|(name, bytes)| (name.to_owned(), bytes.clone())).collect();
    let taken = WhisperFiles::from_files(&small, given.safetensors.clone()).unwrap();
    let ears = Ears::load("whisper-tiny.en", &taken).unwrap();
    let whisper = Whisper::load(&given).unwrap();
    let sound = recording(9.0);
    let transcript =
        whisper.transcribe(&sound, &Options::default(), &mut |_| ControlFlow::Continue(())).unwrap();
    let mut seconds = Vec::new();
    let heard = block_on(ears.write_down(&sound, async |done| {
        seconds.push(done);
        true
    }));
    let heard = heard.unwrap().unwrap();
    assert_eq!((heard.text, heard.speech.confidence), (transcript.text(), transcript.confidence()));
    assert_eq!((heard.speech.seconds, heard.speech.bytes), (9.0, 0));
    assert_eq!(ears.num_parameters(), whisper.num_parameters());
    assert!(seconds.is_sorted() && seconds[0] == 0.0 && *seconds.last().unwrap() > 0.0, "{seconds:?}");
    let looks = seconds.len();

    seconds.clear();
    let stopped = block_on(ears.write_down(&sound, async |done| {
        seconds.push(done);
        seconds.len() < 3
    }));
    assert_eq!((stopped.unwrap(), seconds.len()), (None, 3), "of {looks}");

    let mut without = small;
    without.remove("generation_config.json");
    let refused = WhisperFiles::from_files(&without, given.safetensors).unwrap_err().to_string();
    assert!(refused.contains("generation_config.json"), "{refused}");
}
