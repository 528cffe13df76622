//! The session with the cloud over a WebSocket: moves frames between the network and [`Session`], which
//! decides everything.
//!
//! A cut is followed by new attempts, further and further apart, for as long as the client lives.

use std::{cell::RefCell, future::Future, pin::Pin, rc::Rc};

use futures_channel::mpsc;
use futures_util::{
    FutureExt, Sink, SinkExt, StreamExt,
    future::{Either, poll_fn, ready, select as first_of},
    select,
};
use gloo_net::websocket::{Message, futures::WebSocket};
use gloo_timers::future::TimeoutFuture;
use js_sys::Array;
use msao_protocol::{Ask, Attach, Draft, ErrorReport, RequestId, Speculation};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::{
    RuntimeError,
    cloud_events::{CloudEvent, Traffic},
    frame_log::FrameRecord,
    link::{DelayLine, EmulatedLink},
    session::Session,
};

/// Time between signs of life.
const PING_INTERVAL_MS: u32 = 10_000;
/// Longest wait for a connection.
const CONNECT_TIMEOUT_MS: u32 = 10_000;
/// The subprotocol of a session, and what comes before a token that is offered as one.
const SUBPROTOCOL: &str = "msao.v1";
const TOKEN_PREFIX: &str = "msao.token.";

/// Yields the token that the next connection offers, if there is one; asked anew for each, since tokens expire.
pub type TokenSource = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Option<String>, String>>>>>;

#[wasm_bindgen]
extern "C" {
    /// The clock of pages and Workers alike.
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn now_ms() -> f64;
}

/// A session with the cloud. Dropping it closes the connection.
pub struct CloudClient {
    shared: Rc<Shared>,
    /// Tells the task that there are frames to send; dropping it ends the task. One slot: a second signal adds
    /// nothing.
    wake: RefCell<mpsc::Sender<()>>,
}

/// Hears of each frame that crossed the network.
type FrameWatcher = Box<dyn FnMut(FrameRecord)>;

struct Shared {
    session: RefCell<Session>,
    on_event: RefCell<Box<dyn FnMut(CloudEvent)>>,
    on_frame: RefCell<Option<FrameWatcher>>,
}

impl CloudClient {
    /// Begins to connect to `url`, such as `ws://localhost:8080/v1/session`, with the token of the page's address if it
    /// has one. `on_event` hears everything.
    pub fn connect(url: impl Into<String>, on_event: impl FnMut(CloudEvent) + 'static) -> Self {
        Self::connect_over(url, EmulatedLink::default(), on_event)
    }

    /// As [`Self::connect`], over a link that is made slower than it is.
    pub fn connect_over(
        url: impl Into<String>,
        link: EmulatedLink,
        on_event: impl FnMut(CloudEvent) + 'static,
    ) -> Self {
        let client = concat!("msao-page/", env!("CARGO_PKG_VERSION"));
        let token: TokenSource = Box::new(|| Box::pin(ready(Ok(token_of_the_page()))));
        Self::begin(client, url.into(), link, token, Box::new(on_event))
    }

    /// As [`Self::connect`], under a name for the server's log and with a token of another source.
    pub fn connect_as(
        client: &str,
        url: impl Into<String>,
        token: TokenSource,
        on_event: impl FnMut(CloudEvent) + 'static,
    ) -> Self {
        Self::begin(client, url.into(), EmulatedLink::default(), token, Box::new(on_event))
    }

    fn begin(
        client: &str,
        url: String,
        link: EmulatedLink,
        token: TokenSource,
        on_event: Box<dyn FnMut(CloudEvent)>,
    ) -> Self {
        let shared = Rc::new(Shared {
            session: RefCell::new(Session::new(client)),
            on_event: RefCell::new(on_event),
            on_frame: RefCell::new(None),
        });
        let (wake, woken) = mpsc::channel(1);
        wasm_bindgen_futures::spawn_local(run(url, link, token, Rc::clone(&shared), woken));
        Self { shared, wake: RefCell::new(wake) }
    }

    /// Asks a question, now or as soon as the session is open. It ends in exactly one of [`CloudEvent::Done`]
    /// and [`CloudEvent::Failed`] with its id.
    ///
    /// # Errors
    /// A report, and then no event, if it exceeds the server's limits.
    pub fn ask(&self, ask: Ask) -> Result<(), ErrorReport> {
        self.shared.session.borrow_mut().ask(ask)?;
        self.wake();
        Ok(())
    }

