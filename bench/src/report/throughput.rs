//! From searches to figures: the rate that is sustained, over repeated draws of the arrivals.
//!
//! Intervals are Student's, over the repeats: they are few, and each is a measurement of its own. Two policies are compared
//! repeat by repeat, since both met the same arrivals. One search has no interval.

use serde::Serialize;

use super::{
    policies::CLOUD_ONLY,
    statistics::{Estimate, over_repeats},
};
use crate::load::{LoadReport, PolicyLoad, Searched};

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
}
