//! What a request wants done, done; and what it has come to, shown.

use leptos::{prelude::*, task::spawn_local};
use msao_runtime::orchestrator::{Correction, Effect, Knowledge};

use super::{PageState, Side, Turn, measured::measured, now_ms, running::Running};

impl PageState {
    /// Tells the request something, does what follows from it and shows what it has come to.
    pub(super) fn tell(self, turn: &Turn, what: impl FnOnce(&mut Running, &mut Knowledge) -> Vec<Effect>) {
        let effects =
            self.knowledge.try_update_value(|knowledge| turn.update(|running| what(running, knowledge)));
        self.perform(turn, effects.flatten().unwrap_or_default());
        self.show(turn);
    }

    /// Does what the request wants done.
    pub(super) fn perform(self, turn: &Turn, effects: Vec<Effect>) {
        let request_id = turn.request_id.get_untracked();
        for effect in effects {
            if effect == Effect::Ask {
                self.begin_to_send(turn);
                continue;
            }
            if let Effect::CorrectEdge(_) = effect {
                self.overtake_edge(turn);
            }
            if effect == Effect::CancelCloud {
                // Media that were to follow the question do not.
                turn.update(|running| running.is_over = true);
            }
            self.clients.with_value(|clients| {
                // Whoever takes no messages any more has ended the request by itself, and says so. A draft or a steer
                // that the server does not wait for is void: it then writes by itself.
                match (effect, &clients.edge, &clients.cloud) {
                    (Effect::Draft(draft), _, Some(cloud)) => {
                        cloud.draft(draft);
                    }
                    (Effect::Steer(speculation), _, Some(cloud)) => {
                        cloud.steer(request_id, speculation);
                    }
                    (Effect::CancelCloud, _, Some(cloud)) => {
                        cloud.cancel(request_id);
                    }
                    (Effect::CorrectEdge(Correction { revision, start, tokens }), Some(edge), _) => {
                        let _ = edge.correct(request_id, revision, start, tokens);
                    }
                    (Effect::ReleaseEdge, Some(edge), _) => {
                        let _ = edge.release(request_id);
                    }
                    _ => (),
                }
            });
        }
    }

    /// The device's own answer ends where the cloud corrects it; what it drafts from there on shows in the verified one.
    fn overtake_edge(self, turn: &Turn) {
        let edge = turn.answer(Side::Edge);
        if edge.with_untracked(|answer| answer.is_pending()) {
            edge.update(|answer| answer.overtake(now_ms()));
        }
    }

    /// Prepares and sends the question, once.
    fn begin_to_send(self, turn: &Turn) {
        let is_due = turn.update(|running| {
            let is_due = !running.is_asking && !running.is_over;
            running.is_asking |= is_due;
            is_due
        });
        if is_due == Some(true) {
            let (turn, request_id) = (turn.clone(), turn.request_id.get_untracked());
            spawn_local(async move { self.send(&turn, request_id).await });
        }
    }

    /// Shows the verified answer as it stands, or that the device's stands without.
    fn show(self, turn: &Turn) {
        let shown = turn.update(|running| {
            running.request.strategy().map(|_| (running.request.answer(), running.standing()))
        });
        let Some(Some((tokens, standing))) = shown else { return };
        let cloud = turn.answer(Side::Cloud);
        if standing.is_none() {
            cloud.update(|answer| answer.show(tokens, now_ms()));
        }
        if turn.standing.with_untracked(|before| *before != standing) {
            if let Some(standing) = &standing {
                cloud.update(|answer| answer.leave_out(standing.cloud_note()));
            }
            turn.standing.set(standing);
            self.announce_check(turn);
        }
        self.say_sentences(turn);
        if turn.receipt.with_untracked(Option::is_some) {
            self.note_receipt(turn);
        }
        self.note_risk();
    }

    /// Brings the turn's receipt up to date.
    pub(super) fn note_receipt(self, turn: &Turn) {
        let receipt = turn.update(|running| measured(turn, running)).flatten();
        if turn.receipt.with_untracked(|before| *before != receipt) {
            turn.receipt.set(receipt);
        }
    }
}
