//! A video before a checkpoint without a probe: which of its frames are sent, and that the device reads the same.

use msao_models::{Prompt, RgbImage, Splitting, preprocess::Clip};
use msao_planner::EngineKind;
use msao_protocol::{ImageGrid, KeepMask, Modality, PictureSize};
use msao_runtime::{
    engine::{EdgeAnswer, EdgeEngine},
    scored::{Scored, TargetGrid},
    steering::EdgeQuestion,
};
use pollster::block_on;

use crate::{ask, now_ms, of, plain, published_checkpoint::checkpoint};

const TARGET: TargetGrid = TargetGrid {
    image: ImageGrid { side_px: 64, tokens_per_side: 4 },
    audio: None,
    tiles: PictureSize { longest_edge_px: 0, tile_px: 0 },
    drops_frames: true,
};

/// A square that stands at one of a few places.
fn frame(place: u32) -> RgbImage {
    let pixel = |at: u32| if at % 64 / 16 == place { [200; 3] } else { [90; 3] };
    RgbImage::from_rgb(64, 32, (0..64 * 32).flat_map(pixel).collect()).unwrap()
}

fn video(places: &[u32], times_s: &[f64]) -> Prompt {
    Prompt {
        question: "What happens?".into(),
        images: places.iter().map(|&place| frame(place)).collect(),
        splitting: Splitting::Never,
        clip: Some(Clip { duration_s: 6.0, times_s: times_s.to_vec() }),
        ..Prompt::default()
    }
}

fn scored(engine: &EdgeEngine, prompt: &Prompt, target: &TargetGrid) -> (Option<Scored>, EdgeAnswer) {
    let mut told = None;
    let question = EdgeQuestion { target: Some(target), ..plain(prompt, 8) };
    let answer = ask(engine, &question, async |scored| told.replace(scored).is_none(), async |_, _| true);
    (told, answer.unwrap())
}

#[test]
fn frames_that_say_nothing_new_are_not_sent_and_not_read() {
    let engine = block_on(EdgeEngine::load(&checkpoint("SmolVLM2"), None, EngineKind::Simd, now_ms)).unwrap();
    let all = video(&[0, 0, 1, 1, 1, 2], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let (told, answer) = scored(&engine, &all, &TARGET);
    let told = told.expect("scores are told once");
    assert_eq!((&told.whole_frames, told.images.len()), (&vec![0, 2, 5], 0));
    let vision = of(&told, Modality::Vision);
    assert_eq!((vision.mas.kept_frames, vision.mas.frames, vision.mas.relevance), (3, 6, 1.0));
    assert_eq!((vision.mas.density, vision.mas.mas), (0.5, 0.5));
    assert_eq!(vision.kept.frames, KeepMask::new(&[true, false, true, false, false, true]));

    let (_, alone) = scored(&engine, &video(&[0, 1, 2], &[0.0, 2.0, 5.0]), &TARGET);
    assert_eq!((&answer.text, answer.receipt.prompt_tokens), (&alone.text, alone.receipt.prompt_tokens));
    let seen = |answer: &EdgeAnswer| {
        let vision = &answer.receipt.modalities[1];
        (vision.inputs, vision.kept_inputs, vision.given_tokens / vision.prompt_tokens)
    };
    assert_eq!((seen(&answer), seen(&alone)), ((6, 3, 2), (3, 3, 1)));

    // Where that is not wished nothing is told, and all are read.
    let (told, whole) = scored(&engine, &all, &TargetGrid { drops_frames: false, ..TARGET });
    assert_eq!((told, seen(&whole)), (None, (6, 6, 1)));
    assert!(answer.receipt.flops < whole.receipt.flops);
}

#[test]
fn a_question_without_frames_has_nothing_to_leave_out() {
    let engine = block_on(EdgeEngine::load(&checkpoint("Llama"), None, EngineKind::Simd, now_ms)).unwrap();
    let question = Prompt { question: "What happens?".into(), ..Prompt::default() };
    assert_eq!(scored(&engine, &question, &TARGET).0, Some(Scored::default()));
}
