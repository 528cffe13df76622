//! From a draft to two answers, and what may be done to them: stop, retry, take back.

use leptos::{prelude::*, task::spawn_local};
use msao_planner::{Conditions, Route};
use msao_protocol::{Policy, RequestId};
use msao_runtime::{
    messages::{EdgeAsk, PcmSamples, RgbaPixels},
    scored::{Scored, TargetGrid},
};

use super::{
    Asked, PageState, Side, Turn, now_ms,
    running::{MAX_NEW_TOKENS, Running},
};
use crate::{
    input::{
        pcm,
        refusal::{Refusal, check_question},
    },
    media::picture::Picture,
    policy,
    status::{CloudStatus, EdgeStatus},
};

impl PageState {
    /// Asks what is in the draft. With a live camera and no picture in the draft, the picture is taken now.
    pub(crate) fn ask(self) {
        if untrack(|| self.is_busy()) || self.draft.reading.get_untracked() {
            return;
        }
        if let Err(refusal) = self.check() {
            self.notices.error(refusal.to_string());
            return;
        }
        self.awaiting.set_value(None);
        self.preparing.set(true);
        spawn_local(async move {
            let mut asked = Asked { goes_on: self.goes_on(), ..self.draft.to_asked() };
            let video = self.viewfinder.get_value().filter(|_| asked.pictures.is_empty());
            if let Some(video) = video {
                match Picture::from_video(&video, self.wanted_pictures()).await {
                    Ok(picture) => asked.pictures.push(picture),
                    Err(_) => self
                        .notices
                        .info("The camera showed no picture yet, so the question was asked without one."),
                }
            }
            self.ask_now(asked);
            self.preparing.set(false);
        });
    }

    /// Asks what is in the draft: now, or as soon as somebody can answer, unless the words are changed until then.
    pub(crate) fn ask_when_possible(self) {
        if self.route().is_ok() {
            return self.ask();
        }
        self.notices.info("The model is still on its way. This is asked as soon as somebody can answer.");
        self.awaiting.set_value(Some(self.draft.question.get_untracked()));
    }

    /// Asks what waits for somebody who can answer.
    pub(super) fn watch_for_answerers(self) {
        Effect::new(move |_| {
            let somebody =
                self.edge.with(|status| status.is_ready()) || self.cloud.with(|status| status.is_connected());
            let is_asked =
                somebody
                    && untrack(|| self.route().is_ok())
                    && self.awaiting.try_update_value(Option::take).flatten().is_some_and(|words| {
                        self.draft.question.with_untracked(|question| *question == words)
                    });
            if is_asked {
                self.ask();
            }
        });
    }

    fn check(self) -> Result<(), Refusal> {
        let spoken = self.draft.sound.with_untracked(Option::is_some);
        let limit = self.limits.with_untracked(|limits| limits.question_chars);
        self.draft.question.with_untracked(|question| check_question(question, spoken, limit))?;
        self.route().map(|_| ())
    }

    fn route(self) -> Result<Route, Refusal> {
        let conditions = Conditions {
            edge_ready: self.edge.with_untracked(|status| status.is_ready()),
            cloud_connected: self.cloud.with_untracked(|status| status.is_connected()),
        };
        policy::route(self.policy_in_force(), conditions).map_err(|refusal| match refusal {
            Refusal::DeviceNotReady if self.draft.text_locked.get_untracked() => Refusal::WordsLocked,
            refusal => refusal,
        })
    }

    /// The chosen way to answer; questions whose words are locked go nowhere.
    fn policy_in_force(self) -> Policy {
        if self.draft.text_locked.get_untracked() { Policy::EdgeOnly } else { self.policy.get_untracked() }
    }

    fn ask_now(self, asked: Asked) {
        let turn = Turn::new(self.next_turn_id(), asked);
        self.forget_cleared();
        self.turns.update(|turns| turns.push(turn.clone()));
        self.notices.clear();
        self.draft.was_asked();
        self.run(&turn);
    }

    /// Asks the same again, of whoever can answer now.
    pub(crate) fn retry(self, turn: &Turn) {
        if !untrack(|| self.is_busy()) {
            self.run(turn);
        }
    }

