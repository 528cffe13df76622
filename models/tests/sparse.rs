//! Leaving tokens out: the shipped checkpoints' sparse paths and the MAS probe against the training code's own, and
//! several answers in one pass against each alone.
//!
//! The golden files come from `models/tests/reference/make_sparse_golden.py`.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

mod comparison;

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use comparison::{assert_close, read, relative_error};
use msao_models::mas_probe::EarlyFeatures;
use msao_models::preprocess::Pcm;
use msao_models::{
    Assistant, CheckpointFiles, Generation, KeptTokens, MasProbe, ModelError, ProbeFiles, Prompt, RgbImage,
};
use safetensors::SafeTensors;

const QUESTION: &str = "Read the sign, or if there is none tell me what you hear.";

fn weights(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("weights").join(name)
}

fn assistant(name: &str) -> Assistant {
    Assistant::load(&CheckpointFiles::from_dir(weights(name)).unwrap(), &Device::flex()).unwrap()
}

fn probe(edge: &Assistant) -> MasProbe {
    let file = |name: &str| std::fs::read(weights("pocket-edge").join(name)).unwrap();
    let files =
        ProbeFiles { config_json: file("mas_probe.json"), safetensors: file("mas_probe.safetensors") };
    MasProbe::load(&files, edge.config(), edge.device()).unwrap()
}

