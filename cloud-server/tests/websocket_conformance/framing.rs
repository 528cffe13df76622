//! Groups 1, 3, 4, 5, 6, 10, 12 and 13: frames, their bits and opcodes, and messages of several frames.

use msao_protocol::ClientMessage;

use crate::peer::{BINARY, CONTINUATION, FIN, PING, PONG, Peer, TEXT, fragments, frame, unmasked};
use crate::suite::{Expect, Suite, payload, ping};
use crate::support::{Options, TestServer};

const TEXT_IS_REFUSED: Expect = Expect::Failed(&[1_003]);
const PROTOCOL_ERROR: Expect = Expect::Failed(&[1_002]);
const SIZES: [usize; 8] = [0, 125, 126, 127, 128, 65_535, 65_536, 65_536];

fn suite() -> Suite {
    Suite::new(TestServer::start(Options { max_sessions: 64, ..Options::default() }))
}

/// A `Hello` of exactly so many bytes.
fn hello(bytes: usize) -> Vec<u8> {
    let overhead = |name: usize| payload(&ClientMessage::Hello { client: "x".repeat(name) }).len() - name;
    let name = (1..=bytes).rev().find(|&name| name + overhead(name) == bytes).expect("a name of that length");
    payload(&ClientMessage::Hello { client: "é".repeat(name / 2) + &"x".repeat(name % 2) })
}

#[actix_web::test]
async fn group_1_messages_of_every_size() {
    let mut suite = suite();
    for (index, size) in SIZES.into_iter().enumerate() {
        let most = if index == 7 { 997 } else { usize::MAX };
        let text = frame(FIN | TEXT, "*".repeat(size).as_bytes());
        suite.chopped(&format!("1.1.{}", index + 1), text, most, TEXT_IS_REFUSED).await;
        // An empty binary message is none of the protocol's.
        if size == 0 {
            suite.case("1.2.1", frame(FIN | BINARY, b""), PROTOCOL_ERROR).await;
            continue;
        }
        let mut peer = Peer::connect(suite.address(), "").await;
        peer.write(&frame(FIN | BINARY, &hello(size)), most).await;
        let welcome = peer.receive().await;
        assert!(matches!(welcome, crate::peer::Received::Message(_)), "1.2.{}: {welcome:?}", index + 1);
        suite.judge(&format!("1.2.{}", index + 1), peer, Expect::alive()).await;
    }
    suite.finish(16).await;
}

#[actix_web::test]
async fn group_3_reserved_bits() {
    let mut suite = suite();
    for bits in 1..=7_u8 {
        for opcode in [BINARY, TEXT, PING] {
            let bytes = frame(FIN | bits << 4 | opcode, &ping(1));
            suite.case(&format!("3.{bits} opcode {opcode}"), bytes, PROTOCOL_ERROR).await;
        }
        // Behind a good frame, at once and byte by byte.
        let bytes = [frame(FIN | BINARY, &ping(1)), frame(FIN | bits << 4 | BINARY, &ping(2))].concat();
        suite.case(&format!("3.{bits} after a message"), bytes.clone(), PROTOCOL_ERROR).await;
        suite.chopped(&format!("3.{bits} chopped"), bytes, 1, PROTOCOL_ERROR).await;
    }
    suite.finish(35).await;
}

#[actix_web::test]
async fn group_4_reserved_opcodes() {
    let mut suite = suite();
    for (group, opcodes) in [(1, 3..=7_u8), (2, 11..=15_u8)] {
        for opcode in opcodes {
            for body in [&b""[..], b"reserved opcode payload"] {
                let name = format!("4.{group} opcode {opcode}, {} bytes", body.len());
                suite.case(&name, frame(FIN | opcode, body), PROTOCOL_ERROR).await;
                let bytes = [frame(FIN | BINARY, &ping(1)), frame(FIN | opcode, body)].concat();
                suite.case(&name, bytes, PROTOCOL_ERROR).await;
            }
        }
    }
    suite.finish(40).await;
}

#[actix_web::test]
async fn frames_without_a_mask_are_refused() {
    let mut suite = suite();
    for first in [FIN | BINARY, FIN | PING, FIN | TEXT] {
        suite.case("5.1 of the RFC", unmasked(first, &ping(1)), PROTOCOL_ERROR).await;
    }
    suite.finish(3).await;
}

