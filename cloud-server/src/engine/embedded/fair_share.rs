//! Who goes first, so that no owner starves another, however many requests each has.
//!
//! Start-time fair queueing (Goyal et al. 1996) with turns of equal size: whoever was served least is next. Whoever comes
//! anew, or again after a pause, starts where the least served of those present is, so absence earns nothing.

use std::collections::BTreeMap;

use crate::engine::Owner;

/// How often each owner was served.
#[derive(Debug, Default)]
pub(super) struct FairShare {
    served: BTreeMap<Owner, u64>,
}

impl FairShare {
    /// Picks up to `seats` of the candidates, given by their owners in the order in which each owner's own go, and
    /// counts them as served. Returns their indices in the order picked; of owners served equally the first one named
    /// goes first.
    pub(super) fn pick(&mut self, candidates: &[Owner], seats: usize) -> Vec<usize> {
        let is_present = |owner: &Owner| candidates.contains(owner);
        // Who has nothing to do is forgotten, so that the list stays as short as those present are few.
        self.served.retain(|owner, _| is_present(owner));
        let least = self.served.values().copied().min().unwrap_or(0);
        for &owner in candidates {
            self.served.entry(owner).or_insert(least);
        }
        let mut left: Vec<usize> = (0..candidates.len()).collect();
        let mut picked = Vec::new();
        while picked.len() < seats {
            let served = |index: usize| self.served.get(&candidates[index]).copied().unwrap_or(least);
            let Some(at) = (0..left.len()).min_by_key(|&at| served(left[at])) else { break };
            let index = left.remove(at);
            *self.served.entry(candidates[index]).or_insert(least) += 1;
            picked.push(index);
        }
        picked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seat_goes_round_by_owners_not_by_requests() {
        let (many, one) = (Owner::unique(), Owner::unique());
        let candidates = [many, many, many, many, one];
        let mut shares = FairShare::default();
        let mut turns = [0, 0];
        for _ in 0..100 {
            let index = shares.pick(&candidates, 1)[0];
            turns[usize::from(candidates[index] == one)] += 1;
        }
        assert_eq!(turns, [50, 50]);
    }

    #[test]
    fn seats_left_over_go_to_whoever_has_requests() {
        let (many, one) = (Owner::unique(), Owner::unique());
        let mut shares = FairShare::default();
        assert_eq!(shares.pick(&[many, many, many, one], 3), [0, 3, 1]);
        assert_eq!(shares.pick(&[many, many], 3), [0, 1]);
        assert!(shares.pick(&[], 3).is_empty());
    }

    #[test]
    fn absence_earns_nothing_and_costs_nothing() {
        let (steady, late) = (Owner::unique(), Owner::unique());
        let mut shares = FairShare::default();
        for _ in 0..1_000 {
            shares.pick(&[steady], 1);
        }
        let candidates = [steady, late];
        let picks: Vec<usize> = (0..6).map(|_| shares.pick(&candidates, 1)[0]).collect();
        assert_eq!(picks.iter().filter(|&&index| index == 0).count(), 3, "{picks:?}");
    }
}
