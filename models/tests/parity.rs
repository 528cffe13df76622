//! Every module against `transformers`, and the decoder's ways to the same result against each other.
//!
//! Tolerance to the reference: 1e-4 of the largest value (f32 throughout). The golden files come from
//! `models/tests/reference/make_golden.py`.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

mod comparison;
mod support;

use burn::tensor::{Device, Tensor};
use comparison::{assert_close, values};
use support::{Golden, greedy, run};

const TOLERANCE: f32 = 1e-4;

fn golden() -> Golden {
    Golden::load(&Device::flex())
}

#[test]
fn vision_tower_and_connector() {
    let golden = golden();
    let patches = golden.model.vision.as_ref().unwrap().tower.forward(golden.tensor("pixels"));
    assert_close("vision", patches.clone(), &golden.values("vision"), TOLERANCE);
    let tokens = golden.model.vision.as_ref().unwrap().connector.forward(patches);
    assert_close("connector", tokens, &golden.values("image_tokens"), TOLERANCE);
}

#[test]
fn audio_tower_and_projector() {
    let golden = golden();
    let hearing = golden.model.audio.as_ref().unwrap();
    let frames = hearing.tower.forward(golden.tensor("mel"));
    assert_close("audio tower", frames.clone(), &golden.values("frames"), TOLERANCE);
    assert_close("projector", hearing.projector.forward(frames), &golden.values("audio_tokens"), TOLERANCE);
}

#[test]
fn logits_of_a_prompt_with_images_and_sound() {
    let golden = golden();
    let decoder = &golden.model.decoder;
    let prompt = golden.prompt_embeddings();
    let mut cache = decoder.new_cache(1, prompt.dims()[1]);
    assert_close("logits", run(decoder, prompt, &mut cache), &golden.values("logits"), TOLERANCE);
}

#[test]
fn greedy_text_of_64_tokens() {
    let golden = golden();
    let expected = golden.tokens("greedy");
    assert_eq!(expected.len(), 64);
    assert_eq!(greedy(&golden.model.decoder, golden.prompt_embeddings(), 64), expected);
}

#[test]
fn prefill_equals_token_by_token() {
    let golden = golden();
    let decoder = &golden.model.decoder;
    let prompt = golden.prompt_embeddings();
    let positions = prompt.dims()[1];
    let mut cache = decoder.new_cache(1, positions);
    let whole = values(run(decoder, prompt.clone(), &mut cache));
    let mut cache = decoder.new_cache(1, positions);
    let steps: Vec<f32> = (0..positions)
        .flat_map(|at| values(run(decoder, prompt.clone().narrow(1, at, 1), &mut cache)))
        .collect();
    assert!(comparison::relative_error(&steps, &whole) < 1e-5);
    assert_eq!(cache.len(), positions);
}

#[test]
fn verifying_many_tokens_equals_decoding_them() {
    let golden = golden();
    let decoder = &golden.model.decoder;
    let drafts = &golden.tokens("greedy")[..24];
    let prompt = golden.prompt_embeddings();
    for count in [1, 2, 3, 5, 8, 16, 24] {
        let mut cache = decoder.new_cache(1, 192);
        run(decoder, prompt.clone(), &mut cache);
        let mut fork = cache.clone();
        let together = run(decoder, decoder.embed(&[drafts[..count].to_vec()]), &mut cache);
        let steps: Vec<f32> = drafts[..count]
            .iter()
            .flat_map(|&draft| values(run(decoder, decoder.embed(&[vec![draft]]), &mut fork)))
            .collect();
        assert_close("verify", together, &steps, 1e-5);
    }
}

#[test]
fn rolling_back_restores_the_state_exactly() {
    let golden = golden();
    let decoder = &golden.model.decoder;
    let mut cache = decoder.new_cache(1, 192);
    run(decoder, golden.prompt_embeddings(), &mut cache);
    let held = cache.len();
    let next = || decoder.embed(&[vec![11]]);
    let before = values(run(decoder, next(), &mut cache));
    cache.truncate(held);
    run(decoder, decoder.embed(&[vec![90, 91, 92, 93, 94]]), &mut cache);
    assert_eq!(cache.len(), held + 5);
    cache.truncate(held);
    assert_eq!(values(run(decoder, next(), &mut cache)), before);
}

#[test]
fn a_fork_does_not_disturb_its_origin() {
    let golden = golden();
    let decoder = &golden.model.decoder;
    let mut cache = decoder.new_cache(1, 192);
    run(decoder, golden.prompt_embeddings(), &mut cache);
    let mut fork = cache.clone();
    run(decoder, decoder.embed(&[vec![33]]), &mut fork);
    let mut other = cache.clone();
    let expected = values(run(decoder, decoder.embed(&[vec![44]]), &mut other));
    assert_eq!(values(run(decoder, decoder.embed(&[vec![44]]), &mut cache)), expected);
}

#[test]
fn a_batch_of_two_equals_two_batches_of_one() {
    let golden = golden();
    let decoder = &golden.model.decoder;
    let first = golden.prompt_embeddings();
    let second = first.clone().flip([1]);
    let mut batched_cache = decoder.new_cache(2, 192);
    let mut batched =
        vec![run(decoder, Tensor::cat(vec![first.clone(), second.clone()], 0), &mut batched_cache)];
    batched.push(run(decoder, decoder.embed(&[vec![20, 21], vec![30, 31]]), &mut batched_cache));
    for (index, (prompt, next)) in [(first, vec![20, 21]), (second, vec![30, 31])].into_iter().enumerate() {
        let mut cache = decoder.new_cache(1, 192);
        let alone = [run(decoder, prompt, &mut cache), run(decoder, decoder.embed(&[next]), &mut cache)];
        for (batched, alone) in batched.iter().zip(alone) {
            assert_close("batch", batched.clone().narrow(0, index, 1), &values(alone), 1e-5);
        }
    }
    let images = golden.tensor::<4>("pixels");
    let both = golden.model.vision.as_ref().unwrap().encode(images.clone());
    for index in 0..2 {
        let alone = golden.model.vision.as_ref().unwrap().encode(images.clone().narrow(0, index, 1));
        assert_close("images", both.clone().narrow(0, index, 1), &values(alone), 1e-5);
    }
}
