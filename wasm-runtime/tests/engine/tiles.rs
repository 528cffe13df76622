//! A checkpoint without a probe that looks at pictures in tiles: what it leaves out for a target, and reads itself.

use msao_models::{Assistant, CheckpointFiles, DeviceKind, KeptTokens, Prompt, RgbImage, Splitting, device};
use msao_planner::{
    EngineKind,
    tiles::{TAU_TILES, kept_tiles},
};
use msao_protocol::{ImageGrid, Modality, PictureSize};
use msao_runtime::{
    engine::{EdgeAnswer, EdgeEngine},
    scored::{Scored, TargetGrid},
    steering::EdgeQuestion,
};
use pollster::block_on;

use crate::{ask, now_ms, of, plain, published_checkpoint::checkpoint};

const FAMILY: &str = "Idefics3";

fn engine_of(files: &CheckpointFiles) -> EdgeEngine {
    block_on(EdgeEngine::load(files, None, EngineKind::Simd, now_ms)).unwrap()
}

fn assistant() -> Assistant {
    Assistant::load(&checkpoint(FAMILY), &block_on(device::open(DeviceKind::Cpu)).unwrap()).unwrap()
}

/// The grid of a target that is the checkpoint itself.
fn target(assistant: &Assistant) -> TargetGrid {
    let vision = assistant.config().vision_config.as_ref().unwrap();
    let tokens_per_side = assistant.config().num_image_tokens().isqrt() as u32;
    let image = ImageGrid { side_px: vision.image_size as u32, tokens_per_side };
    let tiling = assistant.tiling().unwrap();
    let tiles = PictureSize { longest_edge_px: tiling.longest_edge, tile_px: tiling.tile };
    TargetGrid { image, audio: None, tiles, drops_frames: false }
}

/// Flat but for one corner, so that most of its tiles show nothing.
fn prompt() -> Prompt {
    let pixel = |at: u32| {
        let (x, y) = (at % 480, at / 480);
        if x < 60 && y < 60 { [(x * y * 7) as u8, (x * 90) as u8, y as u8] } else { [128; 3] }
    };
    let image = RgbImage::from_rgb(480, 240, (0..480 * 240).flat_map(pixel).collect()).unwrap();
    Prompt { question: "What is this?".into(), images: vec![image], ..Prompt::default() }
}

fn scored(engine: &EdgeEngine, prompt: &Prompt, target: &TargetGrid) -> (Scored, EdgeAnswer) {
    let mut told = None;
    let question = EdgeQuestion { target: Some(target), ..plain(prompt, 8) };
    let answer = ask(engine, &question, async |scored| told.replace(scored).is_none(), async |_, _| true);
    (told.expect("scores are told once"), answer.unwrap())
}

#[test]
fn tiles_that_show_little_are_left_out_and_the_device_reads_the_others() {
    let (assistant, prompt) = (assistant(), prompt());
    let target = target(&assistant);
    let (scored, answer) = scored(&engine_of(&checkpoint(FAMILY)), &prompt, &target);

    let patches = block_on(assistant.saliency(&prompt.images[0])).unwrap();
    let tiles = kept_tiles(&patches, 2, 4, TAU_TILES);
    let kept = tiles.iter().filter(|kept| **kept).count();
    assert!(tiles[0] && kept < 8, "{tiles:?}");
    let [image] = &scored.images[..] else { panic!("{} images", scored.images.len()) };
    let split = image.split.as_ref().unwrap();
    assert_eq!((split.rows, split.columns), (2, 4));
    assert_eq!((0..8).map(|tile| image.mask.is_kept(tile)).collect::<Vec<_>>(), tiles);
    assert_eq!((image.tiles.width, image.tiles.height), (480, 240));
    assert_eq!((split.whole.width, split.whole.height), (target.tiles.tile_px, target.tiles.tile_px));
    assert_eq!(image.pictures().count(), 2);
    let vision = of(&scored, Modality::Vision);
    assert_eq!((vision.mas.relevance, vision.mas.kept_patches, vision.mas.patches), (1.0, kept as u32, 8));
    assert!((vision.mas.density - (kept + 1) as f32 / 9.0).abs() < 1e-6);

    let kept_tokens = KeptTokens { images: vec![Some(assistant.tokens_of_tiles(&tiles))], audio: None };
    let mut alone = block_on(assistant.start(&Prompt { kept: kept_tokens, ..prompt })).unwrap();
    while alone.tokens().len() < 8 && block_on(alone.next_token()).unwrap().is_some() {}
    assert_eq!(answer.text.trim(), assistant.tokenizer().decode(alone.tokens()).trim());
    let seen = &answer.receipt.modalities[1];
    assert_eq!((seen.inputs, seen.kept_inputs), (9, kept as u32 + 1));
    assert_eq!(seen.prompt_tokens * 9, seen.given_tokens * seen.kept_inputs);
}

#[test]
fn a_device_that_splits_otherwise_reads_pictures_in_one_piece() {
    let (assistant, prompt) = (assistant(), prompt());
    let mut other = target(&assistant);
    other.tiles.longest_edge_px *= 2;
    let engine = engine_of(&checkpoint(FAMILY));
    let (scored, answer) = scored(&engine, &prompt, &other);
    assert_eq!(scored.images[0].mask.parts(), 8 * 4);
    let in_one_piece = Prompt { splitting: Splitting::Never, ..prompt };
    let expected = ask(&engine, &plain(&in_one_piece, 8), async |_| true, async |_, _| true).unwrap();
    assert_eq!(answer.text, expected.text);
    assert_eq!(answer.receipt.prompt_tokens, expected.receipt.prompt_tokens);
}

#[test]
fn a_device_that_cannot_see_says_at_once_that_it_has_nothing_to_say() {
    let target = target(&assistant());
    let question = Prompt { images: Vec::new(), ..prompt() };
    let (told, answer) = scored(&engine_of(&checkpoint("Llama")), &question, &target);
    assert_eq!(told, Scored::default());
    assert!(answer.receipt.completion_tokens > 0);
}

#[test]
fn impossible_tiles_are_refused() {
    let (prompt, possible) = (prompt(), target(&assistant()));
    let engine = engine_of(&checkpoint(FAMILY));
    for longest_edge_px in [possible.tiles.tile_px * 17, u32::MAX] {
        let tiles = PictureSize { longest_edge_px, ..possible.tiles };
        let target = TargetGrid { tiles, ..possible };
        let question = EdgeQuestion { target: Some(&target), ..plain(&prompt, 8) };
        let refused = ask(&engine, &question, async |_| true, async |_, _| true).unwrap_err();
        assert!(refused.to_string().contains("impossible"), "{refused}");
    }
}
