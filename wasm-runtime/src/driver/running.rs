//! A question under way: its state machine, and what the driver knows besides.

use msao_protocol::{
    AnswerMode, Clip, FinishReason, Media, MediaKind, Modality, ModelInfo, PlanReason, Policy, Receipt,
    RequestId, Turn,
};

use super::{AnswerReceipt, Failure, Locks, Question, ShownToken};
use crate::{
    orchestrator::{Given, OneRequest, RoundTripOfAnswer, Terms},
    scored::Scored,
};

/// Prompt tokens of a picture and of a recording on the device, for the plan.
const EDGE_PICTURE_TOKENS: u32 = 16;
const EDGE_SOUND_TOKENS: u32 = 30;

/// How far the device is with a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EdgeSide {
    /// It was not asked.
    NotAsked,
    /// It writes, for the first time or behind a correction; with `awaits_target` it stays open behind its answer.
    Open { awaits_target: bool },
    /// Nothing further comes of it.
    Over,
}

/// A question and what has become of it so far.
#[derive(Debug)]
pub(super) struct Running {
    /// What decides.
    pub(super) request: OneRequest,
    /// The model in the cloud when it was asked; `None` where there was none, or it may not be asked.
    pub(super) target: Option<ModelInfo>,
    /// The media, until they are sent.
    pub(super) images: Vec<Media>,
    pub(super) clip: Option<Clip>,
    pub(super) audio: Option<Media>,
    pub(super) history: Vec<Turn>,
    pub(super) only_plan: bool,
    /// The words were locked when it was asked, which no question goes without.
    holds_words: bool,
    /// What the device kept of the media, until it is sent.
    pub(super) scored: Scored,
    /// The cloud is being asked, or was.
    pub(super) is_asking: bool,
    /// The cloud has failed, or need not answer: nothing more is sent.
    pub(super) is_over: bool,
    /// Bytes of the frame that asked, and when it was handed over.
    pub(super) sent: Option<(u64, f64)>,
    /// Some of the time was spent on a second attempt: it says nothing about the network.
    pub(super) is_held_up: bool,
    pub(super) edge: EdgeSide,
    /// Text and reason of the device's first answer.
    pub(super) edge_answer: Option<(String, FinishReason)>,
    /// Text and reason of the cloud's answer.
    pub(super) cloud_answer: Option<(String, FinishReason)>,
    pub(super) edge_receipt: Option<Receipt>,
    pub(super) cloud_receipt: Option<Receipt>,
    /// Why a side does not answer.
    pub(super) edge_failure: Option<Failure>,
    pub(super) cloud_failure: Option<Failure>,
    /// What was told of the answer last.
    pub(super) shown: Vec<ShownToken>,
    /// The end was told.
    pub(super) has_ended: bool,
    pub(super) asked_at_ms: f64,
    pub(super) first_token_ms: Option<f64>,
    pub(super) total_ms: Option<f64>,
}

impl Running {
    /// The codec of a whole frame, in which what is kept of it is encoded as well.
    pub(super) fn kind_of(&self, frame: u32) -> MediaKind {
        self.images.get(frame as usize).map_or(MediaKind::Png, |whole| whole.kind)
    }

    pub(super) fn new(
        request_id: RequestId,
        question: Question,
        locks: Locks,
        (policy, mode): (Policy, AnswerMode),
        target: Option<ModelInfo>,
        now_ms: f64,
    ) -> Self {
        let Question {
            text,
            history,
            images,
            clip,
            audio,
            max_new_tokens,
            sampling,
            only_plan,
            prune_tiles: _,
        } = question;
        let pictures = images.len() as u32;
        let vision = (pictures > 0).then(|| Given {
            modality: Modality::Vision,
            locked: locks.vision,
            whole_bytes: images.iter().map(|image| image.bytes.len() as u64).sum(),
            target_tokens: pictures * target.as_ref().map_or(0, |target| target.image.tokens()),
            edge_tokens: pictures * EDGE_PICTURE_TOKENS,
        });
        let sound = audio.as_ref().map(|audio| Given {
            modality: Modality::Audio,
            locked: locks.audio,
            whole_bytes: audio.bytes.len() as u64,
            target_tokens: target.as_ref().and_then(|target| target.audio).map_or(0, |grid| grid.tokens),
            edge_tokens: EDGE_SOUND_TOKENS,
        });
        Self {
            request: OneRequest::new(Terms {
                request_id,
                question: text,
                given: vision.into_iter().chain(sound).collect(),
                max_new_tokens,
                sampling,
                policy,
                mode,
            }),
            target,
            images,
            clip,
            audio,
            history,
            only_plan,
            scored: Scored::default(),
            holds_words: locks.text,
            is_asking: false,
            is_over: false,
            sent: None,
            is_held_up: false,
            edge: EdgeSide::NotAsked,
            edge_answer: None,
            cloud_answer: None,
            edge_receipt: None,
            cloud_receipt: None,
            edge_failure: None,
            cloud_failure: None,
            shown: Vec::new(),
            has_ended: false,
            asked_at_ms: now_ms,
            first_token_ms: None,
            total_ms: None,
        }
    }

    /// How long the answer that ends at `now_ms` took; `None` where some of it says nothing about the network.
    pub(super) fn trip(&self, now_ms: f64) -> Option<RoundTripOfAnswer> {
        let (asked_bytes, at_ms) = self.sent.filter(|_| !self.is_held_up)?;
        Some(RoundTripOfAnswer { asked_bytes, to_end_ms: now_ms - at_ms })
    }

    /// The receipt as it stands; `None` before there is a plan.
    pub(super) fn receipt(&self) -> Option<Box<AnswerReceipt>> {
        let mut plan = self.request.receipt()?;
        // The planner knows a policy that leaves the device alone; what chose it was the lock.
        if self.holds_words && plan.reason == PlanReason::ByPolicy {
            plan.reason = PlanReason::NeededModalityLocked;
        }
        Some(Box::new(AnswerReceipt {
            plan,
            edge: self.edge_receipt.clone(),
            cloud: self.cloud_receipt.clone(),
            first_token_ms: self.first_token_ms,
            total_ms: self.total_ms,
        }))
    }
}
