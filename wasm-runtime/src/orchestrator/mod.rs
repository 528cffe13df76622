//! One question from scores to a settled answer: what is sent, what stands, what the receipt says.
//!
//! ```text
//! scores ─ plan ─ ask ──────────────► cloud ─ settled, proposed ─┐
//! edge tokens ─ drafts ─────────────► cloud                      ├─ answer, receipt
//! edge tokens ───────────────────────────────────────────────────┘
//! ```
//!
//! A state machine: what happens comes in as calls, what is to be sent goes out as messages. It knows no socket, clock,
//! worker or page, and the same code runs in the browser and in the bench. A locked modality cannot leave through it:
//! [`OneRequest::ask`] lets pass only what the plan sends, and no plan sends what is locked.

mod answer;
mod link;

pub use answer::{AnswerToken, TokenState};
pub use link::{LinkMonitor, Situation};

use msao_planner::{
    mas::MAX_DROP_BELOW,
    plan::{Form, ModalityInput, NoPlan, Plan, PlanRequest, Standing, Weights, choose_plan},
};
use msao_protocol::{
    AnswerMode, Ask, Attach, AudioInput, Draft, ImageInput, Modality, ModalityAction, ModalityPlanReceipt,
    PlanReceipt, Policy, Receipt, RequestId, SettledToken, Speculation, Strategy, Token,
};

use self::answer::Answer;
use crate::scored::ModalityScores;

/// Relevance below which a modality is left out: no needed one of 8,216 held-out questions was (models/README.md).
const DROP_BELOW: f64 = 0.05;
/// Tokens of a typical answer, before there is one.
const USUAL_ANSWER_TOKENS: f64 = 6.0;
/// How long the target waits for a draft beyond the time that one takes, in milliseconds.
const PATIENCE_MARGIN_MS: f64 = 20.0;

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
    /// The recording.
    pub audio: Option<AudioInput>,
}

/// A question under way.
#[derive(Debug, Clone)]
pub struct OneRequest {
    terms: Terms,
    scores: Vec<ModalityScores>,
    plan: Option<Plan>,
    sent_bytes: [u64; 2],
    /// Modalities that follow the question.
    late: Vec<Modality>,
    answer: Answer,
    /// Edge tokens that the cloud was told.
    drafted: usize,
    patience_ms: u16,
    edge: Option<Receipt>,
    cloud: Option<Receipt>,
}

impl OneRequest {
    /// A question that nothing is known about yet.
    pub fn new(terms: Terms) -> Self {
        Self {
            terms,
            scores: Vec::new(),
            plan: None,
            sent_bytes: [0; 2],
            late: Vec::new(),
            answer: Answer::default(),
            drafted: 0,
            patience_ms: 0,
            edge: None,
            cloud: None,
        }
    }

    /// Decides what runs where. `scores` are the probe's; a modality without one counts as needed whole.
    ///
    /// # Errors
    /// [`NoPlan`], which says what is missing.
    pub fn plan(&mut self, scores: Vec<ModalityScores>, situation: &Situation) -> Result<&Plan, NoPlan> {
        self.scores = scores;
        let inputs = self.terms.given.iter().map(|given| self.input(given)).collect();
        let plan = choose_plan(&PlanRequest {
            policy: self.terms.policy,
            standing: Standing { mode: self.terms.mode, edge_confidence: None, threshold: f64::INFINITY },
            drop_below: DROP_BELOW.min(MAX_DROP_BELOW),
            question: Form { bytes: self.terms.question.len() as f64, ..Form::default() },
            modalities: inputs,
            answer_tokens: USUAL_ANSWER_TOKENS,
            edge_drafted_tokens: 0.0,
            token_flops: situation.token_flops,
            wire: Default::default(),
            weights: Weights::default(),
            estimates: situation.estimates,
            acceptance: situation.acceptance,
            capabilities: situation.capabilities,
        })?;
        let drafting_ms = situation.estimates.edge_decode_ms * f64::from(plan.strategy.draft_tokens())
            + situation.estimates.rtt_ms;
        self.patience_ms = (drafting_ms + PATIENCE_MARGIN_MS).clamp(0.0, 2_000.0) as u16;
        Ok(self.plan.insert(plan))
    }

