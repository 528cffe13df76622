//! The client's session with the server: the page's state machine, on a real connection that is made anew when it is cut.

use std::{
    net::SocketAddr,
    sync::mpsc::SyncSender,
    time::{Duration, Instant},
};

use msao_protocol::ModelInfo;
use msao_runtime::{cloud_events::CloudEvent, session::Session};

use super::{
    inbox::Heard,
    wire::{Wire, WireEvent},
};
use crate::clock::now_ms;

/// How often a sign of life is asked for, as on the page.
const TICK: Duration = Duration::from_secs(10);

/// A session that is kept up.
pub(super) struct Online {
    server: SocketAddr,
    inbox: SyncSender<Heard>,
    /// Who asks for what, and what to do after a cut.
    pub(super) session: Session,
    /// The model that answers, while the session is open.
    model: Option<ModelInfo>,
    wire: Option<Wire>,
    /// Of the connection that stands or is being made.
    number: u32,
    /// When something is due: the next ping, or the next attempt to connect; `None` while connecting.
    due_at: Option<Instant>,
}

impl Online {
    /// Not connected yet; the first attempt is due at once.
    pub(super) fn new(server: SocketAddr, inbox: SyncSender<Heard>) -> Self {
        let session = Session::new(concat!("msao-bench ", env!("CARGO_PKG_VERSION")));
        Self { server, inbox, session, model: None, wire: None, number: 0, due_at: Some(Instant::now()) }
    }

    /// The model that answers; `None` without a session.
    pub(super) fn model(&self) -> Option<&ModelInfo> {
        self.model.as_ref()
    }

    /// When [`Self::tick`] is to be called.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.due_at
    }

    /// Does what is due.
    pub(super) fn tick(&mut self) -> Vec<CloudEvent> {
        if self.due_at.is_none_or(|due_at| due_at > Instant::now()) {
            return Vec::new();
        }
        if self.wire.is_some() {
            self.due_at = Some(Instant::now() + TICK);
            return match self.session.tick() {
                Ok(()) => self.send(),
                Err(reason) => self.close(reason),
            };
        }
        self.number += 1;
        self.due_at = None;
        let mut events = vec![self.session.connecting()];
        if let Err(error) = Wire::open(self.server, self.number, self.inbox.clone()) {
            events.extend(self.close(&error.to_string()));
        }
        events
    }

    /// Asks for a sign of life now.
    pub(super) fn ping(&mut self) -> Vec<CloudEvent> {
        match self.session.tick() {
            Ok(()) => self.send(),
            Err(reason) => self.close(reason),
        }
    }

    /// Something was heard of connection `number`.
    pub(super) fn hear(&mut self, number: u32, event: WireEvent) -> Vec<CloudEvent> {
        // What an earlier connection still had to say is void; a wire in it is closed by being dropped.
        if number != self.number {
            return Vec::new();
        }
        let mut events = match event {
            WireEvent::Connected(wire) => {
                self.wire = Some(wire);
                self.due_at = Some(Instant::now() + TICK);
                self.session.connected();
                Vec::new()
            }
            WireEvent::Frame(frame) => self.session.received(&frame, now_ms()),
            WireEvent::Ping(payload) => {
                self.wire.iter().for_each(|wire| wire.pong(payload.clone()));
                Vec::new()
            }
            WireEvent::Closed(reason) => return self.close(&reason),
        };
        for event in &events {
            if let CloudEvent::Connected { model, .. } = event {
                self.model = Some(model.clone());
            }
        }
        events.extend(self.send());
        events
    }

    /// Hands over what waits.
    pub(super) fn send(&mut self) -> Vec<CloudEvent> {
        let Some(wire) = &self.wire else { return Vec::new() };
        let mut events = Vec::new();
        while let Some(outgoing) = self.session.next_frame(now_ms()) {
            wire.send(outgoing.bytes);
            events.extend(outgoing.event);
        }
        events
    }

    fn close(&mut self, reason: &str) -> Vec<CloudEvent> {
        // Nothing that this connection still says is heard.
        self.number += 1;
        (self.wire, self.model) = (None, None);
        let (events, pause_ms) = self.session.closed(reason);
        self.due_at = Some(Instant::now() + Duration::from_millis(pause_ms.into()));
        events
    }
}
