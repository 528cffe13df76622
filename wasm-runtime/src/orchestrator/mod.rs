//! One question from scores to a settled answer: what is sent, what stands, what the receipt says.
//!
//! ```text
//! scores ─ plan ─ ask ──────────────► cloud ─ settled, proposed ─┐
//! edge tokens ─ drafts ─────────────► cloud                      ├─ answer, receipt
//! edge tokens ───────────────────────────────────────────────────┘
//!      ▲── corrections ── settled
//! ```
//!
//! A state machine: what happens comes in as calls, what is to be done goes out as [`Effect`]s. It knows no socket, clock,
//! worker or page, and the same code runs in the browser and in the bench. A locked modality cannot leave through it:
//! [`OneRequest::ask`] lets pass only what the plan sends, and no plan sends what is locked.
//!
//! | file | what happens there |
//! |---|---|
//! | `knowledge` | what a session has learnt about network, machines and models |
//! | `preferences` | what the user wants plans to weigh |
//! | `hearing` | who writes a recording down for a model that cannot hear |
//! | `look` | whether the edge looks at the media before the cloud is asked |
//! | `standing` | how sure the edge must be for its answer to stand alone |
//! | `rounds` | the plan, and what is decided again at each step of the answer |
//! | `edge_text` | what the edge has written, and what the cloud was told of it |
//! | `answer` | the answer as the reader sees it |
//! | `receipt` | what it took |

mod answer;
mod edge_text;
mod hearing;
mod knowledge;
mod look;
mod preferences;
mod receipt;
mod rounds;
mod standing;

use msao_planner::plan::Plan;
use msao_protocol::{
    AnswerMode, Ask, Attach, AudioInput, Candidate, Clip, Draft, ImageInput, Modality, ModalityAction,
    PlanChange, Policy, Receipt, RequestId, Sampling, SettledToken, ShadowCheck, Speculation, Strategy,
    Token,
};

use self::{
    answer::{Answer, standing_alone},
    edge_text::EdgeText,
};
pub use self::{
    answer::{AnswerToken, TokenState},
    edge_text::Correction,
    hearing::{Recording, ears, question_with},
    knowledge::{Knowledge, Present, RoundTripOfAnswer},
    preferences::{MAX_DRAFT_TOKENS, Preferences},
    standing::{Confidence, RiskState},
};
use crate::scored::ModalityScores;

/// A modality that was given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Given {
    /// Which one.
    pub modality: Modality,
    /// The user forbids that it leaves the device.
    pub locked: bool,
    /// Bytes of all of it, encoded for the wire.
    pub whole_bytes: u64,
    /// Prompt tokens that all of it is for the target.
    pub target_tokens: u32,
    /// Prompt tokens that all of it is on the edge.
    pub edge_tokens: u32,
}

/// What is asked, and under which terms.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// Chosen by the page; every message about this question carries it.
    pub request_id: RequestId,
    /// The words for the models.
    pub question: String,
    /// Vision and audio, as far as they were given.
    pub given: Vec<Given>,
    /// Most tokens of the answer.
    pub max_new_tokens: u32,
    /// How tokens are drawn; `None` takes the most likely one each time.
    pub sampling: Option<Sampling>,
    /// What the request may use.
    pub policy: Policy,
    /// What its answer is held to.
    pub mode: AnswerMode,
}

/// Media that the plan sends, encoded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PreparedMedia {
    /// The picture, or the kept frames of the clip.
    pub images: Vec<ImageInput>,
    /// When those frames were, if they are of a video.
    pub clip: Option<Clip>,
    /// The recording.
    pub audio: Option<AudioInput>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Prepare what the plan sends and ask the cloud: see [`OneRequest::ask`].
    Ask,
    /// Send a draft to the cloud.
    Draft(Draft),
    /// Tell the cloud where drafts come from now on.
    Steer(Speculation),
    /// The cloud need not answer any more; its end teaches nothing.
    CancelCloud,
    /// Tell the edge what stands.
    CorrectEdge(Correction),
    /// Tell the edge that nothing will be corrected any more.
    ReleaseEdge,
}

