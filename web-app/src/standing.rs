//! An answer of the device that stood without the cloud, in words: how sure it was, and what checking it has found.

use msao_protocol::{PlanReason, PlanReceipt, ShadowCheck, Strategy};

use crate::format;

/// An answer that stood.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Probability that it is the cloud's answer too, in 0..=1.
    pub confidence: Option<f32>,
    /// Whether it is verified afterwards, and what that has found.
    pub check: Option<ShadowCheck>,
    /// The cloud's answer, where it was verified.
    pub cloud_text: String,
    /// The question had been sent before the answer stood, or was sent to check it.
    pub was_sent: bool,
}

impl Standing {
    /// What a receipt says about an answer; `None` if it did not stand.
    pub fn of(receipt: &PlanReceipt, cloud_text: Option<String>, was_sent: bool) -> Option<Self> {
        let stood = receipt.reason == PlanReason::ConfidentEdge && receipt.strategy == Strategy::EdgeOnly;
        stood.then(|| Self {
            confidence: receipt.edge_confidence,
            check: receipt.shadow,
            cloud_text: cloud_text.unwrap_or_default().trim().to_owned(),
            was_sent,
        })
    }

    /// That it stood, and how sure it was.
    pub fn headline(&self) -> String {
        match self.confidence {
            Some(confidence) => {
                format!("Answered on this device, sure enough ({}).", format::probability(confidence))
            }
            None => "Answered on this device, sure enough.".to_owned(),
        }
    }

    /// What left the device, and what the check has found.
    pub fn explanation(&self) -> String {
        match self.check {
            None if self.was_sent => "The cloud was told to stop before it had answered.".to_owned(),
            None => "Nothing left it.".to_owned(),
            Some(ShadowCheck::Pending) => "The cloud is checking it, to watch the bound.".to_owned(),
            Some(ShadowCheck::Agreed) => "Checked afterwards: the cloud says the same.".to_owned(),
            Some(ShadowCheck::Differed) => {
                format!("Checked afterwards: the cloud says “{}”; trust that one.", self.cloud_text)
            }
            Some(ShadowCheck::Failed) => {
                "It was to be checked afterwards, but the cloud could not be asked.".to_owned()
            }
        }
    }

    /// What the cloud's column says instead of an answer.
    pub fn cloud_note(&self) -> &'static str {
        match (self.check, self.was_sent) {
            (None, false) => "Not asked: the device was sure enough.",
            (None, true) => "Stopped: the device was sure enough before.",
            (Some(_), _) => "Asked only to check the device's answer afterwards.",
        }
    }

    /// The check's outcome for tests and styles.
    pub fn check_name(&self) -> &'static str {
        match self.check {
            None => "none",
            Some(check) => check_name(check),
        }
    }
}

/// Name of a check's outcome for tests and styles.
fn check_name(check: ShadowCheck) -> &'static str {
    match check {
        ShadowCheck::Pending => "pending",
        ShadowCheck::Agreed => "agreed",
        ShadowCheck::Differed => "differed",
        ShadowCheck::Failed => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(check: Option<ShadowCheck>, was_sent: bool) -> Standing {
        Standing { confidence: Some(0.97), check, cloud_text: "blue".to_owned(), was_sent }
    }

    #[test]
    fn what_stood_says_how_sure_it_was_and_that_nothing_left() {
        let stood = standing(None, false);
        assert_eq!(stood.headline(), "Answered on this device, sure enough (97 %).");
        assert_eq!(stood.explanation(), "Nothing left it.");
        let overtook = standing(None, true);
        assert!(!overtook.explanation().contains("Nothing left"), "the question was sent");
        assert_ne!(overtook.cloud_note(), stood.cloud_note());
    }

    #[test]
    fn a_difference_found_afterwards_names_the_cloud_s_answer() {
        let said = standing(Some(ShadowCheck::Differed), true).explanation();
        assert!(said.contains("Checked afterwards") && said.contains("“blue”"), "{said}");
        let same = standing(Some(ShadowCheck::Agreed), true).explanation();
        assert!(same.contains("the same"));
    }
}
