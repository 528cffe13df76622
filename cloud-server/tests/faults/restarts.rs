//! A server that is killed in mid-answer and comes back.

use msao_protocol::{Ask, Speculation};

use crate::courses::Truth;
use crate::page::{Pace, ask_as_page};
use crate::process::Process;
use crate::support::{Options, TestServer, ask};
use std::time::Duration;

/// The target waits for drafts that never come, so that the answer takes its time on any machine.
fn lasting(patience_ms: u16) -> Ask {
    Ask { max_new_tokens: 4, speculation: Speculation::Distributed { patience_ms }, ..ask(1, "a?") }
}

#[actix_web::test]
async fn a_killed_server_costs_the_answer_at_most() {
    let truth = Truth::of(&TestServer::start(Options::default()), lasting(1)).await;
    // Before the first token, and in mid-answer.
    for (patience_ms, wait_ms) in [(1_000, 50), (200, 500)] {
        let mut server = Process::start(([127, 0, 0, 1], 0).into(), &[]);
        let address = server.address;
        let pace = Pace { pause: Duration::from_millis(200), ..Pace::default() };
        let page = actix_web::rt::spawn(ask_as_page(address, lasting(patience_ms), pace));
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        server.kill();
        let again = actix_web::rt::task::spawn_blocking(move || Process::start(address, &[])).await.unwrap();
        truth.judge(&page.await.unwrap(), &format!("killed after {wait_ms} ms"));
        drop(again);
    }
}