/// A question under way.
#[derive(Debug, Clone)]
pub struct OneRequest {
    terms: Terms,
    /// Sound that words of the device stand for.
    transcribed: Option<Given>,
    scores: Vec<ModalityScores>,
    /// The edge was not to look before the plan.
    is_unlooked: bool,
    present: Present,
    plan: Option<Plan>,
    /// Who writes now; the plan's at first.
    strategy: Option<Strategy>,
    changes: Vec<PlanChange>,
    /// The cloud is asked only once the edge's own answer turns out not to stand.
    is_held: bool,
    was_asked: bool,
    was_recorded: bool,
    /// The edge's answer counts, and nobody verifies it before the user has it.
    stands: bool,
    shadow: Option<ShadowCheck>,
    /// Calibrated.
    confidence: Option<f64>,
    edge_is_released: bool,
    sent_bytes: [u64; 2],
    /// Modalities that follow the question.
    late: Vec<Modality>,
    patience_ms: u16,
    answer: Answer,
    edge: EdgeText,
    edge_receipt: Option<Receipt>,
    cloud_receipt: Option<Receipt>,
}

impl OneRequest {
    /// A question that nothing is known about yet.
    pub fn new(terms: Terms) -> Self {
        Self {
            terms,
            transcribed: None,
            scores: Vec::new(),
            is_unlooked: false,
            present: Present::default(),
            plan: None,
            strategy: None,
            changes: Vec::new(),
            is_held: false,
            was_asked: false,
            was_recorded: false,
            stands: false,
            shadow: None,
            confidence: None,
            edge_is_released: false,
            sent_bytes: [0; 2],
            late: Vec::new(),
            patience_ms: 0,
            answer: Answer::default(),
            edge: EdgeText::default(),
            edge_receipt: None,
            cloud_receipt: None,
        }
    }

    fn scores_of(&self, modality: Modality) -> Option<&ModalityScores> {
        self.scores.iter().find(|scores| scores.modality == modality)
    }

    /// What is done with a modality; [`ModalityAction::Drop`] before there is a plan. Of an answer that stands nothing is
    /// sent, unless it is verified afterwards.
    pub fn action(&self, modality: Modality) -> ModalityAction {
        let planned = self.plan.iter().flat_map(|plan| &plan.modalities);
        let action = planned.filter(|one| one.modality == modality).map(|one| one.action).next();
        match action.unwrap_or(ModalityAction::Drop) {
            sent if sent.leaves_device() && self.stands && !self.was_asked && self.shadow.is_none() => {
                ModalityAction::Edge
            }
            action => action,
        }
    }

    /// Who writes; `None` before there is a plan.
    pub fn strategy(&self) -> Option<Strategy> {
        if self.stands { Some(Strategy::EdgeOnly) } else { self.strategy }
    }

    /// Whether the cloud is not asked before the edge's own answer is known.
    pub fn is_held(&self) -> bool {
        self.is_held
    }

    /// The question for the cloud, with those of the prepared media that leave the device; `None` if the edge answers
    /// alone. `late` are modalities that follow in an [`Attach`]. Once it is handed over, [`Self::asked`] says what
    /// follows it.
    pub fn ask(&mut self, media: PreparedMedia, late: &[Modality]) -> Option<Ask> {
        let is_alone = self.stands && self.shadow.is_none();
        let strategy =
            self.strategy.filter(|strategy| *strategy != Strategy::EdgeOnly && !is_alone && !self.is_held)?;
        let leaves = |modality| self.action(modality).leaves_device();
        let ask = Ask {
            request_id: self.terms.request_id,
            question: self.terms.question.clone(),
            clip: media.clip.filter(|_| leaves(Modality::Vision) && self.tells_times(&media.images)),
            images: if leaves(Modality::Vision) { media.images } else { Vec::new() },
            audio: media.audio.filter(|_| leaves(Modality::Audio)),
            history: Vec::new(),
            continues: None,
            pending: late.iter().copied().filter(|modality| leaves(*modality)).collect(),
            max_new_tokens: self.terms.max_new_tokens,
            sampling: self.terms.sampling,
            speculation: self.speculation(strategy),
        };
        self.sent_bytes = [ask.bytes(Modality::Vision), ask.bytes(Modality::Audio)];
        self.late.clone_from(&ask.pending);
        Some(ask)
    }

