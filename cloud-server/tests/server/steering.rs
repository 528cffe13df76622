//! Where drafts come from can change in the middle of an answer; the answer never does.

use std::time::{Duration, Instant};

use msao_protocol::{
    Ask, Attach, AudioInput, ClientMessage, ErrorCode, Media, MediaKind, Modality, Receipt, ServerMessage,
    SpanKind, Speculation, TokenFate, TokenSource,
};

use crate::speculation::{PATIENT, QUESTION, answer_to, attach_image, draft, ids, origins};
use crate::support::{Answer, Client, Options, TestServer, ask, png, wav, with_audio, with_image};

fn steer(request_id: u32, speculation: Speculation) -> ClientMessage {
    ClientMessage::Steer { request_id, speculation }
}

#[actix_web::test]
async fn steering_to_none_stops_waiting_and_what_crosses_it_is_ignored() {
    let server = TestServer::start(Options::default());
    let mut client = server.session().await;
    let alone = answer_to(&mut client, ask(1, QUESTION)).await;
    let tokens = ids(&alone);
    let started = Instant::now();
    client.send(&ClientMessage::Ask(Ask { speculation: PATIENT, ..ask(2, QUESTION) })).await;
    client.send(&draft(2, 0, 0, &tokens[..2], false)).await;
    let ServerMessage::Settled { start: 0, tokens: settled, .. } = client.next().await else {
        panic!("the draft was not verified")
    };
    client.send(&steer(2, Speculation::None)).await;
    // Who drafted this had not heard of it; not even its content is looked at.
    client.send(&draft(2, 0, settled.len() as u32, &[u32::MAX], false)).await;
    let mut answer = settled;
    loop {
        match client.next().await {
            ServerMessage::Settled { tokens, .. } => answer.extend(tokens),
            ServerMessage::Done { text, receipt, .. } => {
                assert_eq!(text, alone.text);
                assert_eq!(receipt.accepted_drafts, 2, "{receipt:?}");
                break;
            }
            other => panic!("not part of the answer: {other:?}"),
        }
    }
    assert_eq!(answer.iter().map(|one| one.token.id).collect::<Vec<_>>(), tokens);
    assert!(started.elapsed() < Duration::from_secs(4), "it waited for drafts");
    // Its end may have crossed what was steered.
    client.send(&steer(2, Speculation::None)).await;
    server.assert_alive().await;
}

/// Asks with two drafts of the edge, then lets the draft model go on; the answer must be the target's own.
async fn steer_to_the_draft_model(client: &mut Client, ask: Ask, alone: &Answer) -> Receipt {
    let (id, tokens) = (ask.request_id, ids(alone));
    client.send(&ClientMessage::Ask(ask)).await;
    client.send(&draft(id, 0, 0, &tokens[..2], false)).await;
    let ServerMessage::Settled { start: 0, tokens: mut settled, .. } = client.next().await else {
        panic!("the draft was not verified")
    };
    assert_eq!(settled.len(), 3);
    client.send(&steer(id, Speculation::CoLocated { draft_tokens: 2 })).await;
    loop {
        match client.next().await {
            ServerMessage::Settled { tokens, .. } => settled.extend(tokens),
            ServerMessage::Done { text, receipt, .. } => {
                assert_eq!(text, alone.text);
                assert_eq!(settled.iter().map(|one| one.token.id).collect::<Vec<_>>(), tokens);
                return receipt;
            }
            other => panic!("not part of the answer: {other:?}"),
        }
    }
}

