//! What was saved against sending everything to the cloud.

use msao_protocol::Modality;

use super::TurnReceipt;

/// Floating-point operations that a decoder takes for a token: one multiplication and one addition for each weight.
const FLOPS_PER_WEIGHT: i64 = 2;

impl TurnReceipt {
    /// Bytes of pictures and sound: those that left the device, and those that would have under cloud only.
    pub fn media_bytes(&self) -> (u64, u64) {
        let media = self.plan.modalities.iter().filter(|one| one.modality != Modality::Text);
        media.fold((0, 0), |(sent, whole), one| (sent + one.sent_bytes, whole + one.cloud_only_bytes))
    }

    /// Floating-point operations that the cloud was spared, reckoned low; negative where drafts that were thrown away took
    /// more than was left out. `None` where no model in the cloud is known.
    ///
    /// `2 N (t_o - t_d)`, of `N` weights: `t_o` tokens of pictures, sound and answer that the cloud had not to process, and
    /// `t_d` drafts that it processed in vain. The towers that turn pictures and sound into tokens are not counted, which
    /// for the shipped pair are about as much again. The receipt's own operations are counted, this is an estimate.
    pub fn spared_flops(&self) -> Option<i64> {
        let weights = i64::try_from(self.target_parameters?).ok()?;
        // A picture that was split has more tokens than one in one piece.
        let given = |modality| {
            let cloud = self.cloud.iter().flat_map(|cloud| &cloud.modalities);
            cloud.filter(|one| one.modality == modality).map(|one| one.given_tokens).sum::<u32>()
        };
        let [pictures, sound] = self.whole_tokens;
        let whole = pictures.max(given(Modality::Vision)) + sound.max(given(Modality::Audio));
        let tokens = match &self.cloud {
            Some(cloud) => {
                let media = cloud.modalities.iter().filter(|one| one.modality != Modality::Text);
                let read: u32 = media.map(|one| one.prompt_tokens).sum();
                let in_vain = self.plan.proposed_drafts.saturating_sub(self.plan.accepted_drafts);
                i64::from(whole) - i64::from(read) - i64::from(in_vain)
            }
            None => i64::from(whole) + self.plan.tokens.len() as i64,
        };
        tokens.checked_mul(FLOPS_PER_WEIGHT)?.checked_mul(weights)
    }
}

#[cfg(test)]
mod tests {
    use msao_protocol::ModalityAction;

    use super::*;
    use crate::receipt::fixtures::receipt;

    #[test]
    fn what_the_cloud_did_not_read_is_spared() {
        // 72 tokens of pictures, of which one was read; three drafts of four were in vain; a million weights.
        assert_eq!(receipt().spared_flops(), Some(2 * 1_000_000 * (72 - 1 - 3)));
        let alone = TurnReceipt { cloud: None, ..receipt() };
        assert_eq!(alone.spared_flops(), Some(2 * 1_000_000 * (72 + 2)));
        assert_eq!(TurnReceipt { target_parameters: None, ..receipt() }.spared_flops(), None);
    }

    #[test]
    fn tiles_that_were_left_out_are_spared_and_told() {
        let mut receipt = receipt();
        receipt.plan.modalities[0].action = ModalityAction::Whole;
        let vision = &mut receipt.cloud.as_mut().unwrap().modalities[0];
        (vision.prompt_tokens, vision.given_tokens, vision.inputs, vision.kept_inputs) = (256, 1_088, 17, 4);
        assert_eq!(receipt.spared_flops(), Some(2 * 1_000_000 * (1_088 - 256 - 3)));
        let lines = receipt.modality_lines(&receipt.plan.modalities[0]);
        assert!(lines.contains(&("Tokens kept", "256 of 1088, 4 of 17 tiles".to_owned())), "{lines:?}");
    }

    #[test]
    fn frames_that_were_left_out_are_no_tiles() {
        let mut receipt = receipt();
        receipt.plan.modalities[0].action = ModalityAction::Whole;
        let vision = &mut receipt.cloud.as_mut().unwrap().modalities[0];
        (vision.prompt_tokens, vision.given_tokens, vision.inputs, vision.kept_inputs) = (36, 72, 2, 1);
        let lines = receipt.modality_lines(&receipt.plan.modalities[0]);
        assert!(lines.contains(&("Tokens kept", "36 of 72, 1 of 2 frames".to_owned())), "{lines:?}");
    }

    #[test]
    fn drafts_in_vain_can_cost_more_than_was_left_out() {
        let mut receipt = TurnReceipt { whole_tokens: [1, 0], ..receipt() };
        receipt.plan.proposed_drafts = 9;
        assert_eq!(receipt.spared_flops(), Some(-2 * 1_000_000 * 8));
    }

    #[test]
    fn numbers_from_outside_do_not_overflow() {
        assert_eq!(TurnReceipt { target_parameters: Some(u64::MAX), ..receipt() }.spared_flops(), None);
        let huge = TurnReceipt { target_parameters: Some(i64::MAX as u64), ..receipt() };
        assert_eq!(huge.spared_flops(), None);
    }
}