    /// Whether the target hears when these frames were: if there are any, and it reads that.
    fn tells_times(&self, images: &[ImageInput]) -> bool {
        let reads = self.present.target.as_ref().is_some_and(|target| target.clips.is_some());
        reads && !images.is_empty()
    }

    /// The media that [`Self::ask`] announced as late, with nothing else of what was prepared; `None` if none were.
    pub fn attach(&mut self, media: PreparedMedia) -> Option<Attach> {
        let late = std::mem::take(&mut self.late);
        let is_due = |modality| late.contains(&modality);
        let attach = Attach {
            request_id: self.terms.request_id,
            clip: media.clip.filter(|_| is_due(Modality::Vision) && self.tells_times(&media.images)),
            images: if is_due(Modality::Vision) { media.images } else { Vec::new() },
            audio: media.audio.filter(|_| is_due(Modality::Audio)),
        };
        self.sent_bytes[0] += attach.bytes(Modality::Vision);
        self.sent_bytes[1] += attach.bytes(Modality::Audio);
        (!late.is_empty()).then_some(attach)
    }

    /// The edge wrote a token.
    pub fn edge_token(
        &mut self,
        revision: u32,
        index: u32,
        (token, candidates): (Token, Vec<Candidate>),
        knowledge: &mut Knowledge,
    ) -> Vec<Effect> {
        self.edge.push(revision, index as usize, token, candidates);
        let mut effects = self.ask_if_it_cannot_stand(knowledge);
        effects.extend(self.due_draft());
        effects
    }

    /// The edge has answered for the first time. One that was cancelled has [failed](Self::edge_failed).
    pub fn edge_done(&mut self, revision: u32, receipt: Receipt, knowledge: &mut Knowledge) -> Vec<Effect> {
        knowledge.edge_answered(&receipt);
        self.edge_receipt = Some(receipt);
        self.edge.end(revision);
        let mut effects = self.decide_whether_it_stands(knowledge);
        effects.extend(self.decide_with_a_whole_draft(knowledge));
        effects.extend(self.due_draft());
        effects
    }

    /// The edge has written to the end what follows a correction.
    pub fn redrafted(&mut self, revision: u32) -> Vec<Effect> {
        self.edge.end(revision);
        self.due_draft().into_iter().collect()
    }

    /// The edge is done with the question: `receipt` is that of all it did.
    pub fn edge_released(&mut self, receipt: Receipt) {
        self.edge_is_released = true;
        self.edge_receipt = Some(receipt);
    }

    /// The edge fails to answer, or is stopped; what it wrote stays a draft.
    pub fn edge_failed(&mut self, knowledge: &mut Knowledge) -> Vec<Effect> {
        self.edge_receipt.get_or_insert_default();
        self.edge_is_released = true;
        self.present.edge_parameters = None;
        let mut effects = self.ask_without_the_edge(knowledge);
        if matches!(self.strategy(), Some(Strategy::Distributed { .. })) && self.was_asked {
            let last = self.edge.last(self.terms.request_id, self.answer.revision());
            effects.extend(last.map(Effect::Draft));
        }
        effects
    }

    /// Tokens stand.
    pub fn settled(
        &mut self,
        start: u32,
        tokens: Vec<SettledToken>,
        revision: u32,
        knowledge: &mut Knowledge,
    ) -> Vec<Effect> {
        self.learn_from_round(start, &tokens, knowledge);
        self.answer.settle(start as usize, tokens, revision, Some(&self.edge));
        self.decide_again(knowledge)
    }

    /// The target proposes on partial context.
    pub fn proposed(&mut self, start: u32, tokens: Vec<Token>) {
        self.answer.propose(start as usize, tokens);
    }