    /// Sends the media that a question announced as pending. Returns `false` if its request is over.
    ///
    /// # Errors
    /// A report if they are not what was announced or exceed the server's limits; the question goes on waiting.
    pub fn attach(&self, attach: Attach) -> Result<bool, ErrorReport> {
        let is_awaited = self.shared.session.borrow_mut().attach(attach)?;
        self.wake();
        Ok(is_awaited)
    }

    /// Sends a draft. Returns `false`, and forgets it, if the server does not work on its request at the moment.
    pub fn draft(&self, draft: Draft) -> bool {
        let is_worked_on = self.shared.session.borrow_mut().draft(draft);
        self.wake();
        is_worked_on
    }

    /// Lets drafts of a request come from elsewhere from now on. Returns `false`, and forgets it, if the server does not
    /// work on the request at the moment.
    pub fn steer(&self, request_id: RequestId, speculation: Speculation) -> bool {
        let is_worked_on = self.shared.session.borrow_mut().steer(request_id, speculation);
        self.wake();
        is_worked_on
    }

    /// Stops a request. Returns whether its end is still to come, as
    /// [`Cancelled`](msao_protocol::FinishReason::Cancelled); one that was not sent yet is forgotten without.
    pub fn cancel(&self, request_id: RequestId) -> bool {
        let expect_end = self.shared.session.borrow_mut().cancel(request_id);
        self.wake();
        expect_end
    }

    /// Whether the session is open.
    pub fn is_connected(&self) -> bool {
        self.shared.session.borrow().is_open()
    }

    /// Lets somebody watch what crosses the network: kind and size of each frame, none of its content.
    pub fn watch_frames(&self, on_frame: impl FnMut(FrameRecord) + 'static) {
        *self.shared.on_frame.borrow_mut() = Some(Box::new(on_frame));
    }

    /// Bytes that crossed the network so far.
    pub fn traffic(&self) -> Traffic {
        self.shared.session.borrow().traffic()
    }

    fn wake(&self) {
        // A full channel means that the task has been woken already; a closed one that the page goes away.
        let _ = self.wake.borrow_mut().try_send(());
    }
}

/// The address of the session on the server that served this page.
///
/// # Errors
/// [`RuntimeError::Address`] outside a page that came over HTTP.
pub fn session_url() -> Result<String, RuntimeError> {
    let address = |reason: &str| RuntimeError::Address { reason: reason.to_owned() };
    let location = web_sys::window().ok_or_else(|| address("there is no page"))?.location();
    let host = location.host().ok().filter(|host| !host.is_empty());
    let host = host.ok_or_else(|| address("the page did not come from a server"))?;
    let secure = location.protocol().is_ok_and(|protocol| protocol == "https:");
    Ok(format!("{}://{host}/v1/session", if secure { "wss" } else { "ws" }))
}

impl Shared {
    /// Tells the page, with no borrow of the session held: it may ask at once.
    fn tell(&self, events: impl IntoIterator<Item = CloudEvent>) {
        for event in events {
            (self.on_event.borrow_mut())(event);
        }
    }

    /// Tells what has crossed the network since the last time.
    fn tell_crossed(&self) {
        let mut on_frame = self.on_frame.borrow_mut();
        let Some(on_frame) = on_frame.as_mut() else { return };
        loop {
            // In a statement of its own, so that no borrow of the session is held while the page is told.
            let crossed = self.session.borrow_mut().take_crossed();
            let Some(crossed) = crossed else { return };
            on_frame(crossed);
        }
    }
}

/// Why a connection ended.
enum End {
    /// The client was dropped.
    Dropped,
    /// The connection was cut or could not be had.
    Cut(String),
}

async fn run(
    url: String,
    link: EmulatedLink,
    token: TokenSource,
    shared: Rc<Shared>,
    mut woken: mpsc::Receiver<()>,
) {
    loop {
        let event = shared.session.borrow_mut().connecting();
        shared.tell([event]);
        let reason = match hold_connection(&url, link, &token, &shared, &mut woken).await {
            End::Dropped => return,
            End::Cut(reason) => reason,
        };
        let (events, pause_ms) = shared.session.borrow_mut().closed(&reason);
        shared.tell(events);
        if !pause(pause_ms, &mut woken).await {
            return;
        }
    }
}

