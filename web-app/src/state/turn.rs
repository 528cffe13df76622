//! A question that was asked, with both answers.

use std::sync::Arc;

use leptos::prelude::*;
use msao_protocol::RequestId;

use super::running::Running;
use crate::{
    answer::{Answer, Phase},
    media::{picture::Picture, sound::Sound},
    receipt::TurnReceipt,
    standing::Standing,
    verdict::Verdict,
};

/// What the models are told when the recording asks: they were trained to be told so.
const LISTEN: &str = "Listen and answer.";

/// What was asked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    /// The typed words; empty where the recording asks.
    pub(crate) question: String,
    /// One picture, or the frames of a clip.
    pub(crate) pictures: Vec<Picture>,
    /// A recording.
    pub(crate) sound: Option<Sound>,
}

impl Asked {
    /// The words for the models.
    pub(crate) fn words(&self) -> String {
        if self.question.is_empty() { LISTEN.to_owned() } else { self.question.clone() }
    }
}

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The model in this page.
    Edge,
    /// The model on the server.
    Cloud,
}

/// A question and what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    /// Position on the page.
    pub(crate) id: u32,
    /// What was asked.
    pub(crate) asked: Arc<Asked>,
    /// The request under way or last made; a retry gets a new one.
    pub(crate) request_id: RwSignal<RequestId>,
    /// Bytes sent and received before the request, for the difference.
    pub(super) traffic_before: StoredValue<(u64, u64)>,
    /// What the answers took; `None` before there is a plan.
    pub(crate) receipt: RwSignal<Option<TurnReceipt>>,
    /// The device's answer stood without the cloud.
    pub(crate) standing: RwSignal<Option<Standing>>,
    running: StoredValue<Option<Running>>,
    edge: RwSignal<Answer>,
    cloud: RwSignal<Answer>,
}

impl Turn {
    pub(super) fn new(id: u32, asked: Asked) -> Self {
        Self {
            id,
            asked: Arc::new(asked),
            request_id: RwSignal::new(0),
            traffic_before: StoredValue::new((0, 0)),
            receipt: RwSignal::new(None),
            standing: RwSignal::new(None),
            running: StoredValue::new(None),
            edge: RwSignal::new(Answer::not_asked("")),
            cloud: RwSignal::new(Answer::not_asked("")),
        }
    }

    /// The answer of one side.
    pub(crate) fn answer(&self, side: Side) -> RwSignal<Answer> {
        match side {
            Side::Edge => self.edge,
            Side::Cloud => self.cloud,
        }
    }

    /// Begins both answers afresh; who takes no part is excused later.
    pub(super) fn begin(&self, request_id: RequestId, running: Running, now_ms: f64) {
        self.request_id.set(request_id);
        self.running.set_value(Some(running));
        self.receipt.set(None);
        self.standing.set(None);
        self.edge.set(Answer::asked(now_ms));
        self.cloud.set(Answer::asked(now_ms));
    }

    /// Works on the request; `None` before it was asked.
    pub(super) fn update<T>(&self, work: impl FnOnce(&mut Running) -> T) -> Option<T> {
        self.running.try_update_value(|running| running.as_mut().map(work)).flatten()
    }

    /// Whether an answer is still to come.
    pub(crate) fn is_pending(&self) -> bool {
        self.edge.with(Answer::is_pending) || self.cloud.with(Answer::is_pending)
    }

    /// The answers compared, once both are complete. One that the cloud overtook was wrong already.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        let cloud = self.cloud.with(Answer::final_text)?;
        if self.edge.with(|answer| answer.phase == Phase::Overtaken) {
            return Some(Verdict::Corrected);
        }
        let edge = self.edge.with(Answer::final_text)?;
        Some(Verdict::of(&edge, &cloud))
    }

    /// The answer that counts: the cloud's if it is complete, or what the device made of it, else the device's own.
    pub(crate) fn best_text(&self) -> Option<String> {
        let of_cloud = self.cloud.with(|answer| answer.final_text().or_else(|| answer.unverified_text()));
        of_cloud.or_else(|| self.edge.with(Answer::final_text))
    }
}
