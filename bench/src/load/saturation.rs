//! The search for the highest rate that is sustained: doubling until one is not, then halving the gap by ratio.

use super::outcome::Trial;

/// The gap at which the search ends: the lowest rate not sustained over the highest sustained one.
const FINE: f64 = 1.06;
/// Rates that are tried at most.
const MOST_TRIALS: usize = 16;
/// Rates that this machine's clients could not make any more, and rates that say the server does not work.
const RATES_PER_S: std::ops::RangeInclusive<f64> = 0.01..=5_000.0;

/// A search under way.
#[derive(Debug)]
pub(super) struct Search {
    first_per_s: f64,
    trials: Vec<Trial>,
}

impl Search {
    /// A search that begins at a rate.
    pub(super) fn from(first_per_s: f64) -> Self {
        Self { first_per_s, trials: Vec::new() }
    }

    /// The rate to try next; `None` at the end.
    pub(super) fn next_rate(&self) -> Option<f64> {
        if self.trials.len() >= MOST_TRIALS {
            return None;
        }
        let rate = match (self.sustained_per_s(), self.overload_per_s()) {
            (None, None) => self.first_per_s,
            (Some(sustained), None) => sustained * 2.0,
            (None, Some(overload)) => overload / 2.0,
            (Some(sustained), Some(overload)) if overload / sustained > FINE => (sustained * overload).sqrt(),
            (Some(_), Some(_)) => return None,
        };
        RATES_PER_S.contains(&rate).then_some(rate)
    }

    /// Takes in what came of a rate.
    pub(super) fn note(&mut self, trial: Trial) {
        self.trials.push(trial);
    }

    /// The lowest rate that was not sustained.
    pub(super) fn overload_per_s(&self) -> Option<f64> {
        let rates = self.trials.iter().filter(|trial| !trial.is_sustained).map(|trial| trial.rate_per_s);
        rates.min_by(f64::total_cmp)
    }

    /// The highest rate below it that was.
    pub(super) fn sustained_per_s(&self) -> Option<f64> {
        let below = self.overload_per_s().unwrap_or(f64::INFINITY);
        let rates = self.trials.iter().filter(|trial| trial.is_sustained).map(|trial| trial.rate_per_s);
        rates.filter(|rate| *rate < below).max_by(f64::total_cmp)
    }

    /// All rates that were tried.
    pub(super) fn into_trials(self) -> Vec<Trial> {
        self.trials
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trial(rate_per_s: f64, is_sustained: bool) -> Trial {
        Trial {
            rate_per_s,
            seconds: 1.0,
            arrivals: 0,
            stood: 0,
            answered: 0,
            busy: 0,
            failed: 0,
            p50_ms: 0.0,
            p95_ms: 0.0,
            p99_ms: None,
            within_bound: None,
            server_resident_bytes: None,
            is_sustained,
        }
    }

    fn search(first_per_s: f64, sustains: impl Fn(f64) -> bool) -> Search {
        let mut search = Search::from(first_per_s);
        while let Some(rate) = search.next_rate() {
            search.note(trial(rate, sustains(rate)));
        }
        search
    }

    proptest! {
        #[test]
        fn what_a_server_sustains_is_found_from_any_start(capacity in 1.0_f64..400.0, off in 0.1_f64..10.0) {
            let found = search(capacity * off, |rate| rate <= capacity);
            let (sustained, overload) = (found.sustained_per_s().unwrap(), found.overload_per_s().unwrap());
            prop_assert!(sustained <= capacity && capacity < overload);
            prop_assert!(overload / sustained <= FINE, "{sustained} to {overload}");
        }
    }

    #[test]
    fn a_server_that_sustains_nothing_or_everything_ends_the_search() {
        let nothing = search(4.0, |_| false);
        assert_eq!(nothing.sustained_per_s(), None);
        assert!(nothing.overload_per_s().unwrap() < 0.02);
        let everything = search(4.0, |_| true);
        assert_eq!(everything.overload_per_s(), None);
        assert_eq!(everything.sustained_per_s(), Some(4096.0));
    }

    #[test]
    fn a_rate_that_was_sustained_by_luck_above_one_that_was_not_does_not_count() {
        let mut search = Search::from(8.0);
        for (rate, held) in [(8.0, true), (16.0, true), (12.0, false)] {
            search.note(trial(rate, held));
        }
        assert_eq!((search.sustained_per_s(), search.overload_per_s()), (Some(8.0), Some(12.0)));
    }
}
