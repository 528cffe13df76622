//! From a draft to two answers, and what may be done to them: stop, retry, take back.

use leptos::{prelude::*, task::spawn_local};
use msao_planner::{Conditions, Route};
use msao_protocol::{Policy, RequestId};
use msao_runtime::{
    messages::{EdgeAsk, PcmSamples, RgbaPixels},
    orchestrator::question_with,
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
        self.check_somebody_hears(self.policy_in_force())?;
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
        let target = self.cloud.with_untracked(|status| match status {
            CloudStatus::Connected(model) if route.uses_cloud() => Some(model.clone()),
            _ => None,
        });
        let locks = self.draft.locks();
        let running = Running::new(request_id, &turn.asked, locks, (policy, self.mode()), target);
        self.give_up(turn.request_id.get_untracked());
        turn.begin(request_id, running, locks, now_ms());
        for side in [Side::Edge, Side::Cloud] {
            self.announcement(side).set(String::new());
        }
        if !self.listens_first(turn, route, policy) {
            self.begin(turn, route, policy);
        }
    }

    /// Has the question answered, once all that it is asked in is there.
    pub(super) fn begin(self, turn: &Turn, route: Route, policy: Policy) {
        let request_id = turn.request_id.get_untracked();
        let goes_on = turn.asked.goes_on.is_some();
        let target = turn.update(|running| running.target.clone()).flatten();
        let grid = target
            .as_ref()
            .filter(|_| policy.uses_mas())
            .map(|model| TargetGrid::of_asked(model, turn.asked.clip().is_some(), self.prunes_tiles()));
        // Tiles are chosen of pictures as they are sent; what was taken before that was wished is sent whole.
        let grid = grid.map(|grid| if turn.asked.has_large_pictures() { grid } else { grid.without_tiles() });
        // Only where the cloud may verify or draft with it, the device stays with the question after its answer.
        let awaits_target = target.is_some() && (policy.is_adaptive() || policy == Policy::Distributed);
        // The device's engine reads single questions: with a context to read it would draft an answer to another one.
        let sits_out = goes_on && route.uses_edge() && route.uses_cloud();
        turn.update(|running| running.device_sits_out = sits_out);
        let is_ready = route.uses_edge() && !sits_out;
        let can_look = self.has_probe() || grid.is_some_and(|grid| grid.needs_no_probe());
        let is_scored = is_ready && can_look && self.looks_first(turn);
        if !is_scored {
            self.plan(turn, Scored::default(), is_ready);
        }
        let writes = turn.update(|running| running.request.strategy().is_some_and(|one| one.uses_edge()));
        if is_ready && (policy.is_adaptive() || writes == Some(true)) {
            let ask = EdgeAsk { awaits_target, ..edge_ask(request_id, turn, grid) };
            let posted = self.clients.with_value(|clients| clients.edge.as_ref().map(|edge| edge.ask(ask)));
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
        self.stop_listening(request_id);
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

fn edge_ask(request_id: RequestId, turn: &Turn, target: Option<TargetGrid>) -> EdgeAsk {
    let asked = &turn.asked;
    // What was heard stands for the sound even where that is sent as well: this device's model cannot hear it.
    let said = turn.heard.with_untracked(|heard| {
        heard
            .as_ref()
            .map(|heard| question_with(&asked.question, &heard.text))
            .filter(|said| !said.is_empty())
    });
    let sound = asked.sound.as_ref().filter(|_| said.is_none());
    let by_tiles = target.is_some_and(|target| target.has_tiles());
    let image = |picture: &Picture| match picture.large.as_ref().filter(|_| by_tiles) {
        Some(large) => (**large).clone(),
        None => RgbaPixels { width: picture.side, height: picture.side, pixels: picture.rgba.to_vec() },
    };
    EdgeAsk {
        request_id,
        question: said.unwrap_or_else(|| asked.words()),
        images: asked.pictures.iter().map(image).collect(),
        clip: asked.clip(),
        audio: sound
            .map(|sound| PcmSamples { sample_rate_hz: pcm::SAMPLE_RATE_HZ, samples: sound.samples.to_vec() }),
        max_new_tokens: MAX_NEW_TOKENS,
        target,
        sampling: None,
        awaits_target: false,
    }
}
