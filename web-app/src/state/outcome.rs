//! How answers end: complete, stopped or failed; what is learnt from it, counted and said.

use leptos::prelude::*;
use msao_protocol::{FinishReason, Receipt, RequestId, ShadowCheck};
use msao_runtime::{cloud_client::CloudClient, messages::EdgeDone, scored::Scored};

use super::{PageState, Side, Turn, now_ms};
use crate::{
    answer::{Answer, Phase},
    ladder::Step,
};

impl PageState {
    pub(super) fn finish_edge(self, done: EdgeDone) {
        let EdgeDone { request_id, finish_reason, receipt, revision, .. } = done;
        let Some(turn) = self.turn_of(request_id) else { return };
        // An answer without a token; does nothing otherwise.
        self.plan(&turn, Scored::default(), true);
        self.tell(&turn, |running, knowledge| {
            running.edge = Some(receipt.clone());
            match finish_reason {
                FinishReason::Cancelled => running.request.edge_failed(knowledge),
                _ => running.request.edge_done(revision, receipt.clone(), knowledge),
            }
        });
        self.end(&turn, Side::Edge, finish_reason, &receipt);
        self.end_unverified(&turn);
        self.ask_for_persistence();
    }

    pub(super) fn finish_cloud(self, request_id: RequestId, reason: FinishReason, receipt: Receipt) {
        let Some(turn) = self.turn_of(request_id) else { return };
        self.tell(&turn, |running, knowledge| {
            running.cloud = Some(receipt.clone());
            if reason == FinishReason::Cancelled {
                running.request.cloud_cancelled(receipt.clone());
                return Vec::new();
            }
            let trip = running.trip(now_ms());
            running.request.cloud_done(receipt.clone(), trip, knowledge)
        });
        self.count_bytes(&turn);
        if matches!(reason, FinishReason::Stop | FinishReason::Length) {
            turn.answered_in.set_value(Some(self.session_id.get_value()));
        }
        self.end(&turn, Side::Cloud, reason, &receipt);
    }

    fn end(self, turn: &Turn, side: Side, reason: FinishReason, receipt: &Receipt) {
        // An answer that ended otherwise before has been said.
        let was_pending = turn.answer(side).with_untracked(Answer::is_pending);
        turn.answer(side).update(|answer| answer.finish(reason, receipt, now_ms()));
        self.note_receipt(turn);
        if was_pending {
            self.announce(turn, side);
        }
    }

    pub(super) fn fail(self, request_id: RequestId, side: Side, message: &str) {
        let Some(turn) = self.turn_of(request_id) else { return };
        match side {
            Side::Cloud => {
                self.count_bytes(&turn);
                self.tell(&turn, |running, knowledge| {
                    running.is_over = true;
                    running.request.cloud_failed(knowledge)
                });
                if self.lost_its_cloud(&turn) {
                    if turn.answer(Side::Cloud).with_untracked(Answer::is_pending) {
                        self.happened.tell(Step::CutInMidAnswer);
                    }
                    return self.end_unverified(&turn);
                }
            }
            Side::Edge => {
                // Whatever waited for the device goes on without it.
                self.plan(&turn, Scored::default(), false);
                self.tell(&turn, |running, knowledge| running.request.edge_failed(knowledge));
                self.end_unverified(&turn);
            }
        }
        let was_pending = turn.answer(side).with_untracked(Answer::is_pending);
        turn.answer(side).update(|answer| answer.fail(sentence(message), now_ms()));
        self.note_receipt(&turn);
        if was_pending {
            self.announce(&turn, side);
        }
    }

    fn lost_its_cloud(self, turn: &Turn) -> bool {
        turn.update(|running| running.request.lost_its_cloud()) == Some(true)
    }

    /// Ends an answer whose cloud was lost, once the device has written the rest of it.
    pub(super) fn end_unverified(self, turn: &Turn) {
        let cloud = turn.answer(Side::Cloud);
        let is_whole = turn.update(|running| running.request.is_complete()) == Some(true);
        if is_whole && self.lost_its_cloud(turn) && cloud.with_untracked(Answer::is_pending) {
            cloud.update(|answer| answer.end_unverified(now_ms()));
            self.note_receipt(turn);
            self.announce(turn, Side::Cloud);
        }
    }

