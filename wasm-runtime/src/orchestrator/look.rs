//! Whether the edge looks at the media before the cloud is asked, and what looking has taken and brought so far.

use msao_planner::{
    estimate::{AffineEstimator, AffineMs},
    plan::{Plan, looks_first},
};
use msao_protocol::{Modality, ModalityAction};

use super::{Knowledge, OneRequest, Present};

/// The first questions of a session are looked at: what that is worth is not known before.
const FIRST_LOOKS: u32 = 3;
/// Questions that are asked unlooked before one is looked at again, since machine and questions change.
const MOST_UNLOOKED: u32 = 15;
/// Weight of a new look in what looks usually leave; the first few count alike.
const LEFT_STEP: f64 = 0.2;

/// What a session has learnt about looking.
#[derive(Debug, Clone)]
pub(super) struct Looking {
    /// By prompt tokens on the edge.
    ms: AffineEstimator,
    /// Share of vision and of audio that is usually left, and how many looks said so.
    left: [(f64, f64); 2],
    looks: u32,
    unlooked: u32,
}

impl Default for Looking {
    fn default() -> Self {
        let ms = AffineEstimator::new(AffineMs { base_ms: 10.0, per_unit_ms: 1.0 });
        Self { ms, left: [(1.0, 0.0); 2], looks: 0, unlooked: 0 }
    }
}

impl Looking {
    fn is_due(&self) -> bool {
        self.looks < FIRST_LOOKS || self.unlooked >= MOST_UNLOOKED
    }

    fn took(&mut self, edge_tokens: f64, ms: f64) {
        self.ms.observe(edge_tokens, ms);
        self.looks = self.looks.saturating_add(1);
    }

    fn left(&self, modality: Modality) -> f64 {
        self.left[usize::from(modality == Modality::Audio)].0
    }

    fn note_left(&mut self, modality: Modality, share: f64) {
        let (left, looks) = &mut self.left[usize::from(modality == Modality::Audio)];
        *looks += 1.0;
        *left += LEFT_STEP.max(1.0 / *looks) * (share - *left);
    }
}

impl OneRequest {
    /// Whether the edge is to look at the media before there is a plan. If not, [`Self::plan`] comes at once and without
    /// scores. Asked once, and only where the edge can look.
    pub fn looks_first(&mut self, present: &Present, knowledge: &mut Knowledge) -> bool {
        if !self.terms.policy.uses_mas() || self.terms.given.is_empty() {
            return false;
        }
        if knowledge.looking.is_due() {
            return true;
        }
        self.present = present.clone();
        let unlooked = self.plan_request(knowledge);
        let given = self.terms.given.iter();
        let left: Vec<f64> = given.map(|given| knowledge.looking.left(given.modality)).collect();
        let look_ms = knowledge.looking.ms.line().ms(self.edge_tokens());
        let stands = knowledge.confidence.stand_probability();
        // Without a plan either way it makes no difference, and the plan will say why.
        let looks = looks_first(&unlooked, &left, look_ms, stands).unwrap_or(true);
        if !looks {
            self.is_unlooked = true;
            knowledge.looking.unlooked += 1;
        }
        looks
    }

    /// The scores came `ms` after the question.
    pub fn looked(&self, ms: f64, knowledge: &mut Knowledge) {
        knowledge.looking.took(self.edge_tokens(), ms);
    }

    /// What the look has left to be sent.
    pub(super) fn learn_from_look(&self, plan: &Plan, knowledge: &mut Knowledge) {
        if self.scores.is_empty() {
            return;
        }
        knowledge.looking.unlooked = 0;
        for one in plan.modalities.iter().filter(|_| plan.strategy.uses_cloud()) {
            let Some(scores) = self.scores_of(one.modality) else { continue };
            let share = match one.action {
                ModalityAction::Drop => 0.0,
                ModalityAction::Edge => continue,
                ModalityAction::Pruned => f64::from(scores.mas.density),
                ModalityAction::Whole => 1.0,
            };
            knowledge.looking.note_left(one.modality, share);
        }
    }

    fn edge_tokens(&self) -> f64 {
        self.terms.given.iter().map(|given| f64::from(given.edge_tokens)).sum()
    }
}

#[cfg(test)]
mod tests {
    use msao_protocol::{PlanReason, Policy, Receipt, Span, SpanKind};

    use super::*;
    use crate::orchestrator::{
        RoundTripOfAnswer,
        tests::{knowledge, media, present, scores, terms},
    };

    /// Answers one question whose look took `look_ms` and left a tenth; says whether it was looked at.
    fn looked_at(knowledge: &mut Knowledge, look_ms: f64, cloud_ms_per_token: f64) -> bool {
        let mut request = OneRequest::new(terms([false, false], Policy::MsaoWithoutSpeculation));
        let looks = request.looks_first(&present(true), knowledge);
        let prompt_tokens = if looks {
            request.looked(look_ms, knowledge);
            request.plan(scores(0.9, 0.001), present(true), knowledge).unwrap();
            48
        } else {
            request.plan(Vec::new(), present(true), knowledge).unwrap();
            assert!(request.ask(media(), &[]).unwrap().audio.is_some(), "all of it is sent");
            assert_eq!(request.receipt().unwrap().reason, PlanReason::LookCostsMore);
            84
        };
        let span = Span { kind: SpanKind::Prefill, ms: f64::from(prompt_tokens) * cloud_ms_per_token };
        let receipt =
            Receipt { prompt_tokens, completion_tokens: 2, spans: vec![span], ..Receipt::default() };
        let trip = RoundTripOfAnswer { asked_bytes: 40_000, to_end_ms: span.ms + 25.0 };
        request.cloud_done(receipt, Some(trip), knowledge);
        looks
    }

    #[test]
    fn the_edge_looks_where_that_saves_more_than_it_takes() {
        let mut knowledge = knowledge();
        assert!((0..40).all(|_| looked_at(&mut knowledge, 30.0, 3.0)), "108 ms of the target's time for 30");
    }

    #[test]
    fn a_look_that_does_not_pay_is_left_out_and_tried_again_now_and_then() {
        let mut knowledge = knowledge();
        let looks: Vec<bool> = (0..40).map(|_| looked_at(&mut knowledge, 300.0, 3.0)).collect();
        assert_eq!(looks[..3], [true; 3], "nothing is known yet");
        let later = looks[3..].iter().filter(|looked| **looked).count();
        assert!((1..=3).contains(&later), "{looks:?}");
    }

    #[test]
    fn what_the_first_looks_left_is_their_mean() {
        let mut looking = Looking::default();
        for share in [0.2, 0.4, 0.6] {
            looking.note_left(Modality::Vision, share);
        }
        assert!((looking.left(Modality::Vision) - 0.4).abs() < 1e-12);
        assert_eq!(looking.left(Modality::Audio), 1.0, "nothing is known of sound");
    }

    #[test]
    fn what_may_be_locked_is_always_looked_at() {
        let mut knowledge = knowledge();
        for _ in 0..6 {
            looked_at(&mut knowledge, 300.0, 3.0);
        }
        let mut locked = OneRequest::new(terms([true, false], Policy::Msao));
        assert!(locked.looks_first(&present(true), &mut knowledge));
        let mut open = OneRequest::new(terms([false, false], Policy::Msao));
        assert!(!open.looks_first(&present(true), &mut knowledge));
    }
}
