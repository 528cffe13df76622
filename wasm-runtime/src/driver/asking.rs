//! From a question to its plan, and to what leaves the device.

use msao_planner::plan::NoPlan;
use msao_protocol::{
    AnswerMode, Ask, AudioInput, Clip, ErrorReport, ImageInput, KeptAudio, Media, MediaKind, Modality,
    ModalityAction, Policy, RequestId,
};

use super::{
    Action, Driver, Failure, FailureCode, Question, Told,
    action::OwnCode,
    running::{EdgeSide, Running},
};
use crate::{
    messages::{AskHeader, RgbaPixels, WorkerRequest},
    orchestrator::{Correction, Effect, PreparedMedia, Present},
    scored::{Scored, TargetGrid},
    wav_encode,
};

/// Kept squares or tiles of one frame, or all of it beside those, to be encoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Tiles {
    /// In the whole picture's own codec, so that some of it never takes more than all of it by the choice of one.
    pub kind: MediaKind,
    /// The squares.
    pub pixels: RgbaPixels,
}

impl Driver {
    /// Asks. What becomes of it is told with the id returned.
    ///
    /// # Errors
    /// A failure if nobody can answer; then nothing is told.
    pub fn ask(&mut self, question: Question, now_ms: f64) -> Result<(RequestId, Vec<Action>), Failure> {
        let locks = self.settings.locks;
        // No question is asked without its words.
        let policy = if locks.text { Policy::EdgeOnly } else { self.settings.policy };
        self.may_answer(policy)?;
        // The device has not read what was said before, so nothing of it may stand by itself.
        let mode = if question.history.is_empty() { self.settings.mode } else { AnswerMode::Verified };
        let target = self.target.clone().filter(|_| policy != Policy::EdgeOnly);
        let prunes_tiles = question.prune_tiles.unwrap_or(self.settings.prune_tiles);
        let of = |model| TargetGrid::of_asked(model, question.clip.is_some(), prunes_tiles);
        let grid = target.as_ref().filter(|_| policy.uses_mas()).map(of);
        // Only where the cloud may verify or draft with it, the device stays with the question after its answer.
        let awaits_target = target.is_some() && (policy.is_adaptive() || policy == Policy::Distributed);

        self.last_id += 1;
        let request_id = self.last_id;
        let header = AskHeader {
            request_id,
            question: question.text.clone(),
            max_new_tokens: question.max_new_tokens,
            clip: question.clip.clone(),
            target: grid,
            sampling: question.sampling,
            awaits_target,
        };
        let mut running = Running::new(request_id, question, locks, (policy, mode), target, now_ms);
        let looks = self.edge.as_ref().is_some_and(|edge| {
            let present = Present {
                edge_parameters: Some(edge.parameters),
                edge_vocabulary: edge.vocabulary.clone(),
                target: running.target.clone(),
            };
            let can_look = edge.has_probe || grid.is_some_and(|grid| grid.needs_no_probe());
            can_look && running.request.looks_first(&present, &mut self.knowledge)
        });
        self.running.insert(request_id, running);

        let mut actions = Vec::new();
        if !looks {
            actions.extend(self.plan(request_id, Scored::default(), self.edge.is_some(), now_ms));
        }
        if let Some(running) = self.running.get_mut(&request_id) {
            let writes = running.request.strategy().is_some_and(|strategy| strategy.uses_edge());
            if self.edge.is_some() && (policy.is_adaptive() || writes || looks) {
                running.edge = EdgeSide::Open { awaits_target };
                actions.push(Action::AskEdge(header));
            }
        }
        Ok((request_id, actions))
    }

    fn may_answer(&self, policy: Policy) -> Result<(), Failure> {
        let (edge, cloud) = (self.edge.is_some(), self.target.is_some());
        let own = |code, message: &str| Err(Failure::own(code, message));
        match policy {
            _ if !edge && !cloud => own(
                OwnCode::NobodyAnswers,
                "neither the device's model nor the server is there; wait for one of them",
            ),
            Policy::EdgeOnly if !edge => own(
                OwnCode::PolicyUnavailable,
                "nothing may leave the device, and its model is not there; load it, or allow the server",
            ),
            Policy::CloudOnly | Policy::CoLocated | Policy::Distributed if !cloud => {
                own(OwnCode::PolicyUnavailable, "the policy needs the server, which is away; choose `msao`")
            }
            _ => Ok(()),
        }
    }

