//! What both clients tell, as changes of the page's state.

use leptos::prelude::*;
use msao_planner::EngineKind;
use msao_protocol::{FinishReason, Receipt, RequestId};
use msao_runtime::{
    cloud_client::CloudClient, cloud_events::CloudEvent, messages::WorkerEvent, scored::Scored,
};

use super::{PageState, Side, Turn, now_ms};
use crate::{
    answer::Answer,
    status::{CloudStatus, EdgeReady, EdgeStatus},
};

impl PageState {
    pub(super) fn on_edge(self, event: WorkerEvent) {
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
                has_probe: ready.has_probe,
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
            WorkerEvent::Scored { request_id, scored } => {
                if let Some(turn) = self.turn_of(request_id) {
                    self.plan(&turn, scored, true);
                }
            }
            WorkerEvent::Token { request_id, index, token } => {
                if let Some(turn) = self.turn_of(request_id) {
                    // Does nothing where there are scores.
                    self.plan(&turn, Scored::default(), true);
                    turn.answer(Side::Edge).update(|answer| answer.push(index, token.clone(), now_ms()));
                    self.tell(&turn, |running| {
                        running.hears_the_edge().then(|| running.request.edge_token(index, token)).flatten()
                    });
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

    pub(super) fn on_cloud(self, event: CloudEvent) {
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
            CloudEvent::RoundTrip { rtt_ms } => {
                self.link.update_value(|link| link.round_trip(now_ms(), rtt_ms));
            }
            CloudEvent::Sent { request_id, frame_bytes } => {
                if let Some(turn) = self.turn_of(request_id) {
                    turn.update(|running| running.sent = Some((frame_bytes, now_ms())));
                }
            }
            CloudEvent::Settled { request_id, start, tokens, revision } => {
                if let Some(turn) = self.turn_of(request_id) {
                    self.tell(&turn, |running| running.request.settled(start, tokens, revision));
                }
            }
            CloudEvent::Proposed { request_id, start, tokens } => {
                if let Some(turn) = self.turn_of(request_id) {
                    self.tell(&turn, |running| {
                        running.request.proposed(start, tokens);
                        None
                    });
                }
            }
            CloudEvent::Resent { request_id } => {
                if let Some(turn) = self.turn_of(request_id) {
                    self.tell(&turn, |running| {
                        running.is_held_up = true;
                        running.request.resent()
                    });
                }
            }
            CloudEvent::Done { request_id, finish_reason, receipt, .. } => {
                self.finish(request_id, Side::Cloud, finish_reason, &receipt);
            }
            CloudEvent::Failed(failure) => match failure.request_id {
                Some(request_id) => self.fail(request_id, Side::Cloud, &failure.message),
                None => self.notices.error(format!("The server says: {}", failure.message)),
            },
        }
    }

    fn turn_of(self, request_id: RequestId) -> Option<Turn> {
        self.turns.with_untracked(|turns| {
            turns.iter().rev().find(|turn| turn.request_id.get_untracked() == request_id).cloned()
        })
    }

    fn finish(self, request_id: RequestId, side: Side, reason: FinishReason, receipt: &Receipt) {
        let Some(turn) = self.turn_of(request_id) else { return };
        if side == Side::Edge {
            // An answer without a token; does nothing otherwise.
            self.plan(&turn, Scored::default(), true);
        }
        if reason != FinishReason::Cancelled {
            self.learn(&turn, side, receipt);
        }
        self.tell(&turn, |running| match side {
            Side::Edge => {
                running.edge = Some(receipt.clone());
                running.request.edge_done(receipt.clone())
            }
            Side::Cloud => {
                running.cloud = Some(receipt.clone());
                running.request.cloud_done(receipt.clone());
                None
            }
        });
        if side == Side::Cloud {
            self.count_bytes(&turn);
        }
        turn.answer(side).update(|answer| answer.finish(reason, receipt, now_ms()));
        self.note_receipt(&turn);
        self.announce(&turn, side);
    }

    /// What an answer tells about network and machines.
    fn learn(self, turn: &Turn, side: Side, receipt: &Receipt) {
        match side {
            Side::Edge => self.link.update_value(|link| link.edge_answered(receipt)),
            Side::Cloud => {
                let sent = turn.update(|running| running.sent.filter(|_| !running.is_held_up)).flatten();
                if let Some((bytes, at_ms)) = sent {
                    self.link.update_value(|link| link.cloud_answered(receipt, bytes, now_ms() - at_ms));
                }
            }
        }
    }

    pub(super) fn fail(self, request_id: RequestId, side: Side, message: &str) {
        let Some(turn) = self.turn_of(request_id) else { return };
        match side {
            Side::Cloud => self.count_bytes(&turn),
            Side::Edge => {
                // Whatever waited for the device goes on without it.
                self.plan(&turn, Scored::default(), false);
                self.tell(&turn, |running| {
                    running.hears_the_edge().then(|| running.request.edge_failed()).flatten()
                });
            }
        }
        turn.answer(side).update(|answer| answer.fail(sentence(message), now_ms()));
        self.note_receipt(&turn);
        self.announce(&turn, side);
    }

    pub(super) fn fail_edge_answers(self, message: &str) {
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