    pub(super) fn fail_edge_answers(self, message: &str) {
        // Those too for which the device has answered and drafts on.
        let request_ids: Vec<_> = self.turns.with_untracked(|turns| {
            let pending = turns.iter().filter(|turn| untrack(|| turn.is_pending()));
            pending.map(|turn| turn.request_id.get_untracked()).collect()
        });
        for request_id in request_ids {
            self.fail(request_id, Side::Edge, message);
        }
    }

    /// Frames that crossed the network since the question, those of idle upkeep included.
    fn count_bytes(self, turn: &Turn) {
        let traffic = self.clients.with_value(|clients| clients.cloud.as_ref().map(CloudClient::traffic));
        let Some(traffic) = traffic.filter(|_| turn.answer(Side::Cloud).with_untracked(Answer::is_pending))
        else {
            return;
        };
        let (sent, received) = turn.traffic_before.get_value();
        turn.answer(Side::Cloud).update(|answer| {
            answer.sent_bytes = traffic.sent_bytes.saturating_sub(sent);
            answer.received_bytes = traffic.received_bytes.saturating_sub(received);
        });
    }

    /// Says what has been finished of the answer that leads: sentences that stand, never tokens or proposals.
    pub(super) fn say_sentences(self, turn: &Turn) {
        let leader = untrack(|| turn.leader());
        if let Some(said) = self.next_sentences(turn, leader, false) {
            self.announcement(leader).set(said);
        }
    }

    fn next_sentences(self, turn: &Turn, side: Side, is_complete: bool) -> Option<String> {
        let settled = turn.answer(side).with_untracked(Answer::settled_text);
        let next = turn.spoken.try_update_value(|spoken| {
            let is_first = !spoken.has_begun();
            spoken.next(&settled, is_complete).map(|news| (is_first, news))
        });
        let (is_first, news) = next.flatten()?;
        Some(if is_first { format!("{}: {news}", who(side)) } else { news })
    }

    /// Says the end of an answer: what is left of it, and the verdict. Of the one that does not lead only a failure is
    /// said. Each side has its own live region, so that of two that end within a breath none is swallowed.
    pub(super) fn announce(self, turn: &Turn, side: Side) {
        let leads = untrack(|| turn.leader()) == side;
        let answer = turn.answer(side);
        if let Some(message) = answer.with_untracked(|answer| match &answer.phase {
            Phase::Failed(message) => Some(message.clone()),
            _ => None,
        }) {
            self.announcement(side).set(format!("{}: {message}", who(side)));
            let device_has_answered =
                turn.answer(Side::Edge).with_untracked(|edge| edge.final_text().is_some());
            if side == Side::Cloud && !leads && device_has_answered {
                self.announce(turn, Side::Edge);
            }
            return;
        }
        if let Some(text) = answer.with_untracked(Answer::unverified_text) {
            let said = format!("{text}. The cloud was lost; this device wrote the rest, unverified.");
            self.announcement(side).set(said);
            return;
        }
        if !leads || answer.with_untracked(|answer| answer.final_text().is_none()) {
            return;
        }
        let mut said = self.next_sentences(turn, side, true).map(sentence).unwrap_or_default();
        if let Some(verdict) = untrack(|| turn.verdict()) {
            said = format!("{said} {}. {}", verdict.label(), verdict.explanation());
        }
        if let Some(standing) = turn.standing.get_untracked().filter(|_| side == Side::Edge) {
            said = format!("{said} {} {}", standing.headline(), standing.explanation());
        }
        self.announcement(side).set(said);
    }

    /// Says what checking an answer that stood has found.
    pub(super) fn announce_check(self, turn: &Turn) {
        let Some(standing) = turn.standing.get_untracked() else { return };
        if standing.check.is_some_and(|check| check != ShadowCheck::Pending) {
            self.announcement(Side::Cloud).set(standing.explanation());
        }
    }
}

fn who(side: Side) -> &'static str {
    match side {
        Side::Edge => "On this device",
        Side::Cloud => "Cloud",
    }
}

/// Messages of programs begin in lower case and end without a full stop; those for people do not.
fn sentence(message: impl AsRef<str>) -> String {
    let message = message.as_ref();
    let mut letters = message.chars();
    let mut sentence: String =
        letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
    if !sentence.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    sentence
}
