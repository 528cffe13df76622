//! From the scores of a question to what leaves the device.

use gloo_timers::future::TimeoutFuture;
use leptos::prelude::*;
use msao_protocol::{Modality, ModalityAction, RequestId, Strategy, Vocabulary};
use msao_runtime::{
    orchestrator::{Effect, PreparedMedia, Present},
    scored::Scored,
};

use super::{PageState, Side, Turn, now_ms};
use crate::{media::prepare, policy, status::EdgeStatus};

impl PageState {
    /// The device's model by its weights and what its token ids mean.
    fn edge_model(self) -> (u64, Vocabulary) {
        self.edge.with_untracked(|status| match status {
            EdgeStatus::Ready(ready) => (ready.parameters, ready.vocabulary.clone()),
            _ => (0, Vocabulary::default()),
        })
    }

    /// Whether the device, which is ready, looks at the media before there is a plan.
    pub(super) fn looks_first(self, turn: &Turn) -> bool {
        let (parameters, edge_vocabulary) = self.edge_model();
        let looks = self.knowledge.try_update_value(|knowledge| {
            turn.update(|running| {
                let present = Present {
                    edge_parameters: Some(parameters),
                    edge_vocabulary,
                    target: running.target.clone(),
                };
                running.request.looks_first(&present, knowledge)
            })
        });
        looks.flatten().unwrap_or_default()
    }

    /// The device has looked.
    pub(super) fn note_look(self, turn: &Turn) {
        let ms = turn.answer(Side::Edge).with_untracked(|answer| answer.elapsed_ms(now_ms()));
        self.knowledge
            .try_update_value(|knowledge| turn.update(|running| running.request.looked(ms, knowledge)));
    }

    /// Decides what runs where, once; then does what follows. Without scores everything counts as needed.
    pub(super) fn plan(self, turn: &Turn, scored: Scored, edge_ready: bool) {
        if turn.update(|running| running.request.strategy().is_some()) != Some(false) {
            return;
        }
        let (parameters, edge_vocabulary) = self.edge_model();
        let scores = scored.modalities.clone();
        let patch_probabilities =
            scores.iter().flat_map(|scores| scores.patch_probabilities.clone()).collect();
        let mut no_plan = None;
        let mut excuse = None;
        self.tell(turn, |running, knowledge| {
            running.patch_probabilities = patch_probabilities;
            running.scored = scored;
            let present = Present {
                edge_parameters: edge_ready.then_some(parameters),
                edge_vocabulary,
                target: running.target.clone(),
            };
            match running.request.plan(scores, present, knowledge) {
                Ok(effects) => {
                    if running.request.strategy() == Some(Strategy::EdgeOnly)
                        && let Some(receipt) = running.request.receipt()
                    {
                        let held = self.held_back();
                        excuse = Some(policy::why_only_the_device(receipt.reason, &running.locked, held));
                    }
                    effects
                }
                Err(missing) => {
                    no_plan = Some(policy::why_no_plan(missing, &running.locked));
                    // The device may wait for a target that will not come.
                    vec![Effect::ReleaseEdge]
                }
            }
        });
        if let Some(reason) = no_plan.or(excuse) {
            let cloud = turn.answer(Side::Cloud);
            if cloud.with_untracked(|answer| answer.is_pending()) {
                cloud.update(|answer| answer.excuse(reason.clone()));
                self.announcement(Side::Cloud).set(reason);
            }
            self.note_receipt(turn);
        }
    }

    /// Prepares the media that the plan sends and asks the cloud.
    pub(super) async fn send(self, turn: &Turn, request_id: RequestId) {
        let planned = turn.update(|running| {
            let actions =
                [Modality::Vision, Modality::Audio].map(|modality| running.request.action(modality));
            (actions, std::mem::take(&mut running.scored))
        });
        let Some(([vision, audio], scored)) = planned else { return };
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
        let delay_ms = self.options.with_untracked(|options| options.delay_image_ms);
        let delay_ms = delay_ms.filter(|_| !media.images.is_empty());
        let delayed = PreparedMedia {
            images: if delay_ms.is_some() { std::mem::take(&mut media.images) } else { Vec::new() },
            clip: media.clip.take_if(|_| delay_ms.is_some()),
            audio: None,
        };
        let late: &[Modality] = if delay_ms.is_some() { &[Modality::Vision] } else { &[] };
        let ask = turn.update(|running| {
            running.is_held_up = delay_ms.is_some();
            running.request.ask(media, late)
        });
        let Some(Some(ask)) = ask else { return };
        let ask = self.with_context(turn, ask);
        turn.text_sent.update(|bytes| *bytes += ask.bytes(Modality::Text));
        let sent = self.clients.with_value(|clients| {
            let cloud = clients.cloud.as_ref()?;
            let traffic = cloud.traffic();
            turn.traffic_before.set_value((traffic.sent_bytes, traffic.received_bytes));
            Some(cloud.ask(ask))
        });
        if let Some(Err(report)) = sent {
            return self.fail(request_id, Side::Cloud, &report.message);
        }
        self.tell(turn, |running, _| {
            running.was_sent = true;
            running.request.asked()
        });
        if let Some(delay_ms) = delay_ms {
            TimeoutFuture::new(delay_ms).await;
            if self.may_leave(turn, request_id, [vision, audio]) {
                self.attach(turn, request_id, delayed);
            }
        }
    }

    /// Whether the request is still to be sent, and nothing that it sends was locked meanwhile: a lock holds from the
    /// moment it is set.
    fn may_leave(self, turn: &Turn, request_id: RequestId, actions: [ModalityAction; 2]) -> bool {
        let is_awaited = turn.request_id.get_untracked() == request_id
            && turn.update(|running| running.is_over) == Some(false);
        let locks = self.draft.locks();
        let is_broken = [Modality::Vision, Modality::Audio]
            .into_iter()
            .zip(actions)
            .any(|(modality, action)| action.leaves_device() && locks.holds(modality));
        let is_broken = is_broken || locks.holds(Modality::Text);
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
}