    /// The cloud's answer is complete. `trip` is `None` where the time says nothing about network or server, since some
    /// of it was waited by design.
    pub fn cloud_done(
        &mut self,
        receipt: Receipt,
        trip: Option<RoundTripOfAnswer>,
        knowledge: &mut Knowledge,
    ) -> Vec<Effect> {
        self.answer.complete();
        if let Some(strategy) = self.strategy {
            knowledge.cloud_answered(strategy, &receipt, trip);
        }
        self.cloud_receipt = Some(receipt);
        self.judge(knowledge);
        self.release_edge().into_iter().collect()
    }

    /// The cloud has stopped before its end, as it was told: what it did until then belongs to the receipt.
    pub fn cloud_cancelled(&mut self, receipt: Receipt) {
        self.cloud_receipt = Some(receipt);
    }

    /// The cloud will not answer. An edge answer that stands goes on standing, unverified; one that the cloud had begun is
    /// finished by the edge, where it can.
    pub fn cloud_failed(&mut self, knowledge: &mut Knowledge) -> Vec<Effect> {
        if self.shadow == Some(ShadowCheck::Pending) {
            self.shadow = Some(ShadowCheck::Failed);
        }
        let shares_tokens = self.present.shared_tokens() > 0;
        self.present.target = None;
        self.note_that_the_cloud_is_away(knowledge);
        let mut effects = Vec::new();
        if self.lost_its_cloud() && !shares_tokens {
            // The edge cannot go on behind tokens of another vocabulary: its own answer counts.
            self.answer = Answer::default();
        } else if self.lost_its_cloud() && !self.edge_is_released {
            // What the cloud has settled stands; the edge writes on behind it.
            effects.extend(self.edge.adopt(&self.answer.standing()).map(Effect::CorrectEdge));
        }
        effects.extend(self.release_edge());
        effects
    }

    /// Whether the cloud was asked and lost, and the edge has the rest of the answer.
    pub fn lost_its_cloud(&self) -> bool {
        let is_alone = self.strategy == Some(Strategy::EdgeOnly) && !self.stands;
        is_alone && self.was_asked && self.present.target.is_none()
    }

    /// The session was cut and the question sent again: what was settled is void.
    pub fn resent(&mut self) -> Vec<Effect> {
        self.answer = Answer::default();
        self.edge.forget_told();
        self.due_draft().into_iter().collect()
    }

    /// Whether the user has the answer: nothing further will change it.
    pub fn is_complete(&self) -> bool {
        if self.stands {
            return true;
        }
        match self.strategy() {
            None => false,
            Some(Strategy::EdgeOnly) if self.lost_its_cloud() && self.answer.len() > 0 => {
                self.edge.has_ended() || self.present.edge_parameters.is_none()
            }
            Some(Strategy::EdgeOnly) => self.edge_receipt.is_some(),
            Some(_) => self.cloud_receipt.is_some(),
        }
    }

    /// The answer as it stands, each token with its state.
    pub fn answer(&self) -> Vec<AnswerToken> {
        if self.lost_its_cloud() && self.answer.len() > 0 {
            return self.answer.gone_on(&self.edge);
        }
        let alone = self.strategy() == Some(Strategy::EdgeOnly);
        match self.edge.own() {
            Some(own) if alone => standing_alone(own.tokens.iter()),
            _ => self.answer.tokens((!self.edge_is_void()).then_some(&self.edge)),
        }
    }

    /// What the target says where an answer that stood was verified afterwards, as far as it is known.
    pub fn shadow_text(&self) -> Option<String> {
        let standing = self.answer.standing();
        let text = standing.iter().map(|token| token.text.as_str()).collect();
        self.shadow.map(|_| text)
    }

    /// Whether drafts of the edge are of no use any more, though it may go on writing.
    fn edge_is_void(&self) -> bool {
        self.edge_receipt.is_none() && self.present.edge_parameters.is_none()
    }
}

#[cfg(test)]
mod risk_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vocabulary_tests;
