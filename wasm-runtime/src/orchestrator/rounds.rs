//! The plan of a question, and what is decided again whenever something comes of it.

use std::mem::{Discriminant, discriminant};

use msao_planner::{
    cost::{Acceptance, Remaining, WireSizes, draft_wait_ms, whole_draft_saving_ms},
    estimate::Estimates,
    mas::DROP_BELOW,
    plan::{
        Form, ModalityInput, NoPlan, PlanRequest, RoundPlan, RoundState, Standing, choose_plan,
        holds_for_edge, replan,
    },
};
use msao_protocol::{
    AnswerMode, PlanChange, PlanReason, Policy, SettledToken, ShadowCheck, Speculation, Strategy, TokenFate,
    TokenSource,
};

use super::{Effect, Given, Knowledge, OneRequest, Present, knowledge::Situation};
use crate::scored::ModalityScores;

/// How long the target waits for a draft beyond the time that one takes, in milliseconds.
const PATIENCE_MARGIN_MS: f64 = 20.0;
/// Longest that it is asked to wait.
const MAX_PATIENCE_MS: f64 = 2_000.0;

impl OneRequest {
    /// Decides what runs where. `scores` are the probe's; a modality without one counts as needed whole.
    ///
    /// # Errors
    /// [`NoPlan`], which says what is missing.
    pub fn plan(
        &mut self,
        scores: Vec<ModalityScores>,
        present: Present,
        knowledge: &mut Knowledge,
    ) -> Result<Vec<Effect>, NoPlan> {
        (self.scores, self.present) = (scores, present);
        let request = self.plan_request(knowledge);
        let mut plan = choose_plan(&request)?;
        self.learn_from_look(&plan, knowledge);
        if self.is_unlooked && plan.reason == PlanReason::Cheapest {
            plan.reason = PlanReason::LookCostsMore;
        }
        self.is_held = holds_for_edge(&plan, &request, knowledge.confidence.stand_probability())?;
        self.strategy = Some(plan.strategy);
        self.patience_ms = self.patience_ms(&request.estimates, request.acceptance, plan.strategy);
        let is_alone = plan.strategy == Strategy::EdgeOnly;
        self.plan = Some(plan);
        if is_alone {
            return Ok(self.release_edge().into_iter().collect());
        }
        // The edge may have written all of it before there was a plan.
        if self.edge.own().is_some() && matches!(self.terms.mode, AnswerMode::RiskControlled { .. }) {
            self.is_held = true;
            return Ok(self.decide_whether_it_stands(knowledge));
        }
        Ok(if self.is_held { self.ask_if_it_cannot_stand(knowledge) } else { vec![Effect::Ask] })
    }

    pub(super) fn plan_request(&self, knowledge: &Knowledge) -> PlanRequest {
        let Situation { estimates, acceptance, capabilities, token_flops, answer_tokens, weights } =
            knowledge.situation(&self.present);
        let drafted = self.edge.len() as f64;
        PlanRequest {
            policy: self.terms.policy,
            // Whether an answer stands is decided for itself, with what follows from it.
            standing: Standing { edge_confidence: None, ..self.standing(knowledge) },
            drop_below: DROP_BELOW,
            question: Form { bytes: self.terms.question.len() as f64, ..Form::default() },
            modalities: self.terms.given.iter().map(|given| self.input(given, token_flops.target)).collect(),
            answer_tokens: if self.edge.has_ended() {
                drafted + 1.0
            } else {
                answer_tokens.max(drafted + 1.0)
            },
            edge_drafted_tokens: drafted,
            token_flops,
            wire: WireSizes::default(),
            weights,
            estimates,
            acceptance,
            capabilities,
        }
    }

    fn input(&self, given: &Given, target_token_flops: f64) -> ModalityInput {
        let mas = self.scores_of(given.modality).map(|scores| scores.mas);
        let (relevance, density) =
            mas.map_or((1.0, 1.0), |mas| (f64::from(mas.relevance), f64::from(mas.density)));
        let whole = Form {
            bytes: given.whole_bytes as f64,
            edge_tokens: f64::from(given.edge_tokens),
            target_tokens: f64::from(given.target_tokens),
            target_flops: f64::from(given.target_tokens) * target_token_flops,
            ..Form::default()
        };
        let pruned = Form {
            bytes: whole.bytes * density,
            target_tokens: whole.target_tokens * density,
            target_flops: whole.target_flops * density,
            ..whole
        };
        ModalityInput { modality: given.modality, relevance, density, locked: given.locked, whole, pruned }
    }

