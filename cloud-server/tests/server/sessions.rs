//! Sessions that go as they should: answers, cancelling, sharing, waiting, ending.

use std::time::Duration;

use msao_protocol::{ClientMessage, ErrorCode, FinishReason, Modality, ServerMessage, SpanKind};
use msao_server::Timeouts;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::support::{Options, TestServer, ask, png, wav, with_audio, with_image};

#[actix_web::test]
async fn a_session_tells_its_limits_and_answers() {
    let server = TestServer::start(Options::default());
    let mut client = server.connect().await;
    client.send(&ClientMessage::Hello { client: "test\n\u{7}".into() }).await;
    let ServerMessage::Welcome { model, limits, .. } = client.next().await else { panic!("no welcome") };
    assert_eq!((model.name.as_str(), model.device.as_str()), ("tiny", "cpu"));
    assert_eq!(limits, server.state.limits);

    client.send(&ClientMessage::Ask(ask(1, "what color is the star?"))).await;
    let text_only = client.answer(1).await;
    assert!(text_only.tokens > 0);

    let (image, sound) = (png(40, 30), wav(1, 16_000, 60));
    let sizes = [b"what?".len() as u64, image.len() as u64, sound.len() as u64];
    let everything = with_audio(with_image(ask(2, "what?"), image), sound);
    client.send(&ClientMessage::Ask(everything.clone())).await;
    let first = client.answer(2).await;
    let receipt = &first.receipt;
    let modalities: Vec<_> = receipt.modalities.iter().map(|one| (one.modality, one.bytes)).collect();
    let expected = [Modality::Text, Modality::Vision, Modality::Audio];
    assert_eq!(modalities, expected.into_iter().zip(sizes).collect::<Vec<_>>());
    assert_eq!(receipt.modalities.iter().map(|one| one.prompt_tokens).sum::<u32>(), receipt.prompt_tokens);
    let stages: Vec<_> = receipt.spans.iter().map(|span| span.kind).collect();
    use SpanKind::{Decode, DecodeMedia, Encode, Prefill, Queue};
    assert_eq!(stages, [Queue, DecodeMedia, Queue, Encode, Prefill, Decode]);
    assert!(receipt.ms(Prefill) > 0.0);

    // Greedy: the same question has the same answer.
    client.send(&ClientMessage::Ask(msao_protocol::Ask { request_id: 3, ..everything })).await;
    assert_eq!(client.answer(3).await.text, first.text);
}

#[actix_web::test]
async fn an_answer_is_as_long_as_asked_for() {
    let server = TestServer::start(Options::default());
    let mut client = server.session().await;
    for wanted in [0, 1, 3] {
        client
            .send(&ClientMessage::Ask(msao_protocol::Ask { max_new_tokens: wanted, ..ask(wanted, "a?") }))
            .await;
        let answer = client.answer(wanted).await;
        assert!(answer.tokens <= wanted);
        if answer.tokens == wanted {
            assert_eq!(answer.finish_reason, FinishReason::Length);
        }
    }
}

#[actix_web::test]
async fn a_cancelled_question_ends_as_cancelled() {
    let server = TestServer::start(Options::default());
    let mut client = server.session().await;
    client.send(&ClientMessage::Cancel { request_id: 77 }).await;
    client.send(&ClientMessage::Ask(msao_protocol::Ask { max_new_tokens: 128, ..ask(1, "first?") })).await;
    // The second waits for drafts that never come, so it is cancelled while it waits.
    let speculation = msao_protocol::Speculation::Distributed { patience_ms: 5_000 };
    client.send(&ClientMessage::Ask(msao_protocol::Ask { speculation, ..ask(2, "second?") })).await;
    client.send(&ClientMessage::Cancel { request_id: 2 }).await;
    // Which of the two ends first is open.
    let mut ends = Vec::new();
    while ends.len() < 2 {
        if let ServerMessage::Done { request_id, finish_reason, .. } = client.next().await {
            ends.push((request_id, finish_reason == FinishReason::Cancelled));
        }
    }
    ends.sort_unstable();
    assert_eq!(ends, [(1, false), (2, true)]);
    server.settle_requests().await;
}

#[actix_web::test]
async fn two_sessions_are_answered_side_by_side() {
    let server = TestServer::start(Options::default());
    let (mut one, mut other) = (server.session().await, server.session().await);
    for id in 0..3 {
        one.send(&ClientMessage::Ask(ask(id, "one?"))).await;
        other.send(&ClientMessage::Ask(ask(id, "what is the other?"))).await;
    }
    let mut texts = Vec::new();
    for id in 0..3 {
        texts.push((one.answer(id).await.text, other.answer(id).await.text));
    }
    assert!(texts.windows(2).all(|pair| pair[0] == pair[1]), "{texts:?}");
}

