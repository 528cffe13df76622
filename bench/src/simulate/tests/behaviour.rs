//! What must hold in any setting: bounds, orders, refusals, repeatability.

use proptest::prelude::{ProptestConfig, prop_assert, proptest};

use super::{RISK, VERIFIED, alike, mixed, run, scenario, times};
use crate::simulate::{
    scenario::{Contender, EdgeFirst, Load, Network, Scenario},
    times::{PassWork, StepTimes},
    workload::Workload,
    world::simulate,
};

#[test]
fn ten_thousand_clients_take_seconds() {
    let workload = mixed(2);
    let began = std::time::Instant::now();
    for contender in [Contender::CloudOnly, VERIFIED, RISK] {
        let load = Load::Closed { think_ms: 60_000.0 };
        let base = scenario(contender, &workload);
        let outcome = run(&Scenario { load, clients: 10_000, requests: 30_000, ..base });
        assert_eq!(outcome.answers, 30_000);
    }
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
}

#[test]
fn a_risk_bound_holds_and_saves_bytes_and_work() {
    let workload = mixed(3);
    let load = Load::Closed { think_ms: 100.0 };
    let run =
        |contender| run(&Scenario { clients: 20, requests: 4_000, load, ..scenario(contender, &workload) });
    let (risky, verified) = (run(RISK), run(VERIFIED));
    assert!(risky.disagreement <= 0.05, "{}", risky.disagreement);
    assert!(risky.edge_share > 0.5, "{}", risky.edge_share);
    assert!(risky.uplink_bytes < 0.6 * verified.uplink_bytes);
    assert!(risky.cloud_gflop < 0.6 * verified.cloud_gflop);
    assert_eq!((verified.edge_share, verified.disagreement, verified.accuracy), (0.0, 0.0, 1.0));
}

#[test]
fn the_plan_does_not_lose_to_a_static_policy() {
    let workload = alike(24, 0.8);
    for (rate, rtt_ms) in [(5.0, 100.0), (20.0, 40.0), (50.0, 5.0), (400.0, 20.0), (400.0, 1.0)] {
        let mean = |contender| {
            let network = Network::symmetric(rate, rtt_ms);
            run(&Scenario { network, ..scenario(contender, &workload) }).latency_ms.mean
        };
        let msao = mean(VERIFIED);
        for contender in Contender::ALL[1..=5].iter().copied() {
            let other = mean(contender);
            assert!(msao < 1.05 * other, "{msao} against {other} of {contender:?} at {rate}, {rtt_ms}");
        }
    }
}

#[test]
fn pricing_the_server_keeps_its_capacity_and_costs_an_idle_one_nothing() {
    // Short answers: drafts cost the server more than they spare it.
    let workload = alike(6, 0.8);
    let run = |prices_server, clients, think_ms| {
        let base = scenario(Contender::MsaoVerified { prices_server }, &workload);
        run(&Scenario { load: Load::Closed { think_ms }, clients, requests: 3_000, ..base })
    };
    let (selfish, priced) = (run(false, 200, 0.0), run(true, 200, 0.0));
    assert!(priced.answers_per_s > 1.03 * selfish.answers_per_s, "{priced:?} for {selfish:?}");
    assert_eq!(run(false, 1, 500.0).latency_ms, run(true, 1, 500.0).latency_ms);
}

#[test]
fn equal_seeds_have_equal_outcomes() {
    let workload = mixed(4);
    let run = |seed| run(&Scenario { seed, clients: 9, ..scenario(RISK, &workload) });
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).latency_ms, run(2).latency_ms);
}

#[test]
fn what_cannot_be_simulated_is_refused() {
    let workload = alike(3, 0.5);
    let good = scenario(Contender::LayerSplit, &workload);
    for bad in [
        Scenario { clients: 0, ..good.clone() },
        Scenario { requests: usize::MAX, ..good.clone() },
        Scenario { network: Network::symmetric(0.0, 1.0), ..good.clone() },
        Scenario { load: Load::Open { requests_per_s: 0.0 }, ..good.clone() },
        Scenario { times: StepTimes { split: None, ..times() }, ..good.clone() },
        Scenario {
            contender: Contender::MsaoRiskControlled {
                epsilon: 1.0,
                edge_first: EdgeFirst::Always,
                prices_server: false,
            },
            ..good.clone()
        },
    ] {
        assert!(simulate(&bad).is_err(), "{bad:?}");
    }
    assert!(Workload::new(Vec::new()).is_err());
}

/// Milliseconds of the target's pass over so many rows of one request.
fn pass_ms(rows: u32) -> f64 {
    times().target_pass.ms(PassWork { requests: 1.0, rows: rows.into(), context_tokens: 0.0 })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_better_network_is_never_slower(
        rate in 1.0..200.0_f64, faster in 1.0..4.0_f64, rtt_ms in 0.0..200.0_f64, longer in 1.0..100.0_f64,
    ) {
        let workload = alike(12, 0.7);
        for (contender, slack_ms) in [
            (Contender::CloudOnly, 1e-6),
            (Contender::LayerSplit, 1e-6),
            // A prompt that comes sooner may be verified just before a draft that it used to wait for: one pass more.
            (Contender::Distributed { draft_tokens: 4, pipelined: true }, pass_ms(1 + 12)),
        ] {
            let mean = |rate, rtt_ms| {
                let network = Network::symmetric(rate, rtt_ms);
                run(&Scenario { network, requests: 60, ..scenario(contender, &workload) }).latency_ms.mean
            };
            let base = mean(rate, rtt_ms);
            prop_assert!(mean(rate * faster, rtt_ms) <= base + slack_ms);
            prop_assert!(mean(rate, rtt_ms + longer) >= base - slack_ms);
        }
    }
}