    /// Sampled answers never stand: two draws of one distribution differ without either being wrong.
    fn standing(&self, knowledge: &Knowledge) -> Standing {
        let mode = if self.terms.sampling.is_none() { self.terms.mode } else { AnswerMode::Verified };
        // The threshold is one of raw confidences, and orders answers as calibrated ones do.
        let own = self.edge.own().filter(|own| own.is_whole && !own.tokens.is_empty());
        Standing {
            mode,
            edge_confidence: own.map(|own| own.confidence),
            threshold: knowledge.confidence.threshold(),
        }
    }

    pub(super) fn speculation(&self, strategy: Strategy) -> Speculation {
        match strategy {
            Strategy::EdgeOnly | Strategy::Cloud => Speculation::None,
            Strategy::CoLocated { draft_tokens } => Speculation::CoLocated { draft_tokens },
            Strategy::Distributed { .. } => Speculation::Distributed { patience_ms: self.patience_ms },
        }
    }

    /// The question was handed over: what follows it.
    pub fn asked(&mut self) -> Vec<Effect> {
        self.was_asked = true;
        self.due_draft().into_iter().collect()
    }

    /// While the cloud is held back: a token that is less sure than what may stand ends that.
    pub(super) fn ask_if_it_cannot_stand(&mut self, knowledge: &mut Knowledge) -> Vec<Effect> {
        if self.is_held && self.edge.least_probability() < knowledge.confidence.threshold() {
            self.ask_now(knowledge)
        } else {
            Vec::new()
        }
    }

    /// The edge is gone: whatever waited for it goes on.
    pub(super) fn ask_without_the_edge(&mut self, knowledge: &mut Knowledge) -> Vec<Effect> {
        if self.is_held { self.ask_now(knowledge) } else { Vec::new() }
    }

    /// Plans anew with what the edge has written, and asks.
    fn ask_now(&mut self, knowledge: &mut Knowledge) -> Vec<Effect> {
        self.is_held = false;
        let request = self.plan_request(knowledge);
        // What could be planned before can be planned now, but for an edge that went away; then the cloud writes.
        if let Ok(plan) = choose_plan(&request) {
            self.change_to(plan.strategy, plan.reason);
            self.plan = Some(plan);
        } else {
            self.change_to(Strategy::Cloud, PlanReason::EdgeNotReady);
        }
        vec![Effect::Ask]
    }

    /// The edge's own answer is there: does it stand?
    pub(super) fn decide_whether_it_stands(&mut self, knowledge: &mut Knowledge) -> Vec<Effect> {
        let Some(own) = self.edge.own() else { return Vec::new() };
        self.confidence = Some(knowledge.confidence.calibrate(own.confidence));
        let is_open = self.plan.is_some() && !self.stands && !self.answer.is_complete();
        if !is_open || self.strategy == Some(Strategy::EdgeOnly) {
            return Vec::new();
        }
        let may_stand = self.terms.policy.is_adaptive() && self.standing(knowledge).may_stand();
        match (self.is_held, may_stand) {
            (true, true) => self.stand(knowledge),
            (true, false) => self.ask_now(knowledge),
            (false, true) => match self.round_plan(knowledge) {
                Ok((RoundPlan { reason: PlanReason::ConfidentEdge, .. }, _)) => self.stand(knowledge),
                _ => Vec::new(),
            },
            (false, false) => Vec::new(),
        }
    }

    /// The edge has answered before anything is settled: its whole answer is one draft, which changes what is cheapest.
    pub(super) fn decide_with_a_whole_draft(&mut self, knowledge: &mut Knowledge) -> Option<Effect> {
        let is_open = self.plan.is_some() && !self.stands && !self.is_held && self.answer.len() == 0;
        let before = self.strategy.filter(|strategy| *strategy != Strategy::EdgeOnly)?;
        if !is_open || !self.terms.policy.is_adaptive() || !self.edge.has_ended() {
            return None;
        }
        // Media go where the plan sends them already.
        let request = self.plan_request(knowledge);
        let plan = choose_plan(&request).ok()?;
        let mut strategy = plan.strategy;
        let draft_tokens = u8::try_from(self.edge.len()).ok().filter(|count| *count > 0);
        if let (Some(draft_tokens), Some(alone)) = (draft_tokens, self.cloud_alone(&request)) {
            let saved_ms = whole_draft_saving_ms(request.acceptance.edge, draft_tokens, &request.estimates);
            if saved_ms > 0.0 && alone - request.weights.per_ms * saved_ms < plan.total {
                strategy = Strategy::Distributed { draft_tokens, pipelined: false };
            }
        }
        self.patience_ms = self.patience_ms(&request.estimates, request.acceptance, strategy);
        self.change_to(strategy, plan.reason);
        let is_news = self.was_asked && kind(&before) != kind(&strategy);
        is_news.then(|| Effect::Steer(self.speculation(strategy)))
    }

