//! The engine on the shipped edge checkpoint, on the CPU: the same code that the Worker runs.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]
#![expect(clippy::disallowed_methods, reason = "natively there is a clock")]

use std::{path::PathBuf, sync::OnceLock, time::Instant};

use msao_models::{CheckpointFiles, ModelError, Pcm, Prompt, RgbImage};
use msao_planner::EngineKind;
use msao_protocol::{FinishReason, Modality, SpanKind, Token};
use msao_runtime::{engine::EdgeEngine, messages::EdgeErrorCode};
use pollster::block_on;

fn now_ms() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64() * 1000.0
}

fn checkpoint() -> CheckpointFiles {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../models/weights/pocket-edge");
    CheckpointFiles::from_dir(folder).unwrap()
}

fn engine() -> EdgeEngine {
    block_on(EdgeEngine::load(&checkpoint(), EngineKind::Simd, now_ms)).unwrap()
}

fn prompt() -> Prompt {
    let pixels = (0..96 * 64 * 3).map(|at| (at % 251) as u8).collect();
    let tone = |at: u32| 0.3 * (at as f32 * 0.2).sin();
    Prompt {
        question: "what color is the star?".into(),
        images: vec![RgbImage::from_rgb(96, 64, pixels).unwrap()],
        audio: Some(Pcm::from_mono(16_000, (0..16_000).map(tone).collect()).unwrap()),
        ..Prompt::default()
    }
}

#[test]
fn an_answer_streams_what_it_returns() {
    let engine = engine();
    let mut tokens: Vec<Token> = Vec::new();
    let on_token = async |index: u32, token: &Token| {
        assert_eq!(index as usize, tokens.len());
        tokens.push(token.clone());
        true
    };
    let answer = block_on(engine.ask(&prompt(), 12, on_token)).unwrap();

    assert_eq!(answer.text, tokens.iter().map(|token| token.text.as_str()).collect::<String>());
    assert!(tokens.iter().all(|token| (0.0..=1.0).contains(&token.probability)));
    let receipt = &answer.receipt;
    assert_eq!(receipt.completion_tokens as usize, tokens.len());
    let kinds: Vec<_> = receipt.spans.iter().map(|span| span.kind).collect();
    assert_eq!(kinds, [SpanKind::Encode, SpanKind::Prefill, SpanKind::Decode]);
    let modalities: Vec<_> = receipt.modalities.iter().map(|entry| entry.modality).collect();
    assert_eq!(modalities, [Modality::Text, Modality::Vision, Modality::Audio]);
    let read: u32 = receipt.modalities.iter().map(|entry| entry.prompt_tokens).sum();
    assert_eq!(read, receipt.prompt_tokens);
    assert!(receipt.modalities.iter().all(|entry| entry.bytes == 0), "nothing leaves the device");
}

#[test]
fn an_answer_can_be_stopped_after_any_token() {
    let mut written = 0;
    let on_token = async |_: u32, _: &Token| {
        written += 1;
        false
    };
    let answer = block_on(engine().ask(&prompt(), 12, on_token)).unwrap();
    assert!(written <= 1);
    if written == 1 {
        assert_eq!(answer.finish_reason, FinishReason::Cancelled);
    }
}

#[test]
fn the_most_likely_first_token_is_the_one_that_is_written() {
    let engine = engine();
    let logits = block_on(engine.first_token_logits(&prompt())).unwrap();
    let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
    let mut first = None;
    let on_token = async |_: u32, token: &Token| {
        first = Some(token.id as usize);
        false
    };
    block_on(engine.ask(&prompt(), 4, on_token)).unwrap();
    assert_eq!(first, Some(best));
}

#[test]
fn a_measurement_gives_plausible_times() {
    let timings = block_on(engine().measure()).unwrap();
    assert!(timings.decode_step_ms > 0.0);
    assert!(timings.prefill_ms > timings.decode_step_ms, "{timings:?}");
}

#[test]
fn what_nobody_can_answer_is_refused() {
    let engine = engine();
    let recording = |seconds: usize, level| Pcm::from_mono(16_000, vec![level; seconds * 16_000]).unwrap();
    let silent = Prompt { audio: Some(recording(1, 0.0)), ..prompt() };
    let long = Prompt { audio: Some(recording(31, 0.1)), ..prompt() };
    let empty = Prompt { question: "  ".into(), audio: None, ..prompt() };
    for prompt in [silent, long, empty] {
        let refused = block_on(engine.ask(&prompt, 4, async |_, _| true)).unwrap_err();
        assert_eq!(EdgeErrorCode::of(&refused), EdgeErrorCode::InvalidInput, "{refused}");
    }
}

#[test]
fn whose_fault_it_is_decides_the_code() {
    let code = |error: ModelError| EdgeErrorCode::of(&error);
    let too_long = Prompt { question: "why ".repeat(25_000), ..Prompt::default() };
    let refused = block_on(engine().ask(&too_long, 4, async |_, _| true)).unwrap_err();
    assert_eq!(code(refused), EdgeErrorCode::InvalidInput);

    let mut cut = checkpoint();
    cut.safetensors.truncate(1000);
    let refused = block_on(EdgeEngine::load(&cut, EngineKind::Simd, now_ms)).unwrap_err();
    assert_eq!(code(refused), EdgeErrorCode::CheckpointInvalid);

    if !cfg!(feature = "engine-webgpu") {
        let refused = block_on(EdgeEngine::load(&checkpoint(), EngineKind::Webgpu, now_ms)).unwrap_err();
        assert_eq!(code(refused), EdgeErrorCode::EngineUnavailable);
    }
}
