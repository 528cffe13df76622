//! Questions that go on from earlier ones.

use std::time::Duration;

use msao_models::preprocess::decode::{ImageBudget, decode_image};
use msao_models::{Assistant, CheckpointFiles, DeviceKind, PastTurn, Prompt, device};
use msao_protocol::{
    Ask, ClientMessage, ErrorCode, ImageInput, Limits, Media, MediaKind, Modality, ModalityReceipt,
    ServerMessage, Speculation, Turn,
};

use crate::checkpoint::checkpoint;
use crate::speculation::{PATIENT, QUESTION, answer_to, draft, ids};
use crate::support::{Answer, Options, TestServer, ask, png, with_image};

pub(crate) fn image(bytes: Vec<u8>) -> ImageInput {
    ImageInput::Whole(Media { kind: MediaKind::Png, bytes })
}

fn turn(question: &str, answer: &str) -> Turn {
    Turn { images: vec![], clip: None, audio: None, question: question.into(), answer: answer.into() }
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

fn vision_bytes(answer: &Answer) -> Option<u64> {
    let of = |one: &&ModalityReceipt| one.modality == Modality::Vision;
    answer.receipt.modalities.iter().find(of).map(|one| one.bytes)
}

#[actix_web::test]
async fn going_on_from_a_finished_question_is_sending_its_history() {
    let server = TestServer::start(Options::default());
    let mut client = server.session().await;
    let first = answer_to(&mut client, with_image(ask(1, "first?"), png(64, 64))).await;
    let second = answer_to(&mut client, Ask { continues: Some(1), ..ask(2, "second?") }).await;
    let asked = Ask { continues: Some(2), ..with_image(ask(3, "third?"), png(40, 64)) };
    let third = answer_to(&mut client, asked).await;

    let one = Turn { images: vec![image(png(64, 64))], ..turn("first?", &first.text) };
    let two = turn("second?", &second.text);
    // In sessions of their own, where nothing is known.
    let sent = Ask { history: vec![one.clone()], ..ask(2, "second?") };
    let second_alone = answer_to(&mut server.session().await, sent).await;
    assert_eq!((ids(&second), &second.text), (ids(&second_alone), &second_alone.text));
    let sent = Ask { history: vec![one, two], ..with_image(ask(3, "third?"), png(40, 64)) };
    let third_alone = answer_to(&mut server.session().await, sent.clone()).await;
    assert_eq!((ids(&third), &third.text), (ids(&third_alone), &third_alone.text));

    // Media did not come again, and what had been read was not read again.
    assert_eq!(vision_bytes(&third), Some(png(40, 64).len() as u64));
    assert_eq!(vision_bytes(&third_alone), Some((png(64, 64).len() + png(40, 64).len()) as u64));
    assert_eq!((second_alone.receipt.reused_tokens, third_alone.receipt.reused_tokens), (0, 0));
    assert_eq!(third.receipt.prompt_tokens, third_alone.receipt.prompt_tokens);
    assert!(third.receipt.reused_tokens >= second.receipt.prompt_tokens, "{:?}", third.receipt);
    assert!(third.receipt.flops < third_alone.receipt.flops);

    // Sent or known, what begins alike is known.
    let again = answer_to(&mut client, Ask { request_id: 4, ..sent }).await;
    assert_eq!(ids(&again), ids(&third));
    assert_eq!(again.receipt.reused_tokens, again.receipt.prompt_tokens - 1);
    let statistics = server.state.engine.statistics();
    assert_eq!((statistics.kv.hits, statistics.kv.misses), (3, 3), "{statistics:?}");
}

#[actix_web::test]
async fn what_nobody_knows_any_more_is_to_be_sent_again() {
    let server = TestServer::start(Options::default());
    let (mut client, mut other) = (server.session().await, server.session().await);
    answer_to(&mut client, ask(1, "first?")).await;
    let after = |id, before| Ask { continues: Some(before), ..ask(id, "and?") };
    other.refused_with(after(2, 1), ErrorCode::Forgotten, &["request 1", "history"]).await;
    client.refused_with(after(2, 9), ErrorCode::Forgotten, &["request 9"]).await;
    let both = Ask { history: vec![turn("a?", "b")], ..after(3, 1) };
    client.refused_with(both, ErrorCode::Unsupported, &["one of both"]).await;
    // Of many that are kept, the one used longest ago makes way.
    for id in 10..26 {
        answer_to(&mut client, Ask { max_new_tokens: 1, ..ask(id, QUESTION) }).await;
    }
    client.refused_with(after(30, 1), ErrorCode::Forgotten, &["request 1"]).await;
    answer_to(&mut client, after(31, 25)).await;
    // When a session ends, all of its is forgotten.
    drop((client, other));
    server.settle().await;
    let kv = server.state.engine.statistics().kv;
    assert_eq!((kv.used_bytes, kv.retained_bytes), (0, 0), "{kv:?}");
}

/// Asks a hundred things in every way at once, on a budget that holds two or three of them, and compares with a budget that
/// holds them all.
#[actix_web::test]
async fn a_tiny_budget_evicts_reads_again_and_changes_no_answer() {
    // Room for three prompts with their answers, in panels of 16 positions, and little more: what is kept has to go.
    let tight = Options { kv_budget_bytes: 96 << 10, ..Options::default() };
    let (tight, roomy) = (TestServer::start(tight), TestServer::start(Options::default()));
    let mut answers = Vec::new();
    for server in [&tight, &roomy] {
        let mut clients = [server.session().await, server.session().await, server.session().await];
        let mut of_server = Vec::new();
        for round in 1..=6_u32 {
            for (index, client) in clients.iter_mut().enumerate() {
                let side = 40 + 8 * index as u32;
                let question = with_image(ask(round, &format!("what {round}?")), png(side, 64));
                let patient = Speculation::Distributed { patience_ms: 20 };
                let asked = match round % 3 {
                    1 => question,
                    2 => Ask { continues: Some(round - 1), speculation: patient, ..ask(round, "go on?") },
                    _ => Ask { speculation: Speculation::CoLocated { draft_tokens: 3 }, ..question },
                };
                client.send(&ClientMessage::Ask(asked)).await;
            }
            for client in &mut clients {
                of_server.push(ids(&client.answer(round).await));
                let kv = server.state.engine.statistics().kv;
                assert!(kv.used_bytes <= kv.budget_bytes, "{kv:?}");
            }
        }
        answers.push(of_server);
    }
    assert_eq!(answers[0], answers[1]);
    let (tight, roomy) = (tight.state.engine.statistics().kv, roomy.state.engine.statistics().kv);
    assert!(tight.evictions > 0 && roomy.evictions == 0, "{tight:?} {roomy:?}");
    assert!(roomy.hits > 0, "{roomy:?}");
}

#[actix_web::test]
async fn a_waiting_answer_makes_way_and_goes_on_where_it_was() {
    // Room for one prompt with its answer, and not for two.
    let budget = 40 << 10;
    let options = || Options { kv_budget_bytes: budget, co_located_draft: false, ..Options::default() };
    let server = TestServer::start(options());
    let mut client = server.session().await;
    let long = |id, name| Ask { max_new_tokens: 64, ..with_image(ask(id, name), png(64, 64)) };
    let alone = answer_to(&mut client, long(1, "one?")).await;
    let other_alone = answer_to(&mut client, long(2, "two?")).await;
    let own = ids(&alone);

    let waiting = Ask { speculation: PATIENT, ..long(3, "one?") };
    client.send(&ClientMessage::Ask(waiting)).await;
    client.send(&draft(3, 0, 0, &own[..3], false)).await;
    let ServerMessage::Settled { tokens, .. } = client.next().await else { panic!("nothing settled") };
    let known = tokens.len();
    let before = server.state.engine.statistics().kv;
    // While the first waits for drafts, another one takes its memory.
    let other = answer_to(&mut client, long(4, "two?")).await;
    assert_eq!(ids(&other), ids(&other_alone));
    client.send(&draft(3, 0, known as u32, &own[known..], true)).await;
    let mut said: Vec<u32> = tokens.iter().map(|one| one.token.id).collect();
    loop {
        match client.next().await {
            ServerMessage::Settled { tokens, start, .. } => {
                assert_eq!(start as usize, said.len());
                said.extend(tokens.iter().map(|one| one.token.id));
            }
            ServerMessage::Done { request_id: 3, text, .. } => {
                assert_eq!((said, text), (own, alone.text));
                break;
            }
            other => panic!("not of this answer: {other:?}"),
        }
    }
    let after = server.state.engine.statistics().kv;
    assert!(after.evictions > before.evictions, "{after:?}");
    assert_eq!(after.re_prefills, before.re_prefills + 1, "{after:?}");
}

#[actix_web::test]
async fn what_does_not_fit_beside_what_runs_is_busy_and_what_never_fits_is_too_long() {
    let limits = Limits { requests_in_flight: 8, ..Limits::default() };
    let options =
        Options { limits, kv_budget_bytes: 40 << 10, memory_wait: Duration::ZERO, ..Options::default() };
    let server = TestServer::start(Options { co_located_draft: false, ..options });
    let mut client = server.session().await;
    // Of four at once one fits; what comes while it runs is told to come back. On a machine so slow that each ends before
    // the next one is looked at, another round shows it.
    let (mut done, mut busy) = (0, 0);
    for round in 1..=100 {
        for id in 1..=4 {
            client
                .send(&ClientMessage::Ask(Ask { max_new_tokens: 100, ..ask(10 * round + id, QUESTION) }))
                .await;
        }
        let before = done + busy;
        while done + busy < before + 4 {
            match client.next().await {
                ServerMessage::Settled { .. } => {}
                ServerMessage::Done { .. } => done += 1,
                ServerMessage::Error(report) => {
                    assert_eq!(report.code, ErrorCode::Busy, "{report:?}");
                    assert!(
                        report.retry_after_ms.is_some() && report.message.contains("memory"),
                        "{report:?}"
                    );
                    busy += 1;
                }
                other => panic!("neither an answer nor a refusal: {other:?}"),
            }
        }
        if busy > 0 {
            break;
        }
    }
    assert!(done > 0 && busy > 0, "{done} answered, {busy} sent away");
    answer_to(&mut client, ask(3, QUESTION)).await;
    let endless = Ask { max_new_tokens: 128, ..ask(4, &"why ".repeat(90)) };
    client.refused_with(endless, ErrorCode::QuestionTooLong, &["bytes", "--kv-budget-mb"]).await;
    answer_to(&mut client, ask(5, QUESTION)).await;
}

#[actix_web::test]
async fn a_conversation_that_goes_on_is_no_larger_than_one_that_is_sent() {
    let bytes = png(64, 64).len() as u32;
    let limits = Limits { message_bytes: bytes * 5 / 2, image_bytes: bytes, ..Limits::default() };
    let server = TestServer::start(Options { limits, ..Options::default() });
    let mut client = server.session().await;
    let pictured = |id| with_image(ask(id, "what?"), png(64, 64));
    answer_to(&mut client, pictured(1)).await;
    answer_to(&mut client, Ask { continues: Some(1), ..pictured(2) }).await;
    let third = Ask { continues: Some(2), ..pictured(3) };
    client.refused_with(third, ErrorCode::HistoryTooLong, &["conversation", "begin a new one"]).await;
    answer_to(&mut client, Ask { continues: Some(2), ..ask(4, "and?") }).await;
}