    /// Decides what runs where, once; then does what follows. Without scores everything counts as needed.
    pub(super) fn plan(
        &mut self,
        request_id: RequestId,
        scored: Scored,
        edge_ready: bool,
        now_ms: f64,
    ) -> Vec<Action> {
        let edge = self.edge.as_ref().filter(|_| edge_ready);
        let (edge_parameters, edge_vocabulary) =
            edge.map(|edge| (edge.parameters, edge.vocabulary.clone())).unzip();
        let Some(running) = self.running.get_mut(&request_id) else { return Vec::new() };
        if running.request.strategy().is_some() || running.has_ended {
            return Vec::new();
        }
        let scores = scored.modalities.clone();
        running.scored = scored;
        let edge_vocabulary = edge_vocabulary.unwrap_or_default();
        let present = Present { edge_parameters, edge_vocabulary, target: running.target.clone() };
        let planned = running.request.plan(scores, present, &mut self.knowledge);
        match (planned, running.only_plan) {
            (Ok(_), true) => {
                let receipt = running.receipt();
                let planned = receipt.map(|receipt| Action::Tell(Told::Planned { request_id, receipt }));
                planned.into_iter().chain(self.forget(request_id)).collect()
            }
            (Ok(effects), false) => self.follow(request_id, effects, now_ms),
            (Err(missing), _) => {
                let failed = Action::Tell(Told::Failed { request_id, failure: why_no_plan(missing) });
                [failed].into_iter().chain(self.forget(request_id)).collect()
            }
        }
    }

    /// Nobody need work on a question any more, which is forgotten. What still comes of it is ignored.
    pub(super) fn forget(&mut self, request_id: RequestId) -> Vec<Action> {
        let Some(running) = self.running.remove(&request_id) else { return Vec::new() };
        let mut actions = Vec::new();
        if matches!(running.edge, EdgeSide::Open { .. }) {
            actions.push(Action::TellEdge(WorkerRequest::Cancel { request_id }));
        }
        if running.is_asking && running.cloud_answer.is_none() && running.cloud_failure.is_none() {
            actions.push(Action::CancelCloud(request_id));
        }
        actions
    }

    /// Stops a question: nothing more is told of it.
    pub fn cancel(&mut self, request_id: RequestId) -> Vec<Action> {
        self.forget(request_id)
    }

    /// What a question wants done, as actions, and what they come to at once.
    pub(super) fn follow(&mut self, request_id: RequestId, effects: Vec<Effect>, now_ms: f64) -> Vec<Action> {
        let mut actions = Vec::new();
        for effect in effects {
            match effect {
                Effect::Ask => actions.extend(self.begin_to_send(request_id, now_ms)),
                Effect::Draft(draft) => actions.push(Action::Draft(draft)),
                Effect::Steer(speculation) => actions.push(Action::Steer(request_id, speculation)),
                Effect::CancelCloud => {
                    if let Some(running) = self.running.get_mut(&request_id) {
                        running.is_over = true;
                    }
                    actions.push(Action::CancelCloud(request_id));
                }
                Effect::CorrectEdge(Correction { revision, start, tokens }) => {
                    actions.push(Action::TellEdge(WorkerRequest::Correct {
                        request_id,
                        revision,
                        start,
                        tokens,
                    }));
                }
                Effect::ReleaseEdge => actions.push(Action::TellEdge(WorkerRequest::Release { request_id })),
            }
        }
        actions.extend(self.show(request_id, now_ms));
        actions
    }

    /// Prepares what the plan sends, once: at once, or by way of [`Action::Encode`].
    fn begin_to_send(&mut self, request_id: RequestId, now_ms: f64) -> Vec<Action> {
        let Some(running) = self.running.get_mut(&request_id) else { return Vec::new() };
        if running.is_asking || running.is_over {
            return Vec::new();
        }
        running.is_asking = true;
        let action = running.request.action(Modality::Vision);
        if let Some(frames) = running.scored.sent_as_they_are(action, running.images.len()) {
            let whole = |&frame: &usize| running.images.get(frame).cloned().map(ImageInput::Whole);
            let images = frames.iter().filter_map(whole).collect();
            let clip = running.clip.as_ref().map(|clip| clip.only(frames));
            return self.send(request_id, (images, clip), now_ms);
        }
        running.scored.images.sort_by_key(|image| image.frame);
        let tiles = running.scored.images.iter().flat_map(|image| {
            let kind = running.kind_of(image.frame);
            image.pictures().map(move |pixels| Tiles { kind, pixels: pixels.clone() })
        });
        vec![Action::Encode(request_id, tiles.collect())]
    }