    fn run(self, turn: &Turn) {
        let route = match self.route() {
            Ok(route) => route,
            Err(refusal) => return self.notices.error(refusal.to_string()),
        };
        let request_id = self.next_request_id();
        let policy = self.policy_in_force();
        let goes_on = turn.asked.goes_on.is_some();
        let target = self.cloud.with_untracked(|status| match status {
            CloudStatus::Connected(model) if route.uses_cloud() => Some(model.clone()),
            _ => None,
        });
        let grid = target.as_ref().filter(|_| policy.uses_mas()).map(TargetGrid::from);
        // Only where the cloud may verify or draft with it, the device stays with the question after its answer.
        let awaits_target = target.is_some() && (policy.is_adaptive() || policy == Policy::Distributed);
        let terms = (policy, self.mode());
        let locks = self.draft.locks();
        let running = Running::new(request_id, &turn.asked, locks, terms, target);
        self.give_up(turn.request_id.get_untracked());
        turn.begin(request_id, running, locks, now_ms());
        for side in [Side::Edge, Side::Cloud] {
            self.announcement(side).set(String::new());
        }
        // The device's engine reads single questions: with a context to read it would draft an answer to another one.
        let sits_out = goes_on && route.uses_edge() && route.uses_cloud();
        turn.update(|running| running.device_sits_out = sits_out);
        let is_ready = route.uses_edge() && !sits_out;
        let is_scored = is_ready && self.has_probe() && self.looks_first(turn);
        if !is_scored {
            self.plan(turn, Scored::default(), is_ready);
        }
        let writes = turn.update(|running| running.request.strategy().is_some_and(|one| one.uses_edge()));
        if is_ready && (policy.is_adaptive() || writes == Some(true)) {
            let posted = self.clients.with_value(|clients| {
                clients.edge.as_ref().map(|edge| {
                    edge.ask(EdgeAsk { awaits_target, ..edge_ask(request_id, &turn.asked, grid) })
                })
            });
            if let Some(Err(error)) = posted {
                self.fail(request_id, Side::Edge, &error.to_string());
            }
        } else {
            let reason = policy::why_only_the_cloud(is_ready, policy, goes_on && route.uses_edge());
            turn.answer(Side::Edge).update(|answer| answer.excuse(reason));
        }
    }

    fn has_probe(self) -> bool {
        self.edge.with_untracked(|status| matches!(status, EdgeStatus::Ready(ready) if ready.has_probe))
    }

    /// Stops the answers under way; what is written stays.
    pub(crate) fn stop(self) {
        let Some(turn) = self.turns.with_untracked(|turns| turns.last().cloned()) else { return };
        turn.update(|running| running.is_over = true);
        self.give_up(turn.request_id.get_untracked());
        // Not left to the models: whatever they do, the button has done its work.
        for side in [Side::Edge, Side::Cloud] {
            turn.answer(side).update(|answer| answer.stop(now_ms()));
        }
        self.note_receipt(&turn);
        self.announcement(Side::Edge).set("Stopped.".to_owned());
    }

    /// Nobody need work on a request any more.
    fn give_up(self, request_id: RequestId) {
        self.clients.with_value(|clients| {
            if let Some(edge) = &clients.edge {
                // A Worker that takes no messages has failed by itself, and says so.
                let _ = edge.cancel(request_id);
            }
            if let Some(cloud) = &clients.cloud {
                cloud.cancel(request_id);
            }
        });
    }
}

fn edge_ask(request_id: RequestId, asked: &Asked, target: Option<TargetGrid>) -> EdgeAsk {
    let image = |picture: &Picture| RgbaPixels {
        width: picture.side,
        height: picture.side,
        pixels: picture.rgba.to_vec(),
    };
    EdgeAsk {
        request_id,
        question: asked.words(),
        images: asked.pictures.iter().map(image).collect(),
        audio: asked
            .sound
            .as_ref()
            .map(|sound| PcmSamples { sample_rate_hz: pcm::SAMPLE_RATE_HZ, samples: sound.samples.to_vec() }),
        max_new_tokens: MAX_NEW_TOKENS,
        target,
        sampling: None,
        awaits_target: false,
    }
}
