//! From searches to figures: the rate that is sustained, over repeated draws of the arrivals.
//!
//! Intervals are Student's, over the repeats: they are few, and each is a measurement of its own. Two policies are compared
//! repeat by repeat, since both met the same arrivals. One search has no interval.

use serde::Serialize;

use super::{
    policies::CLOUD_ONLY,
    statistics::{Estimate, over_repeats},
};
use crate::load::{LoadReport, PolicyLoad, Searched, TIMES, Trial};

/// A policy at saturation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Throughput {
    pub(crate) policy: String,
    /// Searches behind the figures.
    pub(crate) searches: usize,
    /// User requests a second; `None` where nothing was sustained.
    pub(crate) saturation_per_s: Option<Estimate>,
    /// Mean of the lowest rates that were not sustained; `None` where a search found none.
    pub(crate) overload_per_s: Option<f64>,
    /// Over that of cloud only.
    pub(crate) against_cloud_only: Option<Estimate>,
}

/// A policy at so many times the rate at saturation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Past {
    pub(crate) policy: String,
    pub(crate) times: f64,
    /// Answers of the server within the latency bound, a second.
    pub(crate) goodput_per_s: Option<Estimate>,
    /// The same over the highest of all rates, search by search.
    pub(crate) of_peak: Option<Estimate>,
    /// Share of what reached the server that it refused, and of what it did not refuse and had no answer.
    pub(crate) busy_share: Option<Estimate>,
    pub(crate) failed_share: Option<Estimate>,
    pub(crate) p50_ms: Option<Estimate>,
    pub(crate) p95_ms: Option<Estimate>,
    /// `None` if it is not bounded in one search.
    pub(crate) p99_ms: Option<Estimate>,
    pub(crate) server_resident_bytes: Option<Estimate>,
}

/// What goodput may fall to past saturation, over its peak.
const LEAST_OF_PEAK: f64 = 0.9;

/// Every policy that was tried past saturation, at each of [`TIMES`].
pub(super) fn past(load: &LoadReport) -> Vec<Past> {
    let tried = |one: &&PolicyLoad| one.searches.iter().any(|search| !search.past.is_empty());
    let policies = load.policies.iter().filter(tried);
    policies.flat_map(|one| (0..TIMES.len()).map(|place| Past::of(one, place))).collect()
}

impl Past {
    fn of(load: &PolicyLoad, place: usize) -> Self {
        let trials = || load.searches.iter().filter_map(move |search| search.past.get(place));
        let over = |figure: &dyn Fn(&Trial) -> Option<f64>| {
            let figures: Option<Vec<f64>> = trials().map(figure).collect();
            over_repeats(&figures?)
        };
        let of_peak: Vec<f64> = load
            .searches
            .iter()
            .filter_map(|search| {
                let peak = search.past.iter().filter_map(Trial::goodput_per_s).fold(0.0, f64::max);
                Some(search.past.get(place)?.goodput_per_s()? / peak)
            })
            .filter(|share| share.is_finite())
            .collect();
        Self {
            policy: load.policy.clone(),
            times: TIMES[place],
            goodput_per_s: over(&Trial::goodput_per_s),
            of_peak: over_repeats(&of_peak),
            busy_share: over(&|trial| Some(trial.busy_share())),
            failed_share: over(&|trial| Some(trial.failed_share())),
            p50_ms: over(&|trial| Some(trial.p50_ms)),
            p95_ms: over(&|trial| Some(trial.p95_ms)),
            p99_ms: over(&|trial| trial.p99_ms),
            server_resident_bytes: over(&|trial| trial.server_resident_bytes.map(|bytes| bytes as f64)),
        }
    }

    /// Whether goodput stays within a tenth of its peak at all rates of a policy, in the mean of its searches; `None` if it is not
    /// known at one.
    pub(super) fn hold<'a>(rates: impl Iterator<Item = &'a Self>) -> Option<bool> {
        let shares: Option<Vec<f64>> = rates.map(|one| Some(one.of_peak?.value)).collect();
        let shares = shares.filter(|shares| !shares.is_empty())?;
        Some(shares.iter().all(|share| *share >= LEAST_OF_PEAK))
    }
}

/// All policies of a load test, in its order.
pub(super) fn all(load: &LoadReport) -> Vec<Throughput> {
    let cloud_only = load.policies.iter().find(|one| one.policy == CLOUD_ONLY);
    load.policies.iter().map(|one| Throughput::of(one, cloud_only)).collect()
}

