//! The page's own client, as far as it is no browser: its state machine on a socket of this test.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use msao_protocol::{Ask, TokenId};
use msao_runtime::cloud_events::{CloudEvent, CloudFailure};
use msao_runtime::session::Session;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

/// How a question ended for the page.
#[derive(Debug)]
pub(crate) struct Course {
    /// Tokens shown as standing, in the order they came.
    pub(crate) shown: Vec<TokenId>,
    /// The whole answer, or why there is none.
    pub(crate) end: Result<String, CloudFailure>,
    /// Connections that were made or tried.
    pub(crate) attempts: u32,
}

/// Times of a page, shorter than a page's own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Between two looks for a sign of life; two in vain are one too many.
    pub(crate) ping: Duration,
    /// Before a new attempt to connect.
    pub(crate) pause: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { ping: Duration::from_secs(30), pause: Duration::from_millis(1) }
    }
}

/// Asks through whatever lies between, as often as the page would, until the question has ended.
pub(crate) async fn ask_as_page(address: SocketAddr, ask: Ask, pace: Pace) -> Course {
    let mut page = Page { shown: Vec::new(), end: None };
    let mut session = Session::new("faults");
    session.ask(ask).unwrap();
    let mut attempts = 0;
    loop {
        attempts += 1;
        session.connecting();
        let reason = hold_connection(address, &mut session, &mut page, pace.ping).await;
        if page.end.is_none() {
            page.hear(session.closed(&reason).0);
        }
        if let Some(end) = page.end {
            return Course { shown: page.shown, end, attempts };
        }
        tokio::time::sleep(pace.pause).await;
    }
}

struct Page {
    shown: Vec<TokenId>,
    end: Option<Result<String, CloudFailure>>,
}

impl Page {
    fn hear(&mut self, events: Vec<CloudEvent>) {
        for event in events {
            match event {
                CloudEvent::Settled { start, tokens, .. } => {
                    assert_eq!(start as usize, self.shown.len(), "a gap, or a position told twice");
                    self.shown.extend(tokens.iter().map(|settled| settled.token.id));
                }
                CloudEvent::Resent { .. } => assert!(self.shown.is_empty(), "asked again in mid-answer"),
                CloudEvent::Done { text, .. } => self.end = Some(Ok(text)),
                CloudEvent::Failed(failure) => self.end = Some(Err(failure)),
                _ => {}
            }
        }
    }
}

/// Until the connection or the question ends; says why the connection did.
async fn hold_connection(
    address: SocketAddr,
    session: &mut Session,
    page: &mut Page,
    ping: Duration,
) -> String {
    let connected = tokio::time::timeout(2 * ping, connect_async(format!("ws://{address}/v1/session")));
    let mut socket = match connected.await {
        Ok(Ok((socket, _))) => socket,
        Ok(Err(error)) => return error.to_string(),
        Err(_elapsed) => return "no connection in time".to_owned(),
    };
    session.connected();
    let mut pings = tokio::time::interval(ping);
    pings.tick().await;
    while page.end.is_none() {
        while let Some(outgoing) = session.next_frame(0.0) {
            if let Err(error) = socket.send(Message::Binary(outgoing.bytes.into())).await {
                return error.to_string();
            }
        }
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Binary(bytes))) => page.hear(session.received(&bytes, 0.0)),
                Some(Ok(_)) => {}
                Some(Err(error)) => return error.to_string(),
                None => return "the server closed the connection".to_owned(),
            },
            _ = pings.tick() => if let Err(reason) = session.tick() { return reason.to_owned() },
        }
    }
    String::new()
}
