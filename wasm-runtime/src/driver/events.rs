//! What both models tell, as changes of the questions under way.

use msao_protocol::{FinishReason, RequestId};

use super::{
    Action, Driver, Edge, Failure, FailureCode, Told,
    action::OwnCode,
    running::{EdgeSide, Running},
};
use crate::{
    cloud_events::{CloudEvent, CloudFailure, CloudFailureCause},
    messages::{EdgeDone, EdgeErrorCode, Ready, WorkerEvent, WorkerRequest},
    orchestrator::{Effect, Knowledge},
    scored::Scored,
};

impl Driver {
    /// The device's engine tells something.
    pub fn edge_event(&mut self, event: WorkerEvent, now_ms: f64) -> Vec<Action> {
        match event {
            WorkerEvent::Ready(ready) => {
                let Ready { parameters, has_probe, vocabulary, .. } = ready;
                self.edge = Some(Edge { parameters, has_probe, vocabulary });
                Vec::new()
            }
            WorkerEvent::Scored { request_id, scored } => self.scored(request_id, scored, now_ms),
            WorkerEvent::Token { request_id, revision, index, token, candidates } => {
                // Does nothing where there are scores.
                let mut actions = self.plan(request_id, Scored::default(), true, now_ms);
                actions.extend(self.tell(request_id, now_ms, |running, knowledge| {
                    running.request.edge_token(revision, index, (token, candidates), knowledge)
                }));
                actions
            }
            WorkerEvent::Done(done) => self.edge_done(done, now_ms),
            WorkerEvent::Redrafted { request_id, revision } => {
                self.tell(request_id, now_ms, |running, _| running.request.redrafted(revision))
            }
            WorkerEvent::Released { request_id, receipt } => self.tell(request_id, now_ms, |running, _| {
                running.edge = EdgeSide::Over;
                running.edge_receipt = Some(receipt.clone());
                running.request.edge_released(receipt);
                Vec::new()
            }),
            WorkerEvent::Error(failure) => match failure.request_id {
                Some(request_id) => self.edge_fails(request_id, failure.code, &failure.message, now_ms),
                None => self.edge_is_gone(failure.code, &failure.message, now_ms),
            },
            WorkerEvent::Unloaded => {
                self.edge_is_gone(EdgeErrorCode::NotReady, "the device's model was unloaded", now_ms)
            }
            WorkerEvent::Progress(_) | WorkerEvent::EngineChanged(_) | WorkerEvent::Measured(_) => Vec::new(),
        }
    }

    fn scored(&mut self, request_id: RequestId, scored: Scored, now_ms: f64) -> Vec<Action> {
        let Some(running) = self.running.get(&request_id) else { return Vec::new() };
        running.request.looked(now_ms - running.asked_at_ms, &mut self.knowledge);
        let told = Told::Scored { request_id, modalities: scored.modalities.clone() };
        let mut actions = vec![Action::Tell(told)];
        actions.extend(self.plan(request_id, scored, true, now_ms));
        actions
    }

    fn edge_done(&mut self, done: EdgeDone, now_ms: f64) -> Vec<Action> {
        let EdgeDone { request_id, text, finish_reason, receipt, revision, .. } = done;
        // An answer without a token; does nothing otherwise.
        let mut actions = self.plan(request_id, Scored::default(), true, now_ms);
        actions.extend(self.tell(request_id, now_ms, |running, knowledge| {
            running.edge_receipt = Some(receipt.clone());
            if running.edge == (EdgeSide::Open { awaits_target: false }) {
                running.edge = EdgeSide::Over;
            }
            if finish_reason == FinishReason::Cancelled {
                // Only this driver cancels, and only what is answered already.
                return Vec::new();
            }
            running.edge_answer = Some((text, finish_reason));
            running.request.edge_done(revision, receipt, knowledge)
        }));
        actions
    }

    fn edge_fails(
        &mut self,
        request_id: RequestId,
        code: EdgeErrorCode,
        message: &str,
        now_ms: f64,
    ) -> Vec<Action> {
        let Some(running) = self.running.get_mut(&request_id) else { return Vec::new() };
        let retryable = code != EdgeErrorCode::InvalidInput;
        let (code, message) = (FailureCode::Edge(code), message.to_owned());
        running.edge_failure = Some(Failure { code, message, retryable, retry_after_ms: None });
        running.edge = EdgeSide::Over;
        // Whatever waited for the device goes on without it.
        let mut actions = self.plan(request_id, Scored::default(), false, now_ms);
        actions.extend(
            self.tell(request_id, now_ms, |running, knowledge| running.request.edge_failed(knowledge)),
        );
        actions
    }

