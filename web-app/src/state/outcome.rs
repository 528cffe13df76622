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

    /// Says a finished answer, and the verdict with the second one. Each side has its own live region, so that
    /// of two that end within a breath none is swallowed.
    pub(super) fn announce(self, turn: &Turn, side: Side) {
        let who = match side {
            Side::Edge => "On this device",
            Side::Cloud => "Cloud",
        };
        let said = turn.answer(side).with_untracked(|answer| match (&answer.phase, answer.final_text()) {
            (_, Some(text)) => Some(format!("{who}: {text}.")),
            (Phase::Failed(message), _) => Some(format!("{who}: {message}")),
            (Phase::Unverified, _) => Some(format!(
                "{}. The cloud was lost; this device wrote the rest, unverified.",
                answer.text()
            )),
            (Phase::Overtaken, _) => {
                Some(format!("{who}: {}. Corrected by the cloud while writing.", answer.text()))
            }
            _ => None,
        });
        let Some(mut said) = said else { return };
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
