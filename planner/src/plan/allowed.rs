//! Which strategies are allowed at all, cost left aside.
//!
//! In this order: a locked modality that the question needs leaves the edge alone, whatever the policy; a
//! baseline's policy leaves one strategy, and is refused rather than replaced where a part of it is missing,
//! so that a measurement measures what it says; an adaptive policy does without what is missing. In verified
//! mode the edge stands alone only where there is no choice.

use msao_protocol::{PlanReason, Policy, Strategy};
use serde::{Deserialize, Serialize};

/// What is there at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// The edge model is loaded.
    pub edge_ready: bool,
    /// Its tokens mean the same to the target, so that they can be drafts.
    pub edge_drafts: bool,
    /// The session with the cloud is open.
    pub cloud_connected: bool,
    /// The server has a draft model of its own.
    pub co_located: bool,
    /// The edge can draft while a verification is under way.
    pub pipelining: bool,
    /// Longest draft either side takes; 0: no speculation.
    pub max_draft_tokens: u8,
}

/// Why there is no plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPlan {
    /// Neither edge nor cloud is there.
    NothingCanAnswer,
    /// The question needs a modality that must not leave the device, and there is no edge model to answer.
    LockedModalityNeeded,
    /// The policy asks for something that is not there.
    PolicyUnavailable(Policy),
}

/// The facts that decide what is allowed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Situation {
    pub(super) policy: Policy,
    pub(super) capabilities: Capabilities,
    pub(super) needed_modality_locked: bool,
    pub(super) edge_may_stand: bool,
    /// The only draft length the edge is to use, if it is fixed.
    pub(super) edge_draft_tokens: Option<u8>,
}

/// Strategies in order of simplicity, which decides between equals, and why there are no others.
pub(super) fn allowed_strategies(situation: &Situation) -> Result<(Vec<Strategy>, PlanReason), NoPlan> {
    let Situation { policy, capabilities, .. } = *situation;
    let edge_only = vec![Strategy::EdgeOnly];
    if policy == Policy::EdgeOnly {
        return if capabilities.edge_ready {
            Ok((edge_only, PlanReason::ByPolicy))
        } else {
            Err(NoPlan::PolicyUnavailable(policy))
        };
    }
    if situation.needed_modality_locked {
        return if capabilities.edge_ready {
            Ok((edge_only, PlanReason::NeededModalityLocked))
        } else {
            Err(NoPlan::LockedModalityNeeded)
        };
    }
    if !capabilities.cloud_connected {
        return match (policy.is_adaptive(), capabilities.edge_ready) {
            (true, true) => Ok((edge_only, PlanReason::CloudAway)),
            (true, false) => Err(NoPlan::NothingCanAnswer),
            (false, _) => Err(NoPlan::PolicyUnavailable(policy)),
        };
    }

    let mut strategies = Vec::new();
    if policy.is_adaptive() && capabilities.edge_ready && situation.edge_may_stand {
        strategies.push(Strategy::EdgeOnly);
    }
    if policy.is_adaptive() || policy == Policy::CloudOnly {
        strategies.push(Strategy::Cloud);
    }
    if matches!(policy, Policy::Msao | Policy::MsaoWithoutMas | Policy::CoLocated) && capabilities.co_located
    {
        strategies.extend(
            (1..=capabilities.max_draft_tokens).map(|draft_tokens| Strategy::CoLocated { draft_tokens }),
        );
    }
    if matches!(policy, Policy::Msao | Policy::MsaoWithoutMas | Policy::Distributed)
        && capabilities.edge_ready
        && capabilities.edge_drafts
    {
        let longest = capabilities.max_draft_tokens;
        let lengths = match situation.edge_draft_tokens.map(|length| length.clamp(1, longest.max(1))) {
            Some(length) => length..=length.min(longest), // empty where no draft is allowed
            None => 1..=longest,
        };
        for pipelined in [false, true] {
            if capabilities.pipelining || !pipelined {
                strategies.extend(
                    lengths.clone().map(|draft_tokens| Strategy::Distributed { draft_tokens, pipelined }),
                );
            }
        }
    }
    match (strategies.is_empty(), policy.is_adaptive(), capabilities.edge_ready) {
        (true, ..) => Err(NoPlan::PolicyUnavailable(policy)),
        (false, false, _) => Ok((strategies, PlanReason::ByPolicy)),
        (false, true, true) if !capabilities.edge_drafts => Ok((strategies, PlanReason::OtherTokenizer)),
        (false, true, true) => Ok((strategies, PlanReason::Cheapest)),
        (false, true, false) => Ok((strategies, PlanReason::EdgeNotReady)),
    }
}

