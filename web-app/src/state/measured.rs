//! Receipts with the times that the page measured, and those of the whole conversation.

use leptos::prelude::*;
use msao_protocol::RequestId;
use msao_runtime::frame_log::FrameRecord;

use super::{PageState, Side, Turn, now_ms, running::Running};
use crate::{
    answer::Answer,
    network,
    receipt::{SideTiming, Timing, TurnReceipt, export::ReceiptFile},
};

/// The receipt as it stands, with what the page measured of it; `None` before there is a plan.
pub(super) fn measured(turn: &Turn, running: &mut Running) -> Option<TurnReceipt> {
    let now_ms = now_ms();
    let side = |side| turn.answer(side).with_untracked(timing);
    let asked_at = |side| now_ms - turn.answer(side).with_untracked(|answer| answer.elapsed_ms(now_ms));
    // A side that takes no part does not know when the other was asked.
    let asked_at_ms = asked_at(Side::Edge).max(asked_at(Side::Cloud));
    let [edge, cloud] = [Side::Edge, Side::Cloud].map(side);
    let sent_at_ms = running.sent.map(|(_, at_ms)| at_ms - asked_at_ms);
    Some(TurnReceipt { timing: Timing { asked_at_ms, sent_at_ms, edge, cloud }, ..running.receipt()? })
}

fn timing(answer: &Answer) -> SideTiming {
    SideTiming { first_token_ms: answer.first_token_ms, total_ms: answer.total_ms }
}

impl PageState {
    /// The receipts of all questions that have one, in order, with the request each is of.
    pub(crate) fn receipts(self) -> Vec<(RequestId, TurnReceipt)> {
        self.turns.with(|turns| {
            let of = |turn: &Turn| Some((turn.request_id.get(), turn.receipt.get()?));
            turns.iter().filter_map(of).collect()
        })
    }

    /// The frames of a request.
    pub(crate) fn frames_of(self, request_id: RequestId) -> Vec<FrameRecord> {
        self.network.with(|log| network::of_request(log, request_id))
    }

    /// A file of these receipts.
    pub(crate) fn receipt_file(self, receipts: &[(RequestId, TurnReceipt)]) -> ReceiptFile {
        untrack(|| {
            ReceiptFile::of(
                receipts
                    .iter()
                    .map(|(request_id, receipt)| (*request_id, receipt, self.frames_of(*request_id))),
            )
        })
    }
}