#[actix_web::test]
async fn an_answer_is_steered_from_the_edge_to_the_draft_model_and_back() {
    let server = TestServer::start(Options::default());
    let mut client = server.session().await;
    let question = |id, speculation| Ask { speculation, ..with_image(ask(id, QUESTION), png(64, 64)) };
    let alone = answer_to(&mut client, question(1, Speculation::None)).await;
    let tokens = ids(&alone);
    assert!(tokens.len() > 8, "{alone:?}");

    // A draft model that has not read the question yet. Until it has, the target goes on, and such a small one may end
    // first: then it is tried again.
    let mut by_draft_model = 0;
    for id in 100..150 {
        let receipt = steer_to_the_draft_model(&mut client, question(id, PATIENT), &alone).await;
        let by = |source| receipt.tokens.iter().filter(|one| one.source == source).count();
        assert_eq!(by(TokenSource::EdgeDraft), 2);
        by_draft_model = by(TokenSource::CoLocatedDraft);
        if by_draft_model > 0 {
            assert!(receipt.ms(SpanKind::Propose) > 0.0);
            // The draft model has read the whole picture, and each of its tokens is counted.
            assert!(receipt.flops > alone.receipt.flops);
            break;
        }
    }
    assert!(by_draft_model > 0, "the draft model never came to draft");

    // The other way, and not only once: whatever is asked for, the answer is the target's own.
    client.send(&ClientMessage::Ask(question(3, Speculation::CoLocated { draft_tokens: 1 }))).await;
    client.send(&steer(3, PATIENT)).await;
    client.send(&draft(3, 0, 0, &tokens, true)).await;
    client.send(&steer(3, Speculation::CoLocated { draft_tokens: 32 })).await;
    client.send(&steer(3, Speculation::None)).await;
    assert_eq!(ids(&client.answer(3).await), tokens);

    // What is steered before all media are there counts from then on.
    let early = Ask { pending: vec![Modality::Vision], speculation: PATIENT, ..ask(4, QUESTION) };
    client.send(&ClientMessage::Ask(early)).await;
    client.send(&steer(4, Speculation::CoLocated { draft_tokens: 4 })).await;
    client.send(&attach_image(4, png(64, 64))).await;
    let late = client.answer(4).await;
    assert_eq!(ids(&late), tokens);
    assert!(origins(&late, TokenSource::CoLocatedDraft, TokenFate::Accepted) > 0, "{:?}", late.receipt);
}

#[actix_web::test]
async fn the_edge_is_waited_for_anew_once_it_is_steered_to() {
    let server = TestServer::start(Options::default());
    let mut client = server.session().await;
    let tokens = ids(&answer_to(&mut client, with_audio(ask(1, ""), wav(1, 16_000, 60))).await);
    // Nothing is written before the question itself has come, so both messages are there by then.
    let spoken = Ask { speculation: PATIENT, pending: vec![Modality::Audio], ..ask(2, "") };
    client.send(&ClientMessage::Ask(spoken)).await;
    // Had this remained the last draft, the target would go on alone.
    client.send(&draft(2, 0, 0, &tokens[..2], true)).await;
    client.send(&steer(2, PATIENT)).await;
    let sound = AudioInput::Whole(Media { kind: MediaKind::Wav, bytes: wav(1, 16_000, 60) });
    client
        .send(&ClientMessage::Attach(Attach {
            request_id: 2,
            images: vec![],
            clip: None,
            audio: Some(sound),
        }))
        .await;
    let ServerMessage::Settled { start: 0, tokens: settled, .. } = client.next().await else {
        panic!("the draft was not verified")
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.send(&draft(2, 0, settled.len() as u32, &tokens[settled.len()..], true)).await;
    loop {
        match client.next().await {
            ServerMessage::Settled { .. } => {}
            ServerMessage::Done { receipt, .. } => {
                // The target wrote one token behind the first drafts, and the rest was drafted.
                assert_eq!(receipt.accepted_drafts as usize, tokens.len() - 1, "{receipt:?}");
                break;
            }
            other => panic!("not part of the answer: {other:?}"),
        }
    }
}

#[actix_web::test]
async fn steering_where_there_is_nothing_fails_the_request() {
    let server = TestServer::start(Options { co_located_draft: false, ..Options::default() });
    let mut client = server.session().await;
    client.send(&ClientMessage::Ask(Ask { speculation: PATIENT, ..ask(1, QUESTION) })).await;
    client.send(&steer(1, Speculation::CoLocated { draft_tokens: 4 })).await;
    let report = client.failure(1).await;
    assert_eq!(report.code, ErrorCode::Unsupported);
    assert!(report.message.contains("--draft-model"), "{report:?}");
    server.settle_requests().await;

    let server = TestServer::start(Options::default());
    let mut client = server.session().await;
    client.send(&ClientMessage::Ask(Ask { speculation: PATIENT, ..ask(1, QUESTION) })).await;
    client.send(&steer(1, Speculation::CoLocated { draft_tokens: 33 })).await;
    assert_eq!(client.failure(1).await.code, ErrorCode::Unsupported);
    server.settle_requests().await;
    server.assert_alive().await;

    let mut stranger = server.connect().await;
    stranger.send(&steer(1, Speculation::None)).await;
    assert_eq!(stranger.error().await.code, ErrorCode::OutOfOrder);
}
