//! The engine on the shipped edge checkpoint, on the CPU: the same code that the Worker runs.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]
#![expect(clippy::disallowed_methods, reason = "natively there is a clock")]

mod drafting;
mod ears;
mod frames;
#[path = "../../../models/tests/published_checkpoint/mod.rs"]
#[allow(dead_code, reason = "a test of the models has more of it")]
mod published_checkpoint;
#[path = "../../../models/tests/speech_checkpoint/mod.rs"]
#[allow(dead_code, reason = "as above")]
mod speech_checkpoint;
mod tiles;

use std::{
    cell::{Cell, RefCell},
    fs,
    path::PathBuf,
    sync::OnceLock,
    time::Instant,
};

use msao_models::{
    CheckpointFiles, ModelError, Pcm, ProbeFiles, Prompt, RgbImage,
    preprocess::{
        AudioBudget,
        decode::{ImageBudget, decode_image},
        read_wav,
    },
};
use msao_planner::EngineKind;
use msao_protocol::{
    AudioGrid, FinishReason, ImageGrid, Modality, PictureSize, SpanKind, Token, TokenFate, TokenOrigin,
    TokenSource,
};
use msao_runtime::{
    engine::{EdgeAnswer, EdgeEngine},
    messages::EdgeErrorCode,
    scored::{ModalityScores, Scored, TargetGrid},
    steering::{EdgeQuestion, EdgeStep, Steer},
};
use pollster::block_on;

fn now_ms() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64() * 1000.0
}

/// The grids of `pocket-cloud`.
const TARGET: TargetGrid = TargetGrid {
    image: ImageGrid { side_px: 192, tokens_per_side: 6 },
    audio: Some(AudioGrid { sample_rate_hz: 16_000, window_samples: 1_280, tokens: 60 }),
    tiles: PictureSize { longest_edge_px: 0, tile_px: 0 },
    drops_frames: false,
};

fn models() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../models")
}

fn checkpoint() -> CheckpointFiles {
    CheckpointFiles::from_dir(models().join("weights/pocket-edge")).unwrap()
}

fn engine() -> EdgeEngine {
    block_on(EdgeEngine::load(&checkpoint(), None, EngineKind::Simd, now_ms)).unwrap()
}

fn scoring_engine() -> EdgeEngine {
    let probe = ProbeFiles::from_dir(models().join("weights/pocket-edge")).unwrap();
    block_on(EdgeEngine::load(&checkpoint(), probe.as_ref(), EngineKind::Simd, now_ms)).unwrap()
}

/// A sample of the gallery, and which of picture and sound its question needs.
struct Sample {
    id: String,
    prompt: Prompt,
    needs_vision: bool,
    needs_audio: bool,
}

fn gallery() -> Vec<Sample> {
    let folder = models().join("eval/gallery");
    let read = |name: &serde_json::Value| fs::read(folder.join(name.as_str().unwrap())).unwrap();
    let list: serde_json::Value = serde_json::from_slice(&read(&"gallery.json".into())).unwrap();
    let sample = |sample: &serde_json::Value| {
        let image = |name| decode_image(&read(name), &ImageBudget::default()).unwrap();
        Sample {
            id: sample["id"].as_str().unwrap().to_owned(),
            prompt: Prompt {
                question: sample["question"].as_str().unwrap().to_owned(),
                images: sample["images"].as_array().unwrap().iter().map(image).collect(),
                audio: Some(read_wav(&read(&sample["audio"]), &AudioBudget::default()).unwrap()),
                ..Prompt::default()
            },
            needs_vision: sample["needs"]["vision"].as_bool().unwrap(),
            needs_audio: sample["needs"]["audio"].as_bool().unwrap(),
        }
    };
    list["samples"].as_array().unwrap().iter().map(sample).collect()
}

fn sample(id: &str) -> Prompt {
    gallery().into_iter().find(|sample| sample.id == id).unwrap().prompt
}

/// A greedy answer without a target.
fn plain(prompt: &Prompt, max_new_tokens: usize) -> EdgeQuestion<'_> {
    EdgeQuestion {
        prompt,
        target: None,
        max_new_tokens,
        sampling: None,
        awaits_target: false,
        wants_scores: true,
    }
}

/// Asks without a target.
fn answer(
    engine: &EdgeEngine,
    prompt: &Prompt,
    max_new_tokens: usize,
    on_token: impl AsyncFnMut(u32, &Token) -> bool,
) -> Result<EdgeAnswer, ModelError> {
    ask(engine, &plain(prompt, max_new_tokens), async |_| true, on_token)
}

/// Asks, without corrections.
fn ask(
    engine: &EdgeEngine,
    question: &EdgeQuestion<'_>,
    on_scored: impl AsyncFnOnce(Scored) -> bool,
    mut on_token: impl AsyncFnMut(u32, &Token) -> bool,
) -> Result<EdgeAnswer, ModelError> {
    let on_step = async |step: EdgeStep<'_>| {
        let EdgeStep::Token { revision, index, token, candidates } = step else { panic!("{step:?}") };
        assert_eq!((revision, candidates), (0, &[][..]));
        if on_token(index, token).await { Steer::GoOn } else { Steer::Stop }
    };
    block_on(engine.ask(question, on_scored, on_step))
}

