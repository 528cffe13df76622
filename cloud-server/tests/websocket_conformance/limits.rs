//! Group 9: large messages whole, in fragments and in small pieces, and many of them.

use msao_protocol::{Ask, ClientMessage, ErrorCode, ServerMessage, frame as wire};

use crate::peer::{BINARY, FIN, Peer, Received, fragments, frame};
use crate::suite::{Expect, Suite, payload, ping};
use crate::support::{Options, TestServer, ask, with_image};

fn suite() -> Suite {
    Suite::new(TestServer::start(Options { max_sessions: 64, ..Options::default() }))
}

/// A question about noise, of which no byte may be lost or changed: a PNG has checksums. About so many bytes.
fn noisy_question(bytes: u32) -> Vec<u8> {
    let side = (f64::from(bytes) / 3.0).sqrt() as u32;
    let mut state = 1_u32;
    let image = image::RgbImage::from_fn(side, side, |_, _| {
        image::Rgb(std::array::from_fn(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        }))
    });
    let mut png = Vec::new();
    image.write_to(&mut std::io::Cursor::new(&mut png), image::ImageFormat::Png).unwrap();
    payload(&ClientMessage::Ask(Ask { max_new_tokens: 1, ..with_image(ask(1, "a?"), png) }))
}

/// Sends bytes in pieces and expects the answer.
async fn answered(suite: &mut Suite, name: &str, bytes: &[u8], most: usize) {
    let mut peer = suite.open().await;
    peer.write(bytes, most).await;
    loop {
        match peer.receive().await {
            Received::Message(bytes) => match wire::decode(&bytes).unwrap() {
                ServerMessage::Done { .. } => break,
                ServerMessage::Settled { .. } => {}
                other => panic!("{name}: {other:?}"),
            },
            Received::Ping => {}
            other => panic!("{name}: {other:?}"),
        }
    }
    suite.judge(name, peer, Expect::alive()).await;
}

#[actix_web::test]
async fn groups_9_1_and_9_2_large_messages() {
    let mut suite = suite();
    for kib in [64, 256, 1_024, 4_096, 7_800] {
        let question = noisy_question(kib << 10);
        answered(&mut suite, &format!("9.2: {kib} KiB"), &frame(FIN | BINARY, &question), usize::MAX).await;
    }
    let too_large = frame(FIN | BINARY, &vec![0; (16 << 20) + 1]);
    suite.case("9.2.6: beyond the limit", too_large, Expect::Failed(&[1_009])).await;
    suite.finish(6).await;
}

#[actix_web::test]
async fn groups_9_3_to_9_6_in_fragments_and_pieces() {
    let mut suite = suite();
    let question = noisy_question(4 << 20);
    for most in [64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20] {
        let bytes = fragments(BINARY, &question, most);
        answered(&mut suite, &format!("9.4: fragments of {most}"), &bytes, usize::MAX).await;
    }
    let bytes = frame(FIN | BINARY, &noisy_question(1 << 20));
    for most in [64, 128, 256, 512, 1_024, 2_048] {
        answered(&mut suite, &format!("9.6: pieces of {most}"), &bytes, most).await;
    }
    suite.finish(15).await;
}

#[actix_web::test]
async fn groups_9_7_and_9_8_many_messages() {
    let mut suite = suite();
    let mut peer = suite.open().await;
    for nonce in 0..1_000 {
        peer.write(&frame(FIN | BINARY, &ping(nonce)), usize::MAX).await;
        assert_eq!(message(&mut peer).await, ServerMessage::Pong { nonce });
    }
    // Too long a question is counted, so the answer tells its length.
    for chars in [4_096, 16_384, 65_536] {
        let question = payload(&ClientMessage::Ask(ask(1, &"x".repeat(chars))));
        for _ in 0..100 {
            peer.write(&frame(FIN | BINARY, &question), usize::MAX).await;
            match message(&mut peer).await {
                ServerMessage::Error(report) => {
                    assert_eq!(report.code, ErrorCode::QuestionTooLong);
                    assert!(report.message.contains(&chars.to_string()), "{report:?}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
    suite.judge("9.7, 9.8", peer, Expect::alive()).await;
    suite.finish(1).await;
}

async fn message(peer: &mut Peer) -> ServerMessage {
    loop {
        match peer.receive().await {
            Received::Message(bytes) => return wire::decode(&bytes).unwrap(),
            Received::Ping => {}
            other => panic!("{other:?}"),
        }
    }
}