/// Waits; returns whether the client still lives. A question asked meanwhile does not shorten the pause.
async fn pause(pause_ms: u32, woken: &mut mpsc::Receiver<()>) -> bool {
    let mut timer = TimeoutFuture::new(pause_ms).fuse();
    loop {
        select! {
            () = timer => return true,
            signal = woken.next() => if signal.is_none() { return false },
        }
    }
}

/// The token that the page was given behind the `#` of its address, which browsers keep to themselves.
fn token_of_the_page() -> Option<String> {
    let fragment = web_sys::window()?.location().hash().ok()?;
    let token = fragment.trim_start_matches('#').split('&').find_map(|part| part.strip_prefix("token="));
    token.map(str::to_owned)
}

/// Opens a socket. A token goes as a subprotocol, beside the one that the server chooses.
fn open(url: &str, token: Option<String>) -> Result<WebSocket, String> {
    let Some(token) = token else { return WebSocket::open(url).map_err(|error| error.to_string()) };
    let protocols = Array::of2(&SUBPROTOCOL.into(), &format!("{TOKEN_PREFIX}{token}").into());
    web_sys::WebSocket::new_with_str_sequence(url, &protocols)
        .map_err(|_refused| "the token is none, or the address is not that of a server".to_owned())
        .and_then(|socket| WebSocket::try_from(socket).map_err(|error| error.to_string()))
}

async fn hold_connection(
    url: &str,
    link: EmulatedLink,
    token: &TokenSource,
    shared: &Shared,
    woken: &mut mpsc::Receiver<()>,
) -> End {
    let opened = token().await.and_then(|token| open(url, token));
    let socket = match opened {
        Ok(socket) => socket,
        Err(reason) => return End::Cut(reason),
    };
    let (mut sink, stream) = socket.split();
    let mut stream = stream.fuse();
    let stands = poll_fn(|context| Pin::new(&mut sink).poll_ready(context));
    match first_of(stands, TimeoutFuture::new(CONNECT_TIMEOUT_MS)).await {
        Either::Left((Ok(()), _)) => (),
        Either::Left((Err(error), _)) => return End::Cut(error.to_string()),
        Either::Right(_) => return End::Cut("no connection in time".to_owned()),
    }
    shared.session.borrow_mut().connected();

    let mut line = DelayLine::new(link);
    let mut ping = TimeoutFuture::new(PING_INTERVAL_MS).fuse();
    loop {
        loop {
            let Some(outgoing) = shared.session.borrow_mut().next_frame(now_ms()) else { break };
            line.send(outgoing.bytes, now_ms());
            shared.tell_crossed();
            shared.tell(outgoing.event);
        }
        while let Some(bytes) = line.next_up(now_ms()) {
            if let Err(error) = sink.send(Message::Bytes(bytes)).await {
                return End::Cut(error.to_string());
            }
        }
        if let Some(bytes) = line.next_down(now_ms()) {
            let events = shared.session.borrow_mut().received(&bytes, now_ms());
            shared.tell_crossed();
            shared.tell(events);
            // What was heard may have made something to send.
            continue;
        }
        // Without a frame on the link nothing is due before the next ping.
        let due_ms = line.next_due_ms().map_or(f64::from(PING_INTERVAL_MS), |due_ms| due_ms - now_ms());
        let mut due = TimeoutFuture::new(due_ms.max(0.0).ceil() as u32).fuse();
        select! {
            message = stream.next() => match message {
                Some(Ok(Message::Bytes(bytes))) => line.receive(bytes, now_ms()),
                Some(Ok(Message::Text(_))) => (),
                Some(Err(error)) => return End::Cut(error.to_string()),
                None => return End::Cut("the server closed the connection".to_owned()),
            },
            signal = woken.next() => if signal.is_none() { return End::Dropped },
            () = due => (),
            () = ping => {
                if let Err(reason) = shared.session.borrow_mut().tick() {
                    return End::Cut(reason.to_owned());
                }
                ping = TimeoutFuture::new(PING_INTERVAL_MS).fuse();
            }
        }
    }
}