#[actix_web::test]
async fn group_5_fragmentation() {
    let mut suite = suite();
    let message = ping(7);
    let (head, tail) = message.split_at(6);
    let first = || frame(BINARY, head);
    let last = || frame(FIN | CONTINUATION, tail);
    let pinged = |payload: &[u8]| Expect::Alive {
        pongs: vec![payload.to_vec()],
        messages: vec![msao_protocol::ServerMessage::Pong { nonce: 7 }],
    };
    for opcode in [PING, PONG] {
        let bytes = [frame(opcode, b"frag"), frame(FIN | CONTINUATION, b"ment")].concat();
        suite.case("5.1, 5.2: fragmented control frame", bytes, PROTOCOL_ERROR).await;
    }
    for most in [usize::MAX, 1] {
        let bytes = [first(), last()].concat();
        suite.chopped("5.3 to 5.5: two fragments", bytes, most, Expect::replies([7])).await;
        let bytes = [first(), frame(FIN | PING, b"between"), last()].concat();
        suite.chopped("5.6 to 5.8: a ping between", bytes, most, pinged(b"between")).await;
        for fin in [FIN, 0] {
            let bytes = [frame(fin | CONTINUATION, &message), frame(FIN | BINARY, &message)].concat();
            suite.chopped("5.9 to 5.14: nothing to continue", bytes, most, PROTOCOL_ERROR).await;
        }
        let bytes = [first(), last(), frame(CONTINUATION, head), last()].concat();
        suite.chopped("5.15: continued after its end", bytes, most, PROTOCOL_ERROR).await;
        for fin in [FIN, 0] {
            let bytes = [frame(fin | CONTINUATION, head), first(), last()].concat();
            suite.chopped("5.16, 5.17: continued before it begins", bytes, most, PROTOCOL_ERROR).await;
        }
        let bytes = [first(), frame(FIN | BINARY, &message)].concat();
        suite.chopped("5.18: a message between fragments", bytes, most, PROTOCOL_ERROR).await;
    }
    let pieces: Vec<Vec<u8>> = message.chunks(3).map(<[u8]>::to_vec).collect();
    let mut bytes = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        let fin = if index + 1 == pieces.len() { FIN } else { 0 };
        bytes.extend(frame(fin | if index == 0 { BINARY } else { CONTINUATION }, piece));
        if index + 1 < pieces.len() {
            bytes.extend(frame(FIN | PING, &[index as u8]));
        }
    }
    let pongs = (0..pieces.len() - 1).map(|index| vec![index as u8]).collect();
    let messages = vec![msao_protocol::ServerMessage::Pong { nonce: 7 }];
    suite.case("5.19, 5.20: a ping behind each", bytes, Expect::Alive { pongs, messages }).await;
    // Empty fragments count for nothing.
    let bytes = [frame(BINARY, b""), frame(CONTINUATION, &message), frame(FIN | CONTINUATION, b"")].concat();
    suite.case("6.1.2: empty fragments", bytes, Expect::replies([7])).await;
    for bytes in
        [[frame(TEXT, b"fragment1"), frame(FIN | CONTINUATION, b"fragment2")].concat(), frame(TEXT, b"")]
    {
        suite.case("text is refused at its first fragment", bytes, TEXT_IS_REFUSED).await;
    }
    suite.finish(22).await;
}

#[actix_web::test]
async fn group_6_text_is_refused_whether_it_is_utf_8_or_not() {
    let mut suite = suite();
    for text in ["", "Hello-µ@ßöäüàá-UTF-8!!", "κόσμε", "\u{10FFFF}\u{FFFE}\u{0}", "\u{7FF}\u{800}\u{FFFF}"]
    {
        suite.case("6.2, 6.5 to 6.7, 6.9, 6.11", frame(FIN | TEXT, text.as_bytes()), TEXT_IS_REFUSED).await;
        if !text.is_empty() {
            let bytes = fragments(TEXT, text.as_bytes(), 1);
            suite.case("6.2.3, 6.2.4: by single bytes", bytes, TEXT_IS_REFUSED).await;
        }
    }
    for bytes in [
        &b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80\x65\x64\x69\x74\x65\x64"[..],
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80\x65\x64\x69\x74\x65\x64",
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\x80",
        b"\xbf\x80",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xed\xa0\x80",
        b"\xed\xad\xbf\xed\xbf\xbf",
        b"\xfe",
        b"\xff",
        b"\xce",
    ] {
        let refused = Expect::Failed(&[1_007]);
        suite.case("6.3, 6.4, 6.8, 6.10, 6.12 to 6.21", frame(FIN | TEXT, bytes), refused).await;
        // In fragments it is refused as text before it is known to be none.
        let fragmented = [frame(TEXT, b"x"), frame(FIN | CONTINUATION, bytes)].concat();
        suite.case("6.3.2, 6.4: fragmented", fragmented, TEXT_IS_REFUSED).await;
    }
    // What is no text need not be UTF-8.
    suite.case("binary", frame(FIN | BINARY, &ping(0xFFFF_FFFF)), Expect::replies([0xFFFF_FFFF])).await;
    suite.finish(38).await;
}

#[actix_web::test]
async fn group_10_automatic_fragmentation() {
    let mut suite = suite();
    let mut peer = Peer::connect(suite.address(), "").await;
    peer.write(&fragments(BINARY, &hello(65_536), 1_300), usize::MAX).await;
    assert!(matches!(peer.receive().await, crate::peer::Received::Message(_)));
    suite.judge("10.1.1", peer, Expect::alive()).await;
    suite.finish(1).await;
}

#[actix_web::test]
async fn groups_12_and_13_compression_is_declined() {
    let mut suite = suite();
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    let peer = Peer::connect(suite.address(), offer).await;
    assert!(peer.handshake.starts_with("HTTP/1.1 101"), "{}", peer.handshake);
    assert!(!peer.handshake.to_lowercase().contains("sec-websocket-extensions"), "{}", peer.handshake);
    let mut deflated = peer;
    deflated.write(&frame(FIN | 0x40 | BINARY, &ping(1)), usize::MAX).await;
    suite.judge("12.1.1", deflated, PROTOCOL_ERROR).await;
    suite.finish(1).await;
}
