//! An upstream that says exactly what a test wants: what a real engine sends only when it breaks.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// What it does with one question.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// An answer that is no stream.
    Whole(u16, String),
    /// A stream.
    Stream(Vec<Step>),
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// A piece of text.
    Say(&'static str),
    /// The end of the answer, with its reason.
    Finish(&'static str),
    /// These very bytes.
    Raw(Vec<u8>),
    /// Nothing, for ever.
    Hang,
    /// The connection breaks.
    Cut,
}

pub(crate) struct Scripted {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    replies: Mutex<VecDeque<Reply>>,
    asked: Mutex<Vec<Value>>,
    authorizations: Mutex<Vec<String>>,
    hung_up: Notify,
}

impl Scripted {
    /// Listens; the replies are given in order, the last one again and again.
    pub(crate) async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared { replies: Mutex::new(replies.into()), ..Shared::default() });
        let serving = Arc::clone(&shared);
        actix_web::rt::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let serving = Arc::clone(&serving);
                // A broken connection is what some tests are about.
                actix_web::rt::spawn(async move { drop(serve(socket, &serving).await) });
            }
        });
        Self { port, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    /// The questions so far.
    pub(crate) fn asked(&self) -> Vec<Value> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// What stood in the `authorization` headers of all requests, health checks included.
    pub(crate) fn authorizations(&self) -> Vec<String> {
        self.shared.authorizations.lock().unwrap().clone()
    }

    /// Waits until a client has closed the connection of a reply that hangs.
    pub(crate) async fn hung_up(&self) {
        let patience = Duration::from_secs(60);
        tokio::time::timeout(patience, self.shared.hung_up.notified()).await.expect("the client hangs up");
    }
}

pub(crate) fn say(words: &[&'static str]) -> Reply {
    Reply::Stream(words.iter().map(|word| Step::Say(word)).chain([Step::Finish("stop")]).collect())
}

async fn serve(socket: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut socket = BufReader::new(socket);
    let mut first = String::new();
    socket.read_line(&mut first).await?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        socket.read_line(&mut line).await?;
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "authorization" => shared.authorizations.lock().unwrap().push(value.to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await?;
    if first.starts_with("GET") {
        let models =
            json!({"object": "list", "data": [{"id": "listed", "object": "model", "owned_by": "vllm"}]});
        return whole(&mut socket, 200, &models.to_string()).await;
    }
    shared.asked.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
    let reply = {
        let mut replies = shared.replies.lock().unwrap();
        if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() }
    };
    match reply.expect("a reply") {
        Reply::Whole(status, body) => whole(&mut socket, status, &body).await,
        Reply::Stream(steps) => stream(&mut socket, steps, &shared.hung_up).await,
    }
}

async fn whole(socket: &mut BufReader<TcpStream>, status: u16, body: &str) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    socket.write_all(head.as_bytes()).await?;
    socket.write_all(body.as_bytes()).await?;
    socket.flush().await
}

async fn stream(
    socket: &mut BufReader<TcpStream>,
    steps: Vec<Step>,
    hung_up: &Notify,
) -> std::io::Result<()> {
    socket
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n")
        .await?;
    for step in steps {
        let bytes = match step {
            Step::Say(text) => event(&json!({"choices": [{"index": 0, "delta": {"content": text}}]})),
            Step::Finish(reason) => {
                let last = event(&json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}));
                let usage =
                    event(&json!({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}));
                [last, usage, b"data: [DONE]\n\n".to_vec()].concat()
            }
            Step::Raw(bytes) => bytes,
            Step::Hang => {
                // Ends when the other side does.
                let mut nothing = [0; 1];
                let _ = socket.read(&mut nothing).await;
                hung_up.notify_one();
                return Ok(());
            }
            Step::Cut => return Ok(()),
        };
        socket.write_all(format!("{:x}\r\n", bytes.len()).as_bytes()).await?;
        socket.write_all(&bytes).await?;
        socket.write_all(b"\r\n").await?;
        socket.flush().await?;
    }
    socket.write_all(b"0\r\n\r\n").await?;
    socket.flush().await
}

fn event(data: &Value) -> Vec<u8> {
    format!("data: {data}\n\n").into_bytes()
}
