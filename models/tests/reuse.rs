//! Prompts whose beginning was read before: the answer is that of reading all of it, wherever the beginning ends.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use msao_models::{Assistant, CheckpointFiles, DeviceKind, Generation, PastTurn, Prompt, RgbImage, device};

fn assistant(name: &str) -> Assistant {
    let path = format!("{}/weights/{name}", env!("CARGO_MANIFEST_DIR"));
    let device = pollster::block_on(device::open(DeviceKind::Cpu)).unwrap();
    Assistant::load(&CheckpointFiles::from_dir(path).unwrap(), &device).unwrap()
}

fn picture(seed: u32) -> RgbImage {
    let pixel = |n: u32| ((n * 31 + seed * 97) % 251) as u8;
    RgbImage::from_rgb(64, 48, (0..64 * 48 * 3).map(pixel).collect()).unwrap()
}

fn tokens(mut generation: Generation) -> Vec<u32> {
    while pollster::block_on(generation.next_token()).unwrap().is_some() {}
    generation.tokens().to_vec()
}

/// A question about a picture, and one that goes on from it with another.
fn prompts() -> [Prompt; 2] {
    let asked =
        Prompt { question: "What color is the star?".into(), images: vec![picture(1)], ..Prompt::default() };
    let turn = PastTurn { asked: asked.clone(), answer: " red".into() };
    let next = Prompt {
        question: "Describe the picture.".into(),
        images: vec![picture(2)],
        history: vec![turn],
        ..Prompt::default()
    };
    [asked, next]
}

#[test]
fn an_answer_is_the_same_wherever_what_was_read_before_ends() {
    let model = assistant("pocket-cloud");
    let [first, next] = prompts();
    let before = pollster::block_on(model.start(&first)).unwrap();
    let [layout, of_next] = [&first, &next].map(|prompt| model.layout(prompt).unwrap());
    assert_eq!(of_next.ids[..layout.ids.len()], layout.ids);
    let whole = pollster::block_on(model.start(&next)).unwrap();
    let expected = tokens(whole.clone());
    assert!(expected.len() > 3, "{expected:?}");
    let picture = &layout.image_spans[0];
    for known in [1, picture.start, picture.end, layout.ids.len() - 1, layout.ids.len()] {
        let read_before = Some(before.read_before(known, of_next.ids.len() + 40));
        let encoded = model.encode_rest_of(&next, read_before.as_ref()).unwrap();
        let generation = pollster::block_on(model.prefill_rest_of(&encoded, read_before, 40)).unwrap();
        assert_eq!(generation.prompt_tokens(), of_next.ids.len());
        let far = |(a, b): (&f32, &f32)| (a - b).abs() > 1e-3;
        assert!(!generation.first_logits().iter().zip(whole.first_logits()).any(far), "{known} known");
        assert_eq!(tokens(generation), expected[..expected.len().min(40)], "{known} known");
    }
}

#[test]
fn room_can_be_given_back_and_taken_again_in_the_middle_of_an_answer() {
    let model = assistant("pocket-cloud");
    let [first, _] = prompts();
    let start =
        pollster::block_on(model.start(&Prompt { question: "Describe the picture.".into(), ..first }))
            .unwrap();
    let expected = tokens(start.clone());
    assert!(expected.len() > 4);
    let bytes = |generation: &Generation| {
        assert_eq!(
            generation.kv_bytes(),
            model.kv_bytes(generation.prompt_tokens() + generation.remaining() + generation.tokens().len())
        );
        generation.kv_bytes()
    };
    let mut generation = start;
    let roomy = bytes(&generation);
    for _ in 0..2 {
        pollster::block_on(generation.next_token()).unwrap();
    }
    generation.resize(0);
    assert!(bytes(&generation) < roomy);
    assert!(generation.is_finished() && generation.tokens() == &expected[..2]);
    generation.resize(128);
    assert_eq!(bytes(&generation), roomy);
    assert_eq!(tokens(generation), expected);
}