/// The scores alone.
fn score(engine: &EdgeEngine, prompt: &Prompt, target: Option<&TargetGrid>) -> Scored {
    let mut heard = None;
    let on_scored = async |scored| {
        heard = Some(scored);
        false
    };
    let question = EdgeQuestion { target, ..plain(prompt, 8) };
    let stopped = ask(engine, &question, on_scored, async |_, _| true).unwrap();
    assert_eq!((stopped.finish_reason, stopped.receipt.completion_tokens), (FinishReason::Cancelled, 0));
    heard.unwrap()
}

fn of(scored: &Scored, modality: Modality) -> &ModalityScores {
    scored.modalities.iter().find(|scores| scores.modality == modality).unwrap()
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
fn where_nobody_wants_scores_the_answer_is_the_same() {
    let (engine, prompt) = (scoring_engine(), prompt());
    let scored = answer(&engine, &prompt, 12, async |_, _| true).unwrap();
    let question = EdgeQuestion { wants_scores: false, ..plain(&prompt, 12) };
    let on_scored = async |_| panic!("nobody asked");
    let unscored = ask(&engine, &question, on_scored, async |_, _| true).unwrap();
    assert_eq!((&unscored.text, unscored.finish_reason), (&scored.text, scored.finish_reason));
    assert!(unscored.receipt.flops < scored.receipt.flops, "the probe's operations are saved");
    assert!(unscored.receipt.spans.iter().all(|span| span.kind != SpanKind::Score));
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
    let answer = answer(&engine, &prompt(), 12, on_token).unwrap();

    assert_eq!(answer.receipt.tokens.len(), tokens.len());
    let unverified = TokenOrigin { source: TokenSource::EdgeDraft, fate: TokenFate::Unverified };
    assert!(answer.receipt.tokens.iter().all(|origin| *origin == unverified));
    assert!(answer.receipt.flops > 0);
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
    let answer = answer(&engine(), &prompt(), 12, on_token).unwrap();
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
    answer(&engine, &prompt(), 4, on_token).unwrap();
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
        let refused = answer(&engine, &prompt, 4, async |_, _| true).unwrap_err();
        assert_eq!(EdgeErrorCode::of(&refused), EdgeErrorCode::InvalidInput, "{refused}");
    }
}

#[test]
fn whose_fault_it_is_decides_the_code() {
    let code = |error: ModelError| EdgeErrorCode::of(&error);
    let too_long = Prompt { question: "why ".repeat(25_000), ..Prompt::default() };
    let refused = answer(&engine(), &too_long, 4, async |_, _| true).unwrap_err();
    assert_eq!(code(refused), EdgeErrorCode::InvalidInput);

    let target = TargetGrid {
        image: ImageGrid { side_px: 192, tokens_per_side: 7 },
        audio: None,
        tiles: PictureSize::default(),
        drops_frames: false,
    };
    let prompt = prompt();
    let question = EdgeQuestion { target: Some(&target), ..plain(&prompt, 4) };
    let refused = ask(&engine(), &question, async |_| true, async |_, _| true);
    assert_eq!(code(refused.unwrap_err()), EdgeErrorCode::InvalidInput);

    let mut cut = checkpoint();
    let weights = fs::read(models().join("weights/pocket-edge/model.safetensors")).unwrap();
    cut.safetensors = weights[..1000].to_vec().into();
    let refused = block_on(EdgeEngine::load(&cut, None, EngineKind::Simd, now_ms)).unwrap_err();
    assert_eq!(code(refused), EdgeErrorCode::CheckpointInvalid);

    if !cfg!(feature = "engine-webgpu") {
        let refused =
            block_on(EdgeEngine::load(&checkpoint(), None, EngineKind::Webgpu, now_ms)).unwrap_err();
        assert_eq!(code(refused), EdgeErrorCode::EngineUnavailable);
    }
}

#[test]
fn the_need_of_every_sample_is_told() {
    let engine = scoring_engine();
    assert!(engine.has_probe());
    for Sample { id, prompt, needs_vision, needs_audio } in gallery() {
        let scored = score(&engine, &prompt, None);
        let relevance =
            [Modality::Vision, Modality::Audio].map(|modality| of(&scored, modality).mas.relevance);
        for (relevance, is_needed) in relevance.into_iter().zip([needs_vision, needs_audio]) {
            assert!(if is_needed { relevance > 0.5 } else { relevance < 0.05 }, "{id}: {relevance}");
        }
        assert!(scored.images.is_empty() && scored.audio.is_none(), "nothing is cut for nobody");
    }
}

