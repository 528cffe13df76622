//! How a question may be answered: the policies in words, for the switch, the address and the receipt.

use msao_planner::{Conditions, NoRoute, Route, choose_route, plan::NoPlan};
use msao_protocol::{Modality, PlanReason, Policy, Strategy};

use crate::{format, input::refusal::Refusal};

/// The choices that the page offers; the others are for measurements, by the address.
pub const OFFERED: [Policy; 3] = [Policy::Msao, Policy::CloudOnly, Policy::EdgeOnly];

/// Name of a policy in the address.
pub fn name(policy: Policy) -> &'static str {
    match policy {
        Policy::Msao => "msao",
        Policy::EdgeOnly => "edge_only",
        Policy::CloudOnly => "cloud_only",
        Policy::CoLocated => "co_located",
        Policy::Distributed => "distributed",
        Policy::MsaoWithoutMas => "msao_without_mas",
        Policy::MsaoWithoutSpeculation => "msao_without_speculation",
    }
}

/// The policy of that name.
pub fn from_name(wanted: &str) -> Option<Policy> {
    Policy::ALL.into_iter().find(|policy| name(*policy) == wanted)
}

/// A policy in a few words.
pub fn label(policy: Policy) -> &'static str {
    match policy {
        Policy::Msao => "MSAO: send what the question needs",
        Policy::EdgeOnly => "Device only: send nothing",
        Policy::CloudOnly => "Cloud only: send everything",
        Policy::CoLocated => "Drafts on the server: send everything",
        Policy::Distributed => "Drafts on this device: send everything",
        Policy::MsaoWithoutMas => "MSAO without sparsity: send everything",
        Policy::MsaoWithoutSpeculation => "MSAO without drafts",
    }
}

/// Who may work on a question under a policy, as things are.
///
/// # Errors
/// A refusal, if nobody may.
pub fn route(policy: Policy, conditions: Conditions) -> Result<Route, Refusal> {
    let route = choose_route(conditions).map_err(|NoRoute| Refusal::NobodyAnswers)?;
    match policy {
        Policy::EdgeOnly if !conditions.edge_ready => Err(Refusal::DeviceNotReady),
        Policy::EdgeOnly => Ok(Route::EdgeOnly),
        Policy::CloudOnly | Policy::CoLocated | Policy::Distributed if !conditions.cloud_connected => {
            Err(Refusal::CloudAway)
        }
        _ => Ok(route),
    }
}

/// What the user holds back, beside locked media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// There is to be no session with the cloud.
    Session,
    /// The words of questions are locked to the device.
    Words,
}

/// Why the cloud was not asked, for people; `locked` are the modalities that are, `held` what the user holds back.
pub fn why_only_the_device(reason: PlanReason, locked: &[Modality], held: Option<Held>) -> String {
    match reason {
        _ if held == Some(Held::Words) => {
            "Your words are locked to this device, so only the device answered. Nothing left it.".to_owned()
        }
        PlanReason::NeededModalityLocked => {
            let (what, is) = locked_words(locked);
            format!(
                "{what} {is} locked to this device and this question needs {}, so only the device answered.",
                if is == "are" { "them" } else { "it" }
            )
        }
        PlanReason::CloudAway if held == Some(Held::Session) => {
            "You work offline. Nothing left this device.".to_owned()
        }
        PlanReason::CloudAway => "The server was away. Nothing left this device.".to_owned(),
        PlanReason::ByPolicy => "“Device only” is chosen. Nothing left this device.".to_owned(),
        PlanReason::Cheapest
        | PlanReason::EdgeNotReady
        | PlanReason::OtherTokenizer
        | PlanReason::ConfidentEdge
        | PlanReason::LookCostsMore => "The device was sure enough. Nothing left it.".to_owned(),
    }
}

/// Why there is no plan, for people.
pub fn why_no_plan(no_plan: NoPlan, locked: &[Modality]) -> String {
    match no_plan {
        NoPlan::NothingCanAnswer => "Neither the device nor the server could answer.".to_owned(),
        NoPlan::LockedModalityNeeded => {
            let (what, is) = locked_words(locked);
            format!(
                "{what} {is} locked to this device, whose model cannot answer now. Nothing was sent. Load the model, or take the lock away."
            )
        }
        NoPlan::PolicyUnavailable(policy) => {
            format!("“{}” is chosen, and a part of it is missing.", label(policy))
        }
    }
}

/// What is locked, and the verb that goes with it.
fn locked_words(locked: &[Modality]) -> (&'static str, &'static str) {
    match (locked.contains(&Modality::Vision), locked.contains(&Modality::Audio)) {
        (true, true) => ("Camera and microphone", "are"),
        (false, true) => ("The microphone", "is"),
        _ => ("The camera", "is"),
    }
}

