//! The planner's part: the plan that [`choose_plan`] finds with the true step times and the waits of late.
//!
//! Latency alone is a selfish measure: a plan that takes the server longer delays all that wait behind it. If a prompt
//! waits w for answers of G operations each, some w / service wait, and each operation more costs them together
//!
//! ```text
//! price = w / G                                     milliseconds an operation
//! ```
//!
//! Where the contender [prices the server](super::scenario::Contender::prices_server) that is the plan's price of cloud
//! operations; an idle server costs nothing.

use anyhow::{Result, anyhow};
use msao_planner::{
    cost::Acceptance,
    estimate::{AffineMs, Estimates},
    plan::{Capabilities, Form, Plan, PlanRequest, Standing, Weights, choose_plan},
    risk::NOTHING_STANDS,
};
use msao_protocol::{AnswerMode, ModalityAction, Policy, Strategy};

use super::request::{Parcel, Writer};
use super::scenario::Scenario;
use super::workload::Record;

/// Relevance below which a modality is left out, as the edge engine has it.
const DROP_BELOW: f64 = 0.05;
/// Weight of the latest wait in the averages: some ten count.
const STEP: f64 = 0.1;

/// What a server under load takes beside its own work, as sessions see it in their receipts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Waits {
    /// Of prompts.
    pub(super) prompt_ms: f64,
    /// Of requests that are ready for a pass.
    pub(super) pass_ms: f64,
    /// Duration of a pass over that of the same rows alone.
    pub(super) stretch: f64,
    /// Operations of an answer, in 10^9: the mean of all so far.
    pub(super) answer_gflop: f64,
}

impl Default for Waits {
    /// Nobody else is there.
    fn default() -> Self {
        Self { prompt_ms: 0.0, pass_ms: 0.0, stretch: 1.0, answer_gflop: 0.0 }
    }
}

impl Waits {
    /// Moves one of the averages.
    pub(super) fn observe(average: &mut f64, latest: f64) {
        *average += STEP * (latest - *average);
    }
}

/// What edge and cloud take, as the planner is told.
pub(super) fn estimates(scenario: &Scenario<'_>, waits: &Waits) -> Estimates {
    let (times, network) = (&scenario.times, &scenario.network);
    let record_tokens: f64 = scenario.workload.records.first().map_or(0.0, |record| {
        record.question.target_tokens
            + record.media.iter().map(|input| input.whole.target_tokens).sum::<f64>()
    });
    let scaled = |line: AffineMs| AffineMs {
        base_ms: line.base_ms * waits.stretch,
        per_unit_ms: line.per_unit_ms * waits.stretch,
    };
    // Whatever takes part in a pass waits for it, drafts of either source too.
    let alone = scaled(times.target_pass.line(record_tokens));
    let verify = AffineMs { base_ms: alone.base_ms + waits.pass_ms, ..alone };
    Estimates {
        rtt_ms: network.rtt_ms,
        uplink_bytes_per_s: network.uplink_bytes_per_s,
        downlink_bytes_per_s: network.downlink_bytes_per_s,
        edge_prefill: times.edge_prefill,
        edge_decode_ms: times.edge_decode_ms,
        target_prefill: times.target_prefill,
        target_decode_ms: verify.ms(1.0),
        target_verify: verify,
        co_located_prefill: times.co_located_prefill,
        co_located_decode_ms: scaled(times.co_located_pass.line(record_tokens)).ms(1.0),
        queue_ms: waits.prompt_ms,
        round_queue_ms: 0.0,
    }
}

/// The plan of a question of which the edge has written `edge_drafted` tokens.
///
/// # Errors
/// If the policy needs something that the scenario does not have.
pub(super) fn plan(
    scenario: &Scenario<'_>,
    policy: Policy,
    record: &Record,
    waits: &Waits,
    edge_drafted: f64,
) -> Result<Plan> {
    let workload = scenario.workload;
    let per_cloud_gflop = if scenario.contender.prices_server() && waits.answer_gflop > 0.0 {
        waits.prompt_ms / waits.answer_gflop
    } else {
        0.0
    };
    let weights = Weights { per_cloud_gflop, ..Weights::default() };
    choose_plan(&PlanRequest {
        policy,
        // Whether an answer stands is decided when there is one, by the risk controller.
        standing: Standing { mode: AnswerMode::Verified, edge_confidence: None, threshold: NOTHING_STANDS },
        drop_below: DROP_BELOW,
        question: record.question,
        modalities: record.media.clone(),
        answer_tokens: workload.answer_tokens,
        edge_drafted_tokens: edge_drafted,
        token_flops: scenario.token_flops,
        wire: scenario.wire,
        weights,
        estimates: estimates(scenario, waits),
        acceptance: Acceptance { edge: workload.acceptance, co_located: workload.acceptance },
        capabilities: Capabilities {
            edge_ready: true,
            cloud_connected: true,
            co_located: scenario.server.holds_draft_model,
            pipelining: true,
            max_draft_tokens: scenario.server.max_draft_tokens,
        },
    })
    .map_err(|error| anyhow!("no plan for {policy:?}: {error:?}"))
}

/// What a plan's strategy is here.
pub(super) fn writer(strategy: Strategy) -> Writer {
    match strategy {
        Strategy::EdgeOnly => Writer::Edge,
        Strategy::Cloud => Writer::Cloud,
        Strategy::CoLocated { draft_tokens } => Writer::CoLocated { draft_tokens: draft_tokens.into() },
        Strategy::Distributed { draft_tokens, pipelined } => {
            Writer::Distributed { draft_tokens: draft_tokens.into(), pipelined }
        }
    }
}

/// What is sent and read under a plan's actions.
pub(super) fn planned_parcel(record: &Record, plan: &Plan) -> Parcel {
    let actions = plan.modalities.iter().map(|planned| planned.action);
    let forms = record.media.iter().zip(actions).map(|(input, action)| match action {
        ModalityAction::Drop => (Form::default(), true),
        ModalityAction::Pruned => (input.pruned, true),
        ModalityAction::Edge => {
            (Form { bytes: 0.0, target_tokens: 0.0, target_flops: 0.0, ..input.whole }, true)
        }
        ModalityAction::Whole => (input.whole, false),
    });
    parcel(record, forms)
}

/// Everything that was given.
pub(super) fn whole_parcel(record: &Record) -> Parcel {
    parcel(record, record.media.iter().map(|input| (input.whole, false)))
}

fn parcel(record: &Record, forms: impl Iterator<Item = (Form, bool)>) -> Parcel {
    let question = Parcel {
        upload_bytes: record.question.bytes,
        edge_tokens: record.question.edge_tokens,
        target_tokens: record.question.target_tokens,
        edge_flops: record.question.edge_flops,
        target_flops: record.question.target_flops,
        is_pruned: false,
    };
    forms.fold(question, |sum, (form, is_pruned)| Parcel {
        upload_bytes: sum.upload_bytes + form.bytes,
        edge_tokens: sum.edge_tokens + form.edge_tokens,
        target_tokens: sum.target_tokens + form.target_tokens,
        edge_flops: sum.edge_flops + form.edge_flops,
        target_flops: sum.target_flops + form.target_flops,
        is_pruned: sum.is_pruned || is_pruned,
    })
}
