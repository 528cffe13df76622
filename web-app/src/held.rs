//! What locks have held back in this conversation, in plain words. Counted from what was really handed over to the
//! network, not from what was planned.

use msao_protocol::Modality;

use crate::format;

/// What one question handed over of a modality.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandedOver {
    /// Of which modality.
    pub modality: Modality,
    /// It was locked when the question was asked.
    pub was_locked: bool,
    /// Bytes that left this device.
    pub bytes: u64,
}

/// The sentence beside a lock that is set; `questions` are all of the conversation.
pub fn sentence(modality: Modality, questions: &[HandedOver]) -> String {
    let of = |was_locked: bool| -> u64 {
        let all = questions.iter().filter(|one| one.modality == modality && one.was_locked == was_locked);
        all.map(|one| one.bytes).sum()
    };
    let (locked, before) = (of(true), of(false));
    let what = match modality {
        Modality::Text => "of your words",
        Modality::Vision => "of the camera and pictures",
        Modality::Audio => "of the sound",
    };
    if locked > 0 {
        // A fault of the page, and the one thing that must not be told softly.
        return format!(
            "Not held: {} {what} left this device although it was locked.",
            format::bytes(locked)
        );
    }
    let held = format!("Held: {} {what} left this device", format::bytes(0));
    if before == 0 {
        format!("{held} in this conversation.")
    } else {
        format!("{held} since you locked it; {} had left before.", format::bytes(before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handed(was_locked: bool, bytes: u64) -> HandedOver {
        HandedOver { modality: Modality::Vision, was_locked, bytes }
    }

    #[test]
    fn a_lock_that_holds_says_so_with_a_number() {
        let said = sentence(Modality::Vision, &[handed(true, 0)]);
        assert!(said.starts_with("Held: 0 B") && said.ends_with("in this conversation."), "{said}");
        assert!(said.contains("camera"));
        let other = HandedOver { modality: Modality::Audio, was_locked: false, bytes: 9 };
        assert!(sentence(Modality::Vision, &[other]).ends_with("in this conversation."));
    }

    #[test]
    fn what_left_before_the_lock_is_not_hidden() {
        let said = sentence(Modality::Vision, &[handed(false, 3_400), handed(true, 0)]);
        assert!(said.contains("since you locked it") && said.contains("3.4 kB"), "{said}");
    }

    #[test]
    fn a_lock_that_did_not_hold_is_told() {
        let said = sentence(Modality::Vision, &[handed(true, 10)]);
        assert!(said.starts_with("Not held: 10 B"), "{said}");
    }
}
