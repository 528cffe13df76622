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
    cost::{
        Acceptance, Remaining, best_draft_length, distributed_round_ms, draft_wait_ms, whole_draft_saving_ms,
    },
    estimate::{AffineMs, Estimates},
    plan::{Capabilities, Form, Plan, PlanRequest, RoundState, Standing, Weights, choose_plan, replan},
    risk::NOTHING_STANDS,
};
use msao_protocol::{AnswerMode, Modality, ModalityAction, Policy, Strategy};

use super::request::{Parcel, Writer};
use super::scenario::{Contender, Scenario};
use super::workload::Record;

/// Relevance below which a modality is left out, as the edge engine has it.
const DROP_BELOW: f64 = 0.05;
/// How long a request waits for a draft beyond the time that one takes, as the client asks for.
const PATIENCE_MARGIN_MS: f64 = 20.0;
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
        edge_prefill: AffineMs {
            base_ms: times.edge_encode.base_ms + times.edge_prefill.base_ms,
            per_unit_ms: times.edge_encode.per_unit_ms + times.edge_prefill.per_unit_ms,
        },
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

/// What the planner is asked about a question of which the edge has written `drafted` tokens, as `is_whole` says to the end.
pub(super) fn request(
    scenario: &Scenario<'_>,
    policy: Policy,
    record: &Record,
    waits: &Waits,
    (drafted, is_whole): (u32, bool),
) -> PlanRequest {
    let (workload, drafted) = (scenario.workload, f64::from(drafted));
    PlanRequest {
        policy,
        standing: standing(scenario.contender),
        drop_below: DROP_BELOW,
        question: record.question,
        modalities: record.media.clone(),
        answer_tokens: if is_whole { drafted + 1.0 } else { workload.answer_tokens.max(drafted + 1.0) },
        edge_drafted_tokens: drafted,
        token_flops: scenario.token_flops,
        wire: scenario.wire,
        weights: weights(scenario, waits),
        estimates: estimates(scenario, waits),
        acceptance: acceptance(scenario),
        capabilities: capabilities(scenario),
    }
}

/// The same before the media were looked at: all of them count as needed whole.
pub(super) fn unlooked(mut request: PlanRequest) -> PlanRequest {
    for input in &mut request.modalities {
        (input.relevance, input.density) = (1.0, 1.0);
    }
    request
}

/// Shares of pictures and of sound that are left to be sent after a look, on average: what clients learn of it.
#[derive(Debug)]
pub(super) struct Left([f64; 2]);

impl Left {
    pub(super) fn of(records: &[Record]) -> Self {
        Self([Modality::Vision, Modality::Audio].map(|modality| {
            let given = records.iter().flat_map(|record| &record.media);
            let shares = given
                .filter(|input| input.modality == modality)
                .map(|input| if input.relevance < DROP_BELOW { 0.0 } else { input.density });
            let (sum, count) = shares.fold((0.0, 0_u32), |(sum, count), share| (sum + share, count + 1));
            if count > 0 { sum / f64::from(count) } else { 1.0 }
        }))
    }

    fn share(&self, modality: Modality) -> f64 {
        self.0[usize::from(modality == Modality::Audio)]
    }
}

/// Whether looking at the media before asking is expected to save time.
///
/// # Errors
/// As for [`plan`].
pub(super) fn looks_first(
    scenario: &Scenario<'_>,
    record: &Record,
    waits: &Waits,
    left: &Left,
    stand_probability: f64,
) -> Result<bool> {
    let policy = scenario.contender.policy().unwrap_or_default();
    let request = unlooked(request(scenario, policy, record, waits, (0, false)));
    let left: Vec<f64> = record.media.iter().map(|input| left.share(input.modality)).collect();
    let look_ms = scenario.times.probe_ms + scenario.times.edge_encode.ms(whole_parcel(record).edge_tokens);
    msao_planner::plan::looks_first(&request, &left, look_ms, stand_probability)
        .map_err(|error| anyhow!("no plan for {policy:?}: {error:?}"))
}

/// Whether an answer stands is decided when there is one, by the risk controller.
fn standing(contender: Contender) -> Standing {
    let mode = match contender {
        Contender::MsaoRiskControlled { epsilon, .. } => {
            AnswerMode::RiskControlled { epsilon: epsilon as f32 }
        }
        _ => AnswerMode::Verified,
    };
    Standing { mode, edge_confidence: None, threshold: NOTHING_STANDS }
}

fn weights(scenario: &Scenario<'_>, waits: &Waits) -> Weights {
    let per_cloud_gflop = if scenario.contender.prices_server() && waits.answer_gflop > 0.0 {
        waits.prompt_ms / waits.answer_gflop
    } else {
        0.0
    };
    Weights { per_cloud_gflop, ..Weights::default() }
}

fn acceptance(scenario: &Scenario<'_>) -> Acceptance {
    Acceptance { edge: scenario.workload.acceptance, co_located: scenario.workload.acceptance }
}

fn capabilities(scenario: &Scenario<'_>) -> Capabilities {
    Capabilities {
        edge_ready: true,
        edge_drafts: true,
        cloud_connected: true,
        co_located: scenario.server.holds_draft_model,
        pipelining: true,
        max_draft_tokens: scenario.server.max_draft_tokens,
    }
}

