//! A client of the [Chrome DevTools Protocol](https://chromedevtools.github.io/devtools-protocol/).
//!
//! One WebSocket to the browser carries every page and worker, told apart by their session id ("flat" sessions).
//! Blocking: a test does one thing at a time, and events that arrive meanwhile wait in a queue. The protocol is
//! spoken directly, because it gives console, workers, file inputs and screenshots with nothing else to install;
//! a WebDriver would add a second program whose version has to match the browser's.

use std::{
    collections::VecDeque,
    io::ErrorKind,
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

/// Something that happened in the browser.
#[derive(Debug, Clone)]
pub struct Event {
    /// The page or worker it happened in; `None` for the browser itself.
    pub session: Option<String>,
    /// Such as `Runtime.exceptionThrown`.
    pub method: String,
    /// What the protocol says about it.
    pub params: Value,
}

/// A connection to a browser.
pub struct Devtools {
    socket: WebSocket<TcpStream>,
    last_id: u64,
    events: VecDeque<Event>,
}

impl Devtools {
    /// Connects to the browser that listens on `port` of this machine; `path` is its own WebSocket path.
    ///
    /// # Errors
    /// If nothing there speaks WebSocket.
    pub fn connect(port: u16, path: &str) -> Result<Self> {
        let stream =
            TcpStream::connect(("127.0.0.1", port)).context("the browser's DevTools port is closed")?;
        stream.set_nodelay(true)?;
        let (socket, _) = tungstenite::client(format!("ws://127.0.0.1:{port}{path}"), stream)
            .context("the browser refuses a DevTools connection")?;
        Ok(Self { socket, last_id: 0, events: VecDeque::new() })
    }

    /// Sends a command without waiting for its result; the id names the reply.
    ///
    /// # Errors
    /// If the connection is gone.
    pub fn send(&mut self, session: Option<&str>, method: &str, params: Value) -> Result<u64> {
        self.last_id += 1;
        let mut command = json!({ "id": self.last_id, "method": method, "params": params });
        if let Some(session) = session {
            command["sessionId"] = json!(session);
        }
        self.socket
            .send(Message::text(command.to_string()))
            .with_context(|| format!("cannot send {method}"))?;
        Ok(self.last_id)
    }

    /// Sends a command and waits for its result.
    ///
    /// # Errors
    /// If the browser refuses the command, does not answer within `timeout`, or is gone.
    pub fn call(
        &mut self,
        session: Option<&str>,
        method: &str,
        params: Value,
        timeout: Duration,
    ) -> Result<Value> {
        let id = self.send(session, method, params)?;
        let deadline = Instant::now() + timeout;
        loop {
            let Some(mut message) = self.receive(deadline)? else {
                bail!("the browser did not answer {method} within {} s", timeout.as_secs_f32());
            };
            if message["id"] == json!(id) {
                if let Some(error) = message.get("error") {
                    bail!("the browser refuses {method}: {error}");
                }
                return Ok(message["result"].take());
            }
        }
    }

    /// Reads what the browser sends for `duration`, so that its events reach the queue.
    ///
    /// # Errors
    /// If the connection is gone.
    pub fn listen(&mut self, duration: Duration) -> Result<()> {
        let deadline = Instant::now() + duration;
        while self.receive(deadline)?.is_some() {}
        Ok(())
    }

    /// The oldest event nobody has taken yet.
    pub fn take_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next message; `None` at the deadline. Events are queued on the way.
    fn receive(&mut self, deadline: Instant) -> Result<Option<Value>> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.socket.get_ref().set_read_timeout(Some(left))?;
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    let message: Value =
                        serde_json::from_str(&text).context("the browser sent broken JSON")?;
                    if let Some(method) = message["method"].as_str() {
                        self.events.push_back(Event {
                            session: message["sessionId"].as_str().map(str::to_owned),
                            method: method.to_owned(),
                            params: message["params"].clone(),
                        });
                    }
                    return Ok(Some(message));
                }
                Ok(_) => {}
                Err(tungstenite::Error::Io(error))
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Ok(None);
                }
                Err(error) => return Err(error).context("lost the connection to the browser"),
            }
        }
    }
}
