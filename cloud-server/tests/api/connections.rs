//! What happens on the way: clients that hang up, are slow, come too many, and a server that stops meanwhile.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::web::Data;
use msao_protocol::Limits;
use msao_server::engine::{Busy, EmbeddedEngine, Engine, EngineInfo, Job, Place, Readiness};
use msao_server::{AppState, Ending, Timeouts};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::schema::assert_conforms;
use crate::support::{Options, PATIENCE, asking, engine, get, post, start, state, state_of, wait_for};

/// The real engine behind a door that a test opens: so what happens meanwhile does not depend on who is quicker.
struct Doorman {
    engine: EmbeddedEngine,
    waiting: Mutex<Vec<(Place, Job)>>,
    is_ready: AtomicBool,
}

impl Doorman {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            engine: engine(&Options::default()),
            waiting: Mutex::default(),
            is_ready: AtomicBool::new(true),
        })
    }

    fn open(&self) {
        for (place, job) in self.waiting.lock().unwrap().drain(..) {
            self.engine.submit(place, job);
        }
    }

    fn wait_until_cancelled(&self) -> bool {
        let waiting = self.waiting.lock().unwrap();
        !waiting.is_empty() && waiting.iter().all(|(_, job)| job.is_cancelled())
    }
}

impl Engine for Doorman {
    fn info(&self) -> &EngineInfo {
        self.engine.info()
    }

    fn reserve(&self) -> Result<Place, Busy> {
        self.engine.reserve()
    }

    fn submit(&self, place: Place, job: Job) {
        self.waiting.lock().unwrap().push((place, job));
    }

    fn occupancy(&self) -> usize {
        self.engine.occupancy()
    }

    fn readiness(&self) -> Readiness {
        if self.is_ready.load(Ordering::Relaxed) {
            return Readiness::Ready;
        }
        Readiness::NotReady { reason: "the door is locked".into() }
    }
}

fn head(length: usize) -> String {
    format!("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n")
}

async fn ask(address: SocketAddr, body: &Value) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let body = body.to_string();
    socket.write_all(format!("{}{body}", head(body.len())).as_bytes()).await.unwrap();
    socket
}

/// Reads until something is there that holds `end`.
async fn read_until(socket: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4_096];
        let count = timeout(PATIENCE, socket.read(&mut piece)).await.expect("the server answers").unwrap();
        bytes.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&bytes);
        if count == 0 || text.contains(end) {
            return text.into_owned();
        }
    }
}

async fn settle(state: &Data<AppState>) {
    wait_for("requests end", || state.engine.occupancy() == 0 && state.api_requests() == 0).await;
}

#[actix_web::test]
async fn a_client_that_hangs_up_cancels_what_it_asked_for() {
    for stream in [false, true] {
        let doorman = Doorman::new();
        let state = state_of(doorman.clone(), Options::default());
        let socket = ask(start(&state), &asking("what is this?", &json!({"stream": stream}))).await;
        wait_for("the request comes", || !doorman.waiting.lock().unwrap().is_empty()).await;
        drop(socket);
        wait_for("the request is cancelled", || doorman.wait_until_cancelled()).await;
        doorman.open();
        settle(&state).await;
        let metrics = get(&state, "/metrics").await;
        assert!(
            metrics.text().contains("msao_requests_total{outcome=\"cancelled\"} 1"),
            "{}",
            metrics.text()
        );
    }
}

#[actix_web::test]
async fn what_an_engine_cannot_tell_is_refused_and_not_left_out() {
    let state = state_of(Doorman::new(), Options::default());
    let reply = post(&state, &asking("what is this?", &json!({"logprobs": true}))).await;
    assert_eq!((reply.status.as_u16(), reply.error()), (400, "unsupported_parameter".to_owned()));
    assert_eq!(reply.json()["error"]["param"], "logprobs");
}

#[actix_web::test]
async fn readiness_is_the_engine_s_own() {
    let doorman = Doorman::new();
    let state = state_of(doorman.clone(), Options::default());
    for is_ready in [true, false, true] {
        doorman.is_ready.store(is_ready, Ordering::Relaxed);
        let reply = get(&state, "/readyz").await;
        assert_conforms(&reply.json(), "Readiness");
        assert_eq!(reply.status.as_u16(), if is_ready { 200 } else { 503 });
        assert_eq!(get(&state, "/healthz").await.status.as_u16(), 200);
    }
}