impl Throughput {
    fn of(load: &PolicyLoad, cloud_only: Option<&PolicyLoad>) -> Self {
        let PolicyLoad { policy, searches, .. } = load;
        let rates: Vec<f64> = searches.iter().map(|one| one.saturation_per_s).collect();
        let overloads: Option<Vec<f64>> = searches.iter().map(|one| one.overload_per_s).collect();
        let overloads = overloads.filter(|rates| !rates.is_empty());
        let ratios: Vec<f64> = searches
            .iter()
            .filter_map(|one| Some(one.saturation_per_s / same_arrivals(cloud_only?, one)?.saturation_per_s))
            .filter(|ratio| ratio.is_finite())
            .collect();
        Self {
            policy: policy.clone(),
            searches: searches.len(),
            saturation_per_s: over_repeats(&rates).filter(|rate| rate.value > 0.0),
            overload_per_s: overloads.map(|rates| rates.iter().sum::<f64>() / rates.len() as f64),
            against_cloud_only: over_repeats(&ratios).filter(|ratio| ratio.value > 0.0),
        }
    }
}

fn same_arrivals<'a>(load: &'a PolicyLoad, searched: &Searched) -> Option<&'a Searched> {
    load.searches.iter().find(|one| one.repeat == searched.repeat)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(policy: &str, rates: &[f64]) -> PolicyLoad {
        let searched = |(repeat, &saturation_per_s)| Searched {
            repeat,
            saturation_per_s,
            overload_per_s: (saturation_per_s < 20.0).then_some(saturation_per_s + 1.0),
            trials: Vec::new(),
            past: Vec::new(),
        };
        PolicyLoad {
            policy: policy.into(),
            reaching_share: 1.0,
            unloaded_ms: 1.0,
            server_peak_bytes: None,
            searches: (0..).zip(rates).map(searched).collect(),
        }
    }

    #[test]
    fn policies_are_compared_on_the_same_arrivals() {
        let cloud = load(CLOUD_ONLY, &[4.0, 5.0, 8.0]);
        let twice = Throughput::of(&load("msao", &[8.0, 10.0, 16.0]), Some(&cloud));
        let ratio = twice.against_cloud_only.unwrap();
        assert_eq!(
            (ratio.value, ratio.low, ratio.high),
            (2.0, 2.0, 2.0),
            "what all repeats share cancels out"
        );
        let rate = twice.saturation_per_s.unwrap();
        assert!(rate.low < 8.0 && rate.high > 16.0, "three repeats say little: {rate:?}");
        assert_eq!((rate.value, twice.overload_per_s), (34.0 / 3.0, Some(37.0 / 3.0)));
        // A repeat that the other does not have is in its own figure alone.
        let more = Throughput::of(&load("msao", &[8.0, 10.0, 16.0, 40.0]), Some(&cloud));
        assert_eq!((more.against_cloud_only, more.overload_per_s), (Some(ratio), None));
        let nothing = Throughput::of(&load("msao", &[0.0, 0.0]), Some(&cloud));
        assert_eq!((nothing.saturation_per_s, nothing.against_cloud_only), (None, None));
        assert_eq!(Throughput::of(&load("msao", &[8.0]), None).against_cloud_only, None);
    }

    fn trial(within_bound: usize, p99_ms: Option<f64>) -> Trial {
        Trial {
            rate_per_s: 1.0,
            seconds: 10.0,
            arrivals: 200,
            stood: 0,
            answered: 100,
            busy: 60,
            failed: 40,
            p50_ms: 5.0,
            p95_ms: 9.0,
            p99_ms,
            within_bound: Some(within_bound),
            server_resident_bytes: None,
            is_sustained: false,
        }
    }

    fn gone_past(within_bound: [[usize; 3]; 2], p99_ms: Option<f64>) -> Vec<Past> {
        let mut one = load("msao", &[8.0, 10.0]);
        for (search, within_bound) in one.searches.iter_mut().zip(within_bound) {
            search.past = within_bound.map(|count| trial(count, p99_ms)).to_vec();
        }
        (0..TIMES.len()).map(|place| Past::of(&one, place)).collect()
    }

    #[test]
    fn goodput_past_saturation_is_held_to_its_peak_in_each_search() {
        let held = gone_past([[100, 98, 91], [200, 190, 180]], Some(12.0));
        assert_eq!(held[2].goodput_per_s.unwrap().value, 13.55);
        assert!((held[2].of_peak.unwrap().value - 0.905).abs() < 1e-9);
        assert_eq!((held[1].times, held[0].of_peak.unwrap().value), (1.5, 1.0));
        assert_eq!((held[0].busy_share.unwrap().value, held[0].failed_share.unwrap().value), (0.3, 0.2));
        assert_eq!((held[0].p99_ms.unwrap().value, held[0].server_resident_bytes), (12.0, None));
        assert_eq!(Past::hold(held.iter()), Some(true));
        let falls = gone_past([[100, 98, 80], [200, 190, 180]], None);
        assert_eq!((Past::hold(falls.iter()), falls[2].p99_ms), (Some(false), None));
        let rises = gone_past([[80, 100, 100], [200, 200, 200]], None);
        assert_eq!(Past::hold(rises.iter()), Some(true), "the mean of the searches counts");
        assert_eq!(Past::hold(gone_past([[0; 3]; 2], None).iter()), None, "no answer, no peak");
        assert_eq!(Past::hold([].iter()), None);
    }
}
