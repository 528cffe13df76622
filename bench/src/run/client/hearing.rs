//! What a client makes of what it hears, from the edge and from the server.

use msao_protocol::{AnswerMode, FinishReason};
use msao_runtime::{cloud_events::CloudEvent, engine::EdgeAnswer, orchestrator::Effect, scored::Scored};

use super::Client;
use crate::{
    clock::now_ms,
    run::{course::Course, edge::EdgeEvent, inbox::Heard, policy::EPSILON},
};

impl Client {
    pub(super) fn hear(&mut self, course: &mut Course<'_>, heard: Heard) {
        match heard {
            Heard::Edge(event) => self.hear_edge(course, event),
            Heard::Wire(number, event) => {
                let events =
                    self.online.as_mut().map(|online| online.hear(number, event)).unwrap_or_default();
                self.hear_cloud(course, events);
            }
        }
    }

    fn hear_edge(&mut self, course: &mut Course<'_>, event: EdgeEvent) {
        let effects = match event {
            EdgeEvent::Scored(scored) => {
                course.one.looked(course.elapsed_ms(), &mut self.knowledge);
                return self.plan(course, scored, true);
            }
            EdgeEvent::Token { revision, index, token, candidates } => {
                course.one.edge_token(revision, index, (token, candidates), &mut self.knowledge)
            }
            EdgeEvent::Ended { revision, receipt } => {
                course.edge_receipt = Some(receipt.clone());
                if std::mem::replace(&mut course.edge_has_ended, true) {
                    course.one.redrafted(revision)
                } else {
                    course.one.edge_done(revision, receipt, &mut self.knowledge)
                }
            }
            EdgeEvent::Finished(finished) => {
                course.edge_writes = false;
                self.edge_finished(course, finished)
            }
        };
        self.apply(course, effects);
    }

    fn edge_finished(
        &mut self,
        course: &mut Course<'_>,
        finished: Result<EdgeAnswer, String>,
    ) -> Vec<Effect> {
        let is_whole = matches!(&finished, Ok(answer) if answer.finish_reason != FinishReason::Cancelled);
        if course.one.strategy().is_none() {
            // Whatever waited for the edge goes on without it.
            self.plan(course, Scored::default(), false);
        }
        let effects = if is_whole { Vec::new() } else { course.one.edge_failed(&mut self.knowledge) };
        match finished {
            Ok(answer) => {
                course.edge_receipt = Some(answer.receipt.clone());
                course.one.edge_released(answer.receipt);
            }
            Err(message) if course.answers_alone() => course.fail(message),
            Err(_) => (),
        }
        effects
    }

    pub(super) fn hear_cloud(&mut self, course: &mut Course<'_>, events: Vec<CloudEvent>) {
        for event in events {
            self.learn(&event);
            let effects = match event {
                CloudEvent::Sent { request_id, frame_bytes } if request_id == course.request_id => {
                    course.sent = Some((frame_bytes, now_ms()));
                    continue;
                }
                CloudEvent::Settled { request_id, start, tokens, revision }
                    if request_id == course.request_id =>
                {
                    course.one.settled(start, tokens, revision, &mut self.knowledge)
                }
                CloudEvent::Proposed { request_id, start, tokens } if request_id == course.request_id => {
                    course.one.proposed(start, tokens);
                    continue;
                }
                CloudEvent::Resent { request_id } if request_id == course.request_id => {
                    course.is_held_up = true;
                    course.one.resent()
                }
                CloudEvent::Done { request_id, finish_reason, receipt, .. }
                    if request_id == course.request_id =>
                {
                    course.cloud_is_awaited = false;
                    course.cloud_receipt = Some(receipt.clone());
                    if finish_reason == FinishReason::Cancelled {
                        course.one.cloud_cancelled(receipt);
                        continue;
                    }
                    course.one.cloud_done(receipt, course.trip(), &mut self.knowledge)
                }
                CloudEvent::Failed(failure) if failure.request_id == Some(course.request_id) => {
                    self.lose_cloud(course, failure.message);
                    continue;
                }
                _ => continue,
            };
            self.apply(course, effects);
            course.note();
        }
    }

    pub(super) fn lose_cloud(&mut self, course: &mut Course<'_>, reason: String) {
        course.cloud_is_awaited = false;
        let effects = course.one.cloud_failed(&mut self.knowledge);
        self.apply(course, effects);
        course.lose_cloud(reason);
        if course.has_ended() || !course.answers_alone() {
            course.steering.cancel();
        }
        course.note();
    }

    /// What an event says about the session, whatever is asked in it.
    pub(super) fn learn(&mut self, event: &CloudEvent) {
        match event {
            CloudEvent::RoundTrip { rtt_ms } => self.knowledge.round_trip(now_ms(), *rtt_ms),
            CloudEvent::Connected { model, .. } => {
                if let Some(judged) = &self.settings.judged {
                    self.knowledge.confidence.learn(judged, &model.name);
                }
                if matches!(self.mode, AnswerMode::RiskControlled { .. }) {
                    self.knowledge.confidence.control_risk(EPSILON.into());
                }
            }
            _ => (),
        }
    }
}