fn golden(name: &str) -> Vec<f32> {
    let bytes = read("sparse.safetensors");
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let view = tensors.tensor(name).unwrap();
    view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// Values in -1..1 that the Python side computes alike.
fn pattern<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    let count = shape.iter().product::<usize>() as u64;
    let values: Vec<f32> = (0..count).map(|n| (n * 7919 % 1000) as f32 / 500.0 - 1.0).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn picture(seed: u32) -> RgbImage {
    let pixels = (0..192 * 192 * 3_u32).map(|at| (at.wrapping_mul(31 + seed) >> 3) as u8).collect();
    RgbImage::from_rgb(192, 192, pixels).unwrap()
}

fn recording() -> Pcm {
    let sample = |at: u32| 0.3 * (at as f32 * 0.07).sin() * (at as f32 * 0.0003).cos();
    Pcm::from_mono(16_000, (0..76_800).map(sample).collect()).unwrap()
}

fn tokens(mut generation: Generation) -> Vec<u32> {
    while pollster::block_on(generation.next_token()).unwrap().is_some() {}
    generation.tokens().to_vec()
}

#[test]
fn kept_tokens_are_those_of_the_training_code() {
    let cloud = assistant("pocket-cloud");
    let (side, device) = (cloud.config().vision_config.as_ref().unwrap().image_size, cloud.device().clone());
    let pixels = pattern([1, 3, side, side], &device);
    let image = cloud.model().vision.as_ref().unwrap().encode_kept(pixels, &[0, 1, 7, 14, 35]);
    assert_close("image", image, &golden("cloud_image"), 1e-4);
    let hearing = cloud.model().audio.as_ref().unwrap();
    let audio = hearing.encode_kept(pattern([1, 80, 480], &device), &[3, 4, 5, 40]);
    assert_close("audio", audio, &golden("cloud_audio"), 1e-4);
}

#[test]
fn the_probe_scores_as_it_was_trained() {
    let edge = assistant("pocket-edge");
    let probe = probe(&edge);
    let (side, device) = (edge.config().vision_config.as_ref().unwrap().image_size, edge.device().clone());
    let hearing = edge.model().audio.as_ref().unwrap();
    let early = EarlyFeatures {
        vision: Some(
            edge.model().vision.as_ref().unwrap().tower.early(pattern([1, 3, side, side], &device), 1),
        ),
        audio: Some(hearing.tower.early(pattern([1, 80, 480], &device), 1)),
    };
    let question = edge.model().decoder.embed(&[edge.tokenizer().encode(QUESTION).unwrap()]);
    let scores = pollster::block_on(probe.score(question, &early)).unwrap();
    let relevance = [scores.vision_relevance.unwrap(), scores.audio_relevance.unwrap()];
    assert!(relative_error(&relevance, &golden("relevance")) < 1e-3, "{relevance:?}");
    assert!(relative_error(&scores.patches[0], &golden("patches")) < 1e-3);
    assert_eq!((scores.frame_cells.len(), scores.frame_cells[0].len()), (1, 16));
}

#[test]
fn a_look_and_the_rest_are_a_whole_encoding() {
    let edge = assistant("pocket-edge");
    let probe = probe(&edge);
    let prompt = Prompt {
        question: "Describe everything you see and hear.".into(),
        images: vec![picture(1), picture(2)],
        audio: Some(recording()),
        ..Prompt::default()
    };
    let looked = edge.look(&prompt, &probe).unwrap();
    let scores = pollster::block_on(edge.score(&looked, &probe)).unwrap();
    assert_eq!((scores.patches.len(), scores.frame_cells.len()), (2, 2));
    assert!((0.0..=1.0).contains(&scores.audio_relevance.unwrap()));
    let in_two_steps = pollster::block_on(edge.prefill(&edge.encode_rest(looked))).unwrap();
    let at_once = pollster::block_on(edge.start(&prompt)).unwrap();
    assert!(relative_error(in_two_steps.first_logits(), at_once.first_logits()) < 1e-5);
}

#[test]
fn what_is_left_out_takes_no_positions_and_keeping_all_changes_nothing() {
    let cloud = assistant("pocket-cloud");
    let prompt = |kept: KeptTokens| Prompt {
        question: "What do you see?".into(),
        images: vec![picture(3)],
        audio: Some(recording()),
        kept,
        ..Prompt::default()
    };
    let whole = cloud.encode(&prompt(KeptTokens::default())).unwrap();
    let all = KeptTokens { images: vec![Some((0..36).collect())], audio: Some((0..60).collect()) };
    let all = cloud.encode(&prompt(all)).unwrap();
    assert_eq!(whole.token_ids(), all.token_ids());
    let logits = |encoded| pollster::block_on(cloud.prefill(encoded)).unwrap().first_logits().to_vec();
    assert!(relative_error(&logits(&all), &logits(&whole)) < 1e-4);
    let few = KeptTokens { images: vec![Some(vec![2, 3])], audio: Some(vec![0]) };
    assert_eq!(cloud.encode(&prompt(few)).unwrap().num_tokens(), whole.num_tokens() - 34 - 59);
}

#[test]
fn impossible_choices_are_refused() {
    let cloud = assistant("pocket-cloud");
    for kept in [
        KeptTokens { images: vec![Some(vec![])], audio: None },
        KeptTokens { images: vec![Some(vec![36])], audio: None },
        KeptTokens { images: vec![None, None], audio: None },
        KeptTokens { images: vec![], audio: Some(vec![60]) },
    ] {
        let prompt = Prompt {
            question: "?".into(),
            images: vec![picture(0)],
            audio: Some(recording()),
            kept: kept.clone(),
            ..Prompt::default()
        };
        assert!(matches!(cloud.encode(&prompt), Err(ModelError::Prompt { .. })), "{kept:?}");
    }
}

#[test]
fn answers_that_share_passes_are_those_of_each_alone() {
    let cloud = assistant("pocket-cloud");
    let questions = ["What color is the star?", "Describe the picture.", "How many shapes are there?"];
    let start = |index: usize| {
        let prompt = Prompt {
            question: questions[index].into(),
            images: vec![picture(index as u32 * 7)],
            ..Prompt::default()
        };
        pollster::block_on(cloud.start(&prompt)).unwrap().with_max_new_tokens(24)
    };
    let alone: Vec<Vec<u32>> = (0..3).map(|index| tokens(start(index))).collect();
    let mut together: Vec<Generation> = (0..3).map(start).collect();
    for round in 0.. {
        if together.iter().all(Generation::is_finished) {
            break;
        }
        assert!(round < 30, "passes that share rows make progress");
        // The first decodes, the second verifies right drafts, the third wrong ones.
        let drafts: Vec<Vec<u32>> = together
            .iter()
            .enumerate()
            .map(|(index, generation)| match index {
                0 => Vec::new(),
                1 => alone[1].iter().copied().skip(generation.tokens().len()).take(4).collect(),
                _ => vec![11, 12],
            })
            .collect();
        let drafts: Vec<&[u32]> = drafts.iter().map(Vec::as_slice).collect();
        let mut generations: Vec<&mut Generation> = together.iter_mut().collect();
        pollster::block_on(Generation::verify_many(&mut generations, &drafts)).unwrap();
    }
    let together: Vec<Vec<u32>> = together.iter().map(|generation| generation.tokens().to_vec()).collect();
    assert_eq!(together, alone);
}

#[test]
fn an_answer_that_somebody_else_settles_goes_on_as_if_decoded() {
    let cloud = assistant("pocket-cloud");
    let prompt =
        Prompt { question: "Describe the picture.".into(), images: vec![picture(5)], ..Prompt::default() };
    let start = || pollster::block_on(cloud.start(&prompt)).unwrap().with_max_new_tokens(12);
    let expected = tokens(start());
    assert!(expected.len() > 4, "{expected:?}");
    let mut generation = start();
    // Two drafts are accepted and nothing is written after them.
    let scores = pollster::block_on(generation.score(&expected[..3])).unwrap();
    assert_eq!(scores.len(), 4);
    let standing = generation.settle(&expected[..3], &scores, 2, None).unwrap();
    assert_eq!(standing.len(), 2);
    assert_eq!(tokens(generation), expected);
}