/// The draft length that a static policy plans for a usual question.
///
/// # Errors
/// As for [`plan`].
pub(super) fn usual_draft_tokens(scenario: &Scenario<'_>, policy: Policy) -> Result<u8> {
    let record = scenario.workload.records.first().ok_or_else(|| anyhow!("no questions: give some"))?;
    let plan = plan(&request(scenario, policy, record, &Waits::default(), (0, false)))?;
    Ok(plan.strategy.draft_tokens())
}

/// The plan.
///
/// # Errors
/// If the policy needs something that the scenario does not have.
pub(super) fn plan(request: &PlanRequest) -> Result<Plan> {
    choose_plan(request).map_err(|error| anyhow!("no plan for {:?}: {error:?}", request.policy))
}

/// Who writes once the edge has its whole answer and nothing is settled: that answer is one draft, as the client's
/// `decide_with_a_whole_draft` has it.
///
/// # Errors
/// As for [`plan`].
pub(super) fn with_a_whole_draft(request: &PlanRequest) -> Result<Strategy> {
    let chosen = plan(request)?;
    let alone = match request.policy {
        Policy::Msao => Policy::MsaoWithoutSpeculation,
        Policy::MsaoWithoutMas => Policy::CloudOnly,
        _ => return Ok(chosen.strategy),
    };
    let draft_tokens = request.edge_drafted_tokens.min(f64::from(u8::MAX)) as u8;
    let alone = plan(&PlanRequest { policy: alone, ..request.clone() })?;
    let saved_ms = whole_draft_saving_ms(request.acceptance.edge, draft_tokens, &request.estimates);
    let pays = saved_ms > 0.0 && alone.total - request.weights.per_ms * saved_ms < chosen.total;
    Ok(if draft_tokens > 0 && pays {
        Strategy::Distributed { draft_tokens, pipelined: false }
    } else {
        chosen.strategy
    })
}

/// An answer under way, as the client sees it after a round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rest {
    pub(super) current: Strategy,
    pub(super) settled: u32,
    pub(super) context_tokens: f64,
    /// Drafts of the edge behind what stands, and whether they are all that it has to say.
    pub(super) drafted: u32,
    pub(super) is_whole: bool,
}

/// Who writes on after a round; `None` if that cannot be said.
pub(super) fn again(scenario: &Scenario<'_>, waits: &Waits, rest: &Rest) -> Option<Strategy> {
    let (estimates, acceptance) = (estimates(scenario, waits), acceptance(scenario));
    let policy = scenario.contender.policy()?;
    let draft_tokens = best_draft_length(acceptance.edge, scenario.server.max_draft_tokens, |length| {
        distributed_round_ms(length, &estimates, scenario.wire)
    });
    let drafted = f64::from(rest.drafted);
    let tokens =
        if rest.is_whole { drafted + 1.0 } else { scenario.workload.answer_tokens - f64::from(rest.settled) };
    let round = replan(&RoundState {
        policy,
        standing: Standing { mode: AnswerMode::Verified, ..standing(scenario.contender) },
        needed_modality_locked: false,
        capabilities: capabilities(scenario),
        rest: Remaining {
            tokens: tokens.max(1.0),
            context_tokens: rest.context_tokens + f64::from(rest.settled),
            edge_drafted_tokens: drafted,
            current: rest.current,
            token_flops: scenario.token_flops,
            wire: scenario.wire,
        },
        edge_draft_tokens: Some(draft_tokens.max(1)),
        weights: weights(scenario, waits),
        estimates,
        acceptance,
    });
    round.ok().map(|round| round.strategy)
}

/// How long the server is to wait for the edge's next draft: as long as that pays; where nothing is planned, always.
pub(super) fn patience_ms(scenario: &Scenario<'_>, waits: &Waits, strategy: Strategy) -> f64 {
    let (estimates, draft_tokens) = (estimates(scenario, waits), strategy.draft_tokens());
    let wait_ms = match scenario.contender.policy() {
        Some(_) => draft_wait_ms(scenario.workload.acceptance, draft_tokens, &estimates),
        None => estimates.rtt_ms + f64::from(draft_tokens) * estimates.edge_decode_ms,
    };
    if wait_ms > 0.0 { wait_ms + PATIENCE_MARGIN_MS } else { 0.0 }
}

/// The strategy that a writer is, where the planner has one.
pub(super) fn strategy(writer: Writer) -> Option<Strategy> {
    let short = |count: u32| u8::try_from(count).unwrap_or(u8::MAX);
    match writer {
        Writer::Edge => Some(Strategy::EdgeOnly),
        Writer::Cloud => Some(Strategy::Cloud),
        Writer::CoLocated { draft_tokens } => Some(Strategy::CoLocated { draft_tokens: short(draft_tokens) }),
        Writer::Distributed { draft_tokens, pipelined } => {
            Some(Strategy::Distributed { draft_tokens: short(draft_tokens), pipelined })
        }
        Writer::Split | Writer::Shadow => None,
    }
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
