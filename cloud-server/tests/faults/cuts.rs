//! A whole session cut at every byte, either way; slow, frozen and overtaken ones.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use msao_protocol::Ask;

use crate::courses::Truth;
use crate::fault_proxy::{Fault, FaultProxy, Faults};
use crate::page::{Pace, ask_as_page};
use crate::support::{Options, TestServer, ask, png, with_image};

/// Courses under way at a time.
const AT_ONCE: usize = 8;
/// A page that soon misses a sign of life. Where it is too soon, on a slow machine, it asks again, which is right as well.
const IMPATIENT: Pace = Pace { ping: Duration::from_millis(300), pause: Duration::from_millis(1) };

fn question() -> Ask {
    Ask { max_new_tokens: 6, ..with_image(ask(1, "what is this?"), png(8, 8)) }
}

/// Room for the sessions that were cut and have not been noticed yet.
fn roomy() -> TestServer {
    TestServer::start(Options { places: 64, max_sessions: 512, ..Options::default() })
}

/// Bytes of an undisturbed session up to the answer's end, up and down.
async fn session_bytes(server: &TestServer) -> (u64, u64) {
    let proxy = FaultProxy::start(server.address, []).await;
    ask_as_page(proxy.address, question(), Pace::default()).await.end.unwrap();
    proxy.bytes()
}

/// Plays one course for each fault, the connection after the faulty one being sound.
async fn play(server: &TestServer, truth: &Truth, faults: impl IntoIterator<Item = Faults>) -> Tally {
    let mut tally = Tally::default();
    let courses = faults.into_iter().map(|faults| async move {
        let proxy = FaultProxy::start(server.address, [faults]).await;
        (faults, ask_as_page(proxy.address, question(), Pace::default()).await)
    });
    let mut courses = stream::iter(courses).buffer_unordered(AT_ONCE);
    while let Some((faults, course)) = courses.next().await {
        truth.judge(&course, &format!("{faults:?}"));
        match course.end {
            Ok(_) if course.attempts == 1 => tally.undisturbed += 1,
            Ok(_) => tally.resumed += 1,
            Err(_) => tally.failed += 1,
        }
    }
    tally
}

#[derive(Debug, Default, PartialEq)]
struct Tally {
    undisturbed: u64,
    resumed: u64,
    failed: u64,
}

#[actix_web::test]
async fn a_session_cut_at_any_byte_up_is_resumed() {
    let server = roomy();
    let truth = Truth::of(&server, question()).await;
    let (up, _) = session_bytes(&server).await;
    let cuts = (0..up).map(|bytes| Faults { up: Fault::CutAfter(bytes), ..Faults::default() });
    let tally = play(&server, &truth, cuts).await;
    assert_eq!(tally, Tally { resumed: up, ..Tally::default() });
    server.settle().await;
}

#[actix_web::test]
async fn a_session_cut_at_any_byte_down_is_resumed_or_fails_by_name() {
    let server = roomy();
    let truth = Truth::of(&server, question()).await;
    let (_, down) = session_bytes(&server).await;
    // The receipt's times make a session some bytes longer or shorter than another.
    let cuts = (0..down).map(|bytes| Faults { down: Fault::CutAfter(bytes), ..Faults::default() });
    let tally = play(&server, &truth, cuts).await;
    assert!(tally.resumed > 0 && tally.failed > 0, "{tally:?}");
    server.settle().await;
}

#[actix_web::test]
async fn a_session_by_bits_and_pieces_is_only_slow() {
    let server = roomy();
    let truth = Truth::of(&server, question()).await;
    // This client takes a handshake in single bytes for an attack; the server does not.
    let [up, down] = [1, 13].map(|bytes| Fault::Dribble(bytes, Duration::from_micros(100)));
    let tally = play(&server, &truth, [Faults { up, down }]).await;
    assert_eq!(tally, Tally { undisturbed: 1, ..Tally::default() });
}

#[actix_web::test]
async fn a_half_open_connection_is_given_up_and_resumed() {
    let server = roomy();
    let truth = Truth::of(&server, question()).await;
    let (up, down) = session_bytes(&server).await;
    for fault in [
        Faults { up: Fault::FreezeAfter(10), ..Faults::default() },
        Faults { up: Fault::FreezeAfter(up / 2), ..Faults::default() },
        Faults { up: Fault::FreezeAfter(up - 1), ..Faults::default() },
        Faults { down: Fault::FreezeAfter(10), ..Faults::default() },
        Faults { down: Fault::FreezeAfter(down / 2), ..Faults::default() },
        Faults { down: Fault::FreezeAfter(down - 60), ..Faults::default() },
    ] {
        let proxy = FaultProxy::start(server.address, [fault]).await;
        let course = ask_as_page(proxy.address, question(), IMPATIENT).await;
        truth.judge(&course, &format!("{fault:?}"));
        // What was frozen arrives after the session that replaced it has ended.
        proxy.thaw();
        server.assert_alive().await;
    }
    server.settle().await;
}

#[actix_web::test]
async fn an_old_connection_that_comes_late_changes_nothing() {
    let server = roomy();
    let truth = Truth::of(&server, question()).await;
    let (up, _) = session_bytes(&server).await;
    // Two connections are held up in mid-question and overtaken by the third.
    let held = Faults { up: Fault::FreezeAfter(up - 5), ..Faults::default() };
    let proxy = FaultProxy::start(server.address, [held]).await;
    let (first, second) = tokio::join!(
        ask_as_page(proxy.address, question(), IMPATIENT),
        ask_as_page(proxy.address, question(), IMPATIENT)
    );
    proxy.thaw();
    for course in [first, second] {
        truth.judge(&course, "overtaken");
    }
    server.settle().await;
    server.assert_alive().await;
}