#[actix_web::test]
async fn a_full_queue_is_told_when_to_come_back() {
    let server = TestServer::start(Options { places: 1, ..Options::default() });
    let (mut first, mut second) = (server.session().await, server.session().await);
    // It waits for drafts that never come, and keeps the place meanwhile.
    let speculation = msao_protocol::Speculation::Distributed { patience_ms: 60_000 };
    first.send(&ClientMessage::Ask(msao_protocol::Ask { speculation, ..ask(1, "a?") })).await;
    first.send(&ClientMessage::Ask(ask(2, "b?"))).await;
    let mut busy = None;
    loop {
        match first.next().await {
            ServerMessage::Settled { request_id: 1, .. } => {}
            ServerMessage::Error(report) => {
                busy = Some(report);
                first.send(&ClientMessage::Cancel { request_id: 1 }).await;
            }
            ServerMessage::Done { request_id: 1, .. } => break,
            other => panic!("{other:?}"),
        }
    }
    let busy = busy.expect("a refusal");
    assert_eq!((busy.request_id, busy.code), (Some(2), ErrorCode::Busy));
    assert!(busy.retry_after_ms.is_some_and(|ms| ms > 0), "{busy:?}");
    // The end of an answer is told after its place is free.
    second.send(&ClientMessage::Ask(ask(1, "c?"))).await;
    second.answer(1).await;
}

#[actix_web::test]
async fn requests_of_one_session_are_bounded_and_distinct() {
    let limits = msao_protocol::Limits { requests_in_flight: 2, ..Default::default() };
    let server = TestServer::start(Options { limits, ..Options::default() });
    let mut client = server.session().await;
    let long = |id| ClientMessage::Ask(msao_protocol::Ask { max_new_tokens: 128, ..ask(id, "a?") });
    for id in [1, 1, 2, 3] {
        client.send(&long(id)).await;
    }
    let (mut codes, mut done) = (Vec::new(), Vec::new());
    while done.len() < 2 {
        match client.next().await {
            ServerMessage::Settled { .. } => {}
            ServerMessage::Error(report) => codes.push((report.request_id, report.code)),
            ServerMessage::Done { request_id, .. } => done.push(request_id),
            other => panic!("{other:?}"),
        }
    }
    done.sort_unstable();
    assert_eq!(done, [1, 2]);
    assert_eq!(codes, [(Some(1), ErrorCode::DuplicateRequest), (Some(3), ErrorCode::Busy)]);
}

#[actix_web::test]
async fn a_client_that_leaves_frees_the_engine() {
    let server = TestServer::start(Options { places: 1, ..Options::default() });
    for _ in 0..3 {
        let mut client = server.session().await;
        client.send(&ClientMessage::Ask(msao_protocol::Ask { max_new_tokens: 128, ..ask(1, "a?") })).await;
        drop(client);
        server.settle().await;
    }
    server.assert_alive().await;
}

#[actix_web::test]
async fn sessions_are_bounded() {
    let server = TestServer::start(Options { max_sessions: 1, ..Options::default() });
    let first = server.session().await;
    let mut second = server.connect().await;
    assert_eq!(second.error().await.code, ErrorCode::Busy);
    assert_eq!(second.close_code().await, Some(CloseCode::Again));
    drop(first);
    server.settle().await;
    server.assert_alive().await;
}

#[actix_web::test]
async fn silence_ends_a_session() {
    let ms = Duration::from_millis;
    let quick = Timeouts { hello: ms(50), ping: ms(20), silence: ms(5_000), idle: ms(150), write: ms(1_000) };
    let server = TestServer::start(Options { timeouts: quick, ..Options::default() });
    let mut mute = server.connect().await;
    let report = mute.error().await;
    assert_eq!(report.code, ErrorCode::TimedOut);
    assert!(report.message.contains("Hello"), "{report:?}");
    assert_eq!(mute.close_code().await, Some(CloseCode::Policy));
    // This one answers pings but asks nothing.
    let mut idle = server.session().await;
    assert_eq!(idle.error().await.code, ErrorCode::TimedOut);

    // This one reads nothing, so its pings go unanswered.
    let strict = Timeouts { silence: ms(100), idle: ms(60_000), ..quick };
    let server = TestServer::start(Options { timeouts: strict, ..Options::default() });
    let _dead = server.session().await;
    server.settle().await;
}

#[actix_web::test]
async fn foreign_pages_are_refused() {
    let server = TestServer::start(Options::default());
    let own = format!("http://{}", server.address);
    for (origin, welcome) in
        [(own.as_str(), true), ("https://friend.test", true), ("https://evil.test", false)]
    {
        let mut request = server.url().into_client_request().unwrap();
        request.headers_mut().insert("origin", HeaderValue::from_str(origin).unwrap());
        assert_eq!(connect_async(request).await.is_ok(), welcome, "{origin}");
    }
}

#[actix_web::test]
async fn a_stopping_server_finishes_what_runs() {
    let server = TestServer::start(Options::default());
    let mut idle = server.session().await;
    let mut busy = server.session().await;
    busy.send(&ClientMessage::Ask(msao_protocol::Ask { max_new_tokens: 128, ..ask(1, "a?") })).await;
    // The answer has begun.
    assert!(matches!(busy.next().await, ServerMessage::Settled { start: 0, .. }));
    let state = server.state.clone();
    let finished = actix_web::rt::spawn(async move { state.finish(Duration::from_secs(20)).await });
    assert_eq!(idle.close_code().await, Some(CloseCode::Away));
    let done = loop {
        if let ServerMessage::Done { finish_reason, .. } = busy.next().await {
            break finish_reason;
        }
    };
    assert_ne!(done, FinishReason::Cancelled);
    assert_eq!(busy.close_code().await, Some(CloseCode::Away));
    assert_eq!(finished.await.unwrap(), msao_server::Ending::Finished);
}