    /// What the target alone would cost; `None` where the policy drafts nothing anyway.
    fn cloud_alone(&self, request: &PlanRequest) -> Option<f64> {
        let policy = match self.terms.policy {
            Policy::Msao => Policy::MsaoWithoutSpeculation,
            Policy::MsaoWithoutMas => Policy::CloudOnly,
            _ => return None,
        };
        choose_plan(&PlanRequest { policy, ..request.clone() }).ok().map(|plan| plan.total)
    }

    fn stand(&mut self, knowledge: &mut Knowledge) -> Vec<Effect> {
        (self.stands, self.is_held, self.was_recorded) = (true, false, true);
        self.changes.push(PlanChange {
            at_token: self.answer.len() as u32,
            strategy: Strategy::EdgeOnly,
            reason: PlanReason::ConfidentEdge,
        });
        let uniform = knowledge.uniform();
        let is_verified = knowledge.confidence.record(true, uniform);
        let mut effects: Vec<Effect> = self.release_edge().into_iter().collect();
        match (is_verified, self.was_asked) {
            (false, false) => (),
            (false, true) => effects.push(Effect::CancelCloud),
            (true, was_asked) => {
                self.shadow = Some(ShadowCheck::Pending);
                // All of the edge's answer is one draft.
                let draft_tokens = u8::try_from(self.edge.len()).unwrap_or(u8::MAX).max(1);
                self.strategy = Some(Strategy::Distributed { draft_tokens, pipelined: false });
                effects.extend((!was_asked).then_some(Effect::Ask));
            }
        }
        effects
    }

    /// The target has answered as well: what that says about the edge's confidence, and about an answer that stood.
    pub(super) fn judge(&mut self, knowledge: &mut Knowledge) {
        let standing = self.answer.standing();
        if let Some(own) = self.edge.own().filter(|_| self.terms.sampling.is_none()) {
            let ids = own.tokens.iter().map(|token| token.id);
            let agreed = own.is_whole && ids.eq(standing.iter().map(|token| token.id));
            if self.shadow == Some(ShadowCheck::Pending) {
                self.shadow = Some(if agreed { ShadowCheck::Agreed } else { ShadowCheck::Differed });
                knowledge.confidence.observe_shadow(agreed);
            }
            knowledge.confidence.judged(own.confidence, agreed);
        }
        if matches!(self.terms.mode, AnswerMode::RiskControlled { .. }) && !self.was_recorded {
            self.was_recorded = true;
            let uniform = knowledge.uniform();
            knowledge.confidence.record(false, uniform);
        }
    }

    /// What a verification says about the edge's drafts, position by position.
    pub(super) fn learn_from_round(&self, start: u32, tokens: &[SettledToken], knowledge: &mut Knowledge) {
        let of_edge = |one: &&SettledToken| {
            one.origin.source == TokenSource::EdgeDraft && one.origin.fate == TokenFate::Accepted
        };
        let accepted = tokens.iter().take_while(of_edge).count();
        let at = start as usize + accepted;
        let corrected = tokens.get(accepted).is_some_and(|one| one.origin.fate == TokenFate::Corrected);
        let is_rejected = corrected && at < self.edge.told() && self.edge.token(at).is_some();
        if accepted > 0 || is_rejected {
            knowledge.edge_drafts_verified(accepted + usize::from(is_rejected), accepted);
        }
    }

    /// After a round: who writes on, how long drafts are, and what the edge must be told.
    pub(super) fn decide_again(&mut self, knowledge: &mut Knowledge) -> Vec<Effect> {
        if self.stands {
            // Nobody drafts on for an answer that the user has.
            let is_corrected = self.answer.revision() > 0 && !self.answer.is_complete();
            return if is_corrected { vec![Effect::Steer(Speculation::None)] } else { Vec::new() };
        }
        if self.answer.is_complete() {
            return Vec::new();
        }
        let mut effects = Vec::new();
        let before = self.strategy.map(|strategy| kind(&strategy));
        // Once all that the edge wrote stands, only the end is open: its pass is under way, whoever writes.
        if !self.edge.is_all_of(&self.answer.standing())
            && let Ok((round, patience_ms)) = self.round_plan(knowledge)
        {
            self.patience_ms = patience_ms;
            self.change_to(round.strategy, round.reason);
            if before != Some(kind(&round.strategy)) {
                effects.push(Effect::Steer(self.speculation(round.strategy)));
            }
        }
        if matches!(self.strategy, Some(Strategy::Distributed { .. })) {
            effects.extend(self.edge.adopt(&self.answer.standing()).map(Effect::CorrectEdge));
        }
        effects.extend(self.due_draft());
        effects
    }

