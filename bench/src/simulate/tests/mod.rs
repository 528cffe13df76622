//! What the tests of the simulator share: step times, requests and a scenario of one client.

mod behaviour;
mod theory;

use msao_planner::{
    SplitMix64,
    cost::{TokenFlops, WireSizes},
    estimate::AffineMs,
    plan::{Form, ModalityInput},
};
use msao_protocol::Modality;

use super::{
    outcome::Outcome,
    pace::EVEN,
    scenario::{Contender, EdgeFirst, Load, Network, Scenario, ServerSettings},
    times::{PassMs, SplitTimes, StepTimes},
    workload::{Agreement, Record, Right, Workload},
    world::simulate,
};

fn line(base_ms: f64, per_unit_ms: f64) -> AffineMs {
    AffineMs { base_ms, per_unit_ms }
}

fn times() -> StepTimes {
    let pass = |streaming_ms, per_row_ms| PassMs { streaming_ms, per_row_ms, ..PassMs::default() };
    StepTimes {
        probe_ms: 1.0,
        edge_prefill: line(10.0, 0.2),
        edge_decode_ms: 5.0,
        target_prefill: line(20.0, 0.2),
        target_pass: pass(25.0, 0.5),
        co_located_prefill: line(5.0, 0.02),
        co_located_pass: pass(3.0, 0.05),
        split: Some(SplitTimes {
            edge_prefill: line(20.0, 0.3),
            edge_step_ms: 8.0,
            target_prefill: line(15.0, 0.1),
            target_pass: pass(18.0, 0.4),
            activation_bytes: 1_000.0,
            edge_prompt_share: 0.3,
            edge_token_share: 0.3,
        }),
        ..StepTimes::default()
    }
}

fn form(bytes: f64, tokens: f64) -> Form {
    Form {
        bytes,
        edge_tokens: tokens,
        target_tokens: tokens,
        edge_flops: tokens * 1e9,
        target_flops: tokens * 4e9,
    }
}

/// A question about a picture, half of which is kept.
fn record(answer_tokens: u32, agreement: Agreement, edge_confidence: f64) -> Record {
    Record {
        question: form(50.0, 20.0),
        media: vec![ModalityInput {
            modality: Modality::Vision,
            relevance: 1.0,
            density: 0.5,
            locked: false,
            whole: form(100_000.0, 200.0),
            pruned: Form { edge_tokens: 200.0, ..form(60_000.0, 100.0) },
        }],
        answer_tokens,
        edge_answer_tokens: answer_tokens,
        agreement,
        edge_confidence,
        right: Right { edge: agreement == Agreement::Everywhere, whole: true, kept: true },
    }
}

/// Answers alike, with drafts that agree at this rate.
fn alike(answer_tokens: u32, rate: f64) -> Workload {
    let agreement = Agreement::But { differs_at: u32::MAX, rate };
    let workload = Workload::new(vec![record(answer_tokens, agreement, 0.5); 2]).unwrap();
    Workload { acceptance: rate, ..workload }
}

/// Short answers, of which the edge gives four in five as the target does, and is mostly sure where it does.
fn mixed(seed: u64) -> Workload {
    let mut rng = SplitMix64::new(seed);
    let records = (0..4_000).map(|_| {
        let tokens = 2 + (rng.uniform() * 6.0) as u32;
        if rng.uniform() < 0.8 {
            return record(tokens, Agreement::Everywhere, rng.beta(8.0, 1.0));
        }
        let differs_at = (rng.uniform() * f64::from(tokens)) as u32;
        record(tokens, Agreement::But { differs_at, rate: 0.7 }, rng.beta(2.0, 4.0))
    });
    Workload::new(records.collect()).unwrap()
}

fn scenario(contender: Contender, workload: &Workload) -> Scenario<'_> {
    Scenario {
        contender,
        workload,
        times: times(),
        paces: &EVEN,
        token_flops: TokenFlops { edge: 1e9, target: 4e9, co_located: 1e9 },
        wire: WireSizes::default(),
        network: Network::symmetric(20.0, 40.0),
        load: Load::Closed { think_ms: 500.0 },
        server: ServerSettings { max_batch: 8, holds_draft_model: true, max_draft_tokens: 8 },
        always_looks: false,
        clients: 1,
        requests: 600,
        seed: 5,
    }
}

fn run(scenario: &Scenario<'_>) -> Outcome {
    simulate(scenario).unwrap()
}

fn assert_near(what: &str, simulated: f64, expected: f64, tolerance: f64) {
    assert!((simulated / expected - 1.0).abs() < tolerance, "{what}: {simulated} for {expected}");
}

const VERIFIED: Contender = Contender::MsaoVerified { prices_server: false };
const RISK: Contender =
    Contender::MsaoRiskControlled { epsilon: 0.05, edge_first: EdgeFirst::Always, prices_server: false };