/// The first of the cheapest; a cost that is no number is dearer than any.
pub(super) fn cheapest<T>(candidates: impl Iterator<Item = (f64, T)>) -> Option<(f64, T)> {
    candidates
        .map(|(total, candidate)| (if total.is_nan() { f64::INFINITY } else { total }, candidate))
        .min_by(|(left, _), (right, _)| left.total_cmp(right))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Capabilities = Capabilities {
        edge_ready: true,
        edge_drafts: true,
        cloud_connected: true,
        co_located: true,
        pipelining: true,
        max_draft_tokens: 3,
    };

    fn situation(policy: Policy, capabilities: Capabilities) -> Situation {
        Situation {
            policy,
            capabilities,
            needed_modality_locked: false,
            edge_may_stand: false,
            edge_draft_tokens: None,
        }
    }

    fn count(situation: Situation) -> usize {
        allowed_strategies(&situation).map_or(0, |(strategies, _)| strategies.len())
    }

    #[test]
    fn each_policy_has_its_strategies() {
        let counts = Policy::ALL.map(|policy| count(situation(policy, ALL)));
        assert_eq!(counts, [1 + 3 + 6, 1, 1, 3, 6, 1 + 3 + 6, 1]);
        let stands = |policy| count(Situation { edge_may_stand: true, ..situation(policy, ALL) });
        assert_eq!(Policy::ALL.map(stands), [11, 1, 1, 3, 6, 11, 2]);
    }

    #[test]
    fn a_lock_comes_before_the_policy() {
        for policy in Policy::ALL {
            let locked = Situation { needed_modality_locked: true, ..situation(policy, ALL) };
            assert_eq!(allowed_strategies(&locked).unwrap().0, [Strategy::EdgeOnly]);
            let no_edge = Capabilities { edge_ready: false, ..ALL };
            let locked = Situation { needed_modality_locked: true, ..situation(policy, no_edge) };
            assert!(allowed_strategies(&locked).is_err(), "{policy:?}");
        }
    }

    #[test]
    fn what_is_missing_is_done_without_or_named() {
        let alone = Capabilities { cloud_connected: false, ..ALL };
        assert_eq!(
            allowed_strategies(&situation(Policy::Msao, alone)),
            Ok((vec![Strategy::EdgeOnly], PlanReason::CloudAway))
        );
        assert_eq!(
            allowed_strategies(&situation(Policy::CloudOnly, alone)),
            Err(NoPlan::PolicyUnavailable(Policy::CloudOnly))
        );
        let nothing = Capabilities { edge_ready: false, ..alone };
        assert_eq!(allowed_strategies(&situation(Policy::Msao, nothing)), Err(NoPlan::NothingCanAnswer));
        let no_edge = Capabilities { edge_ready: false, ..ALL };
        let (strategies, reason) = allowed_strategies(&situation(Policy::Msao, no_edge)).unwrap();
        assert!(strategies.iter().all(|strategy| !strategy.uses_edge()));
        assert_eq!(reason, PlanReason::EdgeNotReady);
        let foreign = Capabilities { edge_drafts: false, ..ALL };
        let (strategies, reason) = allowed_strategies(&situation(Policy::Msao, foreign)).unwrap();
        assert!(strategies.iter().all(|strategy| !matches!(strategy, Strategy::Distributed { .. })));
        assert_eq!(reason, PlanReason::OtherTokenizer);
        assert_eq!(
            allowed_strategies(&situation(Policy::Distributed, foreign)),
            Err(NoPlan::PolicyUnavailable(Policy::Distributed))
        );
        let mute = Capabilities { max_draft_tokens: 0, ..ALL };
        assert_eq!(count(situation(Policy::Msao, mute)), 1, "without drafts the target writes");
        assert_eq!(
            allowed_strategies(&situation(Policy::Distributed, mute)),
            Err(NoPlan::PolicyUnavailable(Policy::Distributed))
        );
    }

    #[test]
    fn a_fixed_draft_length_is_the_only_one() {
        for (asked, given) in [(2, 2), (0, 1), (9, 3)] {
            let fixed = Situation { edge_draft_tokens: Some(asked), ..situation(Policy::Distributed, ALL) };
            let (strategies, _) = allowed_strategies(&fixed).unwrap();
            assert_eq!(strategies.len(), 2);
            assert!(
                strategies.iter().all(|strategy| strategy.draft_tokens() == given),
                "{asked}: {strategies:?}"
            );
        }
    }

    #[test]
    fn a_cost_that_is_no_number_never_wins() {
        assert_eq!(cheapest([(f64::NAN, 'a'), (2.0, 'b'), (2.0, 'c')].into_iter()), Some((2.0, 'b')));
        assert_eq!(cheapest([(f64::NAN, 'a')].into_iter()), Some((f64::INFINITY, 'a')));
    }
}