    fn input(&self, given: &Given) -> ModalityInput {
        let mas = self.scores_of(given.modality).map(|scores| scores.mas);
        let (relevance, density) =
            mas.map_or((1.0, 1.0), |mas| (f64::from(mas.relevance), f64::from(mas.density)));
        let whole = Form {
            bytes: given.whole_bytes as f64,
            edge_tokens: f64::from(given.edge_tokens),
            target_tokens: f64::from(given.target_tokens),
            ..Form::default()
        };
        let pruned =
            Form { bytes: whole.bytes * density, target_tokens: whole.target_tokens * density, ..whole };
        ModalityInput { modality: given.modality, relevance, density, locked: given.locked, whole, pruned }
    }

    fn scores_of(&self, modality: Modality) -> Option<&ModalityScores> {
        self.scores.iter().find(|scores| scores.modality == modality)
    }

    /// What the plan does with a modality; [`ModalityAction::Drop`] before there is one.
    pub fn action(&self, modality: Modality) -> ModalityAction {
        let planned = self.plan.iter().flat_map(|plan| &plan.modalities);
        planned
            .filter(|one| one.modality == modality)
            .map(|one| one.action)
            .next()
            .unwrap_or(ModalityAction::Drop)
    }

    /// Who writes; `None` before there is a plan.
    pub fn strategy(&self) -> Option<Strategy> {
        self.plan.as_ref().map(|plan| plan.strategy)
    }

    /// The question for the cloud, with those of the prepared media that leave the device; `None` if the edge answers
    /// alone. `late` are modalities that follow in an [`Attach`].
    pub fn ask(&mut self, media: PreparedMedia, late: &[Modality]) -> Option<Ask> {
        let strategy = self.strategy().filter(|strategy| *strategy != Strategy::EdgeOnly)?;
        let leaves = |modality| self.action(modality).leaves_device();
        let ask = Ask {
            request_id: self.terms.request_id,
            question: self.terms.question.clone(),
            images: if leaves(Modality::Vision) { media.images } else { Vec::new() },
            audio: media.audio.filter(|_| leaves(Modality::Audio)),
            pending: late.iter().copied().filter(|modality| leaves(*modality)).collect(),
            max_new_tokens: self.terms.max_new_tokens,
            speculation: match strategy {
                Strategy::EdgeOnly | Strategy::Cloud => Speculation::None,
                Strategy::CoLocated { draft_tokens } => Speculation::CoLocated { draft_tokens },
                Strategy::Distributed { .. } => Speculation::Distributed { patience_ms: self.patience_ms },
            },
        };
        self.sent_bytes = [ask.bytes(Modality::Vision), ask.bytes(Modality::Audio)];
        self.late.clone_from(&ask.pending);
        Some(ask)
    }

    /// The media that [`Self::ask`] announced as late, with nothing else of what was prepared; `None` if none were.
    pub fn attach(&mut self, media: PreparedMedia) -> Option<Attach> {
        let late = std::mem::take(&mut self.late);
        let is_due = |modality| late.contains(&modality);
        let attach = Attach {
            request_id: self.terms.request_id,
            images: if is_due(Modality::Vision) { media.images } else { Vec::new() },
            audio: media.audio.filter(|_| is_due(Modality::Audio)),
        };
        self.sent_bytes[0] += attach.bytes(Modality::Vision);
        self.sent_bytes[1] += attach.bytes(Modality::Audio);
        (!late.is_empty()).then_some(attach)
    }

    /// The edge wrote a token; returns what to propose by that, in runs as long as the plan drafts.
    pub fn edge_token(&mut self, index: u32, token: Token) -> Option<Draft> {
        self.answer.edge_token(index as usize, token);
        let Some(Strategy::Distributed { draft_tokens, .. }) = self.strategy() else { return None };
        let is_due = self.answer.edge_len() >= self.drafted + usize::from(draft_tokens.max(1));
        if is_due { self.draft(false) } else { None }
    }

    /// The edge has answered; returns the rest of its drafts.
    pub fn edge_done(&mut self, receipt: Receipt) -> Option<Draft> {
        self.edge = Some(receipt);
        self.answer.edge_ended();
        if matches!(self.strategy(), Some(Strategy::Distributed { .. })) { self.draft(true) } else { None }
    }

