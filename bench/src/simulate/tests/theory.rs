//! Against what is known without simulating: queues, closed forms, sums and bottlenecks.

use msao_planner::{
    SplitMix64,
    cost::{Acceptance, Work, expected_cost},
};
use msao_protocol::Strategy;

use super::{RISK, alike, assert_near, form, line, mixed, record, run, scenario, times};
use crate::simulate::{
    decide::{Waits, estimates},
    scenario::{Contender, Load, Network, Scenario, ServerSettings},
    times::StepTimes,
    workload::{Agreement, Record, Workload},
};

#[test]
fn a_poisson_queue_with_exponential_service_is_m_m_1() {
    let mut rng = SplitMix64::new(9);
    // One token an answer: all the server does is to read prompts of exponentially distributed length.
    let records = (0..40_000).map(|_| {
        let tokens = -100.0 * (1.0 - rng.uniform()).ln();
        let base = record(1, Agreement::Everywhere, 0.5);
        Record { question: form(0.0, tokens), media: Vec::new(), ..base }
    });
    let workload = Workload::new(records.collect()).unwrap();
    let times = StepTimes { target_prefill: line(0.0, 0.1), ..times() };
    for load in [0.5, 0.8] {
        let outcome = run(&Scenario {
            times,
            network: Network { rtt_ms: 0.0, ..Network::symmetric(1e9, 0.0) },
            load: Load::Open { requests_per_s: 100.0 * load },
            clients: 50,
            requests: 300_000,
            ..scenario(Contender::CloudOnly, &workload)
        });
        assert_near("utilisation", outcome.server_utilisation, load, 0.02);
        // Mean sojourn 1 / (mu - lambda), and its distribution is exponential.
        assert_near("mean", outcome.latency_ms.mean, 10.0 / (1.0 - load), 0.05);
        assert_near("p95", outcome.latency_ms.p95, -(0.05_f64.ln()) * 10.0 / (1.0 - load), 0.06);
    }
}

#[test]
fn without_contention_the_closed_forms_of_the_planner_come_out() {
    for (answer_tokens, alpha) in [(40, 0.8), (40, 0.5), (120, 0.9)] {
        let workload = alike(answer_tokens, alpha);
        let (pipelined, draft_tokens) = (true, 4);
        for (contender, strategy) in [
            (Contender::EdgeOnly, Strategy::EdgeOnly),
            (Contender::CloudOnly, Strategy::Cloud),
            (Contender::CoLocated { draft_tokens }, Strategy::CoLocated { draft_tokens }),
            (
                Contender::Distributed { draft_tokens, pipelined: false },
                Strategy::Distributed { draft_tokens, pipelined: false },
            ),
            (
                Contender::Distributed { draft_tokens, pipelined },
                Strategy::Distributed { draft_tokens, pipelined },
            ),
        ] {
            let scenario = scenario(contender, &workload);
            let work = Work {
                answer_tokens: f64::from(answer_tokens),
                upload_bytes: 100_050.0,
                edge_prompt_tokens: 220.0,
                target_prompt_tokens: 220.0,
                edge_prefill_flops: 220e9,
                target_prefill_flops: 880e9,
                co_located_prefill_flops: 220e9,
                edge_drafted_tokens: 0.0,
                token_flops: scenario.token_flops,
                wire: scenario.wire,
            };
            let acceptance = Acceptance { edge: alpha, co_located: alpha };
            let expected =
                expected_cost(strategy, &work, &estimates(&scenario, &Waits::default()), acceptance);
            let outcome = run(&scenario);
            let name = format!("{strategy:?}, {answer_tokens} tokens at {alpha}");
            // The closed forms hold an edge back that in truth drafts on while it waits, and sends what it has by then.
            let (slack, row_slack) = match strategy {
                Strategy::Distributed { .. } => (0.4, 0.1),
                // One row more for blocks whose first token the pass before has settled.
                _ => (0.05, 0.08),
            };
            let share = outcome.latency_ms.mean / expected.latency_ms;
            assert!((1.0 - slack..1.05).contains(&share), "{name}: {share} of the closed form");
            assert_near(&name, outcome.uplink_bytes + 1.0, expected.uplink_bytes + 1.0, 0.05);
            assert_near(&name, outcome.cloud_gflop + 1.0, expected.cloud_flops / 1e9 + 1.0, row_slack);
        }
    }
}

#[test]
fn every_request_ends_and_bytes_add_up() {
    let workload = mixed(1);
    for contender in Contender::ALL.into_iter().chain([RISK]) {
        for clients in [1, 40] {
            let outcome = run(&Scenario { clients, ..scenario(contender, &workload) });
            assert_eq!(outcome.answers, 600, "{contender:?}");
            assert!(outcome.latency_ms.p50 > 0.0 && outcome.latency_ms.p50 <= outcome.latency_ms.p99);
            assert!(outcome.first_shown_ms.p50 <= outcome.time_to_first_token_ms.p50, "{contender:?}");
        }
    }
    let workload = alike(5, 0.8);
    let cloud = run(&scenario(Contender::CloudOnly, &workload));
    assert_eq!((cloud.uplink_bytes, cloud.downlink_bytes), (100_050.0, 5.0 * 24.0));
    assert_eq!(cloud.cloud_gflop, 220.0 * 4.0 + 4.0 * 4.0);
    let split = run(&scenario(Contender::LayerSplit, &workload));
    assert_eq!(split.uplink_bytes, (220.0 + 4.0) * 1_000.0);
    assert!((split.cloud_gflop / cloud.cloud_gflop - 0.7).abs() < 1e-9);
    assert!((split.edge_gflop / cloud.cloud_gflop - 0.3).abs() < 1e-9);
    let edge = run(&scenario(Contender::EdgeOnly, &workload));
    assert_eq!((edge.uplink_bytes, edge.server_utilisation), (0.0, 0.0));
}

#[test]
fn a_saturated_server_answers_at_the_rate_of_its_bottleneck() {
    // Answers of one token: reading 220 tokens takes 64 ms.
    let workload = alike(1, 0.5);
    let scenario = Scenario {
        load: Load::Closed { think_ms: 0.0 },
        clients: 100,
        requests: 3_000,
        ..scenario(Contender::CloudOnly, &workload)
    };
    assert_near("prefill", run(&scenario).answers_per_s, 1000.0 / 64.0, 0.01);
    // 100 kB each over 1 MB/s that all share.
    let network = Network { ingress_bytes_per_s: Some(1e6), ..scenario.network };
    assert_near("ingress", run(&Scenario { network, ..scenario }).answers_per_s, 1e6 / 100_050.0, 0.01);
}

#[test]
fn sharing_passes_raises_capacity() {
    let workload = alike(40, 0.5);
    let capacity = |max_batch| {
        let base = scenario(Contender::CloudOnly, &workload);
        let server = ServerSettings { max_batch, ..base.server };
        let load = Load::Closed { think_ms: 0.0 };
        run(&Scenario { server, load, clients: 100, requests: 900, ..base })
    };
    let (alone, shared) = (capacity(1), capacity(16));
    // Alone: 64 ms for the prompt and 39 passes of 25 ms.
    assert_near("alone", alone.answers_per_s, 1000.0 / (64.0 + 39.0 * 25.0), 0.02);
    assert!(shared.answers_per_s > 5.0 * alone.answers_per_s, "{}", shared.answers_per_s);
    assert!(shared.batch > 12.0, "{}", shared.batch);
}
