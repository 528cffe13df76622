//! A checkpoint that cannot hear, with a speech model beside it; both of published structure, with random weights.

use std::ops::ControlFlow;

use msao_models::Prompt;
use msao_models::speech::{Options, Whisper, question_of};
use msao_planner::EngineKind;
use msao_protocol::{Modality, SpanKind};
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
