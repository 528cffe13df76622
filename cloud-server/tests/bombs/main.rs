//! Small inputs that would cost much: each is refused, or costs little, and the measured figures are printed.
//!
//! A binary of its own, since its allocator counts what the whole process holds. Time is the processors' for the whole process,
//! the client's own work included, of the quickest of several attempts: so others may use the machine meanwhile.

#![allow(clippy::unwrap_used, reason = "tests")]

mod audio;
#[path = "../server/checkpoint.rs"]
mod checkpoint;
#[path = "../support/forged_png.rs"]
mod forged_png;
mod images;
mod memory;
mod processor;
#[path = "../server/support.rs"]
#[allow(dead_code, reason = "shared with the tests of sessions, which use more of it")]
mod support;
mod wire;

use std::time::{Duration, Instant};

use msao_protocol::{Ask, ClientMessage, ErrorCode, Limits, ServerMessage, frame};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Client, Options, TestServer, ask};

/// What a refusal may hold beyond what the process held before.
const MEMORY_BUDGET_BYTES: usize = 50 << 20;
/// What a refusal may take of the processors.
const TIME_BUDGET: Duration = Duration::from_millis(100);
const ATTEMPTS: usize = 3;

/// What is to become of a bomb.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    /// The question is refused and the session goes on.
    Refused(ErrorCode),
    /// The session ends.
    Ended(ErrorCode),
    /// The question is answered, since the costly part is not needed.
    Harmless,
}

struct Bomb {
    name: &'static str,
    message: ClientMessage,
    fate: Fate,
}

fn bomb(name: &'static str, ask: Ask, fate: Fate) -> Bomb {
    Bomb { name, message: ClientMessage::Ask(ask), fate }
}

#[actix_web::test]
async fn bombs_do_not_go_off() {
    // The recordings' limit is the model's own; images are as large as they may be by default.
    let server = TestServer::start(Options { limits: Limits::default(), ..Options::default() });
    let mut warm = server.session().await;
    warm.send(&ClientMessage::Ask(ask(1, "what is this?"))).await;
    warm.answer(1).await;
    drop(warm);
    let mut too_much = Vec::new();
    for Bomb { name, message, fate } in images::all().into_iter().chain(audio::all()).chain(wire::all()) {
        let bytes = frame::encode(&message).unwrap();
        let length = bytes.len();
        let (mut quickest, mut least_work) = (Duration::MAX, Duration::MAX);
        let mut held = 0;
        for _ in 0..ATTEMPTS {
            let mut client = server.session().await;
            let frame = Message::Binary(bytes.clone().into());
            let before = memory::begin();
            let (started, worked) = (Instant::now(), processor::time());
            client.send_raw(frame).await.unwrap();
            let seen = outcome(&mut client).await;
            least_work = least_work.min(processor::time() - worked);
            quickest = quickest.min(started.elapsed());
            held = held.max(memory::peak_since(before));
            assert_eq!(seen, fate, "{name}");
        }
        let line = format!(
            "{name}: {length} bytes, {:.1} ms of processors, {:.1} ms in all, {:.1} MB more held",
            least_work.as_secs_f64() * 1e3,
            quickest.as_secs_f64() * 1e3,
            held as f64 / 1e6
        );
        eprintln!("{line}");
        // An answer takes as long as it takes.
        let is_late = fate != Fate::Harmless && least_work > TIME_BUDGET;
        if held > MEMORY_BUDGET_BYTES || is_late {
            too_much.push(line);
        }
    }
    assert!(too_much.is_empty(), "over budget: {too_much:#?}");
    server.assert_alive().await;
}

async fn outcome(client: &mut Client) -> Fate {
    loop {
        match client.next().await {
            ServerMessage::Error(report) if report.request_id.is_some() => return Fate::Refused(report.code),
            ServerMessage::Error(report) => return Fate::Ended(report.code),
            ServerMessage::Done { .. } => return Fate::Harmless,
            _ => {}
        }
    }
}
