//! The coarse decision: once a request.

use msao_protocol::{Modality, ModalityAction, PlanReason, PredictedCost, Strategy};

use super::{
    Form, ModalityInput, NoPlan, PlanRequest,
    allowed::{Situation, allowed_strategies, cheapest},
};
use crate::{
    cost::{Work, expected_cost},
    mas,
};

/// What is done with one modality.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedModality {
    /// Which one.
    pub modality: Modality,
    /// What is done with it.
    pub action: ModalityAction,
}

/// How a request is answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Who writes.
    pub strategy: Strategy,
    /// In the order of the request's modalities.
    pub modalities: Vec<PlannedModality>,
    /// What it is expected to cost.
    pub predicted: PredictedCost,
    /// The weighted sum of that, which no other allowed plan is below.
    pub total: f64,
    /// Why it is so.
    pub reason: PlanReason,
}

/// Chooses the cheapest plan of all that are allowed; of equals the simplest, and that which discards least.
///
/// A modality the question does not need (relevance below `drop_below`) is dropped for edge and cloud, even
/// where sending it would cost nothing: what is not needed does not leave the device. A locked modality is
/// never sent; if the question needs it, the edge answers alone. Policies without MAS take every modality to
/// be needed, whole.
///
/// # Errors
/// [`NoPlan`], which says what is missing.
pub fn choose_plan(request: &PlanRequest) -> Result<Plan, NoPlan> {
    let relevance = |input: &ModalityInput| if request.policy.uses_mas() { input.relevance } else { 1.0 };
    let needed = |input: &ModalityInput| mas::is_needed(relevance(input), request.drop_below);
    let (strategies, reason) = allowed_strategies(&Situation {
        policy: request.policy,
        capabilities: request.capabilities,
        needed_modality_locked: request.modalities.iter().any(|input| input.locked && needed(input)),
        edge_may_stand: request.standing.may_stand(),
        edge_draft_tokens: None,
    })?;

    let on_edge: Vec<_> = request
        .modalities
        .iter()
        .map(|input| mas::edge_action(relevance(input), request.drop_below))
        .collect();
    let in_cloud = combinations(&request.modalities, |input| {
        let actions = mas::cloud_actions(relevance(input), request.drop_below, input.locked);
        let may_prune = request.policy.uses_mas() && input.density < 1.0;
        actions.iter().copied().filter(|action| may_prune || *action != ModalityAction::Pruned).collect()
    });

    let candidates = strategies.into_iter().flat_map(|strategy| {
        let actions =
            if strategy.uses_cloud() { in_cloud.as_slice() } else { std::slice::from_ref(&on_edge) };
        actions.iter().map(move |actions| {
            let predicted =
                expected_cost(strategy, &work(request, actions), &request.estimates, request.acceptance);
            (request.weights.total(&predicted), (strategy, actions, predicted))
        })
    });
    // Strategies are never empty, and each has an action for each modality: a lock that leaves none has left
    // the edge alone.
    let (total, (strategy, actions, predicted)) = cheapest(candidates).ok_or(NoPlan::NothingCanAnswer)?;
    let stood = strategy == Strategy::EdgeOnly && reason == PlanReason::Cheapest;
    let planned = |(input, action): (&ModalityInput, &ModalityAction)| PlannedModality {
        modality: input.modality,
        action: *action,
    };
    Ok(Plan {
        strategy,
        modalities: request.modalities.iter().zip(actions).map(planned).collect(),
        predicted,
        total,
        reason: if stood { PlanReason::ConfidentEdge } else { reason },
    })
}

/// Every way to choose one of its actions for each modality.
fn combinations(
    inputs: &[ModalityInput],
    actions: impl Fn(&ModalityInput) -> Vec<ModalityAction>,
) -> Vec<Vec<ModalityAction>> {
    inputs.iter().fold(vec![Vec::new()], |chosen, input| {
        let actions = actions(input);
        chosen
            .iter()
            .flat_map(|before| actions.iter().map(move |action| [before.as_slice(), &[*action]].concat()))
            .collect()
    })
}

/// What is to be sent, read and written if these actions are taken.
fn work(request: &PlanRequest, actions: &[ModalityAction]) -> Work {
    let mut sum = request.question;
    for (input, action) in request.modalities.iter().zip(actions) {
        let form = match action {
            ModalityAction::Drop => Form::default(),
            ModalityAction::Edge => Form { bytes: 0.0, target_tokens: 0.0, target_flops: 0.0, ..input.whole },
            ModalityAction::Pruned => input.pruned,
            ModalityAction::Whole => input.whole,
        };
        sum = Form {
            bytes: sum.bytes + form.bytes,
            edge_tokens: sum.edge_tokens + form.edge_tokens,
            target_tokens: sum.target_tokens + form.target_tokens,
            edge_flops: sum.edge_flops + form.edge_flops,
            target_flops: sum.target_flops + form.target_flops,
        };
    }
    Work {
        answer_tokens: request.answer_tokens,
        upload_bytes: sum.bytes,
        edge_prompt_tokens: sum.edge_tokens,
        target_prompt_tokens: sum.target_tokens,
        edge_prefill_flops: sum.edge_flops,
        target_prefill_flops: sum.target_flops,
        co_located_prefill_flops: sum.target_tokens * request.token_flops.co_located,
        edge_drafted_tokens: request.edge_drafted_tokens,
        token_flops: request.token_flops,
        wire: request.wire,
    }
}
