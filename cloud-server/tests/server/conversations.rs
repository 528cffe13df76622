//! Questions that go on from earlier ones.

use msao_models::preprocess::decode::{ImageBudget, decode_image};
use msao_models::{Assistant, CheckpointFiles, DeviceKind, PastTurn, Prompt, device};
use msao_protocol::{Ask, ErrorCode, ImageInput, Limits, Media, MediaKind, Modality, Turn};

use crate::checkpoint::checkpoint;
use crate::speculation::{QUESTION, answer_to, ids};
use crate::support::{Options, TestServer, ask, png, with_image};

pub(crate) fn image(bytes: Vec<u8>) -> ImageInput {
    ImageInput::Whole(Media { kind: MediaKind::Png, bytes })
}

fn turn(question: &str, answer: &str) -> Turn {
    Turn { images: vec![], audio: None, question: question.into(), answer: answer.into() }
}

/// What the model alone writes.
fn tokens_alone(prompt: &Prompt, max_new_tokens: usize) -> Vec<u32> {
    let device = pollster::block_on(device::open(DeviceKind::Cpu)).unwrap();
    let model = Assistant::load(&CheckpointFiles::from_dir(checkpoint()).unwrap(), &device).unwrap();
    let mut generation = pollster::block_on(model.start(prompt)).unwrap().with_max_new_tokens(max_new_tokens);
    while pollster::block_on(generation.next_token()).unwrap().is_some() {}
    generation.tokens().to_vec()
}

#[actix_web::test]
async fn earlier_turns_are_read_before_the_question_with_their_media() {
    let server = TestServer::start(Options::default());
    let mut client = server.session().await;
    let earlier = Turn { images: vec![image(png(70, 64))], ..turn("and here?", " a star") };
    let asked =
        Ask { history: vec![earlier, turn("why?", "so")], ..with_image(ask(1, QUESTION), png(64, 64)) };
    let vision_bytes = asked.bytes(Modality::Vision);
    let answer = answer_to(&mut client, asked).await;

    let pixels = |bytes: Vec<u8>| decode_image(&bytes, &ImageBudget::default()).unwrap();
    let past = |question: &str, images, answer: &str| PastTurn {
        asked: Prompt { question: question.into(), images, ..Prompt::default() },
        answer: answer.into(),
    };
    let prompt = Prompt {
        question: QUESTION.into(),
        images: vec![pixels(png(64, 64))],
        history: vec![past("and here?", vec![pixels(png(70, 64))], " a star"), past("why?", vec![], " so")],
        ..Prompt::default()
    };
    let expected = tokens_alone(&prompt, 16);
    assert_eq!(ids(&answer), expected);
    let alone = tokens_alone(&Prompt { history: vec![], ..prompt }, 16);
    assert_ne!(expected, alone, "the history should matter to the tiny model");
    let vision = &answer.receipt.modalities.iter().find(|one| one.modality == Modality::Vision).unwrap();
    assert_eq!((vision.bytes, vision.prompt_tokens), (vision_bytes, 8));
}

#[actix_web::test]
async fn a_conversation_over_budget_is_refused_with_the_remedy() {
    let limits = Limits { history_turns: 2, history_chars: 20, history_images: 1, ..Limits::default() };
    let server = TestServer::start(Options { limits, ..Options::default() });
    let mut client = server.session().await;
    let with = |id, history| Ask { history, ..ask(id, QUESTION) };
    let pictured = Turn { images: vec![image(png(9, 9)); 2], ..turn("a?", "b") };
    for (id, history, words) in [
        (1, vec![turn("a?", "b"); 3], ["3 earlier turns", "at most 2"]),
        (2, vec![turn("a long question?", " an answer")], ["26 characters", "at most 20"]),
        (3, vec![pictured], ["2 images", "at most 1"]),
    ] {
        client.refused_with(with(id, history), ErrorCode::HistoryTooLong, &words).await;
    }
    // Each within the characters, all together beyond the model's 512 positions.
    let limits = Limits { history_chars: 16_000, ..Limits::default() };
    let server = TestServer::start(Options { limits, ..Options::default() });
    let mut client = server.session().await;
    let long = vec![turn(&"xy ".repeat(300), "z"); 2];
    client.refused_with(with(4, long), ErrorCode::QuestionTooLong, &["511"]).await;
    answer_to(&mut client, with(5, vec![turn("a?", " b")])).await;
}
