//! What a key may do at most.

use std::time::{Duration, Instant};

use msao_protocol::{Ask, ClientMessage, ErrorCode, ServerMessage};
use msao_server::Access;

use crate::support::{Options, TestServer, ask};
use crate::world::{KeysFile, bearer, eventually, http, session, upgrade, upgrade_status};

#[actix_web::test]
async fn requests_a_minute_are_counted_for_each_key() {
    let keys = KeysFile::new();
    let few = bearer(&keys.create(&["--requests-per-minute", "2"]));
    let other = bearer(&keys.create(&[]));
    let server = keys.serve(&[]);
    let mut statuses = Vec::new();
    for _ in 0..2 {
        statuses.push(http(&server, "GET /v1/nothing", &[("authorization", &few)], "").await.status);
    }
    assert_eq!(statuses, [404, 404]);
    let refused = http(&server, "GET /v1/nothing", &[("authorization", &few)], "").await;
    assert_eq!((refused.status, refused.error_code().as_str()), (429, "rate_limit_exceeded"));
    let wait_s: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait_s), "{wait_s}");
    assert_eq!(http(&server, "GET /v1/nothing", &[("authorization", &other)], "").await.status, 404);
    // Questions of a session count as well.
    let mut client = session(&server, &[("authorization", &few)]).await;
    let report = client.refused(ask(1, "a?")).await;
    assert_eq!(report.code, ErrorCode::Busy);
    assert!(report.message.contains("2 requests a minute"), "{report:?}");
    assert!(report.retry_after_ms.is_some_and(|wait| (1..=30_000).contains(&wait)), "{report:?}");
}

#[actix_web::test]
async fn questions_under_way_are_counted_over_all_sessions_of_a_key() {
    let keys = KeysFile::new();
    let key = bearer(&keys.create(&["--requests-in-flight", "1"]));
    let server = keys.serve(&[]);
    let mut first = session(&server, &[("authorization", &key)]).await;
    let mut second = session(&server, &[("authorization", &key)]).await;
    // It waits for a picture that never comes, so it is under way until it is cancelled.
    let waiting = Ask { pending: vec![msao_protocol::Modality::Vision], ..ask(1, "a?") };
    first.send(&ClientMessage::Ask(waiting)).await;
    first.send(&ClientMessage::Ping { nonce: 1 }).await;
    while first.next().await != (ServerMessage::Pong { nonce: 1 }) {}
    let report = second.refused(ask(2, "a?")).await;
    assert_eq!(report.code, ErrorCode::Busy);
    assert!(report.message.contains("1 requests under way"), "{report:?}");
    first.send(&ClientMessage::Cancel { request_id: 1 }).await;
    while !matches!(first.next().await, ServerMessage::Done { request_id: 1, .. }) {}
    second.send(&ClientMessage::Ask(ask(3, "a?"))).await;
    second.answer(3).await;
}

#[actix_web::test]
async fn sessions_of_a_key_are_counted_before_they_open() {
    let keys = KeysFile::new();
    let key = bearer(&keys.create(&["--sessions", "1"]));
    let server = keys.serve(&[]);
    let open = session(&server, &[("authorization", &key)]).await;
    let refused = upgrade(&server, &[("authorization", &key)]).await.err().unwrap();
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    drop(open);
    eventually("the place comes back", || async {
        upgrade_status(&server, &[("authorization", &key)]).await == 101
    })
    .await;
}

#[actix_web::test]
async fn a_session_is_read_at_its_pace() {
    const PER_S: u32 = 20;
    let access = Access::of_this_machine().with_messages_per_s(PER_S);
    let server = TestServer::start(Options { access, ..Options::default() });
    let mut client = server.session().await;
    let started = Instant::now();
    // The burst and two seconds' worth, none of which is lost.
    let count = 3 * PER_S;
    for nonce in 0..count {
        client.send(&ClientMessage::Ping { nonce }).await;
    }
    for nonce in 0..count {
        assert_eq!(client.next().await, ServerMessage::Pong { nonce });
    }
    // The Hello took one of the burst, and timers may be early by a little.
    assert!(started.elapsed() >= Duration::from_millis(1_900), "{:?}", started.elapsed());
}