    fn edge_is_gone(&mut self, code: EdgeErrorCode, message: &str, now_ms: f64) -> Vec<Action> {
        self.edge = None;
        let open = self.running.iter().filter(|(_, running)| matches!(running.edge, EdgeSide::Open { .. }));
        let open: Vec<RequestId> = open.map(|(request_id, _)| *request_id).collect();
        open.into_iter().flat_map(|request_id| self.edge_fails(request_id, code, message, now_ms)).collect()
    }

    /// The session with the cloud tells something.
    pub fn cloud_event(&mut self, event: CloudEvent, now_ms: f64) -> Vec<Action> {
        match event {
            CloudEvent::Connecting { attempt } => vec![Action::Tell(Told::CloudConnecting { attempt })],
            CloudEvent::Connected { model, limits, .. } => {
                self.limits = limits;
                self.target = Some(model.clone());
                self.control_risk();
                vec![Action::Tell(Told::CloudReady { model, limits })]
            }
            CloudEvent::Disconnected { reason, retry_in_ms } => {
                self.target = None;
                vec![Action::Tell(Told::CloudAway { reason, retry_in_ms })]
            }
            CloudEvent::RoundTrip { rtt_ms } => {
                self.knowledge.round_trip(now_ms, rtt_ms);
                Vec::new()
            }
            CloudEvent::Sent { request_id, frame_bytes } => {
                if let Some(running) = self.running.get_mut(&request_id) {
                    running.sent = Some((frame_bytes, now_ms));
                }
                Vec::new()
            }
            CloudEvent::Settled { request_id, start, tokens, revision } => {
                self.tell(request_id, now_ms, |running, knowledge| {
                    running.request.settled(start, tokens, revision, knowledge)
                })
            }
            CloudEvent::Proposed { request_id, start, tokens } => {
                self.tell(request_id, now_ms, |running, _| {
                    running.request.proposed(start, tokens);
                    Vec::new()
                })
            }
            CloudEvent::Resent { request_id } => self.tell(request_id, now_ms, |running, _| {
                running.is_held_up = true;
                running.request.resent()
            }),
            CloudEvent::Done { request_id, text, finish_reason, receipt } => {
                self.tell(request_id, now_ms, |running, knowledge| {
                    running.cloud_receipt = Some(receipt.clone());
                    if finish_reason == FinishReason::Cancelled {
                        running.request.cloud_cancelled(receipt);
                        return Vec::new();
                    }
                    running.cloud_answer = Some((text, finish_reason));
                    let trip = running.trip(now_ms);
                    running.request.cloud_done(receipt, trip, knowledge)
                })
            }
            CloudEvent::Failed(failure) => self.cloud_failed(failure, now_ms),
        }
    }

    fn cloud_failed(&mut self, failure: CloudFailure, now_ms: f64) -> Vec<Action> {
        let CloudFailure { request_id, cause, message, retryable, retry_after_ms } = failure;
        let Some(request_id) = request_id else {
            return vec![Action::Tell(Told::CloudComplains { message })];
        };
        let code = match cause {
            CloudFailureCause::Server(code) => FailureCode::Cloud(code),
            CloudFailureCause::ConnectionLost => FailureCode::Own(OwnCode::ConnectionLost),
            CloudFailureCause::UnreadableReply => FailureCode::Own(OwnCode::UnreadableReply),
        };
        self.cloud_fails(request_id, Failure { code, message, retryable, retry_after_ms }, now_ms)
    }

    pub(super) fn cloud_fails(
        &mut self,
        request_id: RequestId,
        failure: Failure,
        now_ms: f64,
    ) -> Vec<Action> {
        self.tell(request_id, now_ms, |running, knowledge| {
            running.is_over = true;
            running.cloud_failure = Some(failure);
            running.request.cloud_failed(knowledge)
        })
    }

    /// Tells a question something, does what follows from it, and sees whether it has ended.
    fn tell(
        &mut self,
        request_id: RequestId,
        now_ms: f64,
        what: impl FnOnce(&mut Running, &mut Knowledge) -> Vec<Effect>,
    ) -> Vec<Action> {
        let Some(running) = self.running.get_mut(&request_id) else { return Vec::new() };
        let is_news = running.cloud_answer.is_none();
        let mut effects = what(running, &mut self.knowledge);
        // Whatever the device still writes when the answer is there is of no use: it is stopped, not waited for.
        let is_answered = is_news && running.cloud_answer.is_some();
        let mut actions = Vec::new();
        if is_answered && matches!(running.edge, EdgeSide::Open { .. }) {
            effects.retain(|effect| *effect != Effect::ReleaseEdge);
            actions.push(Action::TellEdge(WorkerRequest::Cancel { request_id }));
        }
        actions.extend(self.follow(request_id, effects, now_ms));
        actions.extend(self.end(request_id, now_ms));
        actions
    }
}
