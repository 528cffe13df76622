//! Group 2: pings and pongs.

use crate::peer::{FIN, PING, PONG, frame};
use crate::suite::{Expect, Suite};
use crate::support::{Options, TestServer};

#[actix_web::test]
async fn group_2_pings_and_pongs() {
    let mut suite = Suite::new(TestServer::start(Options { max_sessions: 64, ..Options::default() }));
    let longest = vec![0xFE; 125];
    let nine = b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff\x00";
    suite.case("2.1: empty", frame(FIN | PING, b""), Expect::pongs([b""])).await;
    suite.case("2.2: text", frame(FIN | PING, b"Hello, world!"), Expect::pongs([b"Hello, world!"])).await;
    suite.case("2.3: binary", frame(FIN | PING, nine), Expect::pongs([nine])).await;
    suite.case("2.4: the longest", frame(FIN | PING, &longest), Expect::pongs([&longest])).await;
    let too_long = frame(FIN | PING, &[0xFE; 126]);
    suite.case("2.5: one byte longer", too_long, Expect::Failed(&[1_002])).await;
    suite.chopped("2.6: byte by byte", frame(FIN | PING, &longest), 1, Expect::pongs([&longest])).await;
    suite.case("2.7: a pong unasked", frame(FIN | PONG, b""), Expect::alive()).await;
    suite.case("2.8: with a payload", frame(FIN | PONG, b"unsolicited"), Expect::alive()).await;
    let bytes = [frame(FIN | PONG, b"unsolicited"), frame(FIN | PING, b"ping")].concat();
    suite.case("2.9: then a ping", bytes, Expect::pongs([b"ping"])).await;
    let ten: Vec<Vec<u8>> = (0..10).map(|index| format!("payload-{index}").into_bytes()).collect();
    let bytes: Vec<u8> = ten.iter().flat_map(|payload| frame(FIN | PING, payload)).collect();
    for (name, most) in [("2.10: ten pings", usize::MAX), ("2.11: byte by byte", 1)] {
        let expect = Expect::Alive { pongs: ten.clone(), messages: Vec::new() };
        suite.chopped(name, bytes.clone(), most, expect).await;
    }
    suite.finish(11).await;
}