    /// The kept squares are encoded, in the order given; `None` if they could not be.
    pub fn encoded(
        &mut self,
        request_id: RequestId,
        files: Option<Vec<Vec<u8>>>,
        now_ms: f64,
    ) -> Vec<Action> {
        let Some(running) = self.running.get_mut(&request_id) else { return Vec::new() };
        let kept = std::mem::take(&mut running.scored.images);
        let clip = running.clip.as_ref().map(|clip| clip.only(kept.iter().map(|image| image.frame as usize)));
        let mut files = files.unwrap_or_default().into_iter();
        let images: Option<Vec<ImageInput>> = kept
            .into_iter()
            .map(|image| {
                let kind = running.kind_of(image.frame);
                image.into_input(&mut files.by_ref().map(|bytes| Media { kind, bytes }))
            })
            .collect();
        let Some(images) = images.filter(|_| files.next().is_none()) else {
            let message = "the browser could not encode what was to be sent; ask again";
            return self.cloud_fails(request_id, Failure::own(OwnCode::EncodingFailed, message), now_ms);
        };
        self.send(request_id, (images, clip), now_ms)
    }

    fn send(
        &mut self,
        request_id: RequestId,
        (images, clip): (Vec<ImageInput>, Option<Clip>),
        now_ms: f64,
    ) -> Vec<Action> {
        let locks = self.settings.locks;
        let Some(running) = self.running.get_mut(&request_id).filter(|running| !running.is_over) else {
            return Vec::new();
        };
        // A lock holds from the moment it is set.
        let leaves = |modality| running.request.action(modality).leaves_device();
        let is_broken = [Modality::Vision, Modality::Audio]
            .into_iter()
            .any(|modality| locks.holds(modality) && leaves(modality));
        if is_broken || locks.text {
            let message = "it was locked before it was sent; ask again";
            return self.cloud_fails(request_id, Failure::own(OwnCode::Locked, message), now_ms);
        }
        let audio = match running.request.action(Modality::Audio) {
            ModalityAction::Drop | ModalityAction::Edge => None,
            ModalityAction::Whole => running.audio.clone().map(AudioInput::Whole),
            ModalityAction::Pruned => running.scored.audio.take().map(|kept| {
                let bytes = wav_encode::encode_wav(&kept.windows.samples, kept.windows.sample_rate_hz);
                AudioInput::Kept(KeptAudio {
                    mask: kept.mask,
                    windows: Media { kind: MediaKind::Wav, bytes },
                })
            }),
        };
        let Some(ask) = running.request.ask(PreparedMedia { images, clip, audio }, &[]) else {
            return Vec::new();
        };
        let ask = Ask { history: running.history.clone(), ..ask };
        vec![Action::AskCloud(Box::new(ask))]
    }

    /// The session with the cloud has taken the question, or refuses it.
    pub fn handed_over(
        &mut self,
        request_id: RequestId,
        outcome: Result<(), ErrorReport>,
        now_ms: f64,
    ) -> Vec<Action> {
        let Some(running) = self.running.get_mut(&request_id) else { return Vec::new() };
        match outcome {
            Ok(()) => {
                let effects = running.request.asked();
                self.follow(request_id, effects, now_ms)
            }
            Err(ErrorReport { code, message, retry_after_ms, .. }) => {
                let code = FailureCode::Cloud(code);
                let failure = Failure { code, message, retryable: false, retry_after_ms };
                self.cloud_fails(request_id, failure, now_ms)
            }
        }
    }
}

impl Failure {
    pub(super) fn own(code: OwnCode, message: &str) -> Self {
        let retryable = matches!(code, OwnCode::NobodyAnswers | OwnCode::ConnectionLost);
        Self { code: FailureCode::Own(code), message: message.to_owned(), retryable, retry_after_ms: None }
    }
}

fn why_no_plan(missing: NoPlan) -> Failure {
    match missing {
        NoPlan::NothingCanAnswer => {
            Failure::own(OwnCode::NobodyAnswers, "neither the device nor the server could answer; ask again")
        }
        NoPlan::LockedModalityNeeded => Failure::own(
            OwnCode::Locked,
            "the question needs what is locked to this device, whose model cannot answer now; nothing was sent: load the model, or take the lock away",
        ),
        NoPlan::PolicyUnavailable(_) => Failure::own(
            OwnCode::PolicyUnavailable,
            "the chosen policy needs a side that is missing; choose `msao`",
        ),
    }
}
