//! From the scores of a question to what leaves the device, and the drafts that follow it.

use gloo_timers::future::TimeoutFuture;
use leptos::{prelude::*, task::spawn_local};
use msao_protocol::{Draft, Modality, ModalityAction, RequestId, Strategy};
use msao_runtime::{orchestrator::PreparedMedia, scored::Scored};

use super::{PageState, Side, Turn, now_ms, running::Running};
use crate::{media::prepare, policy, status::EdgeStatus};

impl PageState {
    /// Decides what runs where, once; then sends what is to be sent. Without scores everything counts as needed.
    pub(super) fn plan(self, turn: &Turn, scored: Scored, edge_ready: bool) {
        if turn.update(|running| running.request.strategy().is_some()) != Some(false) {
            return;
        }
        let parameters = self.edge.with_untracked(|status| match status {
            EdgeStatus::Ready(ready) => ready.parameters,
            _ => 0,
        });
        let scores = scored.modalities.clone();
        let planned = turn.update(|running| {
            let situation =
                self.link.with_value(|link| link.situation(edge_ready, parameters, running.target.as_ref()));
            match running.request.plan(scores, &situation) {
                Ok(plan) if plan.strategy == Strategy::EdgeOnly => {
                    Err(policy::why_only_the_device(plan.reason, &running.locked))
                }
                Ok(_) => Ok(()),
                Err(no_plan) => Err(policy::why_no_plan(no_plan, &running.locked)),
            }
        });
        match planned {
            Some(Ok(())) => self.show(turn),
            Some(Err(reason)) => {
                let cloud = turn.answer(Side::Cloud);
                if cloud.with_untracked(|answer| answer.is_pending()) {
                    cloud.update(|answer| answer.excuse(reason.clone()));
                    self.announcement(Side::Cloud).set(reason);
                }
                return self.note_receipt(turn);
            }
            None => return,
        }
        let (turn, request_id) = (turn.clone(), turn.request_id.get_untracked());
        spawn_local(async move { self.send(&turn, request_id, scored).await });
    }

    /// Prepares the media that the plan sends and asks the cloud.
    async fn send(self, turn: &Turn, request_id: RequestId, scored: Scored) {
        let actions = turn.update(|running| {
            [Modality::Vision, Modality::Audio].map(|modality| running.request.action(modality))
        });
        let Some([vision, audio]) = actions else { return };
        let Ok(mut media) = prepare::media(&turn.asked, vision, audio, scored).await else {
            return self.fail(
                request_id,
                Side::Cloud,
                "The browser could not encode what was to be sent. Ask again.",
            );
        };
        if !self.may_leave(turn, request_id, [vision, audio]) {
            return;
        }
        let delay_ms = self.options.with_value(|options| options.delay_image_ms);
        let delay_ms = delay_ms.filter(|_| !media.images.is_empty());
        let delayed = PreparedMedia {
            images: if delay_ms.is_some() { std::mem::take(&mut media.images) } else { Vec::new() },
            audio: None,
        };
        let late: &[Modality] = if delay_ms.is_some() { &[Modality::Vision] } else { &[] };
        let asked = turn.update(|running| {
            running.is_held_up = delay_ms.is_some();
            running.request.ask(media, late)
        });
        let Some(Some(ask)) = asked else { return };
        let sent = self.clients.with_value(|clients| {
            let cloud = clients.cloud.as_ref()?;
            let traffic = cloud.traffic();
            turn.traffic_before.set_value((traffic.sent_bytes, traffic.received_bytes));
            Some(cloud.ask(ask))
        });
        if let Some(Err(report)) = sent {
            return self.fail(request_id, Side::Cloud, &report.message);
        }
        for draft in turn.update(|running| running.early_drafts.take()).flatten().unwrap_or_default() {
            self.send_draft(draft);
        }
        if let Some(delay_ms) = delay_ms {
            TimeoutFuture::new(delay_ms).await;
            if self.may_leave(turn, request_id, [vision, audio]) {
                self.attach(turn, request_id, delayed);
            }
        }
    }

    /// Whether the request still waits for the cloud, and nothing that it sends was locked meanwhile: a lock holds from
    /// the moment it is set.
    fn may_leave(self, turn: &Turn, request_id: RequestId, actions: [ModalityAction; 2]) -> bool {
        let is_awaited = turn.request_id.get_untracked() == request_id
            && turn.answer(Side::Cloud).with_untracked(|answer| answer.is_pending());
        let locks = self.draft.locks();
        let is_broken = [Modality::Vision, Modality::Audio]
            .into_iter()
            .zip(actions)
            .any(|(modality, action)| action.leaves_device() && locks.holds(modality));
        if is_awaited && is_broken {
            self.clients.with_value(|clients| clients.cloud.as_ref().map(|cloud| cloud.cancel(request_id)));
            self.fail(request_id, Side::Cloud, "It was locked before it was sent. Ask again.");
        }
        is_awaited && !is_broken
    }

    fn attach(self, turn: &Turn, request_id: RequestId, media: PreparedMedia) {
        let Some(Some(attach)) = turn.update(|running| running.request.attach(media)) else { return };
        let attached =
            self.clients.with_value(|clients| clients.cloud.as_ref().map(|cloud| cloud.attach(attach)));
        if let Some(Err(report)) = attached {
            self.clients.with_value(|clients| clients.cloud.as_ref().map(|cloud| cloud.cancel(request_id)));
            self.fail(request_id, Side::Cloud, &report.message);
        }
    }

    /// Tells the request something, sends the draft that follows from it and shows the answer as it stands.
    pub(super) fn tell(self, turn: &Turn, what: impl FnOnce(&mut Running) -> Option<Draft>) {
        let draft = turn.update(|running| {
            let draft = what(running);
            running.due(draft)
        });
        if let Some(draft) = draft.flatten()
            && turn.answer(Side::Cloud).with_untracked(|answer| answer.is_pending())
        {
            self.send_draft(draft);
        }
        self.show(turn);
    }

    fn send_draft(self, draft: Draft) {
        // One that the server does not wait for is void: it then writes by itself.
        self.clients.with_value(|clients| clients.cloud.as_ref().map(|cloud| cloud.draft(draft)));
    }

    /// Shows the verified answer as it stands.
    fn show(self, turn: &Turn) {
        let tokens = turn.update(|running| running.request.strategy().map(|_| running.request.answer()));
        if let Some(Some(tokens)) = tokens {
            turn.answer(Side::Cloud).update(|answer| answer.show(tokens, now_ms()));
        }
    }

    /// Brings the turn's receipt up to date.
    pub(super) fn note_receipt(self, turn: &Turn) {
        turn.receipt.set(turn.update(|running| running.receipt()).flatten());
    }
}
