//! Group 7: the closing handshake.

use crate::peer::{BINARY, CLOSE, CONTINUATION, FIN, PING, Received, close_payload, frame};
use crate::suite::{Expect, Suite, ping};
use crate::support::{Options, TestServer};

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(FIN | CLOSE, &close_payload(code, reason))
}

fn suite() -> Suite {
    Suite::new(TestServer::start(Options { max_sessions: 64, ..Options::default() }))
}

#[actix_web::test]
async fn group_7_1_to_7_5_closing() {
    let mut suite = suite();
    let message = frame(FIN | BINARY, &ping(3));
    let mut peer = suite.open().await;
    peer.write(&[message.clone(), close(1_000, b"")].concat(), usize::MAX).await;
    assert!(matches!(peer.receive().await, Received::Message(_)));
    suite.judge("7.1.1: a message, then close", peer, Expect::Closed(Some(1_000))).await;
    for (name, after) in [
        ("7.1.2: closed twice", close(1_000, b"")),
        ("7.1.3: then a ping", frame(FIN | PING, b"")),
        ("7.1.4: then a message", message.clone()),
    ] {
        let bytes = [close(1_000, b""), after].concat();
        suite.case(name, bytes, Expect::Closed(Some(1_000))).await;
    }
    let between = [frame(BINARY, b"begun"), close(1_000, b""), frame(FIN | CONTINUATION, b"ended")].concat();
    suite.case("7.1.5: between fragments", between, Expect::Closed(Some(1_000))).await;
    suite.case("7.3.1: without a code", frame(FIN | CLOSE, b""), Expect::Closed(Some(1_000))).await;
    suite.case("7.3.2: of one byte", frame(FIN | CLOSE, b"a"), Expect::Failed(&[1_002])).await;
    suite.case("7.3.3: with a code", close(1_000, b""), Expect::Closed(Some(1_000))).await;
    suite.case("7.3.4: and a reason", close(1_000, b"Hello World!"), Expect::Closed(Some(1_000))).await;
    suite.case("7.3.5: the longest", close(1_000, &[b'*'; 123]), Expect::Closed(Some(1_000))).await;
    suite.case("7.3.6: one byte longer", close(1_000, &[b'*'; 124]), Expect::Failed(&[1_002])).await;
    let reason = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80\x65\x64\x69\x74\x65\x64";
    suite
        .case("7.5.1: a reason that is not UTF-8", close(1_000, reason), Expect::Failed(&[1_002, 1_007]))
        .await;
    suite.finish(12).await;
}

#[actix_web::test]
async fn group_7_7_valid_codes_come_back() {
    let mut suite = suite();
    let codes = [
        1_000, 1_001, 1_002, 1_003, 1_007, 1_008, 1_009, 1_010, 1_011, 1_012, 1_013, 1_014, 3_000, 3_999,
        4_000, 4_999,
    ];
    for code in codes {
        suite.case(&format!("7.7: {code}"), close(code, b""), Expect::Closed(Some(code))).await;
    }
    suite.finish(16).await;
}

#[actix_web::test]
async fn groups_7_9_and_7_13_invalid_codes_are_refused() {
    let mut suite = suite();
    let codes = [0, 999, 1_004, 1_005, 1_006, 1_015, 1_016, 1_100, 2_000, 2_999, 5_000, 65_535];
    for code in codes {
        suite.case(&format!("7.9, 7.13: {code}"), close(code, b""), Expect::Failed(&[1_002])).await;
    }
    suite.finish(12).await;
}
