//! Against the measured run that is kept beside the results.

use std::{collections::BTreeSet, path::Path};

use super::{Compared, Journal};
use crate::{link, simulate::scenario::Network};

/// Requests of each policy; more of them change the figures by less than 2 %.
const REQUESTS: usize = 4_000;

fn measured() -> Journal {
    Journal::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("simulated/measured.jsonl.gz")).unwrap()
}

fn replay(journal: &Journal, name: &str) -> Vec<Compared> {
    let Ok(link::Scenario::Steady(steady)) = name.parse::<link::Scenario>() else {
        panic!("{name} is no network that does not change");
    };
    journal.replay(name, Network::of(&steady.shape()), REQUESTS, 1).unwrap()
}

/// Whose median may be off by up to twice as much. The measured machine had two speeds, one half as fast again as the other,
/// in spells of some requests; where an answer is nothing but edge work, half of the requests at either speed make its
/// median one or the other by chance.
const JUMPING: &str = "edge_only";

/// Step times come from other requests than those compared.
#[test]
fn every_policy_of_the_measured_run_comes_out_again_over_every_network() {
    let journal = measured();
    let names: Vec<&str> = journal.networks().collect();
    assert_eq!(names.len(), 9, "{names:?}");
    for name in names {
        let compared = replay(&journal, name);
        assert_eq!(compared.len(), 9, "policies over {name}");
        for one in compared {
            assert!(one.mean.is_close(), "the mean of {one:?} is off by {}", one.mean.error());
            let error = one.median.error();
            let is_close = one.median.is_close() || (one.policy == JUMPING && error.abs() < 0.2);
            assert!(is_close, "the median of {one:?} is off by {error}");
        }
    }
}

#[test]
fn another_network_than_the_measured_one_is_noticed() {
    let compared = measured().replay("20ms-200mbit", Network::symmetric(200.0, 100.0), REQUESTS, 1).unwrap();
    let close: Vec<&str> =
        compared.iter().filter(|one| one.mean.is_close()).map(|one| one.policy.as_str()).collect();
    assert_eq!(close, ["edge_only"]);
}

#[test]
fn no_time_of_a_compared_request_is_used() {
    let journal = measured();
    let mut slower = measured();
    let name = "40ms-5mbit";
    let run = slower.networks.get_mut(name).unwrap();
    let of_all: Vec<String> = run["cloud_only"].keys().cloned().collect();
    let compared_first: BTreeSet<&String> = of_all.iter().step_by(2).collect();
    for record in run.values_mut().flat_map(|records| records.values_mut()) {
        if compared_first.contains(&record.request) {
            record.total_ms *= 10.0;
            record.spans.iter_mut().for_each(|(_, ms)| *ms *= 10.0);
        }
    }
    let network = Network::symmetric(5.0, 40.0);
    let half = |journal: &Journal| journal.latencies_ms(name, network, 0, 400, 1).unwrap();
    assert_eq!(half(&journal), half(&slower));
}

#[test]
fn half_a_run_is_refused_and_so_is_a_network_that_was_not_measured() {
    let mut journal = measured();
    let network = Network::symmetric(200.0, 20.0);
    let error = journal.replay("1ms-1mbit", network, REQUESTS, 1).unwrap_err().to_string();
    assert!(error.contains("20ms-200mbit"), "{error}");
    journal.networks.get_mut("20ms-200mbit").unwrap().remove("edge_only");
    let error = journal.replay("20ms-200mbit", network, REQUESTS, 1).unwrap_err().to_string();
    assert!(error.contains("edge_only"), "{error}");
}