#[test]
fn a_question_about_the_picture_keeps_some_squares_of_it() {
    let engine = scoring_engine();
    let scored = score(&engine, &sample("01-colour"), Some(&TARGET));
    let vision = of(&scored, Modality::Vision);
    let [image] = &scored.images[..] else { panic!("{} images", scored.images.len()) };
    assert_eq!((image.frame, image.mask.parts()), (0, 36));
    assert_eq!(vision.kept.patches, image.mask);
    let kept = image.mask.kept();
    assert!((1..36).contains(&kept), "{kept} squares");
    assert_eq!((image.tiles.width, image.tiles.height), (kept.min(4) * 32, kept.div_ceil(4) * 32));
    assert_eq!(image.tiles.pixels.len() as u32, image.tiles.width * image.tiles.height * 4);
    let mas = vision.mas;
    assert_eq!((mas.kept_patches, mas.patches, mas.kept_frames, mas.frames), (kept, 36, 1, 1));
    assert!((mas.density - kept as f32 / 36.0).abs() < 1e-6);
    let [patches] = &vision.patch_probabilities[..] else { panic!("{:?}", vision.patch_probabilities) };
    assert_eq!(patches.len(), 64, "the edge's own grid");
    assert!(patches.iter().all(|probability| (0.0..=1.0).contains(probability)));
    assert!((mas.mas - (1.0 - mas.relevance * mas.density)).abs() < 1e-6);
    assert!(of(&scored, Modality::Audio).mas.mas > 0.95);
    assert!(scored.audio.is_none(), "nobody will send it");
}

#[test]
fn a_question_about_the_sound_keeps_what_is_to_be_heard_of_it() {
    let engine = scoring_engine();
    let prompt = sample("17-say-all");
    let scored = score(&engine, &prompt, Some(&TARGET));
    let (mas, audio) = (of(&scored, Modality::Audio).mas, scored.audio.as_ref().unwrap());
    assert_eq!((audio.mask.parts(), mas.windows), (60, 60));
    let recorded = prompt.audio.unwrap().samples().len().div_ceil(1_280) as u32;
    assert!((1..=recorded).contains(&audio.mask.kept()));
    assert!((recorded..60).all(|window| !audio.mask.is_kept(window)), "nothing behind the end");
    assert_eq!(audio.windows.sample_rate_hz, 16_000);
    assert_eq!(audio.windows.samples.len() as u32, audio.mask.kept() * 1_280);
    assert!(of(&scored, Modality::Vision).mas.mas > 0.95);
    assert!(scored.images.is_empty(), "nobody will send it");
}

#[test]
fn a_still_frame_is_sent_once_and_a_change_is_seen() {
    let engine = scoring_engine();
    let clip = sample("27-clip-what");
    let scored = score(&engine, &clip, Some(&TARGET));
    let mas = of(&scored, Modality::Vision).mas;
    assert_eq!((mas.frames, mas.kept_frames as usize), (4, scored.images.len()));
    assert!(mas.kept_frames >= 2, "something appears");
    assert_eq!(mas.patches, 36 * mas.kept_frames);

    let still = Prompt { images: vec![clip.images[0].clone(); 4], ..clip };
    let scored = score(&engine, &still, Some(&TARGET));
    assert_eq!((scored.images.len(), of(&scored, Modality::Vision).mas.kept_frames), (1, 1));
}

#[test]
fn scores_come_first_and_change_no_answer() {
    let (unscored, scoring) = (engine(), scoring_engine());
    for id in ["01-colour", "17-say-all", "22-spoken-question", "28-clip-direction"] {
        let prompt = sample(id);
        let expected = answer(&unscored, &prompt, 24, async |_, _| true).unwrap();
        let (scores, tokens) = (Cell::new(0), RefCell::new(Vec::new()));
        let on_scored = async |_| {
            assert!(tokens.borrow().is_empty(), "{id}: scores before tokens");
            scores.set(scores.get() + 1);
            true
        };
        let on_token = async |_, token: &Token| {
            assert_eq!(scores.get(), 1, "{id}: scores before tokens");
            tokens.borrow_mut().push(token.id);
            true
        };
        let question = EdgeQuestion { target: Some(&TARGET), ..plain(&prompt, 24) };
        let scored = ask(&scoring, &question, on_scored, on_token).unwrap();
        assert_eq!(scored.text, expected.text, "{id}");
        let kinds: Vec<_> = scored.receipt.spans.iter().map(|span| span.kind).collect();
        use SpanKind::{Decode, Encode, Prefill, Prune, Score};
        assert_eq!(kinds, [Encode, Score, Prune, Encode, Prefill, Decode]);
        let probe_flops = scored.receipt.flops - expected.receipt.flops;
        assert!(probe_flops > 0 && probe_flops * 20 < expected.receipt.flops, "{id}: {probe_flops}");
    }
}

#[test]
fn without_media_there_is_nothing_to_score_and_that_is_told() {
    let prompt = Prompt { question: "what color is the star?".into(), ..Prompt::default() };
    assert_eq!(score(&scoring_engine(), &prompt, Some(&TARGET)), Scored::default());
}
