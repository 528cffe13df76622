//! What both clients tell, as changes of the page's state.

use leptos::prelude::*;
use msao_planner::EngineKind;
use msao_protocol::RequestId;
use msao_runtime::{cloud_events::CloudEvent, messages::WorkerEvent, scored::Scored};

use super::{PageState, Side, Turn, now_ms};
use crate::{
    ladder::Step,
    status::{CloudStatus, EdgeReady, EdgeStatus},
};

impl PageState {
    pub(super) fn on_edge(self, event: WorkerEvent) {
        match event {
            WorkerEvent::Progress(progress) => self.edge.update(|status| match status {
                EdgeStatus::Ready(ready) => {
                    ready.trying_other = progress.engine != ready.engine;
                }
                EdgeStatus::Loading(_) => *status = EdgeStatus::Loading(progress),
                // A download that was under way when the engine failed tells of itself once more.
                EdgeStatus::Failed(_) | EdgeStatus::Off => (),
            }),
            WorkerEvent::Ready(ready) => {
                self.tell_ready(&ready);
                self.edge.set(EdgeStatus::Ready(EdgeReady {
                    engine: ready.engine,
                    threads: ready.threads,
                    adapter: ready.adapter,
                    model: ready.model,
                    parameters: ready.parameters,
                    has_probe: ready.has_probe,
                    vocabulary: ready.vocabulary,
                    trying_other: false,
                }));
            }
            WorkerEvent::EngineChanged(change) => {
                self.tell_change(&change);
                self.edge.update(|status| {
                    if let EdgeStatus::Ready(ready) = status {
                        ready.engine = change.to;
                        ready.threads = change.threads;
                        ready.adapter = change.adapter;
                        ready.trying_other = false;
                    }
                });
            }
            WorkerEvent::Measured(measured) => {
                self.tell_measured(&measured);
                self.edge.update(|status| {
                    if let EdgeStatus::Ready(ready) = status {
                        ready.trying_other = false;
                        if measured.chosen != ready.engine {
                            ready.engine = measured.chosen;
                            ready.adapter =
                                (measured.chosen == EngineKind::Webgpu).then_some(measured.adapter).flatten();
                        }
                    }
                });
            }
            WorkerEvent::Scored { request_id, scored } => {
                if let Some(turn) = self.turn_of(request_id) {
                    self.note_look(&turn);
                    self.plan(&turn, scored, true);
                }
            }
            WorkerEvent::Token { request_id, revision, index, token, candidates } => {
                if let Some(turn) = self.turn_of(request_id) {
                    // Does nothing where there are scores.
                    self.plan(&turn, Scored::default(), true);
                    if revision == 0 {
                        // What follows a correction is no answer of the device's own.
                        turn.answer(Side::Edge).update(|answer| answer.push(index, token.clone(), now_ms()));
                    }
                    self.tell(&turn, |running, knowledge| {
                        running.request.edge_token(revision, index, (token, candidates), knowledge)
                    });
                }
            }
            WorkerEvent::Done(done) => self.finish_edge(done),
            WorkerEvent::Redrafted { request_id, revision } => {
                if let Some(turn) = self.turn_of(request_id) {
                    self.tell(&turn, |running, _| running.request.redrafted(revision));
                    self.end_unverified(&turn);
                }
            }
            WorkerEvent::Released { request_id, receipt } => {
                if let Some(turn) = self.turn_of(request_id) {
                    self.tell(&turn, |running, _| {
                        running.edge = Some(receipt.clone());
                        running.request.edge_released(receipt);
                        Vec::new()
                    });
                    self.end_unverified(&turn);
                }
            }
            WorkerEvent::Error(failure) => match failure.request_id {
                Some(request_id) => self.fail(request_id, Side::Edge, &failure.message),
                None => {
                    self.happened.tell(Step::EdgeLost { why: failure.message.clone() });
                    self.edge.set(EdgeStatus::Failed(failure.message.clone()));
                    self.fail_edge_answers(&failure.message);
                }
            },
            WorkerEvent::Unloaded => self.edge.set(EdgeStatus::Off),
        }
    }

    pub(super) fn on_cloud(self, event: CloudEvent) {
        match event {
            CloudEvent::Connecting { .. } => self.cloud.update(|status| {
                if let CloudStatus::Away { retry_at_ms, .. } = status {
                    *retry_at_ms = None;
                }
            }),
            CloudEvent::Connected { session_id, model, limits } => {
                self.session_id.set_value(session_id);
                self.limits.set(limits);
                self.tell_cloud_back();
                self.cloud.set(CloudStatus::Connected(model));
                self.control_risk();
            }
            CloudEvent::Disconnected { reason, retry_in_ms } => {
                self.tell_cloud_lost();
                let retry_at_ms = Some(now_ms() + f64::from(retry_in_ms));
                self.cloud.set(CloudStatus::Away { reason, retry_at_ms });
            }
            CloudEvent::RoundTrip { rtt_ms } => {
                self.knowledge.update_value(|knowledge| knowledge.round_trip(now_ms(), rtt_ms));
            }
            CloudEvent::Sent { request_id, frame_bytes } => {
                if let Some(turn) = self.turn_of(request_id) {
                    turn.update(|running| running.sent = Some((frame_bytes, now_ms())));
                }
            }
            CloudEvent::Settled { request_id, start, tokens, revision } => {
                if let Some(turn) = self.turn_of(request_id) {
                    self.tell(&turn, |running, knowledge| {
                        running.request.settled(start, tokens, revision, knowledge)
                    });
                }
            }
            CloudEvent::Proposed { request_id, start, tokens } => {
                if let Some(turn) = self.turn_of(request_id) {
                    self.tell(&turn, |running, _| {
                        running.request.proposed(start, tokens);
                        Vec::new()
                    });
                }
            }
            CloudEvent::Resent { request_id } => {
                if let Some(turn) = self.turn_of(request_id) {
                    self.tell(&turn, |running, _| {
                        running.is_held_up = true;
                        running.request.resent()
                    });
                }
            }
            CloudEvent::Done { request_id, finish_reason, receipt, .. } => {
                self.finish_cloud(request_id, finish_reason, receipt);
            }
            CloudEvent::Failed(failure) => match failure.request_id {
                Some(request_id) => self.fail(request_id, Side::Cloud, &failure.message),
                None => self.notices.error(format!("The server says: {}", failure.message)),
            },
        }
    }

    pub(super) fn turn_of(self, request_id: RequestId) -> Option<Turn> {
        self.turns.with_untracked(|turns| {
            turns.iter().rev().find(|turn| turn.request_id.get_untracked() == request_id).cloned()
        })
    }
}
