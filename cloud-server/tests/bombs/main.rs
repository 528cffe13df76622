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
mod http;
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

use crate::http::HttpBomb;
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

/// What the cheapest of several attempts took, and the dearest held.
struct Cost {
    work: Duration,
    time: Duration,
    held_bytes: usize,
}

impl Cost {
    /// Measures an attempt, with what it returns.
    async fn of<T>(attempt: impl Future<Output = T>) -> (Self, T) {
        let before = memory::begin();
        let (started, worked) = (Instant::now(), processor::time());
        let outcome = attempt.await;
        let (work, time) = (processor::time() - worked, started.elapsed());
        (Self { work, time, held_bytes: memory::peak_since(before) }, outcome)
    }

    fn combine(self, other: Option<Self>) -> Self {
        let Some(other) = other else { return self };
        Self {
            work: self.work.min(other.work),
            time: self.time.min(other.time),
            held_bytes: self.held_bytes.max(other.held_bytes),
        }
    }

    /// Prints it; gives it back if it is over budget, of time only where that counts.
    fn report(&self, name: &str, length: usize, time_counts: bool) -> Option<String> {
        let (work_ms, ms) = (self.work.as_secs_f64() * 1e3, self.time.as_secs_f64() * 1e3);
        let held_mb = self.held_bytes as f64 / 1e6;
        let line = format!(
            "{name}: {length} bytes, {work_ms:.1} ms of processors, {ms:.1} ms in all, {held_mb:.1} MB more held"
        );
        eprintln!("{line}");
        let is_over = self.held_bytes > MEMORY_BUDGET_BYTES || time_counts && self.work > TIME_BUDGET;
        is_over.then_some(line)
    }
}

/// The recordings' limit is the model's own; images are as large as they may be by default.
async fn server() -> TestServer {
    let server = TestServer::start(Options { limits: Limits::default(), ..Options::default() });
    let mut warm = server.session().await;
    warm.send(&ClientMessage::Ask(ask(1, "what is this?"))).await;
    warm.answer(1).await;
    server
}

#[actix_web::test]
async fn bombs_do_not_go_off() {
    let server = server().await;
    let mut too_much = Vec::new();
    for Bomb { name, message, fate } in images::all().into_iter().chain(audio::all()).chain(wire::all()) {
        let bytes = frame::encode(&message).unwrap();
        let mut cost = None;
        for _ in 0..ATTEMPTS {
            let mut client = server.session().await;
            let frame = Message::Binary(bytes.clone().into());
            let attempt = async {
                client.send_raw(frame).await.unwrap();
                outcome(&mut client).await
            };
            let (of_this, seen) = Cost::of(attempt).await;
            assert_eq!(seen, fate, "{name}");
            cost = Some(of_this.combine(cost));
        }
        // An answer takes as long as it takes.
        too_much.extend(cost.and_then(|cost| cost.report(name, bytes.len(), fate != Fate::Harmless)));
    }
    for HttpBomb { name, body, code } in http::all() {
        let mut cost = None;
        for _ in 0..ATTEMPTS {
            let (of_this, seen) = Cost::of(http::refusal(&server, &body)).await;
            assert_eq!(seen, code, "{name}");
            cost = Some(of_this.combine(cost));
        }
        too_much.extend(cost.and_then(|cost| cost.report(&format!("HTTP: {name}"), body.len(), true)));
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