#[actix_web::test]
async fn a_client_that_hangs_up_in_mid_stream_cancels_too() {
    let state = state(Options::default());
    let address = start(&state);
    // The longest answer; whether some of it was written already does not matter.
    let mut socket = ask(address, &asking("what is this?", &json!({"stream": true}))).await;
    read_until(&mut socket, "data: ").await;
    drop(socket);
    settle(&state).await;
}

#[actix_web::test]
async fn what_is_under_way_is_finished_when_the_server_stops() {
    let doorman = Doorman::new();
    let state = state_of(doorman.clone(), Options::default());
    let body = asking("what is this?", &json!({"stream": true, "max_tokens": 8}));
    let mut socket = ask(start(&state), &body).await;
    wait_for("the request comes", || !doorman.waiting.lock().unwrap().is_empty()).await;
    let (stopping, told) = (state.clone(), doorman.clone());
    let stopped = actix_web::rt::spawn(async move { stopping.finish(PATIENCE).await });
    wait_for("the server stops", || state.drain.has_begun()).await;
    assert!(!stopped.is_finished());
    told.open();
    let reply = read_until(&mut socket, "[DONE]").await;
    assert!(reply.contains("\"finish_reason\":\"length\""), "{reply}");
    assert_eq!(stopped.await.unwrap(), Ending::Finished);
}

#[actix_web::test]
async fn what_takes_too_long_when_the_server_stops_is_handed_back() {
    for stream in [false, true] {
        let doorman = Doorman::new();
        let state = state_of(doorman.clone(), Options::default());
        let mut socket = ask(start(&state), &asking("what is this?", &json!({"stream": stream}))).await;
        wait_for("the request comes", || !doorman.waiting.lock().unwrap().is_empty()).await;
        let stopping = state.clone();
        let stopped = actix_web::rt::spawn(async move { stopping.finish(Duration::ZERO).await });
        let reply = read_until(&mut socket, "shutting_down").await;
        assert!(reply.starts_with("HTTP/1.1 503"), "{reply}");
        wait_for("the request is cancelled", || doorman.wait_until_cancelled()).await;
        doorman.open();
        assert_eq!(stopped.await.unwrap(), Ending::HandedBack);
    }
}

#[actix_web::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let timeouts = Timeouts { silence: Duration::from_millis(50), ..Timeouts::default() };
    let state = state(Options { timeouts, ..Options::default() });
    let mut socket = TcpStream::connect(start(&state)).await.unwrap();
    socket.write_all(format!("{}{{\"mod", head(1_000)).as_bytes()).await.unwrap();
    let reply = read_until(&mut socket, "unreadable_body").await;
    assert!(reply.starts_with("HTTP/1.1 400"), "{reply}");
    drop(socket);
    settle(&state).await;
}

#[actix_web::test]
async fn bodies_that_are_being_read_share_a_budget() {
    let limits =
        Limits { message_bytes: 30_000, image_bytes: 20_000, audio_bytes: 20_000, ..Limits::default() };
    let state = state(Options { limits, ..Options::default() });
    let address = start(&state);
    // As large as bodies may be, and the last byte of each does not come.
    let largest = 30_000 / 3 * 4 + (1 << 20);
    let most = vec![b' '; largest - 1];
    let mut sockets = Vec::new();
    for _ in 0..8 {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(head(largest).as_bytes()).await.unwrap();
        socket.write_all(&most).await.unwrap();
        sockets.push(socket);
    }
    // Some of it may still be on its way.
    let held = format!("msao_held_body_bytes {}\n", 8 * largest.div_ceil(1_024) * 1_024);
    let all_held = async { while !get(&state, "/metrics").await.text().contains(&held) {} };
    timeout(PATIENCE, all_held).await.expect("all of it comes");
    let mut another = ask(address, &asking("what is this?", &json!({}))).await;
    let reply = read_until(&mut another, "}}").await;
    assert!(reply.starts_with("HTTP/1.1 429") && reply.to_lowercase().contains("retry-after: 1"), "{reply}");
    drop(sockets);
    settle(&state).await;
    let mut another = ask(address, &asking("what is this?", &json!({"max_tokens": 1}))).await;
    assert!(read_until(&mut another, "\"receipt\"").await.starts_with("HTTP/1.1 200"));
}