    /// The cheapest way to write the rest, and how long drafts are waited for then.
    fn round_plan(&self, knowledge: &mut Knowledge) -> Result<(RoundPlan, u16), NoPlan> {
        let draft_tokens = knowledge.draft_tokens();
        let Situation { estimates, acceptance, mut capabilities, token_flops, answer_tokens, weights } =
            knowledge.situation(&self.present);
        // An edge that was let go does not come back for this answer, but what it wrote is there.
        capabilities.edge_ready &= !self.edge_is_released || self.edge.own().is_some_and(|own| own.is_whole);
        let standing = self.answer.standing();
        let ids: Vec<u32> = standing.iter().map(|token| token.id).collect();
        let agrees = self.edge.agrees_with(&ids);
        let settled = ids.len() as f64;
        let drafted = if agrees { (self.edge.len() as f64 - settled).max(0.0) } else { 0.0 };
        let tokens = if agrees && self.edge.has_ended() { drafted + 1.0 } else { answer_tokens - settled };
        let given = self.terms.given.iter();
        let round = replan(&RoundState {
            policy: self.terms.policy,
            standing: self.standing(knowledge),
            needed_modality_locked: false,
            capabilities,
            rest: Remaining {
                tokens: tokens.max(1.0),
                context_tokens: given.map(|given| f64::from(given.target_tokens)).sum::<f64>() + settled,
                edge_drafted_tokens: drafted,
                current: self.strategy.unwrap_or(Strategy::Cloud),
                token_flops,
                wire: WireSizes::default(),
            },
            edge_draft_tokens: Some(draft_tokens),
            weights,
            estimates,
            acceptance,
        })?;
        Ok((round, self.patience_ms(&estimates, acceptance, round.strategy)))
    }

    /// How long the target should wait for the edge's next draft: as long as that pays. Plain distributed speculation, a
    /// baseline, always waits.
    fn patience_ms(&self, estimates: &Estimates, acceptance: Acceptance, strategy: Strategy) -> u16 {
        let draft_tokens = strategy.draft_tokens();
        let worth_ms = draft_wait_ms(acceptance.edge, draft_tokens, estimates);
        let always_ms = estimates.rtt_ms + f64::from(draft_tokens) * estimates.edge_decode_ms;
        let wait_ms = if self.terms.policy == Policy::Distributed { always_ms } else { worth_ms };
        if wait_ms > 0.0 { (wait_ms + PATIENCE_MARGIN_MS).min(MAX_PATIENCE_MS) as u16 } else { 0 }
    }

    fn change_to(&mut self, strategy: Strategy, reason: PlanReason) {
        if self.strategy.map(|now| kind(&now)) != Some(kind(&strategy)) {
            self.changes.push(PlanChange { at_token: self.answer.len() as u32, strategy, reason });
        }
        self.strategy = Some(strategy);
    }

    /// The draft that is due now, if the edge drafts for the cloud.
    pub(super) fn due_draft(&mut self) -> Option<Effect> {
        let Some(Strategy::Distributed { draft_tokens, pipelined }) = self.strategy else { return None };
        let is_waiting = self.edge.told() > self.answer.len();
        let is_over = self.answer.is_complete() || (self.stands && self.shadow.is_none());
        if !self.was_asked || is_over || (is_waiting && !pipelined && !self.edge.has_ended()) {
            return None;
        }
        let draft = self.edge.due(
            self.terms.request_id,
            self.answer.revision(),
            draft_tokens.max(1).into(),
            self.present.shared_tokens(),
        );
        draft.map(Effect::Draft)
    }

    pub(super) fn note_that_the_cloud_is_away(&mut self, knowledge: &mut Knowledge) {
        if self.stands || self.answer.is_complete() {
            return;
        }
        if let Ok((RoundPlan { strategy: Strategy::EdgeOnly, reason, .. }, _)) = self.round_plan(knowledge) {
            self.change_to(Strategy::EdgeOnly, reason);
        }
    }

    pub(super) fn release_edge(&mut self) -> Option<Effect> {
        let is_news = !self.edge_is_released && self.present.edge_parameters.is_some();
        self.edge_is_released = true;
        is_news.then_some(Effect::ReleaseEdge)
    }
}

/// What tells strategies apart, their draft length left aside.
fn kind(strategy: &Strategy) -> Discriminant<Strategy> {
    discriminant(strategy)
}
