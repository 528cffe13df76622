//! A question that was asked, with both answers.

use std::sync::Arc;

use leptos::prelude::*;
use msao_protocol::{Clip, Modality, RequestId};

use super::running::{Locks, Running};
use crate::{
    answer::{Answer, Phase, cloud_leads},
    film,
    heard::{HeardHere, ListeningHere},
    held::HandedOver,
    media::{picture::Picture, sound::Sound},
    receipt::TurnReceipt,
    spoken::Spoken,
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
    /// What it goes on from; `None` where it stands by itself.
    pub(crate) goes_on: Option<GoesOn>,
}

/// The conversation that a question goes on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GoesOn {
    /// The turn before: its position on the page.
    pub(crate) from: u32,
    /// Its questions and answers in words, oldest first.
    pub(crate) words: Vec<(String, String)>,
}

impl Asked {
    /// That the pictures are frames of one video.
    pub(crate) fn clip(&self) -> Option<Clip> {
        film::clip(self.pictures.iter().map(|picture| picture.moment))
    }

    /// The words for the models.
    pub(crate) fn words(&self) -> String {
        if self.question.is_empty() { LISTEN.to_owned() } else { self.question.clone() }
    }

    /// Whether all of its pictures are here as they are sent.
    pub(crate) fn has_large_pictures(&self) -> bool {
        self.pictures.iter().all(|picture| picture.large.is_some())
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
    /// Name of the session in which the cloud answered, and still has what it read.
    pub(super) answered_in: StoredValue<Option<String>>,
    /// How far the device is with the recording, while it writes it down.
    pub(crate) listening: RwSignal<Option<ListeningHere>>,
    /// What the device heard in the recording.
    pub(crate) heard: RwSignal<Option<HeardHere>>,
    /// What has been said of the leading answer.
    pub(super) spoken: StoredValue<Spoken>,
    /// Bytes of words that were handed over to the network.
    pub(super) text_sent: RwSignal<u64>,
    /// What was locked when it was asked.
    locks: StoredValue<Locks>,
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
            answered_in: StoredValue::new(None),
            listening: RwSignal::new(None),
            heard: RwSignal::new(None),
            spoken: StoredValue::new(Spoken::default()),
            text_sent: RwSignal::new(0),
            locks: StoredValue::new(Locks::default()),
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
    pub(super) fn begin(&self, request_id: RequestId, running: Running, locks: Locks, now_ms: f64) {
        self.request_id.set(request_id);
        self.locks.set_value(locks);
        self.answered_in.set_value(None);
        self.spoken.set_value(Spoken::default());
        self.running.set_value(Some(running));
        self.receipt.set(None);
        self.listening.set(None);
        self.heard.set(None);
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

    /// Whose answer is the one to read.
    pub(crate) fn leader(&self) -> Side {
        let cloud_leads = self.edge.with(|edge| self.cloud.with(|cloud| cloud_leads(edge, cloud)));
        if cloud_leads { Side::Cloud } else { Side::Edge }
    }

    /// What it handed over to the network, by modality.
    pub(crate) fn handed_over(&self) -> [HandedOver; 3] {
        let locks = self.locks.get_value();
        let media = |modality| {
            self.receipt.with(|receipt| {
                let all = receipt.iter().flat_map(|receipt| &receipt.plan.modalities);
                all.filter(|one| one.modality == modality).map(|one| one.sent_bytes).sum()
            })
        };
        [Modality::Vision, Modality::Audio, Modality::Text].map(|modality| HandedOver {
            modality,
            was_locked: locks.holds(modality),
            bytes: if modality == Modality::Text { self.text_sent.get() } else { media(modality) },
        })
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
