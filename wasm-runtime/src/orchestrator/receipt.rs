//! What a question took, as far as it has come.

use msao_protocol::{Modality, ModalityPlanReceipt, PlanReason, PlanReceipt, Strategy};

use super::{Given, OneRequest, answer::UNVERIFIED};

impl OneRequest {
    /// What the answer took and who wrote it; `None` before there is a plan.
    pub fn receipt(&self) -> Option<PlanReceipt> {
        let (plan, strategy) = (self.plan.as_ref()?, self.strategy()?);
        let is_alone = strategy == Strategy::EdgeOnly;
        let cloud = self.cloud_receipt.clone().unwrap_or_default();
        let own = self.edge.own().map_or(0, |own| own.tokens.len());
        let modalities = self.terms.given.iter().map(|given| self.modality_receipt(given));
        Some(PlanReceipt {
            policy: self.terms.policy,
            mode: self.terms.mode,
            strategy,
            reason: if self.stands { PlanReason::ConfidentEdge } else { plan.reason },
            predicted: plan.predicted,
            edge_confidence: self.confidence.map(|confidence| confidence as f32),
            changes: self.changes.clone(),
            shadow: self.shadow,
            modalities: modalities.chain(self.transcribed_receipt()).collect(),
            tokens: if is_alone { vec![UNVERIFIED; own] } else { cloud.tokens },
            rounds: cloud.rounds,
            proposed_drafts: cloud.proposed_drafts,
            accepted_drafts: cloud.accepted_drafts,
            edge_flops: self.edge_receipt.as_ref().map_or(0, |receipt| receipt.flops),
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
