//! The two clients, and their events as changes of the page's state.

use leptos::prelude::*;
use msao_planner::EngineKind;
use msao_protocol::{FinishReason, Receipt, RequestId};
use msao_runtime::{
    cloud_client::{self, CloudClient},
    cloud_events::CloudEvent,
    edge_client::{EdgeClient, EdgeOptions},
    messages::{EnginePreference, LoadStage, Progress, WorkerEvent},
};

use super::{PageState, Side, Turn, now_ms};
use crate::{
    answer::Answer,
    status::{CloudStatus, EdgeReady, EdgeStatus},
};

/// Where the engine's package lies, relative to the page.
const ENGINE_URL: &str = "engine/";
/// Where the edge checkpoint lies.
const WEIGHTS_URL: &str = "weights/pocket-edge/";

/// The clients that are there.
#[derive(Default)]
pub(super) struct Clients {
    pub(super) edge: Option<EdgeClient>,
    pub(super) cloud: Option<CloudClient>,
}

impl PageState {
    /// Starts loading the engine, again if it was stopped or has failed.
    pub(crate) fn load_edge(self) {
        let engine = match self.options.with_value(|options| options.engine) {
            None => EnginePreference::Auto,
            Some(EngineKind::Simd) => EnginePreference::Simd,
            Some(EngineKind::Webgpu) => EnginePreference::Webgpu,
        };
        self.edge.set(EdgeStatus::Loading(Progress {
            stage: LoadStage::Engine,
            engine: if engine == EnginePreference::Webgpu { EngineKind::Webgpu } else { EngineKind::Simd },
            loaded_bytes: 0,
            total_bytes: 0,
        }));
        let options =
            EdgeOptions { engine_url: ENGINE_URL.to_owned(), weights_url: WEIGHTS_URL.to_owned(), engine };
        match EdgeClient::spawn(options, move |event| self.on_edge(event)) {
            Ok(client) => self.clients.update_value(|clients| clients.edge = Some(client)),
            Err(error) => self.edge.set(EdgeStatus::Failed(error.to_string())),
        }
    }

    /// Gives the engine up: its download, if that is still going on, and its memory.
    pub(crate) fn stop_edge(self) {
        self.clients.update_value(|clients| clients.edge = None);
        self.edge.set(EdgeStatus::Off);
        self.fail_edge_answers("The model on this device was turned off.");
    }

    /// Connects to the server, and goes on trying.
    pub(super) fn connect_cloud(self) {
        let asked_for = self.options.with_value(|options| options.server.clone());
        match asked_for.map_or_else(cloud_client::session_url, Ok) {
            Ok(url) => {
                let client = CloudClient::connect(url, move |event| self.on_cloud(event));
                self.clients.update_value(|clients| clients.cloud = Some(client));
            }
            Err(error) => {
                self.cloud.set(CloudStatus::Away { reason: error.to_string(), retry_at_ms: None });
            }
        }
    }

    fn on_edge(self, event: WorkerEvent) {
        match event {
            WorkerEvent::Progress(progress) => self.edge.update(|status| match status {
                EdgeStatus::Ready(ready) => {
                    ready.trying_other = progress.engine != ready.engine;
                }
                _ => *status = EdgeStatus::Loading(progress),
            }),
            WorkerEvent::Ready(ready) => self.edge.set(EdgeStatus::Ready(EdgeReady {
                engine: ready.engine,
                adapter: ready.adapter,
                model: ready.model,
                parameters: ready.parameters,
                trying_other: false,
            })),
            WorkerEvent::EngineChanged(change) => self.edge.update(|status| {
                if let EdgeStatus::Ready(ready) = status {
                    ready.engine = change.to;
                    ready.adapter = change.adapter;
                    ready.trying_other = false;
                }
            }),
            WorkerEvent::Measured(measured) => self.edge.update(|status| {
                if let EdgeStatus::Ready(ready) = status {
                    ready.trying_other = false;
                    if measured.chosen != ready.engine {
                        ready.engine = measured.chosen;
                        ready.adapter =
                            (measured.chosen == EngineKind::Webgpu).then_some(measured.adapter).flatten();
                    }
                }
            }),
            WorkerEvent::Token { request_id, index, token } => {
                if let Some(turn) = self.turn_of(request_id) {
                    turn.answer(Side::Edge).update(|answer| answer.push(index, token, now_ms()));
                }
            }
            WorkerEvent::Done(done) => {
                self.finish(done.request_id, Side::Edge, done.finish_reason, &done.receipt);
            }
            WorkerEvent::Error(failure) => match failure.request_id {
                Some(request_id) => self.fail(request_id, Side::Edge, &failure.message),
                None => {
                    self.edge.set(EdgeStatus::Failed(failure.message.clone()));
                    self.fail_edge_answers(&failure.message);
                }
            },
            WorkerEvent::Unloaded => self.edge.set(EdgeStatus::Off),
        }
    }