/// Name of a strategy for tests and styles.
pub fn strategy_name(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::EdgeOnly => "edge_only",
        Strategy::Cloud => "cloud",
        Strategy::CoLocated { .. } => "co_located",
        Strategy::Distributed { .. } => "distributed",
    }
}

/// Who wrote the answer, for people.
pub fn strategy_words(strategy: Strategy) -> String {
    match strategy {
        Strategy::EdgeOnly => "This device alone".to_owned(),
        Strategy::Cloud => "The cloud, word by word".to_owned(),
        Strategy::CoLocated { draft_tokens } => {
            let tokens = format::count(draft_tokens.into(), "token");
            format!("Drafts on the server, {tokens} at a time, verified by the cloud")
        }
        Strategy::Distributed { draft_tokens, .. } => {
            let tokens = format::count(draft_tokens.into(), "token");
            format!("Drafts of this device, {tokens} at a time, verified by the cloud")
        }
    }
}

/// Who writes on after a change of plan, for people.
pub fn change_words(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::EdgeOnly => "to this device alone",
        Strategy::Cloud => "to the cloud, word by word",
        Strategy::CoLocated { .. } => "to drafts on the server",
        Strategy::Distributed { .. } => "to drafts of this device",
    }
}

/// Why it was chosen, for people.
pub fn reason_words(reason: PlanReason) -> &'static str {
    match reason {
        PlanReason::Cheapest => "lowest expected cost",
        PlanReason::ByPolicy => "by the chosen policy",
        PlanReason::NeededModalityLocked => "a needed input is locked",
        PlanReason::CloudAway => "the server was away",
        PlanReason::EdgeNotReady => "the device's model was not ready",
        PlanReason::OtherTokenizer => {
            "the device's model has another tokenizer than the server's, so it drafts nothing"
        }
        PlanReason::ConfidentEdge => "the device was sure enough",
        PlanReason::LookCostsMore => "looking first would have taken longer than it saves",
    }
}

/// Why the device was not asked, for people; `goes_on` from the last answer.
pub fn why_only_the_cloud(is_ready: bool, policy: Policy, goes_on: bool) -> &'static str {
    match (is_ready, policy) {
        _ if goes_on => {
            "This question goes on from the last answer; the model on this device answers single questions."
        }
        (false, _) => "The model on this device was not ready.",
        (true, Policy::CloudOnly) => "“Cloud only” is chosen.",
        (true, _) => "The chosen policy does without the device.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_differ() {
        for policy in Policy::ALL {
            assert_eq!(from_name(name(policy)), Some(policy));
        }
        assert_eq!(from_name("anything"), None);
    }

    #[test]
    fn a_policy_is_refused_where_its_side_is_missing() {
        let at = |edge_ready, cloud_connected| Conditions { edge_ready, cloud_connected };
        assert_eq!(route(Policy::Msao, at(true, true)), Ok(Route::EdgeThenCloud));
        assert_eq!(route(Policy::Msao, at(true, false)), Ok(Route::EdgeOnly));
        assert_eq!(route(Policy::EdgeOnly, at(true, true)), Ok(Route::EdgeOnly));
        assert_eq!(route(Policy::EdgeOnly, at(false, true)), Err(Refusal::DeviceNotReady));
        assert_eq!(route(Policy::CloudOnly, at(true, false)), Err(Refusal::CloudAway));
        assert_eq!(route(Policy::CloudOnly, at(false, false)), Err(Refusal::NobodyAnswers));
    }

    #[test]
    fn a_lock_is_named() {
        let why = |locked: &[Modality]| why_only_the_device(PlanReason::NeededModalityLocked, locked, None);
        assert_eq!(
            why(&[Modality::Vision]),
            "The camera is locked to this device and this question needs it, so only the device answered."
        );
        assert!(why(&[Modality::Vision, Modality::Audio]).contains("are locked"));
        assert!(why(&[Modality::Audio]).starts_with("The microphone is locked"));
    }

    #[test]
    fn working_offline_is_not_blamed_on_the_server() {
        let why = |held| why_only_the_device(PlanReason::CloudAway, &[], held);
        assert!(why(None).contains("server was away"));
        let offline = why(Some(Held::Session));
        assert!(offline.contains("offline") && !offline.contains("server"));
        assert!(
            why_only_the_device(PlanReason::ByPolicy, &[], Some(Held::Words)).contains("words are locked")
        );
    }
}