    /// The edge fails to answer; what it wrote stays a draft.
    pub fn edge_failed(&mut self) -> Option<Draft> {
        self.edge_done(Receipt::default())
    }

    /// Drafts that the cloud was not told of. Void after a correction: the edge wrote on from what was rejected.
    fn draft(&mut self, is_last: bool) -> Option<Draft> {
        if self.answer.revision() > 0 && !is_last {
            return None;
        }
        let settled = self.answer.settled_len();
        let start = if self.answer.revision() > 0 { settled } else { self.drafted };
        let tokens: Vec<u32> =
            if self.answer.revision() > 0 { Vec::new() } else { self.answer.edge_ids(start) };
        self.drafted = start + tokens.len();
        Some(Draft {
            request_id: self.terms.request_id,
            revision: self.answer.revision(),
            start: start as u32,
            tokens,
            is_last,
        })
    }

    /// Tokens stand. Returns an empty last draft if they correct the edge, so that the target waits for no more.
    pub fn settled(&mut self, start: u32, tokens: Vec<SettledToken>, revision: u32) -> Option<Draft> {
        let was_right = self.answer.revision() == 0;
        self.answer.settle(start as usize, tokens, revision);
        let is_drafting = matches!(self.strategy(), Some(Strategy::Distributed { .. }));
        if was_right && revision > 0 && is_drafting { self.draft(true) } else { None }
    }

    /// The target proposes on partial context.
    pub fn proposed(&mut self, start: u32, tokens: Vec<Token>) {
        self.answer.propose(start as usize, tokens);
    }

    /// The cloud's answer is complete.
    pub fn cloud_done(&mut self, receipt: Receipt) {
        self.answer.complete();
        self.cloud = Some(receipt);
    }

    /// The session was cut and the question sent again: what was settled is void.
    pub fn resent(&mut self) -> Option<Draft> {
        self.answer.unsettle();
        self.drafted = 0;
        if matches!(self.strategy(), Some(Strategy::Distributed { .. })) {
            let is_last = self.edge.is_some();
            self.draft(is_last)
        } else {
            None
        }
    }

    /// Whether nothing further will change the answer.
    pub fn is_complete(&self) -> bool {
        match self.strategy() {
            None => false,
            Some(Strategy::EdgeOnly) => self.edge.is_some(),
            Some(_) => self.cloud.is_some(),
        }
    }

    /// The answer as it stands, each token with its state.
    pub fn answer(&self) -> Vec<AnswerToken> {
        self.answer.tokens(self.strategy() == Some(Strategy::EdgeOnly) && self.edge.is_some())
    }

    /// What the answer took and who wrote it; `None` before there is a plan.
    pub fn receipt(&self) -> Option<PlanReceipt> {
        let plan = self.plan.as_ref()?;
        let cloud = self.cloud.clone().unwrap_or_default();
        let edge_alone = plan.strategy == Strategy::EdgeOnly;
        Some(PlanReceipt {
            policy: self.terms.policy,
            mode: self.terms.mode,
            strategy: plan.strategy,
            reason: plan.reason,
            predicted: plan.predicted,
            edge_confidence: None,
            shadow_verified: false,
            modalities: self.terms.given.iter().map(|given| self.modality_receipt(given)).collect(),
            tokens: if edge_alone { self.answer.edge_origins() } else { cloud.tokens },
            rounds: cloud.rounds,
            proposed_drafts: cloud.proposed_drafts,
            accepted_drafts: cloud.accepted_drafts,
            edge_flops: self.edge.as_ref().map_or(0, |receipt| receipt.flops),
            cloud_flops: cloud.flops,
        })
    }

    fn modality_receipt(&self, given: &Given) -> ModalityPlanReceipt {
        let scores = self.scores_of(given.modality);
        ModalityPlanReceipt {
            modality: given.modality,
            action: self.action(given.modality),
            locked: given.locked,
            mas: scores.map(|scores| scores.mas),
            kept: scores.map(|scores| scores.kept.clone()).unwrap_or_default(),
            sent_bytes: match given.modality {
                Modality::Text => self.terms.question.len() as u64,
                Modality::Vision => self.sent_bytes[0],
                Modality::Audio => self.sent_bytes[1],
            },
            cloud_only_bytes: given.whole_bytes,
        }
    }
}

#[cfg(test)]
mod tests;