    fn on_cloud(self, event: CloudEvent) {
        match event {
            CloudEvent::Connecting { .. } => self.cloud.update(|status| {
                if let CloudStatus::Away { retry_at_ms, .. } = status {
                    *retry_at_ms = None;
                }
            }),
            CloudEvent::Connected { model, limits, .. } => {
                self.limits.set(limits);
                self.cloud.set(CloudStatus::Connected(model));
            }
            CloudEvent::Disconnected { reason, retry_in_ms } => self
                .cloud
                .set(CloudStatus::Away { reason, retry_at_ms: Some(now_ms() + f64::from(retry_in_ms)) }),
            CloudEvent::Token { request_id, index, token } => {
                if let Some(turn) = self.turn_of(request_id) {
                    turn.answer(Side::Cloud).update(|answer| answer.push(index, token, now_ms()));
                }
            }
            CloudEvent::Done { request_id, finish_reason, receipt, .. } => {
                self.finish(request_id, Side::Cloud, finish_reason, &receipt);
            }
            CloudEvent::Failed(failure) => match failure.request_id {
                Some(request_id) => self.fail(request_id, Side::Cloud, &failure.message),
                None => self.notices.error(format!("The server says: {}", failure.message)),
            },
            CloudEvent::Resent { .. } | CloudEvent::RoundTrip { .. } => (),
        }
    }

    fn turn_of(self, request_id: RequestId) -> Option<Turn> {
        self.turns.with_untracked(|turns| {
            turns.iter().rev().find(|turn| turn.request_id.get_untracked() == request_id).cloned()
        })
    }

    fn finish(self, request_id: RequestId, side: Side, reason: FinishReason, receipt: &Receipt) {
        let Some(turn) = self.turn_of(request_id) else { return };
        if side == Side::Cloud {
            self.count_bytes(&turn);
        }
        turn.answer(side).update(|answer| answer.finish(reason, receipt, now_ms()));
        self.announce(&turn, side);
    }

    pub(super) fn fail(self, request_id: RequestId, side: Side, message: &str) {
        let Some(turn) = self.turn_of(request_id) else { return };
        if side == Side::Cloud {
            self.count_bytes(&turn);
        }
        turn.answer(side).update(|answer| answer.fail(sentence(message), now_ms()));
        self.announce(&turn, side);
    }

    fn fail_edge_answers(self, message: &str) {
        let request_ids: Vec<_> = self.turns.with_untracked(|turns| {
            turns
                .iter()
                .filter(|turn| turn.answer(Side::Edge).with_untracked(Answer::is_pending))
                .map(|turn| turn.request_id.get_untracked())
                .collect()
        });
        for request_id in request_ids {
            self.fail(request_id, Side::Edge, message);
        }
    }

    /// Frames that crossed the network since the question, those of idle upkeep included.
    fn count_bytes(self, turn: &Turn) {
        let traffic = self.clients.with_value(|clients| clients.cloud.as_ref().map(CloudClient::traffic));
        let Some(traffic) = traffic.filter(|_| turn.answer(Side::Cloud).with_untracked(|a| a.is_pending()))
        else {
            return;
        };
        let (sent, received) = turn.traffic_before.get_value();
        turn.answer(Side::Cloud).update(|answer| {
            answer.sent_bytes = traffic.sent_bytes.saturating_sub(sent);
            answer.received_bytes = traffic.received_bytes.saturating_sub(received);
        });
    }
}

/// Messages of programs begin in lower case and end without a full stop; those for people do not.
fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let mut sentence: String =
        letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
    if !sentence.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    sentence
}
